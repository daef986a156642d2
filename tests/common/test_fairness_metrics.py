"""Groups compared, against fairlearn."""

from __future__ import annotations

import numpy as np
import pytest
from fairlearn.metrics import MetricFrame, equalized_odds_difference
from numpy.typing import NDArray
from sklearn.metrics import recall_score

from common.metrics.fairness import equalised_odds_difference, spread

GROUPS = ("18-40", "40-60", "60+")
Rates = dict[str, NDArray[np.float64]]


def _images(
    seed: int,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.str_], NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    y = rng.random(300) < 0.4
    group = rng.choice(GROUPS, 300, p=[0.2, 0.3, 0.5])
    predicted = np.where(rng.random(300) < np.where(group == "60+", 0.35, 0.15), ~y, y)
    weights = rng.poisson(1.0, (6, 300)).astype(np.uint8)
    weights[0] = 1
    return y, predicted, group, weights


def _rates(seed: int, kind: bool) -> Rates:
    """Take the share of images of a kind that are predicted so, in plain Python."""
    y, predicted, group, weights = _images(seed)
    found = {}
    for name in GROUPS:
        own = (group == name) & (y == kind)
        found[name] = np.array(
            [row[own] @ (predicted[own] == kind) / row[own].sum() for row in weights]
        )
    return found


@pytest.mark.parametrize("seed", range(3))
def test_worst_gap_and_ratio_are_fairlearns_in_each_resample(seed: int) -> None:
    y, predicted, group, weights = _images(seed)
    found = spread(_rates(seed, True))
    assert found is not None
    for row, weight in enumerate(weights):
        frame = MetricFrame(
            metrics=recall_score,
            y_true=y,
            y_pred=predicted,
            sensitive_features=group,
            sample_params={"sample_weight": weight},
        )
        assert found.worst[row] == pytest.approx(frame.group_min())
        assert found.gap[row] == pytest.approx(frame.difference())
        assert found.ratio[row] == pytest.approx(frame.ratio())
        assert found.deviation[row] == pytest.approx(frame.by_group.std(ddof=0))
        if row == 0:
            assert found.worst_group == frame.by_group.idxmin()


@pytest.mark.parametrize("seed", range(3))
def test_equalised_odds_are_fairlearns_in_each_resample(seed: int) -> None:
    y, predicted, group, weights = _images(seed)
    found = equalised_odds_difference(_rates(seed, True), _rates(seed, False))
    assert found is not None
    expected = [
        equalized_odds_difference(y, predicted, sensitive_features=group, sample_weight=weight)
        for weight in weights
    ]
    np.testing.assert_allclose(found, expected)


def test_the_worst_of_an_error_is_the_highest() -> None:
    found = spread({"a": np.array([0.1, 0.3]), "b": np.array([0.2, 0.1])}, higher_is_better=False)
    assert found is not None
    assert found.worst.tolist() == [0.2, 0.3]
    assert found.worst_group == "b"


def test_a_group_without_a_value_is_left_out_and_named() -> None:
    empty = np.array([np.nan, np.nan])
    found = spread({"a": np.array([0.5, 0.4]), "none": empty, "b": np.array([0.7, 0.9])})
    assert found is not None
    assert (found.groups, found.masked) == (("a", "b"), ("none",))
    np.testing.assert_allclose(found.gap, [0.2, 0.5])


def test_a_resample_in_which_a_group_has_no_value_has_no_gap() -> None:
    found = spread({"a": np.array([0.5, np.nan, 0.5]), "b": np.array([0.7, 0.9, 0.8])})
    assert found is not None
    for values in (found.worst, found.gap, found.ratio, found.deviation):
        assert np.isnan(values).tolist() == [False, True, False]


def test_one_group_with_a_value_compares_with_nothing() -> None:
    assert spread({}) is None
    assert spread({"a": np.array([0.5])}) is None
    assert spread({"a": np.array([0.5]), "b": np.array([np.nan])}) is None


def test_groups_that_are_all_at_zero_have_no_ratio() -> None:
    found = spread({"a": np.zeros(1), "b": np.zeros(1)})
    assert found is not None
    assert found.gap.tolist() == [0.0]
    assert np.isnan(found.ratio).all()


def test_odds_of_a_rate_with_one_group_are_those_of_the_other_rate() -> None:
    sensitivity = {"a": np.array([0.5]), "b": np.array([np.nan])}
    specificity = {"a": np.array([0.9]), "b": np.array([0.6])}
    found = equalised_odds_difference(sensitivity, specificity)
    assert found is not None
    np.testing.assert_allclose(found, [0.3])
    assert equalised_odds_difference(sensitivity, sensitivity) is None
