"""Late fusion: a stack of one head over the images and one over the metadata."""

from __future__ import annotations

from common.errors import SettingsError
from common.learners import LEARNERS, read_settings
from common.learners.ensemble.blocks import ALL, IMAGES, METADATA
from common.learners.ensemble.members import EnsembleSettings, format_member
from common.learners.settings import LearnerSettings, parse_assignments

STACK = "stack"
# A member has these of the stack, or sees too few columns for them.
_OF_STACK, _OF_IMAGES = ("folds",), ("pca",)


def late_stack(learner: str, text: str) -> tuple[str, str]:
    """Give the stack of a learner over each block; one whose members say what they see stays.

    The learner's settings are its members'. That of metadata has no principal components, since
    it sees few columns.

    Parameters
    ----------
    learner : str
        A key of `common.learners.LEARNERS`.
    text : str
        Its settings, as ``"key=value key=value"``.

    Returns
    -------
    str, str
        Learner and settings.

    Raises
    ------
    SettingsError
        If it is an ensemble none of whose members says what it sees, or keeps a ledger.
    """
    settings = read_settings(learner, text)
    if sees_blocks(settings):
        return learner, text
    if isinstance(settings, EnsembleSettings):
        raise SettingsError(
            f"metadata late: learner {learner} has members of its own; give each a block, as "
            "members=ridge:block=images,ridge:block=metadata, or a single head"
        )
    if settings.ledger:
        raise SettingsError("metadata late: keeps no ledger, since a stack does not; leave it out")
    values = parse_assignments(text)
    values.pop("ledger", None)
    own = {key: value for key, value in values.items() if key not in _OF_STACK}
    plain = {key: value for key, value in own.items() if key not in _OF_IMAGES}
    if "," in "".join(values.values()) or learner not in LEARNERS:
        raise SettingsError(f"learner {learner} settings: {text!r} cannot be a member's")
    members = (
        format_member(learner, {**own, "block": IMAGES}),
        format_member(learner, {**plain, "block": METADATA}),
    )
    folds = [f"folds={values['folds']}"] if "folds" in values else []
    return STACK, " ".join([f"members={','.join(members)}", *folds])


def sees_blocks(settings: LearnerSettings) -> bool:
    """Tell whether some member of an ensemble sees one block alone."""
    if not isinstance(settings, EnsembleSettings):
        return False
    return any(member.block != ALL for member in settings.members_made())
