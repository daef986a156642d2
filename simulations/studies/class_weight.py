"""A learner's settings with or without weights of classes, where its text leaves that open."""

from __future__ import annotations

from common.learners import read_settings
from common.learners.ensemble.members import EnsembleSettings, format_member, parse_member
from common.learners.settings import LearnerSettings, parse_assignments

# What each of a learner's settings of this kind calls it.
_BALANCED = {
    "class_weight": {"balanced": "balanced", "none": "none"},
    "priors": {"balanced": "uniform", "none": "empirical"},
}
# Where ensembles name their members.
_MEMBERS = ("members", "base")


def with_class_weight(learner: str, text: str, class_weight: str) -> dict[str, str]:
    """Give a learner's assignments with its classes weighted, or not.

    Parameters
    ----------
    learner : str
        Its name.
    text : str
        ``"key=value key=value"``; what it says of the weights stays. An ensemble's members are
        weighted alike.
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
    settings = read_settings(learner, text)
    assignments = parse_assignments(text)
    if not class_weight:
        return assignments
    if isinstance(settings, EnsembleSettings):
        assignments |= _weighted_members(settings, class_weight)
    return _weighted(type(settings), assignments, class_weight)


def _weighted(
    kind: type[LearnerSettings], assignments: dict[str, str], class_weight: str
) -> dict[str, str]:
    for setting, values in _BALANCED.items():
        if setting in kind.model_fields:
            assignments.setdefault(setting, values[class_weight])
    return assignments


def _weighted_members(settings: LearnerSettings, class_weight: str) -> dict[str, str]:
    found = {}
    for key in _MEMBERS:
        if key in type(settings).model_fields:
            members = [parse_member(text) for text in getattr(settings, key).split(",")]
            found[key] = ",".join(
                format_member(name, _weighted(type(read_settings(name, "")), values, class_weight))
                for name, values in members
            )
    return found
