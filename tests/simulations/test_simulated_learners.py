"""Every learner as users run it, and what guards and searches print."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils.class_weight import compute_sample_weight

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
COMPONENTS = 16
MINIMUM = 5


def _read_result(run: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((run / "result.json").read_text(encoding="utf-8"))
    return result


def _read_predicted(run: Path) -> dict[str, str]:
    with (run / "predictions.csv").open(encoding="utf-8", newline="") as stream:
        return {row["image_id"]: row["y_pred"] for row in csv.DictReader(stream)}


def _components(
    exported: Any,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.str_]]:
    """Principal components of all images and of those to learn from, and these' labels."""
    train = exported["split"] == "train"
    x = exported["x"].astype(np.float64)
    scaled = StandardScaler().fit(x[train]).transform(x)
    z = PCA(COMPONENTS, svd_solver="full").fit(scaled[train]).transform(scaled)
    return z, z[train], exported["y"][train]


def _logistic(exported: Any) -> Any:
    z, learned, y = _components(exported)
    fitted = LogisticRegression(
        C=1.0 / (0.1 * len(y)), class_weight="balanced", tol=1e-10, max_iter=10_000
    )
    return fitted.fit(learned, y).predict(z)


def _svm(exported: Any) -> Any:
    z, learned, y = _components(exported)
    fitted = LinearSVC(C=1.0 / (0.1 * len(y)), dual=False, tol=1e-10, max_iter=10_000)
    return fitted.fit(learned, y, compute_sample_weight("balanced", y)).predict(z)


def _lda(exported: Any) -> Any:
    z, learned, y = _components(exported)
    return LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.2).fit(learned, y).predict(z)


def _ncm(exported: Any) -> Any:
    """By hand: the class whose mean is nearest, of standardised features."""
    train = exported["split"] == "train"
    x = exported["x"].astype(np.float64)
    z = StandardScaler().fit(x[train]).transform(x)
    classes = np.unique(exported["y"][train])
    means = np.array([z[train & (exported["y"] == label)].mean(axis=0) for label in classes])
    distances = np.linalg.norm(z[:, None, :] - means, axis=2)
    return classes[distances.argmin(axis=1)]


@pytest.mark.parametrize(
    ("learner", "settings", "reference"),
    [
        ("logistic", [f"pca={COMPONENTS}"], _logistic),
        ("svm", [f"pca={COMPONENTS}"], _svm),
        ("lda", [f"pca={COMPONENTS}", "shrinkage=0.2"], _lda),
        ("ncm", [], _ncm),
    ],
)
def test_a_learner_predicts_what_its_pooled_counterpart_does_and_says_so(
    learner: str,
    settings: list[str],
    reference: Any,
    exported: Any,
    dermafed: Any,
    cohort: Path,
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"
    options = [word for setting in settings for word in ("--set", setting)]
    done = dermafed("simulate", cohort, "--learner", learner, *options, "--out", run)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "0 predictions differ" in done.stdout
    result = _read_result(run)
    assert result["config"]["learner_settings"] == " ".join(settings)
    assert result["oracle"]["predictions_that_differ"] == 0
    error = result["oracle"]["relative_coefficient_error"]
    # Of the nearest mean, scikit-learn has no coefficients.
    assert error is None if learner == "ncm" else error < 1e-5
    predicted = _read_predicted(run)
    wanted = dict(zip(exported["image_id"], reference(exported), strict=True))
    assert predicted == wanted


def test_a_search_prints_its_values_and_uses_the_chosen_one(
    exported: Any, dermafed: Any, cohort: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    options = ["--set", "folds=3", "--set", "search=grid:0.1:10:3"]
    done = dermafed("simulate", cohort, *options, "--out", run)
    assert done.returncode == 0, done.stderr
    for text in ("choice by folds", "standard error", "chosen", "0 predictions differ"):
        assert text in done.stdout
    result = _read_result(run)
    selection = result["selection"]
    np.testing.assert_allclose(selection["values"], [10.0, 1.0, 0.1])
    best = int(np.argmax(selection["balanced_accuracy"]))
    assert selection["chosen"] == selection["values"][best]
    train = exported["split"] == "train"
    x = exported["x"].astype(np.float64)
    scaler = StandardScaler().fit(x[train])
    alpha = selection["chosen"] * train.sum()
    ridge = RidgeClassifier(alpha=alpha, class_weight="balanced")
    ridge.fit(scaler.transform(x[train]), exported["y"][train])
    coef = load_file(run / "model.safetensors")["coef"]
    present = [CLASSES.index(name) for name in ridge.classes_]
    assert np.linalg.norm(coef[present] - ridge.coef_) <= 1e-8 * np.linalg.norm(ridge.coef_)


def test_guarded_sites_withhold_small_classes_and_the_run_says_what(
    exported: Any, dermafed: Any, cohort: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    done = dermafed("simulate", cohort, "--disclosure", "guarded", "--out", run)
    assert done.returncode == 0, done.stderr
    result = _read_result(run)
    columns = (exported["site"], exported["split"], exported["y"])
    cells = list(zip(*(column.tolist() for column in columns), strict=True))
    count = Counter(cells)
    small = {cell for cell, images in count.items() if images < MINIMUM}
    wanted = {
        site: sorted(f"{part}:{label}" for name, part, label in small if name == site)
        for site in result["partition"]["withheld"]
    }
    assert result["partition"]["withheld"] == wanted
    kept = np.array([cell not in small for cell in cells])
    assert sum(result["partition"]["images"].values()) == kept.sum() < 240
    told = result["test"]["from_sums"]["pooled"]
    low, high = told["balanced_accuracy_bounds"]
    printed = " ".join(done.stdout.split())
    assert f"guarded: {len(small)} small cells of images withheld before the sums" in printed
    shown = f"{told['images_withheld']} of {told['n']} test images within the results"
    assert shown in printed
    assert f"the balanced accuracy is {low:.3f} to {high:.3f}" in printed
    assert "0 predictions differ" in printed

    # The model is the pooled fit of what is not withheld, and the bounds hold for it.
    train = (exported["split"] == "train") & kept
    x = exported["x"].astype(np.float64)
    scaler = StandardScaler().fit(x[train])
    ridge = RidgeClassifier(alpha=float(train.sum()), class_weight="balanced")
    ridge.fit(scaler.transform(x[train]), exported["y"][train])
    coef = load_file(run / "model.safetensors")["coef"]
    present = [CLASSES.index(name) for name in ridge.classes_]
    assert np.linalg.norm(coef[present] - ridge.coef_) <= 1e-8 * np.linalg.norm(ridge.coef_)
    test = (exported["split"] == "test") & kept
    assert told["n"] == test.sum()
    truth, predicted = exported["y"][test], ridge.predict(scaler.transform(x[test]))
    sensitivity = [np.mean(predicted[truth == label] == label) for label in np.unique(truth)]
    assert low <= np.mean(sensitivity) <= high
    for metrics in result["test"]["from_sums"]["sites"].values():
        confusion = np.array(metrics["confusion"])
        assert not ((confusion > 0) & (confusion < MINIMUM)).any()
