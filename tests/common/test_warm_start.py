"""A warm start changes where an iterative head begins, not where it ends."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from common.errors import SettingsError
from common.learners import make_learner
from common.learners.base import Learner, Problem, SiteData
from common.learners.federate import fit_sites
from common.learners.front import transform
from common.learners.linear_head import linear
from common.learners.total import Total
from common.learners.warm_start import carry_over

PROBLEM = Problem(("bcc", "mel", "nv"), 6)


def _sites() -> dict[str, SiteData]:
    rng = np.random.default_rng(8)
    y = rng.integers(0, 3, 400).astype(np.intp)
    x = rng.normal(size=(3, 6))[y] + rng.normal(size=(400, 6))
    x = (x * 10.0 ** rng.uniform(-1, 1, 6)).astype(np.float32)
    # The last site is small, so that little changes when it leaves.
    site_of = np.minimum(np.arange(400) // 130, 3)
    return {f"s{i}": SiteData(x[site_of == i], y[site_of == i]) for i in range(4)}


SITES = _sites()
REST = {name: data for name, data in SITES.items() if name != "s3"}


def _rounds(learner: Learner) -> int:
    state, rounds = learner.start(), 0
    while not state.done:
        total = Total()
        for data in REST.values():
            total.add(learner.contribute(data, state))
        state, rounds = learner.update(state, total.value()), rounds + 1
    return rounds


@pytest.mark.parametrize("solver", ["newton", "lbfgs"])
def test_a_refit_from_the_old_model_is_the_fit_of_the_remaining_sites(solver: str) -> None:
    settings = f"alpha_per_image=0.01 solver={solver}"
    old = fit_sites(make_learner("logistic", PROBLEM, settings), SITES)
    warm = make_learner("logistic", PROBLEM, settings)
    warm.warm_start(old.arrays)
    found = linear(warm.head(fit_sites(warm, REST)))
    x = np.concatenate([data.x for data in REST.values()]).astype(np.float64)
    y = np.concatenate([data.y for data in REST.values()])
    z = StandardScaler().fit_transform(x)
    pooled = LogisticRegression(
        C=1 / (0.01 * len(y)), class_weight="balanced", solver="newton-cholesky", tol=1e-12
    ).fit(z, y)
    error = np.linalg.norm(found.coef_ - pooled.coef_) / np.linalg.norm(pooled.coef_)
    assert error <= 1e-5
    again = make_learner("logistic", PROBLEM, settings)
    again.warm_start(old.arrays)
    assert _rounds(again) < _rounds(make_learner("logistic", PROBLEM, settings))


@pytest.mark.parametrize("settings", ["", "pca=6"])
def test_scores_carry_over_to_another_standardisation(settings: str) -> None:
    learner = make_learner("logistic", PROBLEM, settings)
    old, new = fit_sites(learner, SITES), fit_sites(learner, REST)
    start = carry_over(old.arrays, new.arrays)
    x = SITES["s0"].x
    before = transform(old.arrays, x) @ old.arrays["coef"].T + old.arrays["intercept"]
    after = transform(new.arrays, x) @ start[:, :-1].T + start[:, -1]
    np.testing.assert_allclose(after, before, atol=1e-10)


def test_a_warm_start_that_cannot_be_is_refused() -> None:
    old = fit_sites(make_learner("ridge", PROBLEM, "calibrate=none"), SITES)
    with pytest.raises(SettingsError, match="closed form"):
        make_learner("ridge", PROBLEM, "").warm_start(old.arrays)
    mapped = make_learner("svm", PROBLEM, "kernel=rff components=20 calibrate=none")
    mapped.warm_start(old.arrays)
    with pytest.raises(SettingsError, match="kernel map"):
        fit_sites(mapped, SITES)
    for other in (Problem(("a", "b", "c"), 5), Problem(("a", "b"), 6)):
        rng = np.random.default_rng(0)
        y = np.arange(40) % len(other.classes)
        data = SiteData(rng.normal(size=(40, other.dimension)), y)
        learner = make_learner("logistic", other, "")
        learner.warm_start(old.arrays)
        with pytest.raises(SettingsError, match="warm start"):
            fit_sites(learner, {"s": data})
