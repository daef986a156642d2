"""Local adaptation: the optimum is scikit-learn's, the choice is the site's, and nothing leaks."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import approx_fprime, minimize
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_sample_weight

from common.learners import LogisticHead, RidgeHead, adaptation
from common.learners.adaptation import STRENGTHS, adapt, fit_near
from common.learners.base import SiteData

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from common.learners.linear_head import LinearHead

CLASSES = ("akiec", "bcc", "mel", "nv")
WIDTH = 5
Rows = tuple["NDArray[np.float64]", "NDArray[np.intp]", "NDArray[np.float64]"]


def draw(
    seed: int, n: int, shift: float = 0.0, classes: tuple[int, ...] = (0, 1, 2, 3)
) -> SiteData:
    rng = np.random.default_rng(seed)
    y = np.resize(classes, n).astype(np.intp)
    centres = np.random.default_rng(99).normal(size=(4, WIDTH))
    return SiteData((1.5 * centres[y] + shift + rng.normal(size=(n, WIDTH))).astype(np.float32), y)


def federated(head: LinearHead | None = None, without: int | None = None) -> LinearHead:
    data = draw(0, 200)
    keep = data.y != without
    return (head or RidgeHead()).fit(data.x[keep], np.array(CLASSES)[data.y[keep]])


def rows(seed: int, n: int, classes: int = 3) -> Rows:
    """Transformed images with a column of ones, labels, and weights that add up to 1."""
    rng = np.random.default_rng(seed)
    z = np.column_stack([rng.normal(size=(n, WIDTH)), np.ones(n)])
    y = np.resize(np.arange(classes), n).astype(np.intp)
    rng.shuffle(y)
    weight = compute_sample_weight("balanced", y) / n
    return z, y, weight


def objective(
    w: NDArray[np.float64], centre: NDArray[np.float64], data: Rows, strength: float
) -> float:
    """Write the loss down once more, image by image."""
    z, y, weight = data
    w = w.reshape(centre.shape)
    total = 0.5 * strength * float(np.square(w - centre).sum())
    for features, label, share in zip(z, y, weight, strict=True):
        scores = w @ features
        total += share * (
            np.log(np.exp(scores - scores.max()).sum()) + scores.max() - scores[label]
        )
    return total


@pytest.mark.parametrize("strength", [0.01, 0.1, 1.0])
@pytest.mark.parametrize("classes", [3, 4])
def test_near_nothing_it_is_scikit_learns_logistic_regression(
    strength: float, classes: int
) -> None:
    z, y, weight = rows(classes, 90, classes)
    found = fit_near(np.zeros((classes, WIDTH + 1)), z, y, weight, strength)
    # Scikit-learn adds losses up, where ours is a mean; the column of ones is penalised by both.
    c = 1.0 / (len(y) * strength)
    fitted = LogisticRegression(C=c, fit_intercept=False, tol=1e-12, max_iter=10_000)
    fitted.fit(z, y, sample_weight=weight * len(y))
    np.testing.assert_allclose(found, fitted.coef_, atol=2e-3)


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), strength=st.sampled_from([0.01, 0.1, 1.0]))
def test_no_step_from_the_optimum_makes_the_loss_smaller(seed: int, strength: float) -> None:
    data = rows(seed, 40)
    centre = np.random.default_rng(seed).normal(size=(3, WIDTH + 1))
    found = fit_near(centre, *data, strength)
    slope = approx_fprime(found.ravel(), objective, 1e-6, centre, data, strength)
    assert np.abs(slope).max() < 3e-4
    assert objective(found, centre, data, strength) <= objective(centre, centre, data, strength)


def test_the_optimum_is_the_same_from_wherever_it_begins() -> None:
    data = rows(4, 60)
    centre = np.random.default_rng(0).normal(size=(3, WIDTH + 1))
    near, far = (fit_near(centre, *data, 0.1, first=f) for f in (None, 5 * np.ones_like(centre)))
    np.testing.assert_allclose(near, far, atol=5e-3)
    wanted = minimize(objective, centre.ravel(), (centre, data, 0.1), method="BFGS", tol=1e-9)
    np.testing.assert_allclose(near, wanted.x.reshape(centre.shape), atol=5e-3)


def test_a_stronger_prior_keeps_the_head_nearer_to_the_centre() -> None:
    data = rows(5, 60)
    centre = np.random.default_rng(1).normal(size=(3, WIDTH + 1))
    away = [
        np.linalg.norm(fit_near(centre, *data, one) - centre) for one in (0.01, 0.1, 1.0, 100.0)
    ]
    assert away == sorted(away, reverse=True)
    assert away[-1] < 0.02


HEADS: list[Any] = [
    pytest.param(lambda: federated(), id="ridge"),
    pytest.param(lambda: federated(RidgeHead(pca=3)), id="ridge-pca"),
    pytest.param(lambda: federated(LogisticHead(kernel="rff", components=16)), id="logistic-rff"),
]


@pytest.mark.parametrize("make", HEADS)
def test_the_head_that_is_given_is_untouched_and_the_other_is_of_its_kind(make: Any) -> None:
    head = make()
    before = copy.deepcopy(vars(head))
    adapted = adapt(head, CLASSES, draw(1, 60, 2.0), draw(2, 30, 2.0))
    for name, value in before.items():
        for part in value if isinstance(value, dict) else [None]:
            kept, now = (
                (value, getattr(head, name))
                if part is None
                else (value[part], getattr(head, name)[part])
            )
            np.testing.assert_array_equal(kept, now)
    assert type(adapted) is type(head)
    assert adapted.coef_.shape == head.coef_.shape
    # It did adapt, and what changed is not shared with the head.
    assert not np.allclose(adapted.predict_proba(draw(3, 9).x), head.predict_proba(draw(3, 9).x))
    adapted.coef_[:] = 0.0
    np.testing.assert_array_equal(head.coef_, before["coef_"])


@pytest.mark.parametrize("make", HEADS)
def test_an_infinite_strength_returns_the_heads_probabilities_at_its_temperature(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adaptation, "STRENGTHS", (np.inf,))
    head = make()
    head.inverse_temperature_ = np.array([0.5, 2.0, 3.0, 1.5])
    adapted = adapt(head, CLASSES, draw(1, 60, 2.0), draw(2, 30, 2.0))
    probe = draw(3, 40).x
    np.testing.assert_allclose(adapted.predict_proba(probe), head.predict_proba(probe), rtol=1e-10)


def sites_loss(head: LinearHead, data: SiteData) -> float:
    """Give the loss with every class counting the same, by scikit-learn."""
    truth = np.array(CLASSES)[data.y]
    known = np.isin(truth, head.classes_)
    p = head.predict_proba(data.x[known])
    weight = compute_sample_weight("balanced", truth[known])
    return float(log_loss(truth[known], p, sample_weight=weight, labels=head.classes_))


@pytest.mark.parametrize("shift", [0.0, 1.0, 3.0])
def test_the_strength_is_that_of_the_least_loss_on_the_validation_images(
    shift: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, train, held_out = federated(), draw(1, 60, shift), draw(2, 40, shift)
    chosen = sites_loss(adapt(head, CLASSES, train, held_out), held_out)
    losses = {}
    for strength in STRENGTHS[:-1]:
        # Each alone is compared with the federated head as well.
        monkeypatch.setattr(adaptation, "STRENGTHS", (strength, np.inf))
        losses[strength] = sites_loss(adapt(head, CLASSES, train, held_out), held_out)
    assert chosen == pytest.approx(min(losses.values()), rel=1e-3)
    assert chosen <= sites_loss(head, held_out) + 1e-12


def test_a_site_unlike_the_others_gains_and_one_with_misleading_images_loses_nothing() -> None:
    head = federated()
    held_out = draw(2, 80, 3.0)
    adapted = adapt(head, CLASSES, draw(1, 120, 3.0), held_out)
    fresh = draw(5, 200, 3.0)
    truth = np.array(CLASSES)[fresh.y]
    assert (adapted.predict(fresh.x) == truth).mean() > (
        head.predict(fresh.x) == truth
    ).mean() + 0.1
    misled = draw(1, 120)
    misled = SiteData(misled.x, (misled.y + 1) % 4)
    kept = adapt(head, CLASSES, misled, draw(2, 80))
    probe = draw(6, 30).x
    np.testing.assert_allclose(kept.predict_proba(probe), head.predict_proba(probe), rtol=1e-10)


@pytest.mark.parametrize("empty", ["train", "held_out"])
def test_a_site_without_images_of_a_part_keeps_the_head(empty: str) -> None:
    head = federated()
    parts = {"train": draw(1, 40, 3.0), "held_out": draw(2, 20, 3.0)}
    parts[empty] = SiteData(np.zeros((0, WIDTH), np.float32), np.zeros(0, np.intp))
    adapted = adapt(head, CLASSES, **parts)
    probe = draw(3, 20).x
    np.testing.assert_allclose(adapted.predict_proba(probe), head.predict_proba(probe), rtol=1e-10)


def test_a_site_of_one_class_gets_finite_probabilities_that_favour_it() -> None:
    head = federated()
    train, held_out = draw(1, 40, classes=(2,)), draw(2, 20, classes=(2,))
    p = adapt(head, CLASSES, train, held_out).predict_proba(draw(3, 60).x)
    assert np.isfinite(p).all()
    assert p[:, 2].mean() > head.predict_proba(draw(3, 60).x)[:, 2].mean() + 0.1


def test_images_of_a_class_that_the_head_does_not_know_are_left_out() -> None:
    head = federated(without=1)
    assert list(head.classes_) == ["akiec", "mel", "nv"]
    with_stranger = draw(1, 80, 2.0), draw(2, 40, 2.0)
    without = tuple(SiteData(d.x[d.y != 1], d.y[d.y != 1]) for d in with_stranger)
    found = adapt(head, CLASSES, *with_stranger)
    np.testing.assert_array_equal(found.coef_, adapt(head, CLASSES, *without).coef_)
    np.testing.assert_array_equal(found.classes_, head.classes_)
    # Labels index all classes, so that nv is 3, though it is the head's third.
    for label in (0, 2, 3):
        own = draw(4, 60, 2.0, classes=(label,))
        assert (found.predict(own.x) == CLASSES[label]).mean() > 0.6
