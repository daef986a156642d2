"""Leave one site out: learn from the others, test at the centre left out."""

from __future__ import annotations

from simulations.studies.base import Pair, Plan, Study, plain_label
from simulations.studies.fit import BASELINE, Fit

LEFT_OUT, TAKES_PART = "site left out", "site takes part"

_MODELS = ("federated", "pooled", "local", "personalised")
_BASELINES = ("majority", "shortcut")


def fits(plan: Plan) -> list[Fit]:
    """List a federation without each site, for each learner and seed, and one with all sites."""
    found = []
    for seed in plan.split_seeds:
        for learner in plan.learners:
            found += [_without(site, plan, learner, _MODELS, seed) for site in plan.sites]
            found.append(Fit(learner, ("federated",), TAKES_PART, seed))
        found += [_without(site, plan, BASELINE, _BASELINES, seed) for site in plan.sites]
        found.append(Fit(BASELINE, _BASELINES, TAKES_PART, seed))
    return found


def _without(site: str, plan: Plan, learner: str, models: tuple[str, ...], seed: int) -> Fit:
    others = tuple(name for name in plan.sites if name != site)
    return Fit(learner, models, LEFT_OUT, seed, trains=others, tests=(site,))


def pairs(plan: Plan) -> list[Pair]:  # noqa: ARG001
    """Compare with what the site could do alone, and with what it could have had."""
    left_out = ("federated", LEFT_OUT)
    return [
        Pair(left_out, ("shortcut", LEFT_OUT)),
        Pair(left_out, ("majority", LEFT_OUT)),
        Pair(left_out, ("local", LEFT_OUT)),
        Pair(left_out, ("federated", TAKES_PART)),
        Pair(("personalised", LEFT_OUT), left_out),
    ]


STUDY = Study(
    name="leave-one-site-out",
    question="Does a model travel to a centre that it was not trained on?",
    learners=("ridge", "logistic pca=128", "lda", "ncm", "svm pca=128"),
    by=("all", "site"),
    fits=fits,
    label=plain_label,
    pairs=pairs,
)
