"""A learner's settings with or without weights of classes, where its text leaves that open."""

from __future__ import annotations

from common.learners import read_settings
from common.learners.settings import parse_assignments

# What each of a learner's settings of this kind calls it.
_BALANCED = {
    "class_weight": {"balanced": "balanced", "none": "none"},
    "priors": {"balanced": "uniform", "none": "empirical"},
}


def with_class_weight(learner: str, text: str, class_weight: str) -> dict[str, str]:
    """Give a learner's assignments with its classes weighted, or not.

    Parameters
    ----------
    learner : str
        Its name.
    text : str
        ``"key=value key=value"``; what it says of the weights stays.
    class_weight : str
        ``balanced``, ``none``, or empty for the learner's own default.

    Returns
    -------
    dict of str to str

    Raises
    ------
    SettingsError
        If the learner or a setting is unknown or out of bounds.
    """
    known = type(read_settings(learner, text)).model_fields
    assignments = parse_assignments(text)
    if not class_weight:
        return assignments
    for setting, values in _BALANCED.items():
        if setting in known:
            assignments.setdefault(setting, values[class_weight])
    return assignments
