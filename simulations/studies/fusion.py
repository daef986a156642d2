"""Fusion: what age, sex and localisation add to images, and how much of it the site would add."""

from __future__ import annotations

from common.metadata import Fusion, read_fusion
from simulations.studies.base import Label, Pair, Plan, Study, Value
from simulations.studies.fit import BASELINE, Fit
from simulations.studies.fusion_gain import Names, gains

IMAGES = "images alone"
METADATA = "metadata alone"
SITE = "site alone"
EARLY, LATE = "images and metadata, early", "images and metadata, late"
IMAGES_SITE, EARLY_SITE = "images and site", "images, metadata and site"


def conditions(plan: Plan) -> dict[str, str]:
    """Give what stands beside the image features, or instead of them, by condition.

    The conditions with the site are diagnostics: such a model is for no other site.
    """
    early, sites = read_fusion(plan.metadata or "early"), len(plan.sites)

    def written(**changes: Value) -> str:
        return Fusion(**{**early.model_dump(exclude_unset=True), **changes}).text

    columns = early.columns
    return {
        EARLY: early.text,
        IMAGES: "",
        LATE: Fusion(kind="late", columns=columns).text,
        METADATA: Fusion(kind="alone", columns=columns).text,
        SITE: Fusion(kind="alone", columns="none", sites=sites).text,
        IMAGES_SITE: written(columns="none", sites=sites),
        EARLY_SITE: written(sites=sites),
    }


def fits(plan: Plan) -> list[Fit]:
    """List a federation of all sites for each condition, learner and seed."""
    found = []
    for seed in plan.split_seeds:
        for learner in plan.learners:
            for condition, metadata in conditions(plan).items():
                models = ("federated", "pooled")
                found.append(Fit(learner, models, condition, seed, metadata=metadata))
        found.append(Fit(BASELINE, ("majority", "shortcut"), EARLY, seed))
    return found


def label(fit: Fit, model: str) -> Label:
    """Name model and condition, and give the metadata as a value."""
    return Label(model, fit.condition, {"metadata": fit.metadata})


def pairs(plan: Plan) -> list[Pair]:  # noqa: ARG001
    """Compare each condition with images alone, and what metadata add where the site is known."""
    images = ("federated", IMAGES)
    return [
        *(Pair(("federated", one), images) for one in (EARLY, LATE, IMAGES_SITE, METADATA)),
        Pair(("federated", EARLY_SITE), ("federated", IMAGES_SITE)),
        Pair(("federated", EARLY), ("federated", METADATA)),
        Pair(("federated", METADATA), ("federated", SITE)),
        Pair(("federated", EARLY), ("shortcut", EARLY)),
    ]


NAMES = Names(IMAGES, EARLY, IMAGES_SITE, EARLY_SITE)

STUDY = Study(
    name="fusion",
    question="What do age, sex and localisation add to images, and how much of it is the site?",
    learners=("ridge", "logistic pca=128"),
    by=("all", "site"),
    fits=fits,
    label=label,
    pairs=pairs,
    fuses=True,
    more={"gains": lambda plan, found: gains(plan.learners, found, NAMES)},
)
