"""The partitioners of flwr-datasets over rows in memory; imported only when a function is called.

Each function gives the rows of every part as positions, in the order of the rows: who wants a
draw shuffles the rows beforehand. Nothing is read from the network or written to a cache.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import PartitionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Parts = list[NDArray[np.intp]]


def natural_parts(value: NDArray[np.str_]) -> tuple[tuple[str, ...], Parts]:
    """Give a part for each value of a column (n,), and the values, sorted."""
    partitioners, _ = _load()
    # NaturalIdPartitioner is this with a progress bar, whose thread stays.
    partitioner = partitioners.GroupedNaturalIdPartitioner("value", 1, sort_unique_ids=True)
    parts = _parts(partitioner, value=value)
    (names,) = zip(*partitioner.partition_id_to_natural_ids.values(), strict=True)
    return names, parts


def equal_parts(rows: int, parts: int) -> Parts:
    """Cut rows into parts whose sizes differ by one at most."""
    partitioners, _ = _load()
    return _parts(partitioners.IidPartitioner(parts), row=np.arange(rows))


def falling_parts(rows: int, parts: int, ratio: float) -> Parts:
    """Cut rows into parts whose sizes fall exponentially; the largest is first.

    Parameters
    ----------
    rows, parts : int
        Their numbers.
    ratio : float
        Size of the first part over that of the last, before both are made whole.

    Raises
    ------
    PartitionError
        If the rows are too few for the last part to hold one.
    """
    partitioners, _ = _load()
    steps = max(parts - 1, 1)
    partitioner = partitioners.IdToSizeFncPartitioner(
        parts, lambda number: ratio ** (number / steps)
    )
    try:
        rising = _parts(partitioner, row=np.arange(rows))
    except ValueError as error:
        raise PartitionError(
            f"partition quantity:{parts}: {rows} lesions leave the last site none, since the first "
            f"has {ratio:g} times as many; give fewer sites"
        ) from error
    # Theirs rise, since rounding down leaves rows over, and the last part takes them.
    return rising[::-1]


def dirichlet_parts(label: NDArray[np.intp], parts: int, alpha: float, seed: int) -> Parts:
    """Share each label's rows (n,) by a draw from a symmetric Dirichlet; parts may be empty."""
    partitioners, _ = _load()
    partitioner = partitioners.DirichletPartitioner(
        parts,
        "label",
        alpha,
        min_partition_size=0,
        self_balancing=False,
        shuffle=False,
        seed=seed,
    )
    return _parts(partitioner, label=label)


def class_parts(label: NDArray[np.intp], parts: int, classes: int) -> Parts:
    """Share labels' rows (n,) over parts that hold `classes` labels each.

    The labels, ascending, are dealt round and round. A part of theirs holds one label here, and
    one of ours joins `classes` of them in succession: with several labels a part, no mode of
    theirs sees to it that each label is held, and the rows of the others would be dropped.
    """
    partitioners, _ = _load()
    partitioner = partitioners.PathologicalPartitioner(
        parts * classes, "label", 1, class_assignment_mode="deterministic", shuffle=False
    )
    single = _parts(partitioner, label=label)
    return [np.concatenate(single[at : at + classes]) for at in range(0, len(single), classes)]


def _parts(partitioner: Any, **column: NDArray[Any]) -> Parts:  # noqa: ANN401
    _, dataset = _load()
    (values,) = column.values()
    partitioner.dataset = dataset.from_dict({**column, "at": np.arange(len(values))})
    parts = (partitioner.load_partition(index) for index in range(partitioner.num_partitions))
    return [np.array(part[:]["at"], dtype=np.intp) for part in parts]


def _load() -> tuple[Any, Any]:
    """Import the partitioners and the class of the tables that they read.

    Raises
    ------
    PartitionError
        If they are not installed.
    """
    state = random.getstate()
    try:
        from datasets import Dataset
        from flwr_datasets import partitioner
    except ModuleNotFoundError as error:
        raise PartitionError(
            f"partition: {error.name} is not installed; pip install 'dermafed[simulation]'"
        ) from error
    finally:
        # A package below them draws from the global generator as it is imported.
        random.setstate(state)
    return partitioner, Dataset
