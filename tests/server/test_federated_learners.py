"""Learners over the grid against scikit-learn on the pooled images: rounds, searches, guards."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics import balanced_accuracy_score, confusion_matrix
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

from common.learners.linear_head import linear
from common.model import Model, load_model
from common.settings import RunSettings
from common.split import Split, fold_groups
from server.federation import run_federation

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sklearn.base import BaseEstimator

    from tests.server.conftest import Hospitals

ALPHA = 0.3
FOLDS = 5
VALUES = np.geomspace(100.0, 1e-4, 7)
SEARCH = f"folds={FOLDS} search=grid:1e-4:100:7"
Run = Callable[..., tuple[dict[str, Any], Model]]


@pytest.fixture
def run(hospitals: Hospitals, reports: list[str], tmp_path: Path) -> Run:
    """Run a federation over the hospitals: the result as written, and the model."""

    def start(learner: str, learner_settings: str, **more: Any) -> tuple[dict[str, Any], Model]:
        task = {"learner": learner, "learner_settings": learner_settings, **more}
        settings = RunSettings(backbone="tiny", out=str(tmp_path), **task)
        run_federation(hospitals.grid(**task), settings, tmp_path, reports.append)
        text = (tmp_path / "result.json").read_text(encoding="utf-8")
        return json.loads(text), load_model(tmp_path)

    return start


def _logistic(alpha: float, **more: Any) -> LogisticRegression:
    return LogisticRegression(
        C=1.0 / alpha, solver="newton-cholesky", tol=1e-12, max_iter=1000, **more
    )


def _ridge(alpha: float, **more: Any) -> RidgeClassifier:
    return RidgeClassifier(alpha=alpha, **more)


def _pool(
    hospitals: Hospitals, part: Split, minimum: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.intp], list[str]]:
    """Features, labels and lesions of a part, without classes that are too small at a site."""
    xs, ys, lesions = [], [], []
    for site in sorted(hospitals.sites.values(), key=lambda site: site.name):
        rows = np.flatnonzero(site.split == part.value)
        count = Counter(site.y[rows].tolist())
        rows = np.array([row for row in rows if count[site.y[row]] >= minimum], dtype=np.intp)
        xs.append(site.x[rows].astype(np.float64))
        ys.append(site.y[rows])
        lesions += [f"{site.name}-{row}" for row in rows]
    return np.concatenate(xs), np.concatenate(ys), lesions


def _assert_same_head(model: Model, fitted: Any, *, tolerance: float) -> None:
    head = linear(model.head())
    np.testing.assert_allclose(
        head.coef_ - head.coef_.mean(axis=0),
        fitted.coef_ - fitted.coef_.mean(axis=0),
        atol=tolerance * np.abs(fitted.coef_).max(),
    )
    np.testing.assert_allclose(
        head.intercept_ - head.intercept_.mean(),
        fitted.intercept_ - fitted.intercept_.mean(),
        atol=tolerance,
    )


@pytest.mark.parametrize("solver", ["newton", "lbfgs"])
def test_a_logistic_federation_is_the_pooled_logistic_regression(
    hospitals: Hospitals, run: Run, solver: str
) -> None:
    settings = f"alpha_per_image={ALPHA} solver={solver} tolerance=1e-9"
    result, model = run("logistic", settings)
    x, y, _ = _pool(hospitals, Split.TRAIN)
    scaler = StandardScaler().fit(x)
    fitted = _logistic(ALPHA * len(y), class_weight="balanced").fit(scaler.transform(x), y)
    _assert_same_head(model, fitted, tolerance=1e-7)
    stages = ["moments", "newton"] if solver == "newton" else ["moments", "curvature", "gradient"]
    assert list(result["stages"]) == stages
    assert result["rounds"] == sum(result["stages"].values())
    test, truth, _ = _pool(hospitals, Split.TEST)
    predicted = fitted.predict(scaler.transform(test))
    assert np.array_equal(result["test"]["pooled"]["confusion"], confusion_matrix(truth, predicted))


def _cross_validated(
    hospitals: Hospitals, estimator: BaseEstimator, parameter: str, values: list[float]
) -> GridSearchCV:
    """What scikit-learn finds on the pooled images, weighted and standardised all at once."""
    x, y, lesions = _pool(hospitals, Split.TRAIN)
    search = GridSearchCV(
        estimator,
        {parameter: values},
        scoring="balanced_accuracy",
        cv=PredefinedSplit(fold_groups(1, lesions, FOLDS)),
        refit=False,
    )
    weight = compute_sample_weight("balanced", y)
    return search.fit(StandardScaler().fit_transform(x), y, sample_weight=weight)


@pytest.mark.parametrize("learner", ["ridge", "logistic"])
def test_a_search_has_the_scores_of_scikit_learns_cross_validation(
    hospitals: Hospitals, run: Run, learner: str
) -> None:
    hospitals.deal(FOLDS)
    result, model = run(learner, SEARCH)
    x, y, _ = _pool(hospitals, Split.TRAIN)
    alphas = VALUES * len(y)
    if learner == "ridge":
        reference = _cross_validated(hospitals, _ridge(1.0), "alpha", alphas.tolist())
    else:
        reference = _cross_validated(hospitals, _logistic(1.0), "C", (1.0 / alphas).tolist())
    scores = np.column_stack(
        [reference.cv_results_[f"split{fold}_test_score"] for fold in range(FOLDS)]
    )
    found = result["selection"]
    np.testing.assert_allclose(found["values"], VALUES)
    np.testing.assert_allclose(found["folds"], scores, rtol=1e-12)
    np.testing.assert_allclose(found["balanced_accuracy"], scores.mean(axis=1), rtol=1e-12)
    error = scores.std(axis=1, ddof=1) / np.sqrt(FOLDS)
    np.testing.assert_allclose(found["standard_error"], error, rtol=1e-9)
    # Otherwise any value would do.
    assert len(set(scores.mean(axis=1).tolist())) > 3
    best = int(reference.best_index_)
    assert found["chosen"] == model.description.chosen == pytest.approx(VALUES[best])

    make = _ridge if learner == "ridge" else _logistic
    fitted = make(alphas[best], class_weight="balanced").fit(StandardScaler().fit_transform(x), y)
    _assert_same_head(model, fitted, tolerance=1e-6)


def test_without_a_search_nothing_is_selected(run: Run) -> None:
    result, model = run("ridge", "alpha_per_image=0.5")
    assert result["selection"] is None
    assert model.description.chosen is None


# Guards


@pytest.mark.parametrize("minimum", [5, 10])
def test_under_guard_the_model_is_the_pooled_fit_of_the_images_that_are_not_withheld(
    hospitals: Hospitals, run: Run, reports: list[str], minimum: int
) -> None:
    withheld = hospitals.guard(minimum)
    settings = f"alpha_per_image={ALPHA} calibrate=none"
    result, model = run("ridge", settings, disclosure="guarded", minimum_count=minimum)
    assert any(withheld.values())
    assert result["partition"]["withheld"] == withheld
    for name, cells in withheld.items():
        told = f"{name}: withholds {', '.join(cells)}"
        assert (told in reports) == bool(cells)

    x, y, _ = _pool(hospitals, Split.TRAIN, minimum)
    ridge = RidgeClassifier(alpha=ALPHA * len(y), class_weight="balanced")
    pooled = make_pipeline(StandardScaler(), ridge).fit(x, y)
    _assert_same_head(model, pooled[-1], tolerance=1e-9)
    np.testing.assert_allclose(model.arrays["mean"], pooled[0].mean_, rtol=1e-12)
    assert model.arrays["class_count"].tolist() == np.bincount(y, minlength=3).tolist()


def test_a_guard_that_withholds_training_images_changes_the_model(
    hospitals: Hospitals, run: Run
) -> None:
    # So that the equality with the pooled fit of the others says something.
    settings = f"alpha_per_image={ALPHA} calibrate=none"
    _, exact = run("ridge", settings)
    withheld = hospitals.guard(12)
    assert any(cell.startswith("train:") for cells in withheld.values() for cell in cells)
    result, guarded = run("ridge", settings)
    assert np.abs(exact.arrays["coef"] - guarded.arrays["coef"]).max() > 1e-3
    images = {site.name: int(site.kept.sum()) for site in hospitals.sites.values()}
    assert result["partition"]["images"] == images


def test_under_guard_the_bounds_hold_what_the_withheld_results_would_say(
    hospitals: Hospitals, run: Run
) -> None:
    minimum = 5
    hospitals.guard(minimum)
    result, model = run("ridge", "", disclosure="guarded", minimum_count=minimum)
    told = result["test"]["pooled"]
    test, truth, _ = _pool(hospitals, Split.TEST, minimum)
    assert told["n"] == len(truth)
    assert told["images_withheld"] > 0
    shown = np.array(told["confusion"])
    assert told["images_withheld"] == len(truth) - shown.sum()
    predicted = model.head().predict_proba(test).argmax(axis=1)
    low, high = told["balanced_accuracy_bounds"]
    assert low <= balanced_accuracy_score(truth, predicted) <= high
    low, high = told["accuracy_bounds"]
    assert low <= np.mean(truth == predicted) <= high
    assert (shown <= confusion_matrix(truth, predicted)).all()
    for metrics in result["test"]["sites"].values():
        cells = np.array(metrics["confusion"])
        assert not ((cells > 0) & (cells < minimum)).any()


def test_a_guarded_search_is_the_cross_validation_of_the_images_that_are_not_withheld(
    hospitals: Hospitals, run: Run
) -> None:
    hospitals.deal(FOLDS)
    withheld = hospitals.guard(4)
    by_fold = [cell for cells in withheld.values() for cell in cells if cell.count(":") == 2]
    assert by_fold
    result, _ = run("ridge", SEARCH, disclosure="guarded", minimum_count=4)
    xs, ys, folds = [], [], []
    sites: list[NDArray[np.intp]] = []
    for site in sorted(hospitals.sites.values(), key=lambda site: site.name):
        assert site.fold is not None
        rows = [
            row
            for row in np.flatnonzero(site.split == "train")
            if f"train:{site.classes[site.y[row]]}:{site.fold[row]}" not in withheld[site.name]
        ]
        xs.append(site.x[rows].astype(np.float64))
        ys.append(site.y[rows])
        folds.append(site.fold[rows])
        sites.append(np.full(len(rows), len(sites)))
    site_of = np.concatenate(sites)
    x, y, fold = np.concatenate(xs), np.concatenate(ys), np.concatenate(folds)
    z, weight = StandardScaler().fit_transform(x), compute_sample_weight("balanced", y)
    for row, value in enumerate(VALUES):
        for held in range(FOLDS):
            inside = fold == held
            ridge = _ridge(value * len(y)).fit(z[~inside], y[~inside], weight[~inside])
            right = ridge.predict(z[inside]) == y[inside]
            # Each site's hits of a class, moved off those of 1 to 3 images right or wrong.
            score = np.mean(
                [
                    sum(
                        _off_few(right[(y[inside] == label) & (site_of[inside] == site)], 4)
                        for site in range(len(sites))
                    )
                    / (y[inside] == label).sum()
                    for label in np.unique(y[inside])
                ]
            )
            assert result["selection"]["folds"][row][held] == pytest.approx(score, abs=1e-12)


def _off_few(right: NDArray[np.bool_], minimum: int) -> int:
    """Take the count nearest to the hits that is not of few; of two, the one further inside."""
    whole, hits = len(right), int(right.sum())
    allowed = [
        n for n in range(whole + 1) if 0 in (n, whole - n) or minimum <= n <= whole - minimum
    ]
    return min(allowed, key=lambda n: (abs(n - hits), -min(n, whole - n), -n))
