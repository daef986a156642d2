"""Trees that arrive from elsewhere: what is accepted leads every image to a leaf."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from flwr.app import RecordDict
from hypothesis import example, given
from hypothesis import strategies as st

from common import wire
from common.errors import ContributionError
from common.learners.base import Contribution
from common.learners.checked import check_arrays
from common.learners.tree_arrays import (
    LEAF,
    Trees,
    check_trees,
    concatenate,
    no_trees,
    tree_spec,
)

DIMENSION, OUTPUTS = 3, 2


def _stump(feature: int, threshold: float) -> Trees:
    return Trees(
        start=np.array([0, 3]),
        feature=np.array([feature, LEAF, LEAF], np.int32),
        threshold=np.array([threshold, 0.0, 0.0]),
        left=np.array([1, LEAF, LEAF], np.int32),
        right=np.array([2, LEAF, LEAF], np.int32),
        value=np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]),
    )


def _deep() -> Trees:
    """A chain: 0 -> (1, 4), 1 -> (2, 3)."""
    return Trees(
        start=np.array([0, 5]),
        feature=np.array([0, 2, LEAF, LEAF, LEAF], np.int32),
        threshold=np.array([0.5, -1.0, 0.0, 0.0, 0.0]),
        left=np.array([1, 2, LEAF, LEAF, LEAF], np.int32),
        right=np.array([4, 3, LEAF, LEAF, LEAF], np.int32),
        value=np.array([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]),
    )


def _both() -> Trees:
    return concatenate([_stump(1, 0.0), _deep()], OUTPUTS)


def test_images_go_left_up_to_the_threshold_and_right_above_it() -> None:
    x = np.array([[0.5, 0.0, -1.0], [0.4, 0.1, -0.9], [0.6, -3.0, 0.0]], np.float32)
    assert _both().leaves(x).tolist() == [[1, 3 + 2], [2, 3 + 3], [1, 3 + 4]]
    assert _both().leaves(np.zeros((0, 3), np.float32)).shape == (0, 2)


def test_a_leaf_alone_is_a_tree_and_no_trees_are_a_forest() -> None:
    whole = np.array([LEAF], np.int32)
    alone = Trees(np.array([0, 1]), whole, np.zeros(1), whole, whole, np.ones((1, 2)))
    check_trees(alone, DIMENSION, 1)
    assert alone.leaves(np.zeros((2, 3), np.float32)).tolist() == [[0], [0]]
    check_trees(no_trees(OUTPUTS), DIMENSION, 0)
    assert len(no_trees(OUTPUTS)) == 0


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("left", [0, LEAF, LEAF], "not below"),
        ("right", [1, LEAF, LEAF], "no way to it, or two"),
        ("right", [3, LEAF, LEAF], "not below"),
        ("left", [1, 2, LEAF], "leaf has a node below"),
        ("left", [LEAF, LEAF, LEAF], "not below"),
        ("feature", [DIMENSION, LEAF, LEAF], "beyond the 3"),
        ("feature", [0, 0, LEAF], "an inner node a value"),
        ("threshold", [0.0, 1.0, 0.0], "leaf has a threshold"),
        ("start", [0, 2], "does not cover"),
        ("start", [0, 0, 3], "has no node"),
        ("start", [0, 5, 3], "has no node"),
        ("start", [], "does not cover"),
        ("start", [1, 3], "does not cover"),
    ],
)
def test_what_is_no_tree_is_refused(name: str, values: list[float], message: str) -> None:
    trees = _stump(0, 0.0)
    check_trees(trees, DIMENSION, 3)
    wrong = replace(trees, **{name: np.array(values, getattr(trees, name).dtype)})
    with pytest.raises(ContributionError, match=message):
        check_trees(wrong, DIMENSION, 3)


def test_a_tree_of_more_nodes_than_its_images_can_have_is_refused() -> None:
    with pytest.raises(ContributionError, match="5 nodes in one, 4 at most"):
        check_trees(_both(), DIMENSION, 4)


@pytest.mark.parametrize("threshold", [np.nan, np.inf])
def test_a_threshold_that_is_no_number_is_refused(threshold: float) -> None:
    trees = _stump(0, threshold)
    with pytest.raises(ContributionError, match="threshold: holds NaN or infinity"):
        check_arrays(trees.arrays(), tree_spec(OUTPUTS, 1))


def _sent(trees: Trees) -> RecordDict:
    return wire.encode_contribution(Contribution(9, trees.arrays()))


def test_trees_survive_the_wire_and_a_billion_nodes_do_not() -> None:
    spec = tree_spec(OUTPUTS, 2)
    found = Trees.of(wire.decode_contribution(_sent(_both()), spec, 9).arrays)
    for name, array in _both().arrays().items():
        np.testing.assert_array_equal(getattr(found, name), array)
    content = _sent(_both())
    record: Any = content["arrays"]
    array = record["feature"]
    array.shape = (10**9,)
    with pytest.raises(ContributionError, match=r"feature: shape \(1000000000,\)"):
        wire.decode_contribution(content, spec, 9)
    with pytest.raises(ContributionError, match="feature: shape"):
        # As many nodes as are said, but of more trees than were asked for.
        wire.decode_contribution(_sent(_both()), {**spec, "feature": spec["start"]}, 9)


@st.composite
def _mutated(draw: st.DrawFn) -> Trees:
    """Change some numbers of good trees to anything that the specification lets through."""
    arrays = {name: array.copy() for name, array in _both().arrays().items()}
    for _ in range(draw(st.integers(1, 4))):
        name = draw(st.sampled_from(sorted(arrays)))
        flat = arrays[name].reshape(-1)
        at = draw(st.integers(0, len(flat) - 1))
        if arrays[name].dtype.kind == "f":
            flat[at] = draw(st.floats(allow_nan=False, allow_infinity=False))
        else:
            limits = np.iinfo(arrays[name].dtype)
            number = st.integers(-1, 9) | st.integers(int(limits.min), int(limits.max))
            flat[at] = draw(number)
    return Trees.of(arrays)


@given(trees=_mutated(), seed=st.integers(0, 99))
@example(trees=replace(_both(), left=np.array([2, -1, -1, 1, 2, -1, -1, -1], np.int32)), seed=0)
def test_any_trees_that_are_accepted_lead_every_image_to_a_leaf_of_their_own(
    trees: Trees, seed: int
) -> None:
    try:
        check_arrays(trees.arrays(), tree_spec(OUTPUTS, 2))
        check_trees(trees, DIMENSION, 9)
    except ContributionError:
        return
    x = np.random.default_rng(seed).normal(size=(20, DIMENSION)).astype(np.float32)
    leaves = trees.leaves(x)
    assert (trees.feature[leaves] == LEAF).all()
    assert (leaves >= trees.start[:-1]).all()
    assert (leaves < trees.start[1:]).all()
    # Every node can be reached, once, so that no walk is longer than its tree.
    inner = trees.feature != LEAF
    assert inner.sum() * 2 + len(trees) == len(trees.feature)
