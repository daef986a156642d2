"""What all strategies share: every site is asked, replies weigh by share, state can be kept.

They are Flower's own strategies, or built on its FedAvg. A reply holds one record of arrays and
one of metrics: ``num-examples``, the share of all sites' training images that the site stands for
(the shares of all sites sum to 1), ``loss`` and ``steps``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord
from flwr.serverapp.strategy import FedAvg

if TYPE_CHECKING:
    from numpy.typing import NDArray

WEIGHT, LOSS, STEPS = "num-examples", "loss", "steps"

Named = dict[str, "NDArray[Any]"]
Groups = dict[str, Named]


class Aggregation(FedAvg):
    """FedAvg (McMahan et al., AISTATS 2017), and the base of the others.

    It comes before Flower's class among the bases of each strategy.

    Parameters
    ----------
    **settings : Any
        Of Flower's class.
    """

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401
        super().__init__(
            min_train_nodes=1,
            min_evaluate_nodes=1,
            min_available_nodes=1,
            weighted_by_key=WEIGHT,
            **settings,
        )
        # Evaluation goes by sums. Flower warns of this in its constructor, so it comes after.
        self.fraction_evaluate, self.min_evaluate_nodes = 0.0, 0

    def state(self) -> Groups:
        """Give what the strategy must remember between rounds: copies, by group and name."""
        return {}

    def restore(self, state: Mapping[str, Mapping[str, NDArray[Any]]]) -> None:
        """Take back what `state` gave, bit for bit."""

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Aggregate a round, into float32."""
        arrays, metrics = super().aggregate_train(server_round, replies)
        if arrays is not None:
            arrays = to_record(to_arrays(arrays), np.float32)
        return arrays, metrics


def to_arrays(record: ArrayRecord) -> Named:
    """Read a record of arrays."""
    return {name: array.numpy() for name, array in record.items()}


def to_record(arrays: Mapping[str, NDArray[Any]], dtype: type[np.floating[Any]]) -> ArrayRecord:
    """Write a record of arrays of one dtype."""
    return ArrayRecord({name: Array(np.asarray(a, dtype, order="C")) for name, a in arrays.items()})


def arrays_of(reply: Message) -> Named:
    """Read a reply's arrays."""
    return to_arrays(next(iter(reply.content.array_records.values())))


def metric_of(reply: Message, name: str) -> float:
    """Read one of a reply's metrics."""
    value = next(iter(reply.content.metric_records.values()))[name]
    if isinstance(value, list):
        raise TypeError(f"metric {name} is a list")
    return float(value)


def copied(arrays: Mapping[str, NDArray[Any]]) -> Named:
    """Copy arrays."""
    return {name: np.array(array) for name, array in arrays.items()}
