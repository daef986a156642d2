"""The exact head that fine-tuning begins with."""

from __future__ import annotations


def head_settings(learner: str) -> str:
    """Give the settings of the head that becomes the network's classifier.

    Not divided by their whole deviation: that makes large weights of features that hardly vary,
    and a network whose logits a first small step of the trunk throws far off. On HAM10000 rows of
    the ridge's weights had a norm of 150 to 400 with it, some 3 without, as trained classifiers
    have; and the frozen head was the better for it, too.

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
