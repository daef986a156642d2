"""What a strategy sends to sites, with each site's own order beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

from flwr.app import ArrayRecord, RecordDict
from flwr.serverapp import Grid

from common.learners.base import Arrays, ArraySpec
from common.wire.packed import pack_arrays
from common.wire.records import ARRAYS, CONFIG
from server.strategies.base import Aggregation

if TYPE_CHECKING:
    from flwr.app import ConfigRecord


class _Nodes:
    def __init__(self, nodes: Sequence[int]) -> None:
        self._nodes = nodes

    def get_node_ids(self) -> list[int]:
        return list(self._nodes)


def configured(
    strategy: Aggregation,
    number: int,
    weights: ArrayRecord,
    order: ConfigRecord,
    nodes: Sequence[int],
) -> dict[int, RecordDict]:
    """Give what a strategy sends to each node in its round of this number, from 1."""
    # Flower's strategies ask a grid for nothing but its nodes.
    grid = cast(Grid, _Nodes(nodes))
    messages = strategy.configure_train(number, weights, order, grid)
    return {message.metadata.dst_node_id: message.content for message in messages}


def addressed(
    content: RecordDict, spec: Mapping[str, ArraySpec], start: Arrays, order: ConfigRecord
) -> RecordDict:
    """Put a site's own order beside the arrays; the strategy's settings stay.

    Sites are sent what they expect: of SCAFFOLD's variates, those of parameters.
    """
    arrays = cast(ArrayRecord, content[ARRAYS])
    sent = pack_arrays({**{name: arrays[name].numpy() for name in spec}, **start})
    both = {**cast("ConfigRecord", content[CONFIG]), **order}
    return RecordDict({ARRAYS: sent, CONFIG: type(order)(both)})
