"""Heterogeneity: how much it matters how the images are spread over the sites."""

from __future__ import annotations

from common.errors import PartitionError
from common.partition import parse_partition
from simulations.studies.base import Label, Pair, Plan, Study, Value
from simulations.studies.fit import BASELINE, Fit

_LOOK = "look:"
_MODELS: tuple[str, ...] = ("federated", "pooled", "local", "personalised")
_BASELINES: tuple[str, ...] = ("majority", "shortcut")
_ALPHAS = (0.1, 0.3, 1.0, 10.0)


def default_partitions(sites: int) -> tuple[str, ...]:
    """List the partitions taken if the user names none, each over as many sites as acquired."""
    return (
        "site",
        f"iid:{sites}",
        *(f"dirichlet:{alpha:g}:{sites}" for alpha in _ALPHAS),
        f"quantity:{sites}",
        f"classes:2:{sites}",
        f"{_LOOK}{sites}",
    )


def partition_of(spec: str) -> tuple[str, bool]:
    """Give a condition's partition, and whether its sites change their images' looks.

    ``look:N`` is ``iid:N`` where each site's images look as if taken at an acquisition site; all
    others are those of `common.partition.make_partition`.

    Raises
    ------
    PartitionError
        If the text is none of these.
    """
    looks = spec.startswith(_LOOK)
    partition = f"iid:{spec.removeprefix(_LOOK)}" if looks else spec
    try:
        parse_partition(partition)
    except PartitionError as error:
        given = f"partition {spec!r}, that is " if looks else ""
        raise PartitionError(f"{given}{error}; or look:N") from error
    return partition, looks


def fits(plan: Plan) -> list[Fit]:
    """List a federation over each partition, for each learner and seed."""
    found = []
    for spec in plan.partitions or default_partitions(len(plan.sites)):
        partition, looks = partition_of(spec)
        for seed in plan.split_seeds:
            for learner in (*plan.learners, BASELINE):
                models = _BASELINES if learner == BASELINE else _MODELS
                found.append(
                    Fit(
                        learner,
                        models,
                        spec,
                        seed,
                        partition=partition,
                        seed=plan.seed,
                        looks=looks,
                    )
                )
    return found


def label(fit: Fit, model: str) -> Label:
    """Give the partition's kind and numbers for the axes."""
    kind, *values = fit.condition.split(":")
    about: dict[str, Value] = {"partition": fit.partition, "kind": kind}
    if kind == "dirichlet":
        about["alpha"] = float(values[0])
    return Label(model, fit.condition, about)


def pairs(plan: Plan) -> list[Pair]:
    """Compare the federation with a site alone, in each condition."""
    conditions = plan.partitions or default_partitions(len(plan.sites))
    return [
        *(Pair(("federated", spec), ("local", spec)) for spec in conditions),
        *(Pair(("personalised", spec), ("federated", spec)) for spec in conditions),
    ]


STUDY = Study(
    name="heterogeneity",
    question="How much does it matter how the images are spread over the sites?",
    learners=("ridge", "logistic pca=128"),
    by=("all", "client"),
    fits=fits,
    label=label,
    pairs=pairs,
)
