"""Sums that a site can take back: a Gram matrix of raw features a class."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import RidgeClassifier
from sklearn.neighbors import NearestCentroid
from sklearn.preprocessing import StandardScaler

from common.errors import ContributionError, SettingsError
from common.learners import make_learner
from common.learners.base import Contribution, Problem, SiteData, State
from common.learners.federate import fit_sites
from common.learners.linear_head import linear
from common.learners.symmetric import pack, unpack
from common.learners.total import Total

CLASSES = ("akiec", "bcc", "mel", "nv")
PROBLEM = Problem(CLASSES, 9)
SITES = 5


def _data() -> tuple[NDArray[np.float32], NDArray[np.intp], NDArray[np.intp]]:
    rng = np.random.default_rng(5)
    y = rng.choice(len(CLASSES), size=300, p=[0.1, 0.2, 0.3, 0.4]).astype(np.intp)
    x = rng.normal(size=(len(CLASSES), 9))[y] + rng.normal(size=(300, 9))
    x = x * 10.0 ** rng.uniform(-2, 2, 9) + rng.normal(size=9)
    return x.astype(np.float32), y, rng.integers(0, SITES, 300).astype(np.intp)


X, Y, held_by = _data()
ALL = {f"s{i}": SiteData(X[held_by == i], Y[held_by == i]) for i in range(SITES)}


def _fit(name: str, settings: str, sites: dict[str, SiteData]) -> State:
    learner = make_learner(name, PROBLEM, f"ledger=true calibrate=none {settings}")
    return fit_sites(learner, sites)


@pytest.mark.parametrize("pca", [0, 4])
@pytest.mark.parametrize("gone", ["s0", "s3"])
def test_without_a_site_a_ridge_is_scikit_learns_of_the_others(pca: int, gone: str) -> None:
    learner = make_learner(
        "ridge", PROBLEM, f"ledger=true calibrate=none alpha_per_image=0.01 pca={pca}"
    )
    entries = {name: learner.contribute(data, learner.start()) for name, data in ALL.items()}
    total = Total()
    for entry in entries.values():
        total.add(entry)
    total.subtract(entries[gone])
    head = learner.head(learner.update(learner.start(), total.value()))

    rest = held_by != int(gone[1])
    x, y = X[rest].astype(np.float64), Y[rest]
    z, back = StandardScaler().fit_transform(x), np.eye(9)
    if pca:
        projection = PCA(pca, svd_solver="full").fit(z)
        z, back = projection.transform(z), projection.components_
    ridge = RidgeClassifier(alpha=0.01 * len(y), class_weight="balanced").fit(z, y)
    wanted = ridge.coef_ @ back
    error = np.linalg.norm(linear(head).standardised_coef() - wanted) / np.linalg.norm(wanted)
    assert error <= 1e-8
    np.testing.assert_array_equal(head.predict(x), np.array(CLASSES)[ridge.predict(z)])


def test_lda_and_the_nearest_mean_follow_from_the_same_sums() -> None:
    z = StandardScaler().fit_transform(X.astype(np.float64))
    lda = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.2).fit(z, Y)
    found = _fit("lda", "shrinkage=0.2", ALL).arrays["coef"]
    assert np.linalg.norm(found - lda.coef_) <= 1e-8 * np.linalg.norm(lda.coef_)
    nearest = NearestCentroid(priors="empirical").fit(z, Y)
    learner = make_learner("ncm", PROBLEM, "ledger=true calibrate=none priors=empirical")
    head = learner.head(fit_sites(learner, ALL))
    np.testing.assert_array_equal(head.predict(X), np.array(CLASSES)[nearest.predict(z)])
    np.testing.assert_allclose(head.predict_proba(X), nearest.predict_proba(z), atol=1e-8)


def test_a_site_counted_twice_is_another_model() -> None:
    once = _fit("ridge", "", ALL).arrays["coef"]
    twice = _fit("ridge", "", {**ALL, "again": ALL["s0"]}).arrays["coef"]
    assert np.linalg.norm(twice - once) > 1e-3 * np.linalg.norm(once)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("logistic", ""),
        ("svm", ""),
        ("lda", ""),
        ("ridge", "kernel=rff"),
        ("ridge", "folds=5 search=grid:0.1:1:2"),
    ],
)
def test_a_ledger_of_what_does_not_add_up_is_refused(name: str, settings: str) -> None:
    with pytest.raises(SettingsError, match="ledger"):
        make_learner(name, PROBLEM, f"ledger=true {settings}")


def _entry() -> Contribution:
    learner = make_learner("ridge", PROBLEM, "ledger=true")
    return learner.contribute(ALL["s1"], learner.start())


def _changed(row: int, column: int, value: float) -> Contribution:
    entry = _entry()
    grams = entry.arrays["class_gram"].copy()
    matrix = unpack(grams[3], 10)
    matrix[row, column] = matrix[column, row] = value
    grams[3] = pack(matrix)
    return Contribution(entry.count, {"class_gram": grams})


def test_a_right_entry_passes_and_forged_ones_do_not() -> None:
    learner = make_learner("ridge", PROBLEM, "ledger=true")
    learner.verify("class_gram", _entry())
    whole = unpack(_entry().arrays["class_gram"][3], 10)
    for forged, match in (
        (_changed(9, 9, whole[9, 9] + 0.5), "not whole"),
        (_changed(9, 9, whole[9, 9] + 1.0), "do not add up"),
        (_changed(9, 9, -1.0), "not whole|do not add up"),
        (_changed(0, 0, -1.0), "negative eigenvalue"),
        (_changed(0, 9, 10.0 * np.sqrt(whole[0, 0] * whole[9, 9])), "negative eigenvalue"),
    ):
        with pytest.raises(ContributionError, match=match):
            learner.verify("class_gram", forged)


def test_one_class_makes_no_model() -> None:
    only = {"s": SiteData(X[Y == 2], Y[Y == 2])}
    with pytest.raises(ContributionError, match="fewer than two classes"):
        _fit("ridge", "", only)
