"""Fairness: for whom does the model fail, by site, person, localisation, label and skin tone."""

from __future__ import annotations

from simulations.studies.base import Pair, Plan, Study, plain_label
from simulations.studies.fit import BASELINE, Fit

ALL_SITES = "all sites"


def fits(plan: Plan) -> list[Fit]:
    """List a federation of all sites for each learner and seed."""
    found = []
    for seed in plan.split_seeds:
        models = ("federated", "pooled", "local", "personalised")
        found += [Fit(learner, models, ALL_SITES, seed) for learner in plan.learners]
        found.append(Fit(BASELINE, ("majority", "shortcut"), ALL_SITES, seed))
    return found


def pairs(plan: Plan) -> list[Pair]:  # noqa: ARG001
    """Compare the federation with every other column."""
    federated = ("federated", ALL_SITES)
    others = ("local", "shortcut", "majority")
    return [
        *(Pair(federated, (model, ALL_SITES)) for model in others),
        Pair(("personalised", ALL_SITES), federated),
    ]


STUDY = Study(
    name="fairness",
    question="For whom does the model fail?",
    learners=("ridge", "logistic pca=128"),
    by=("all", "site", "sex", "age_band", "localisation", "label_source", "skin_tone"),
    fits=fits,
    label=plain_label,
    pairs=pairs,
)
