"""Decision trees as arrays: what travels between sites and coordinator, and what predicts.

Trees of scikit-learn and of XGBoost are put into the same arrays, so that they are checked,
merged, saved and applied in one place, and nothing of another library is ever unpickled or
parsed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import ContributionError
from common.learners.base import Arrays, ArraySpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

# More than any tree over the images of one site has.
MOST_NODES = 2**21
LEAF = -1
_ROWS = 1024


@dataclass(frozen=True, eq=False)
class Trees:
    """Some trees, one after another.

    Attributes
    ----------
    start : ndarray of int64, shape (trees + 1,)
        First node of each tree, and the number of nodes last.
    feature : ndarray of int32, shape (nodes,)
        What a node asks for; `LEAF` at a leaf.
    threshold : ndarray of float64, shape (nodes,)
        An image whose feature, as float32, is not above it goes left; 0 at a leaf.
    left, right : ndarray of int32, shape (nodes,)
        The next node, counted from the tree's first; `LEAF` at a leaf. A node's number is lower
        than those of the nodes below it.
    value : ndarray of float64, shape (nodes, outputs)
        What a leaf says; 0 elsewhere.
    """

    start: NDArray[np.int64]
    feature: NDArray[np.int32]
    threshold: NDArray[np.float64]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    value: NDArray[np.float64]

    def __len__(self) -> int:
        """Count the trees."""
        return len(self.start) - 1

    @classmethod
    def of(cls, arrays: Arrays) -> Trees:
        """Take the trees out of arrays that `tree_spec` describes."""
        return cls(**{name: arrays[name] for name in _NAMES})

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Give the arrays by name."""
        return {name: getattr(self, name) for name in _NAMES}

    def leaves(self, x: NDArray[np.float32]) -> NDArray[np.int64]:
        """Tell which leaf each image comes to in each tree.

        Parameters
        ----------
        x : ndarray of float32, shape (n, dimension)
            Features.

        Returns
        -------
        ndarray of int64, shape (n, trees)
            Nodes, counted from the first tree's first.
        """
        first = self.start[:-1]
        found = np.empty((len(x), len(self)), dtype=np.int64)
        for begin in range(0, len(x), _ROWS):
            rows = x[begin : begin + _ROWS]
            node = np.broadcast_to(first, (len(rows), len(first))).copy()
            row, tree = np.nonzero(self.feature[node] != LEAF)
            while len(row):
                at = node[row, tree]
                goes_left = rows[row, self.feature[at]] <= self.threshold[at]
                at = first[tree] + np.where(goes_left, self.left[at], self.right[at])
                node[row, tree] = at
                inner = self.feature[at] != LEAF
                row, tree = row[inner], tree[inner]
            found[begin : begin + _ROWS] = node
        return found


_NAMES = ("start", "feature", "threshold", "left", "right", "value")


def no_trees(outputs: int) -> Trees:
    """Make trees of which there are none."""
    whole, small = np.zeros(0, dtype=np.int32), np.zeros(0)
    return Trees(np.zeros(1, dtype=np.int64), whole, small, whole, whole, np.zeros((0, outputs)))


def concatenate(parts: Iterable[Trees], outputs: int) -> Trees:
    """Put trees one after another, in the order given."""
    held = [no_trees(outputs), *parts]
    ends = np.cumsum([part.start[-1] for part in held])
    start = [part.start[1:] + end - part.start[-1] for part, end in zip(held, ends, strict=True)]
    rest = {name: np.concatenate([getattr(part, name) for part in held]) for name in _NAMES[1:]}
    return Trees(np.concatenate([[0], *start]).astype(np.int64), **rest)


def tree_spec(outputs: int, trees: int) -> Mapping[str, ArraySpec]:
    """Describe the arrays of at most so many trees; `check_trees` checks what ties them."""
    nodes = trees * MOST_NODES
    return {
        "start": ArraySpec((None,), "int64", minimum=0, most=trees + 1),
        "feature": ArraySpec((None,), "int32", minimum=LEAF, most=nodes),
        "threshold": ArraySpec((None,), most=nodes),
        "left": ArraySpec((None,), "int32", minimum=LEAF, most=nodes),
        "right": ArraySpec((None,), "int32", minimum=LEAF, most=nodes),
        "value": ArraySpec((None, outputs), most=nodes * outputs),
    }


def check_trees(trees: Trees, dimension: int, most_nodes: int) -> None:
    """Refuse what is no forest: then no image can come to a wrong node, or to none.

    Parameters
    ----------
    trees : Trees
        Made of arrays that were found to be of `tree_spec`.
    dimension : int
        Length of a feature vector.
    most_nodes : int
        Nodes that one tree may have.

    Raises
    ------
    ContributionError
        Saying what is wrong.
    """
    start, feature = trees.start, trees.feature
    nodes = len(feature)
    if any(len(getattr(trees, name)) != nodes for name in _NAMES[2:]):
        raise ContributionError("trees: the arrays are not of one length")
    if not len(start) or start[0] != 0 or start[-1] != nodes:
        raise ContributionError("trees: start does not cover the nodes")
    # Between 0 and the number of nodes, so that the differences cannot wrap around.
    if (start > nodes).any() or not (sizes := np.diff(start)).all() or (sizes < 0).any():
        raise ContributionError("trees: a tree has no node")
    if len(sizes) and sizes.max() > most_nodes:
        raise ContributionError(f"trees: {sizes.max()} nodes in one, {most_nodes} at most")
    leaf = feature == LEAF
    if (feature >= dimension).any():
        raise ContributionError(f"trees: a feature beyond the {dimension} that there are")
    if trees.threshold[leaf].any() or trees.value[~leaf].any():
        raise ContributionError("trees: a leaf has a threshold, or an inner node a value")
    _check_children(trees, leaf, sizes)


def _check_children(trees: Trees, leaf: NDArray[np.bool_], sizes: NDArray[np.int64]) -> None:
    """Refuse cycles, strays and nodes with two parents.

    With each node but the root below exactly one node of a lower number, all hang together.
    """
    first, size = np.repeat(trees.start[:-1], sizes), np.repeat(sizes, sizes)
    own = np.arange(len(leaf)) - first
    parents = np.zeros(len(leaf), dtype=np.int64)
    for child in (trees.left, trees.right):
        if (child[leaf] != LEAF).any():
            raise ContributionError("trees: a leaf has a node below it")
        below = child[~leaf].astype(np.int64)
        if (below <= own[~leaf]).any() or (below >= size[~leaf]).any():
            raise ContributionError("trees: a node is not below the one that leads to it")
        np.add.at(parents, first[~leaf] + below, 1)
    if (parents != (own > 0)).any():
        raise ContributionError("trees: a node has no way to it, or two")
