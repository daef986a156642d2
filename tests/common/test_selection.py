"""Choosing by folds over any partition is scikit-learn's grid search on pooled features."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils.class_weight import compute_sample_weight

from common.errors import ContributionError
from common.learners import make_learner
from common.learners.base import Problem, SiteData, State
from common.learners.search import Selection, parse_search
from tests.common.learner_cases import run

CLASSES = ("a", "b", "c", "d", "none")
ITERATIVE = ("logistic", "svm")
SEARCHED = ("ridge", "lda", *ITERATIVE)
SEARCH = {"lda": "grid:1e-3:1:5", "ridge": "grid:1e-3:10:6"} | dict.fromkeys(
    ITERATIVE, "grid:1e-2:10:4"
)
FOLDS = 4


@dataclass(frozen=True)
class Pooled:
    """Images and folds; the last class has none."""

    x: NDArray[np.float64]
    y: NDArray[np.intp]
    fold: NDArray[np.intp]

    def fit(self, name: str, settings: str, site_of: NDArray[np.intp]) -> tuple[State, list[str]]:
        members = [site_of == site for site in range(int(site_of.max()) + 1)]
        sites = {
            str(i): SiteData(self.x[m], self.y[m], self.fold[m]) for i, m in enumerate(members)
        }
        problem = Problem(CLASSES, self.x.shape[1])
        search = f"folds={FOLDS} search={SEARCH[name]} calibrate=none {settings}"
        return run(make_learner(name, problem, search), sites)


def _pooled(seed: int, distance: float = 0.9) -> Pooled:
    rng = np.random.default_rng(seed)
    y = rng.choice(4, 90, p=[0.5, 0.2, 0.15, 0.15])
    x = rng.normal(size=(90, 6)) + distance * np.eye(4, 6)[y]
    return Pooled(x * 10.0 ** rng.uniform(-1, 1, 6), y, rng.integers(0, FOLDS, 90))


def _strongest(results: dict[str, Any]) -> int:
    """Choose the first of equal means, which scikit-learn's rounding may set apart."""
    means = results["mean_test_score"]
    return int(np.flatnonzero(means >= means.max() - 1e-12)[0])


def _grid_search(
    name: str, pooled: Pooled, *, pca: int = 0, weighted: bool = True
) -> tuple[Any, NDArray[np.float64]]:
    """Give scikit-learn's search, refitted, and the features that it is of."""
    values, n = parse_search(SEARCH[name], 0), len(pooled.y)
    z = StandardScaler().fit_transform(pooled.x)
    if pca:
        z = PCA(pca, svd_solver="full").fit_transform(z)
    estimator, grid = {
        "ridge": (RidgeClassifier(), {"alpha": values * n}),
        "lda": (LinearDiscriminantAnalysis(solver="lsqr"), {"shrinkage": values}),
        "logistic": (
            LogisticRegression(solver="newton-cholesky", tol=1e-10, max_iter=1000),
            {"C": 1 / (values * n)},
        ),
        "svm": (LinearSVC(dual=False, tol=1e-10, max_iter=10_000), {"C": 1 / (values * n)}),
    }[name]
    # As the federation's, weights are those of all training images, also where a fold is held out.
    weight = compute_sample_weight("balanced", pooled.y) if weighted else None
    parameters = {} if name == "lda" else {"sample_weight": weight}
    folds = PredefinedSplit(pooled.fold)
    search = GridSearchCV(estimator, grid, scoring="balanced_accuracy", cv=folds, refit=_strongest)
    with warnings.catch_warnings():
        # A fold may lack a class that is predicted.
        warnings.simplefilter("ignore", UserWarning)
        search.fit(z, pooled.y, **parameters)
    return search, z


def _scores(search: Any, held: list[int]) -> NDArray[np.float64]:
    found = [search.cv_results_[f"split{i}_test_score"] for i in range(len(held))]
    return np.array(found).T


def _compare(found: State, search: Any, z: NDArray[np.float64], pooled: Pooled, name: str) -> None:
    selection = Selection.of(found)
    assert selection is not None
    np.testing.assert_allclose(selection.values, parse_search(SEARCH[name], 0), rtol=1e-14)
    held = np.unique(pooled.fold).tolist()
    np.testing.assert_allclose(selection.scores[:, held], _scores(search, held), rtol=0, atol=1e-12)
    np.testing.assert_allclose(selection.mean, search.cv_results_["mean_test_score"], atol=1e-12)
    assert selection.chosen == search.best_index_

    scores = z @ found.arrays["coef"].T + found.arrays["intercept"]
    expected = search.best_estimator_.decision_function(z)
    tolerance = 1e-5 if name in ITERATIVE else 1e-9
    np.testing.assert_allclose(scores[:, :4], expected, rtol=0, atol=tolerance)


@settings(max_examples=25)
@given(
    name=st.sampled_from(["ridge", "lda"]),
    seed=st.integers(0, 10_000),
    sites=st.integers(1, 6),
    pca=st.sampled_from([0, 4]),
    weighted=st.booleans(),
)
def test_a_closed_form_chooses_as_a_grid_search(
    name: str, seed: int, sites: int, pca: int, weighted: bool
) -> None:
    pooled = _pooled(seed)
    text = f"pca={pca}"
    if name == "ridge":
        text += f" class_weight={'balanced' if weighted else 'none'}"
    site_of = np.random.default_rng(seed).integers(0, sites, len(pooled.y))
    found, stages = pooled.fit(name, text, site_of)
    _compare(found, *_grid_search(name, pooled, pca=pca, weighted=weighted), pooled, name)
    # One round more than without a choice.
    assert stages == ["moments", "gram", "validate"]


@pytest.mark.parametrize("name", ITERATIVE)
@pytest.mark.parametrize(("seed", "sites", "weight"), [(0, 1, "balanced"), (1, 5, "none")])
def test_an_iterative_head_chooses_as_a_grid_search(
    name: str, seed: int, sites: int, weight: str
) -> None:
    pooled = _pooled(seed)
    site_of = np.random.default_rng(seed).integers(0, sites, len(pooled.y))
    found, stages = pooled.fit(name, f"pca=4 tolerance=1e-9 class_weight={weight}", site_of)
    search, z = _grid_search(name, pooled, pca=4, weighted=weight == "balanced")
    _compare(found, search, z, pooled, name)
    rounds = Counter(stages)
    assert stages == sorted(stages, key=["moments", "path", "newton"].index)
    # Each of four penalties starts where the last one ended.
    assert rounds["path"] <= 4 * 5
    # As does the last descent: from zero it takes five or six.
    assert rounds["newton"] <= 4


@pytest.mark.parametrize("name", SEARCHED)
def test_a_fold_without_images_has_no_say(name: str) -> None:
    pooled = _pooled(2)
    pooled.fold[pooled.fold == 1] = 3
    found, _ = pooled.fit(name, "pca=4", np.arange(90) % 3)
    selection = Selection.of(found)
    assert selection is not None
    assert np.isnan(selection.scores).tolist() == [[False, True, False, False]] * len(
        selection.values
    )
    _compare(found, *_grid_search(name, pooled, pca=4), pooled, name)


@pytest.mark.parametrize(
    ("name", "distance"),
    [(name, distance) for name in SEARCHED for distance in (0.9, 5.0)],
)
def test_a_class_in_one_fold_only_is_as_in_a_grid_search(name: str, distance: float) -> None:
    """What is fitted without that fold cannot know the class, and must not predict it."""
    pooled = _pooled(3, distance)
    pooled.fold[pooled.y == 2] = 0
    found, _ = pooled.fit(name, "pca=4", np.arange(90) % 3)
    _compare(found, *_grid_search(name, pooled, pca=4), pooled, name)


@pytest.mark.parametrize("name", SEARCHED)
def test_folds_that_are_all_one_are_refused(name: str) -> None:
    pooled = _pooled(5)
    pooled.fold[:] = 2
    with pytest.raises(ContributionError, match="use fewer folds"):
        pooled.fit(name, "", np.zeros(90, dtype=np.intp))


@pytest.mark.parametrize("name", ITERATIVE)
def test_a_fold_that_leaves_one_class_is_refused(name: str) -> None:
    pooled = _pooled(6)
    pooled.fold[:] = np.where(pooled.y == 0, 1, 0)
    with pytest.raises(ContributionError, match="a fold leaves fewer than two classes"):
        pooled.fit(name, "", np.zeros(90, dtype=np.intp))


@pytest.mark.parametrize("name", SEARCHED)
def test_where_images_lie_changes_no_choice(name: str) -> None:
    pooled = _pooled(6)
    one, _ = pooled.fit(name, "pca=4", np.zeros(90, dtype=np.intp))
    # By class, by fold, and three images a site.
    for site_of in (pooled.y, pooled.fold, np.arange(90) // 3):
        other, _ = pooled.fit(name, "pca=4", site_of)
        chosen, same = Selection.of(one), Selection.of(other)
        assert chosen is not None
        assert same is not None
        np.testing.assert_array_equal(same.scores, chosen.scores)
        for array, expected in zip(other.arrays.values(), one.arrays.values(), strict=True):
            np.testing.assert_allclose(array, expected, rtol=1e-6, atol=1e-9)
