"""Fine-tuning by strategy, with every site taking part, or one left out."""

from __future__ import annotations

from simulations.studies.base import Pair, Plan, Study, plain_label
from simulations.studies.fit import BASELINE, Fit

TUNED, FROZEN, POOLED, LOCAL = "fine-tuned", "frozen head", "pooled network", "local network"
ALL_SITES, LEFT_OUT = "all sites", "site left out"
_STRATEGIES = ("fedavg", "fedavgm", "fedprox")


def fits(plan: Plan) -> list[Fit]:
    """List a run of each strategy, and what is compared with all of them."""
    return [fit for seed in plan.split_seeds for fit in _fits(plan, seed, (), (), ALL_SITES)]


def fits_without(plan: Plan) -> list[Fit]:
    """List the same without each site in turn, tested there."""
    return [
        fit
        for seed in plan.split_seeds
        for site in plan.sites
        for fit in _fits(
            plan, seed, tuple(name for name in plan.sites if name != site), (site,), LEFT_OUT
        )
    ]


def _fits(
    plan: Plan, split_seed: int, trains: tuple[str, ...], tests: tuple[str, ...], condition: str
) -> list[Fit]:
    def fit(learner: str, models: tuple[str, ...]) -> Fit:
        return Fit(
            learner,
            models,
            condition,
            split_seed,
            trains=trains,
            tests=tests,
            # Repetitions differ in what is trained on and in how.
            seed=plan.seed + split_seed,
            training=plan.training,
        )

    alone = [fit(BASELINE, (LOCAL,))] if plan.local and not tests else []
    return [
        fit(BASELINE, (POOLED,)),
        *alone,
        *(fit(strategy, (TUNED, FROZEN)) for strategy in plan.learners),
    ]


def _pairs(condition: str, others: tuple[str, ...]) -> list[Pair]:
    return [Pair((TUNED, condition), (other, condition)) for other in others]


def pairs(plan: Plan) -> list[Pair]:
    """Compare with one place for all images, with each site alone, and with frozen features."""
    return _pairs(ALL_SITES, (POOLED, *((LOCAL,) if plan.local else ()), FROZEN))


def pairs_without(plan: Plan) -> list[Pair]:  # noqa: ARG001
    """Compare the same at the site that was left out, which no network of its own knows."""
    return _pairs(LEFT_OUT, (POOLED, FROZEN))


STUDY = Study(
    name="fine-tuning",
    question="Is a network that the sites fine-tune together as good as one from pooled images?",
    learners=_STRATEGIES,
    by=("all", "site"),
    fits=fits,
    label=plain_label,
    pairs=pairs,
    tunes=True,
)
STUDY_WITHOUT = Study(
    name="fine-tuning-left-out",
    question="Does a fine-tuned network travel to a centre that it was not trained on?",
    learners=_STRATEGIES,
    by=("all", "site"),
    fits=fits_without,
    label=plain_label,
    pairs=pairs_without,
    tunes=True,
)
