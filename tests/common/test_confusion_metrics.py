"""Metrics of a confusion matrix, against scikit-learn."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    recall_score,
)

from common.metrics.confusion import accuracy, binary_rates, class_metrics
from common.metrics.divide import divide
from tests.common.metric_cases import Case, make_case

K = 4


def _confusion(case: Case) -> NDArray[np.float64]:
    """Weight a row at a time with scikit-learn."""
    rows = [
        confusion_matrix(case.y, case.predicted, labels=range(K), sample_weight=row)
        for row in case.weights.astype(np.float64)
    ]
    return np.stack(rows)


@pytest.mark.parametrize("without", [(), (0,), (1, 3)])
def test_each_resample_has_scikit_learns_weighted_metrics(without: tuple[int, ...]) -> None:
    case = make_case(1, without=without)
    present = [c for c in range(K) if c not in without]
    confusion = _confusion(case)
    found = class_metrics(confusion)
    everywhere = accuracy(confusion)
    assert len(case.weights) > 1
    for row, weight in enumerate(case.weights):
        truth = {"y_true": case.y, "y_pred": case.predicted, "sample_weight": weight}
        options = {**truth, "labels": present, "average": None, "zero_division": np.nan}
        np.testing.assert_allclose(found["sensitivity"][row, present], recall_score(**options))
        np.testing.assert_allclose(found["f1"][row, present], f1_score(**options))
        with warnings.catch_warnings():
            # It leaves absent classes out and says so.
            warnings.simplefilter("ignore", UserWarning)
            expected = balanced_accuracy_score(**truth)
        assert found["sensitivity"][row, present].mean() == pytest.approx(expected)
        assert everywhere[row] == pytest.approx(accuracy_score(**truth))
        for c in present:
            # Specificity is the sensitivity of "any other class".
            rest = recall_score(case.y != c, case.predicted != c, sample_weight=weight)
            assert found["specificity"][row, c] == pytest.approx(rest)


def test_a_class_without_images_has_no_sensitivity_or_f1_but_a_specificity() -> None:
    # Two images of class 0, one of them called class 1; none is of class 1 or 2.
    found = class_metrics(np.array([[[1.0, 1, 0], [0, 0, 0], [0, 0, 0]]]))
    np.testing.assert_array_equal(found["sensitivity"], [[0.5, np.nan, np.nan]])
    np.testing.assert_array_equal(found["f1"], [[2 / 3, np.nan, np.nan]])
    # All images are of class 0: none is there that could wrongly be called so.
    np.testing.assert_array_equal(found["specificity"], [[np.nan, 0.5, 1.0]])


def test_a_class_that_vanishes_in_one_resample_has_no_value_there_and_only_there() -> None:
    data, gone = [[3.0, 1], [1, 1]], [[6.0, 2], [0, 0]]
    found = class_metrics(np.array([data, gone]))
    np.testing.assert_array_equal(found["sensitivity"], [[0.75, 0.5], [0.75, np.nan]])
    np.testing.assert_array_equal(np.isnan(found["f1"]), [[False, False], [False, True]])


def test_a_class_never_called_and_never_right_has_f1_zero() -> None:
    # scikit-learn: 0 of (2 images + 0 calls).
    assert class_metrics(np.array([[[0.0, 2], [0, 5]]]))["f1"][0, 0] == 0.0
    assert f1_score([0, 0, 1], [1, 1, 1], pos_label=0) == 0.0


def test_without_images_nothing_has_a_value() -> None:
    nothing = np.zeros((2, 3, 3))
    assert np.isnan(accuracy(nothing)).all()
    for values in class_metrics(nothing).values():
        assert values.shape == (2, 3)
        assert np.isnan(values).all()
    for rates in binary_rates(nothing, np.array([True, False, False])):
        assert np.isnan(rates).all()


def test_malignant_rates_are_those_of_any_malignant_class_in_each_resample() -> None:
    case = make_case(2)
    positive = np.array([True, False, True, False])
    sensitivity, specificity = binary_rates(_confusion(case), positive)
    y, predicted = positive[case.y], positive[case.predicted]
    for row, weight in enumerate(case.weights):
        assert sensitivity[row] == pytest.approx(recall_score(y, predicted, sample_weight=weight))
        well = recall_score(y, predicted, pos_label=False, sample_weight=weight)
        assert specificity[row] == pytest.approx(well)


def test_a_group_of_benign_images_only_has_a_malignant_specificity_only() -> None:
    confusion = np.array([[[0.0, 0], [1, 3]]])
    sensitivity, specificity = binary_rates(confusion, np.array([True, False]))
    assert np.isnan(sensitivity).all()
    assert specificity.tolist() == [0.75]


def test_division_by_nothing_has_no_value_and_warns_of_nothing() -> None:
    found = divide(np.array([1.0, 0.0, 2.0]), np.array([[0.0], [4.0]]))
    np.testing.assert_array_equal(found, [[np.nan] * 3, [0.25, 0.0, 0.5]])
    np.testing.assert_array_equal(divide(np.array([1.0]), np.array([np.nan])), [np.nan])
