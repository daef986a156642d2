"""The learning curve: what more images a site, and more sites, are worth."""

from __future__ import annotations

from itertools import combinations

from simulations.studies.base import Label, Pair, Plan, Study, Value
from simulations.studies.fit import BASELINE, Fit

DEFAULT_IMAGES = (50, 100, 200, 400, 800)
# Share of a site's images that are for training, or a little less.
_LEARNED = 0.6
_ALL = "all images of all sites"
# With more sites than this, the sets of each size are those that begin at each site in turn.
_MOST_COMBINED = 5


def fits(plan: Plan) -> list[Fit]:
    """List federations of limited sites, and of every number of sites."""
    found = []
    limits = _limits(plan)
    models = ("federated", "pooled", "local", "personalised")
    for seed in plan.split_seeds:
        for learner in plan.learners:
            for limit in limits:
                name = f"{limit} images a site"
                found.append(
                    Fit(learner, models, name, seed, seed=plan.seed, images_per_site=limit)
                )
            found.append(Fit(learner, models, _ALL, seed, seed=plan.seed))
            for number in range(1, len(plan.sites)):
                found += [
                    Fit(learner, ("federated",), _set_name(names), seed, trains=names)
                    for names in _sets(plan.sites, number)
                ]
        found.append(Fit(BASELINE, ("majority", "shortcut"), _ALL, seed, seed=plan.seed))
    return found


def _limits(plan: Plan) -> tuple[int, ...]:
    """List the limits; of those that nobody asked for, such as limit some site."""
    return plan.images_per_site or tuple(n for n in DEFAULT_IMAGES if n < plan.largest * _LEARNED)


def _sets(sites: tuple[str, ...], number: int) -> list[tuple[str, ...]]:
    if len(sites) <= _MOST_COMBINED:
        return list(combinations(sites, number))
    turned = sites + sites
    return [tuple(sorted(turned[start : start + number])) for start in range(len(sites))]


def _set_name(names: tuple[str, ...]) -> str:
    return f"{len(names)} site{'s' if len(names) > 1 else ''}: {', '.join(names)}"


def label(fit: Fit, model: str) -> Label:
    """Give the numbers for the axes."""
    about: dict[str, Value] = {"partition": fit.partition}
    if fit.trains:
        about |= {"sites": len(fit.trains), "trained_at": ", ".join(fit.trains)}
    else:
        about["images_per_site"] = fit.images_per_site
    return Label(model, fit.condition, about)


def pairs(plan: Plan) -> list[Pair]:
    """Compare the federation with a site alone at each number of images."""
    limits = _limits(plan)
    conditions = [*(f"{limit} images a site" for limit in limits), _ALL]
    return [Pair(("federated", one), ("local", one)) for one in conditions]


STUDY = Study(
    name="learning-curve",
    question="What are more images a site, and more sites, worth?",
    learners=("ridge", "logistic pca=128"),
    by=("all", "site"),
    fits=fits,
    label=label,
    pairs=pairs,
)
