"""Whether a run's treatment of imbalance can be what it is, before any site does any work."""

from __future__ import annotations

from common.errors import SettingsError
from common.imbalance.treatment import Treatment, read_treatment
from common.learners import make_learner, read_settings, tells_of_parts
from common.learners.base import Problem
from common.settings import RunSettings


def check_imbalance(settings: RunSettings) -> Treatment:
    """Check a run's treatment against its other settings, and give it.

    Raises
    ------
    SettingsError
        If the treatment is unknown, or goes with fine-tuning, which has its own, or with
        folds at guarded sites.
    """
    treatment = read_treatment(settings.imbalance)
    if settings.strategy and treatment.kind != "none":
        raise SettingsError(
            f"imbalance {treatment.kind}: is for heads alone; fine-tuning has its own balancing "
            "(its training setting balance), so leave it out"
        )
    folds = read_settings(settings.learner, settings.learner_settings).folds
    guarded = settings.disclosure == "guarded"
    refuse_folds(treatment, folds=folds > 0, guarded=guarded)
    # Of more dimensions than any setting asks for; nothing is fitted.
    anything = Problem(("a", "b"), 2**24, metadata=1)
    learner = make_learner(settings.learner, anything, settings.learner_settings)
    apart = tells_of_parts(learner)
    refuse_apart(treatment, apart=apart, guarded=guarded)
    return treatment


def refuse_folds(treatment: Treatment, *, folds: bool, guarded: bool) -> None:
    """Refuse repeated or made-up images where a guarded site counts what is predicted right.

    One image that is predicted right would count as often as it is repeated, beyond the minimum
    that is to hide it.

    Raises
    ------
    SettingsError
        Naming the treatment.
    """
    if guarded and folds and treatment.adds:
        raise SettingsError(
            f"imbalance {treatment.kind}: not with folds at guarded sites, whose counts of images "
            "predicted right would count one image several times; use undersample, or no folds"
        )


def refuse_apart(treatment: Treatment, *, apart: bool, guarded: bool) -> None:
    """Refuse repeated or made-up images where a guarded site answers over parts of its images.

    A tree's leaf, or what a bag draws, of as many images as the minimum could be one, repeated.

    Raises
    ------
    SettingsError
        Naming the treatment.
    """
    if guarded and apart and treatment.adds:
        raise SettingsError(
            f"imbalance {treatment.kind}: not with trees or bags at guarded sites, where a "
            "leaf or a draw could hold one image several times; use undersample, or "
            "class_weight=balanced alone"
        )
