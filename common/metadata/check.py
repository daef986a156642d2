"""Whether a run's metadata can be what they are, before any site does any work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.errors import SettingsError
from common.learners import make_learner, read_settings, tells_of_parts
from common.learners.base import Problem
from common.metadata.fusion import Fusion, read_fusion
from common.metadata.late import sees_blocks

if TYPE_CHECKING:
    from common.imbalance import Treatment
    from common.settings import RunSettings


def check_metadata(settings: RunSettings) -> Fusion:
    """Check a run's metadata against its other settings, and give how they are joined.

    Raises
    ------
    SettingsError
        If the way is unknown, or goes with fine-tuning, which sees images alone, or with what
        guarded sites do not answer; if it is late and no member sees a block, or the other way
        round.
    """
    fusion = read_fusion(settings.metadata)
    if settings.strategy and fusion.width:
        raise SettingsError(
            f"metadata {fusion.kind}: is for heads alone; a fine-tuned network sees images, so "
            "leave it out"
        )
    apart = sees_blocks(read_settings(settings.learner, settings.learner_settings))
    if apart != (fusion.kind == "late"):
        raise SettingsError(
            f"learner {settings.learner}: its members see blocks; give metadata=late"
            if apart
            else f"metadata late: learner {settings.learner} sees all columns at once; take stack, "
            "with members=ridge:block=images,ridge:block=metadata"
        )
    if settings.disclosure == "guarded":
        refuse_alone(fusion)
        from common.imbalance import read_treatment

        refuse_treated(fusion, read_treatment(settings.imbalance), guarded=True)
        anything = Problem(("a", "b"), 2**24, metadata=1)
        learner = make_learner(settings.learner, anything, settings.learner_settings)
        refuse_parts(fusion, apart=tells_of_parts(learner), guarded=True)
    return fusion


def refuse_treated(fusion: Fusion, treatment: Treatment, *, guarded: bool) -> None:
    """Refuse metadata of images that are left out or made up at a guarded site.

    What few images have is hidden among the site's images as they are; of those that a treatment
    leaves, one could be alone with its metadata.

    Raises
    ------
    SettingsError
        Naming both.
    """
    if guarded and fusion.width and treatment.kind != "none":
        raise SettingsError(
            f"metadata {fusion.kind} with imbalance {treatment.kind}: not at guarded sites, where "
            "one image could be alone with its metadata; use class_weight=balanced alone"
        )


def refuse_parts(fusion: Fusion, *, apart: bool, guarded: bool) -> None:
    """Refuse metadata where a guarded site answers over parts of its images, as leaves or bags.

    Raises
    ------
    SettingsError
        Naming the metadata.
    """
    if guarded and fusion.width and apart:
        raise SettingsError(
            f"metadata {fusion.kind}: not with trees or bags at guarded sites, where one image of "
            "a leaf or a bag could be alone with its metadata; use a linear head"
        )


def refuse_alone(fusion: Fusion) -> None:
    """Refuse metadata without images where a site is guarded.

    The model has one score for each combination of values, so that the histograms of scores of an
    evaluation would count the site's test images that have it.

    Raises
    ------
    SettingsError
        If images are left out.
    """
    if fusion.kind == "alone":
        raise SettingsError(
            "metadata alone: not at guarded sites, where scores without images would tell how many "
            "test images have which age, sex and localisation; it is for the lab"
        )


def refuse_of_lab(fusion: Fusion) -> None:
    """Refuse what is for the lab: columns of acquisition sites, and metadata alone.

    Raises
    ------
    SettingsError
        Naming it.
    """
    refuse_alone(fusion)
    if fusion.sites:
        raise SettingsError(
            f"metadata {fusion.text}: sites is for the lab; a model that knows the site by name is "
            "for no other site"
        )
