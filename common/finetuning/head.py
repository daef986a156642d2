"""The exact head that fine-tuning begins with."""

from __future__ import annotations


def head_settings(learner: str) -> str:
    """Give the settings of the head that becomes the network's classifier.

    Not divided by their whole deviation: that makes large weights of features that hardly vary,
    and logits that a small step of the trunk throws far off. On HAM10000 (split seed 1) the norms
    of the ridge's rows were 17 to 411 with it and 2.7 to 4.0 so; of classifiers trained from
    zeros they were about 1.

    Parameters
    ----------
    learner : str
        Key of `common.learners.LEARNERS`.

    Returns
    -------
    str
        ``"key=value key=value"``.
    """
    settings = "calibrate=temperature scale=pareto"
    return f"{settings} alpha_per_image=0.3" if learner == "ridge" else settings
