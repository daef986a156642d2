"""Values to choose from, and how a choice is made."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, confusion_matrix

from common.errors import SettingsError
from common.learners.base import State
from common.learners.search import Selection, fold_scores, parse_search


def test_a_grid_is_even_on_a_logarithmic_scale_from_the_strongest() -> None:
    np.testing.assert_allclose(parse_search("grid:1e-3:10:5", 0), [10, 1, 0.1, 0.01, 0.001])
    np.testing.assert_allclose(parse_search("grid:2:8:3", 7), [8, 4, 2])
    assert parse_search("grid:0.5:0.5:1", 0).tolist() == [0.5]


@settings(max_examples=50)
@given(
    low=st.floats(1e-9, 1.0),
    ratio=st.floats(1.0, 1e9),
    count=st.integers(1, 1000),
    seed=st.integers(0, 2**32),
)
def test_random_values_lie_within_bounds_strongest_first(
    low: float, ratio: float, count: int, seed: int
) -> None:
    high = low * ratio
    values = parse_search(f"random:{low!r}:{high!r}:{count}", seed)
    assert values.shape == (count,)
    assert (values >= low * (1 - 1e-12)).all()
    assert (values <= high * (1 + 1e-12)).all()
    assert (np.diff(values) <= 0).all()


def test_random_values_are_even_in_their_logarithms_and_follow_the_seed() -> None:
    text = "random:1e-4:1e4:1000"
    share = (np.log10(parse_search(text, 3)) + 4) / 8
    # Kolmogorov and Smirnov: beyond 2 / sqrt(n) with a probability of 7e-4.
    assert np.abs(np.sort(share) - np.linspace(0, 1, 1000)).max() < 2 / np.sqrt(1000)
    assert parse_search(text, 3).tolist() == parse_search(text, 3).tolist()
    assert parse_search(text, 3).tolist() != parse_search(text, 4).tolist()


@pytest.mark.parametrize(
    "text",
    [
        *("", "grid", "grid:1:2", "grid:1:2:3:4", "halving:1:2:3", "Grid:1:2:3"),
        *("grid:a:2:3", "grid:1:b:3", "grid:1:2:c", "grid:1:2:2.5", "grid:1:2:1e2"),
        *("grid:0:1:3", "grid:-1:1:3", "grid:2:1:3", "grid:1:inf:3", "random:nan:1:3"),
        *("grid:1:nan:3", "grid:1:2:0", "grid:1:2:-1", "random:1:2:1001"),
    ],
)
def test_what_is_no_search_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=f"^search {text!r}: ") as caught:
        parse_search(text, 0)
    assert str(caught.value).isprintable()


@settings(max_examples=100)
@given(
    truth=st.lists(st.integers(0, 3), max_size=40),
    seed=st.integers(0, 99),
)
def test_scores_are_scikit_learns_balanced_accuracy(truth: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    hits = np.zeros((2, 3, 4), dtype=np.int64)
    images = np.zeros((3, 4), dtype=np.int64)
    expected = np.full((2, 3), np.nan)
    y = np.array(truth, dtype=np.intp)
    fold = rng.integers(0, 3, len(y))
    for value in range(2):
        predicted = rng.integers(0, 4, len(y))
        for held in range(3):
            inside = fold == held
            if not inside.any():
                continue
            matrix = confusion_matrix(y[inside], predicted[inside], labels=range(4))
            hits[value, held], images[held] = np.diag(matrix), matrix.sum(axis=1)
            with warnings.catch_warnings():
                # It warns of predictions of classes that the fold lacks.
                warnings.simplefilter("ignore", UserWarning)
                expected[value, held] = balanced_accuracy_score(y[inside], predicted[inside])
    np.testing.assert_allclose(fold_scores(hits, images), expected, rtol=1e-14)


def test_the_best_mean_is_chosen_and_of_equal_ones_the_strongest() -> None:
    scores = np.array([[0.5, 0.7, np.nan], [0.8, 0.6, np.nan], [0.7, 0.7, np.nan]])
    selection = Selection(np.array([10.0, 1.0, 0.1]), scores)
    np.testing.assert_allclose(selection.mean, [0.6, 0.7, 0.7])
    assert (selection.chosen, selection.value) == (1, 1.0)
    tied = Selection(np.array([10.0, 1.0]), np.array([[0.25, 0.75], [0.5, 0.5]]))
    assert tied.value == 10.0
    # Thirds that add up to the same but for the last digit.
    scores = np.array([[0.1, 0.2, 0.3], [0.3, 0.2, 0.1], [0.2, 0.2, 0.2]])
    assert len(set(scores.mean(axis=1).tolist())) > 1
    for order in ([0, 1, 2], [1, 0, 2], [2, 1, 0]):
        assert Selection(np.array([3.0, 2.0, 1.0]), scores[order]).value == 3.0


def test_the_standard_error_is_that_of_a_mean() -> None:
    # By hand: deviations -0.1, 0, 0.1; variance 0.02 / 2; over three folds.
    selection = Selection(np.array([1.0]), np.array([[0.5, 0.6, 0.7]]))
    np.testing.assert_allclose(selection.standard_error, [0.1 / np.sqrt(3)])
    # A fold without images counts for nothing: deviations -0.1 and 0.1; variance 0.02 / 1.
    selection = Selection(np.array([1.0]), np.array([[0.5, np.nan, 0.7]]))
    np.testing.assert_allclose(selection.standard_error, [0.1])


def test_a_choice_is_read_from_a_learners_last_state() -> None:
    assert Selection.of(State("fitted", {}, done=True)) is None
    memory = {"selection.value": np.array([2.0, 1.0]), "selection.score": np.array([[0.5], [0.6]])}
    found = Selection.of(State("fitted", {}, True, memory))
    assert found is not None
    assert found.value == 1.0
