"""The cross-site matrix: trained at one site, tested at each; beside it, trained at all."""

from __future__ import annotations

from simulations.studies.base import Label, Pair, Plan, Study, Value
from simulations.studies.fit import BASELINE, Fit

ALL_SITES = "trained at all sites"
_TRAINED_AT = "trained at "


def fits(plan: Plan) -> list[Fit]:
    """List a federation of each site alone, and one of all."""
    found = []
    for seed in plan.split_seeds:
        for learner in plan.learners:
            found += [
                Fit(learner, ("federated",), _TRAINED_AT + site, seed, trains=(site,))
                for site in plan.sites
            ]
            models = ("federated", "pooled", "personalised")
            found.append(Fit(learner, models, ALL_SITES, seed))
        found.append(Fit(BASELINE, ("majority", "shortcut"), ALL_SITES, seed))
    return found


def label(fit: Fit, model: str) -> Label:
    """Call a federation of one site what it is: local."""
    about: dict[str, Value] = {"partition": fit.partition}
    if len(fit.trains) != 1:
        return Label(model, fit.condition, about)
    return Label("local", fit.condition, {**about, "trained_at": fit.trains[0]})


def pairs(plan: Plan) -> list[Pair]:
    """Compare the federation with each site's model, and with what looks at no image."""
    federated = ("federated", ALL_SITES)
    return [
        *(Pair(federated, ("local", _TRAINED_AT + site)) for site in plan.sites),
        Pair(federated, ("shortcut", ALL_SITES)),
        Pair(federated, ("majority", ALL_SITES)),
        Pair(("personalised", ALL_SITES), federated),
    ]


STUDY = Study(
    name="cross-site",
    question="How good is a model trained at one centre at each of the others?",
    learners=("ridge", "logistic pca=128"),
    by=("all", "site"),
    fits=fits,
    label=label,
    pairs=pairs,
)
