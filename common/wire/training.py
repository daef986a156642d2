"""Orders and updates of fine-tuning as Flower records, and back."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from flwr.app import ConfigRecord, MetricRecord, RecordDict

from common.errors import ContributionError
from common.finetuning.order import Order, Update
from common.learners.base import ArraySpec
from common.split import Split
from common.wire.packed import pack_arrays, unpack_arrays
from common.wire.records import ARRAYS, METRICS, config_of, shown

FINETUNE = "train.finetune"
JUDGE = "evaluate.network"

_MOST = 2**53
_NUMBERS = ("round", "state-round", "best-round")
# What Flower's own strategies add to a round's configuration; sites know it from the run's.
_OF_FLOWER = {"server-round", "proximal-mu"}


def encode_order(order: Order) -> ConfigRecord:
    """Pack an order."""
    return ConfigRecord(
        {
            "run": order.run,
            "round": order.round,
            "state-round": order.state_round,
            "best-round": order.best_round,
            "part": order.part.value,
            "class-counts": list(order.class_counts),
        }
    )


def decode_order(content: RecordDict, classes: int) -> Order:
    """Unpack and check an order.

    Parameters
    ----------
    content : RecordDict
        What a coordinator sent.
    classes : int
        Classes of the site's cohort.

    Raises
    ------
    ContributionError
        If a field is missing, unknown or out of bounds.
    """
    config = dict(config_of(content))
    for name in _OF_FLOWER:
        config.pop(name, None)
    if config.keys() != {"run", "part", "class-counts", *_NUMBERS}:
        raise ContributionError(f"wrong fields: {shown(sorted(config))}")
    run, part, counts = config["run"], config["part"], config["class-counts"]
    # It names a folder.
    if not isinstance(run, str) or not re.fullmatch(r"[0-9a-f]{32}", run):
        raise ContributionError("run: not 32 hexadecimal digits")
    if part not in {split.value for split in Split}:
        raise ContributionError(f"part: {shown(part)} is no part of the split")
    if not isinstance(counts, list) or len(counts) != classes:
        raise ContributionError(f"class-counts: not {classes} numbers")
    numbers = [config[name] for name in _NUMBERS]
    if not all(type(number) is int and 0 <= number < _MOST for number in (*counts, *numbers)):
        raise ContributionError("a number is not a whole one")
    at, before, best = (int(str(number)) for number in numbers)
    if max(before, best) > at:
        raise ContributionError("state-round, best-round: later than the round")
    whole = tuple(int(str(count)) for count in counts)
    return Order(run, at, before, best, Split(str(part)), whole)


def encode_update(update: Update) -> RecordDict:
    """Pack an update."""
    metrics = MetricRecord({"steps": update.steps, "loss": update.loss})
    return RecordDict({ARRAYS: pack_arrays(update.arrays), METRICS: metrics})


def decode_update(content: RecordDict, spec: Mapping[str, ArraySpec]) -> Update:
    """Unpack and check an update.

    Raises
    ------
    ContributionError
        If arrays, steps or loss are not what they must be.
    """
    metrics = content.get(METRICS)
    if not isinstance(metrics, MetricRecord) or metrics.keys() != {"steps", "loss"}:
        raise ContributionError("the record of steps and loss is missing, or holds something else")
    steps, loss = metrics["steps"], metrics["loss"]
    if type(steps) is not int or not 0 < steps < _MOST:
        raise ContributionError(f"steps: {shown(steps)} is not a whole number above 0")
    if type(loss) is not float or not math.isfinite(loss) or loss < 0.0:
        raise ContributionError(f"loss: {shown(loss)} is not a finite number of 0 or more")
    return Update(unpack_arrays(content, spec, frozenset({METRICS})), steps, loss)
