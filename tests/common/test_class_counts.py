"""Class counts and what is weighed by them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from common.learners.base import Problem, SiteData
from common.learners.checked import check_arrays
from common.learners.class_counts import ClassCounts, balanced_weights

COUNTS = ClassCounts(Problem(("a", "b", "c", "d"), 1))


def _data(y: list[int]) -> SiteData:
    return SiteData(np.zeros((len(y), 1), dtype=np.float32), np.array(y, dtype=np.intp))


@pytest.mark.parametrize(
    ("y", "expected"),
    [([0, 2, 2, 0, 2], [2, 0, 3, 0]), ([3], [0, 0, 0, 1]), ([], [0, 0, 0, 0])],
)
def test_each_image_counts_once_in_its_class(y: list[int], expected: list[int]) -> None:
    sums = COUNTS.sums(_data(y))
    assert sums["class_count"].tolist() == expected
    check_arrays(sums, COUNTS.spec(), len(y))


@settings(deadline=None, max_examples=50)
@given(y=st.lists(st.integers(0, 3), min_size=1, max_size=60))
def test_balanced_weights_are_scikit_learns(y: list[int]) -> None:
    weights = balanced_weights(COUNTS.sums(_data(y))["class_count"])
    present = np.unique(y)
    expected = np.zeros(4)
    expected[present] = compute_class_weight("balanced", classes=present, y=np.array(y))
    np.testing.assert_allclose(weights, expected, rtol=1e-15)


def test_a_class_without_images_weighs_nothing() -> None:
    # 5 images, 2 classes: 5 / (2 * 4) and 5 / (2 * 1).
    assert balanced_weights(np.array([4, 0, 1])).tolist() == [0.625, 0.0, 2.5]
