"""The main job on the real images, where they are at hand."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics import balanced_accuracy_score
from sklearn.preprocessing import StandardScaler

HAM10000 = Path(__file__).parents[3] / "shared" / "ham10000"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not HAM10000.is_dir(), reason=f"HAM10000 is not at {HAM10000}"),
]


@pytest.fixture(scope="module")
def features(dermafed: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    out = tmp_path_factory.mktemp("ham") / "features.npz"
    done = dermafed("features", HAM10000, "--out", out)
    assert done.returncode == 0, done.stderr
    with np.load(out, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


@pytest.mark.parametrize("partition", ["site", "iid:50", "dirichlet:0.1:100"])
def test_the_federation_equals_the_pooled_ridge_on_ham10000(
    partition: str, features: Any, dermafed: Any, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    done = dermafed("simulate", HAM10000, "--partition", partition, "--out", run)
    assert done.returncode == 0, done.stderr
    assert Counter(features["split"]) == {"train": 7066, "validation": 989, "test": 1960}
    x, train, test = (
        features["x"].astype(np.float64),
        features["split"] == "train",
        features["split"] == "test",
    )
    scaler = StandardScaler().fit(x[train])
    ridge = RidgeClassifier(alpha=7066.0, class_weight="balanced")
    ridge.fit(scaler.transform(x[train]), features["y"][train])
    coef = load_file(run / "model.safetensors")["coef"]
    assert np.linalg.norm(coef - ridge.coef_) <= 1e-8 * np.linalg.norm(ridge.coef_)
    predicted = ridge.predict(scaler.transform(x[test]))
    wanted = balanced_accuracy_score(features["y"][test], predicted)
    assert wanted == pytest.approx(0.576, abs=0.005)
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    assert result["test"]["pooled"]["balanced_accuracy"] == pytest.approx(wanted, abs=1e-12)
    assert result["oracle"]["predictions_that_differ"] == 0
    assert list(result["stages"]) == ["moments", "gram", "temperature"]
    assert (result["stages"]["moments"], result["stages"]["gram"]) == (1, 1)


def test_a_logistic_federation_equals_the_pooled_one_on_ham10000(
    features: Any, dermafed: Any, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    options = ["--learner", "logistic", "--set", "pca=64"]
    done = dermafed("simulate", HAM10000, *options, "--out", run)
    assert done.returncode == 0, done.stderr
    x, y = features["x"].astype(np.float64), features["y"]
    train, test = features["split"] == "train", features["split"] == "test"
    scaler = StandardScaler().fit(x[train])
    z = scaler.transform(x)
    pca = PCA(64, svd_solver="full").fit(z[train])
    z = pca.transform(z)
    logistic = LogisticRegression(
        C=1.0 / (0.1 * 7066),
        class_weight="balanced",
        solver="newton-cholesky",
        tol=1e-10,
        max_iter=1000,
    )
    logistic.fit(z[train], y[train])
    # Components have no sign of their own: coefficients are compared where they are applied.
    model = load_file(run / "model.safetensors")
    found, wanted = model["coef"] @ model["components"], logistic.coef_ @ pca.components_
    assert np.linalg.norm(found - wanted) <= 1e-6 * np.linalg.norm(wanted)
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    score = balanced_accuracy_score(y[test], logistic.predict(z[test]))
    assert result["test"]["pooled"]["balanced_accuracy"] == pytest.approx(score, abs=1e-12)
    assert result["oracle"]["predictions_that_differ"] == 0
