"""What would leave the building in any run that a site allows; runs with the same sums together."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from client.deployment.bounds import check_learner
from client.deployment.leaving import Statistic, statistics
from client.deployment.settings import Bounds
from common.backbones import get_backbone
from common.errors import BoundsError, SettingsError
from common.evaluation import evaluation_spec
from common.finetuning.strategies import strategy_kind
from common.learners.base import ArraySpec
from common.split import Split

# Settings of learners by which more leaves than by default.
_MORE = {
    "solver=newton": "solver=newton",
    "folds=5, 12 values": "folds=5 search=grid:0.01:100:12",
    "ledger=true": "ledger=true",
    "pca=8": "pca=8",
}
# The number of an ensemble's member, in the names of its stages and arrays.
_MEMBER = re.compile(r"(?:(?<=:)|^)\d+:|:\d+$")


@dataclass(frozen=True)
class Leaving:
    """Statistics that the same runs ask for.

    Attributes
    ----------
    names : tuple of str
        The learners or strategies.
    setting : str
        With which of their settings; empty for the default ones.
    statistics : tuple of Statistic
        What leaves.
    """

    names: tuple[str, ...]
    setting: str
    statistics: tuple[Statistic, ...]


def of_learners(
    learners: Iterable[str],
    backbone: str,
    classes: tuple[str, ...],
    bounds: Bounds,
    *,
    malignant: bool,
) -> tuple[Leaving, ...]:
    """List what leaves by default, then what some settings add to it or make larger.

    Parameters
    ----------
    learners : iterable of str
        Their keys.
    backbone : str
        Its key.
    classes : tuple of str
        Class names of the cohort.
    bounds : Bounds
        What the site allows.
    malignant : bool
        Whether the cohort tells which classes are malignant.

    Raises
    ------
    SettingsError
        If there is no such learner.
    """
    plain, more = [], []
    for learner in learners:
        found = _of_members(statistics(learner, backbone, classes, bounds, malignant=malignant))
        plain += [(learner, "", one) for one in found]
        most = {(one.when, one.name): one.bytes for one in found}
        for label, settings in _MORE.items():
            try:
                check_learner(bounds, learner, settings)
                asked = statistics(
                    learner, backbone, classes, bounds, malignant=malignant, settings=settings
                )
            except (SettingsError, BoundsError):
                # This learner has no such setting, or the site refuses it.
                continue
            for one in asked:
                if one.bytes > most.get((one.when, one.name), -1):
                    most[one.when, one.name] = one.bytes
                    more.append((learner, label, one))
    return tuple(_together([*plain, *more]))


def _of_members(found: Iterable[Statistic]) -> list[Statistic]:
    """Put the same statistics of an ensemble's members into one line, with their bytes in all."""
    counted = Counter(
        replace(one, when=_MEMBER.sub("", one.when), name=_MEMBER.sub("", one.name))
        for one in found
    )
    return [
        one
        if members == 1
        else replace(one, name=f"{one.name}, {members} times", bytes=members * one.bytes)
        for one, members in counted.items()
    ]


def of_strategies(
    backbone: str, classes: tuple[str, ...], bounds: Bounds, *, malignant: bool
) -> tuple[Leaving, ...]:
    """List what leaves in each round of fine-tuning, beside the sums of the exact head's rounds.

    Raises
    ------
    SettingsError
        If the backbone cannot be taken apart, or there is no such strategy.
    WeightsError
        If its weights are missing.
    """
    if not bounds.strategies:
        return ()
    # A site that fine-tunes nothing needs no torch to say so.
    from common.finetuning.network import build_network
    from common.finetuning.travel import Travel

    found, network = get_backbone(backbone), build_network(get_backbone(backbone), len(classes))
    judged = evaluation_spec(len(classes), malignant=malignant, draws=0)
    plain, more = [], []
    for name in bounds.strategies:
        norm = strategy_kind(name).norm
        travel = Travel(network, found.stages, norm or "frozen", name)
        plain += [
            (name, "", _whole("weights", travel.weights, Split.TRAIN, bounds.minimum_count)),
            (
                name,
                "",
                _whole("sums as of test", judged, Split.VALIDATION, bounds.minimum_count),
            ),
        ]
        if travel.companions:
            beside = ", ".join(strategy_kind(name).companions)
            plain.append(
                (name, "", _whole(beside, travel.companions, Split.TRAIN, bounds.minimum_count))
            )
        if not norm:
            wider = Travel(network, found.stages, "aggregated", name)
            added = _whole("weights", wider.weights, Split.TRAIN, bounds.minimum_count)
            more.append((name, "norm=aggregated", added))
    return tuple(_together([*plain, *more]))


def _whole(name: str, spec: Mapping[str, ArraySpec], part: Split, minimum_count: int) -> Statistic:
    """Put arrays together: a network has hundreds."""
    held = [one for one in spec.values() if one.elements]
    numbers = [one.elements for one in held]
    sizes = [
        number * np.dtype(one.dtype).itemsize for one, number in zip(held, numbers, strict=True)
    ]
    about, dtype = f"{len(held)} {name}", held[0].dtype
    return Statistic(
        "finetune", part.value, about, (sum(numbers),), dtype, sum(sizes), minimum_count
    )


def _together(found: Iterable[tuple[str, str, Statistic]]) -> Iterator[Leaving]:
    names: dict[tuple[str, Statistic], list[str]] = {}
    for name, setting, one in found:
        names.setdefault((setting, one), []).append(name)
    groups: dict[tuple[str, tuple[str, ...]], list[Statistic]] = {}
    for (setting, one), who in names.items():
        groups.setdefault((setting, tuple(who)), []).append(one)
    for (setting, group), members in groups.items():
        yield Leaving(group, setting, tuple(members))
