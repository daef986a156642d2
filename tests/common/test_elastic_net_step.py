"""The elastic net's step is scikit-learn's minimum, and the optimality conditions hold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.linalg import cho_factor, solve
from sklearn.linear_model import ElasticNet, Lasso

import common.learners.elastic_net_step
from common.errors import ContributionError
from common.learners.elastic_net_step import minimise_elastic_net

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Problem:
    """One problem, with what it is checked by."""

    hessian: Vector
    gradient: Vector
    at: Vector
    l1: Vector
    l2: Vector

    def minimise(self) -> Vector:
        return minimise_elastic_net(self.hessian, self.gradient, self.at, self.l1, self.l2)

    def started(self, at: Vector) -> Problem:
        """Give the same problem, its model made elsewhere."""
        return Problem(
            self.hessian, self.gradient + self.hessian @ (at - self.at), at, self.l1, self.l2
        )

    def missed(self, w: Vector) -> float:
        """Tell by how much the optimality conditions are missed, of the largest derivative."""
        slope = self.gradient + self.hessian @ (w - self.at) + self.l2 * w
        beside_zero = np.maximum(np.abs(slope) - self.l1, 0.0)
        missed = np.where(w == 0, beside_zero, np.abs(slope + self.l1 * np.sign(w)))
        at_zero = self.gradient - self.hessian @ self.at
        return float(missed.max() / max(1.0, np.abs(self.gradient).max(), np.abs(at_zero).max()))


def _curved(rng: np.random.Generator, p: int, digits: float) -> Vector:
    """Make a matrix whose condition number has so many digits."""
    turn, _ = np.linalg.qr(rng.normal(size=(p, p)))
    half = turn * 10.0 ** (-0.5 * digits * np.linspace(0, 1, p))
    return half @ half.T


def _softmax(
    rng: np.random.Generator, images: int, features: int, classes: int
) -> tuple[Vector, Vector]:
    """Make the hessian and the gradient of a multinomial logistic regression on like features."""
    x = rng.normal(size=(images, features)) * 0.3 + rng.normal(size=(images, 1))
    x[:, -1] = 1.0
    share = rng.dirichlet(np.full(classes, 2.0), size=images)
    target = np.eye(classes)[rng.integers(classes, size=images)]
    between = -share[:, :, None] * share[:, None, :]
    between[:, np.arange(classes), np.arange(classes)] += share
    hessian = np.einsum("nab,ni,nj->aibj", between, x, x, optimize=True)
    size = classes * features
    return hessian.reshape(size, size), ((share - target).T @ x).ravel()


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    p = draw(st.integers(1, 40))
    hessian = _curved(rng, p, draw(st.floats(0, 7))) * 10.0 ** draw(st.integers(-3, 4))
    unit = float(hessian.diagonal().mean())
    gradient = rng.normal(size=p) * unit * 10.0 ** draw(st.integers(-2, 2))
    strength = np.abs(gradient).max() * 10.0 ** draw(st.floats(-4, 0.5))
    l1 = strength * 10.0 ** rng.uniform(-2, 0, p) * (rng.random(p) < 0.8)
    l2 = unit * 10.0 ** rng.uniform(-6, 0, p) * (rng.random(p) < 0.6)
    at = rng.normal(size=p) * (rng.random(p) < draw(st.sampled_from([0.0, 0.5, 1.0])))
    return Problem(hessian, gradient, at, l1, l2)


@settings(max_examples=400)
@given(problem=problems())
def test_the_optimality_conditions_hold(problem: Problem) -> None:
    w = problem.minimise()
    assert w.dtype == np.float64
    assert problem.missed(w) <= 1e-10


@pytest.mark.parametrize("l1_ratio", [1.0, 0.5, 0.05])
@pytest.mark.parametrize("alpha", [0.001, 0.03, 0.3])
def test_it_is_scikit_learns_elastic_net(l1_ratio: float, alpha: float) -> None:
    rng = np.random.default_rng(3)
    p = 25
    hessian = _curved(rng, p, 2.0)
    gradient, at = rng.normal(size=p) * 0.5, rng.normal(size=p)
    # ||y - x w||^2 / 2 is the quadratic; scikit-learn divides it by the number of rows, p.
    x = np.linalg.cholesky(hessian).T
    y = np.linalg.solve(x.T, hessian @ at - gradient)
    if l1_ratio == 1.0:
        net = Lasso(alpha=alpha / p, fit_intercept=False, tol=1e-14, max_iter=10**6)
    else:
        net = ElasticNet(
            alpha=alpha / p, l1_ratio=l1_ratio, fit_intercept=False, tol=1e-14, max_iter=10**6
        )
    expected = net.fit(x, y).coef_

    l1, l2 = np.full(p, alpha * l1_ratio), np.full(p, alpha * (1 - l1_ratio))
    w = minimise_elastic_net(hessian, gradient, at, l1, l2)
    np.testing.assert_allclose(w, expected, rtol=0, atol=1e-7 * np.abs(expected).max())
    np.testing.assert_array_equal(w == 0, expected == 0)


def test_in_two_dimensions_it_is_what_a_hand_finds() -> None:
    # w1 + w2/2 - 2 + 1/2 = 0 and w2 = 0, since |w1/2 - 1/2| = 1/4 is within 1/2: w1 = 3/2.
    hessian = np.array([[1.0, 0.5], [0.5, 1.0]])
    gradient, zero = np.array([-2.0, -0.5]), np.zeros(2)
    half = np.full(2, 0.5)
    np.testing.assert_allclose(
        minimise_elastic_net(hessian, gradient, zero, half, zero), [1.5, 0.0], rtol=1e-13
    )
    # With l2 = 1/2: 3/2 w1 = 3/2, and |w1/2 - 1/2| = 0 is within 1/2.
    np.testing.assert_allclose(
        minimise_elastic_net(hessian, gradient, zero, half, half), [1.0, 0.0], rtol=1e-13
    )
    # With a small l1, both: w1 + w2/2 = 1.9 and w1/2 + w2 = 0.4 + 0.2, of which w2 < 0.
    np.testing.assert_allclose(
        minimise_elastic_net(hessian, gradient, zero, np.full(2, 0.1), zero),
        np.array([1.9 - 0.3, 0.6 - 0.95]) / 0.75,
        rtol=1e-13,
    )


def test_a_coefficient_on_the_very_edge_of_zero_is_zero() -> None:
    # The second one's slope at zero is exactly its penalty.
    w = minimise_elastic_net(np.eye(2), np.array([-2.0, 1.0]), np.zeros(2), np.ones(2), np.zeros(2))
    np.testing.assert_array_equal(w, [1.0, 0.0])


@settings(max_examples=50)
@given(problem=problems())
def test_without_l1_it_is_a_plain_solve(problem: Problem) -> None:
    l2 = problem.l2 + 1e-3 * problem.hessian.diagonal().mean()
    w = minimise_elastic_net(problem.hessian, problem.gradient, problem.at, np.zeros_like(l2), l2)
    right = problem.hessian @ problem.at - problem.gradient
    expected = solve(problem.hessian + np.diag(l2), right, assume_a="pos")
    np.testing.assert_allclose(w, expected, rtol=0, atol=1e-9 * np.abs(expected).max())


def test_a_large_l1_makes_everything_zero_but_what_is_free_of_it() -> None:
    rng = np.random.default_rng(4)
    hessian, gradient, at = _curved(rng, 12, 3.0), rng.normal(size=12), rng.normal(size=12)
    at_zero = gradient - hessian @ at
    l1 = np.full(12, np.abs(at_zero).max())
    w = minimise_elastic_net(hessian, gradient, at, l1, np.zeros(12))
    np.testing.assert_array_equal(w, np.zeros(12))
    l1[3] = 0.0
    w = minimise_elastic_net(hessian, gradient, at, 10 * l1, np.zeros(12))
    assert np.flatnonzero(w).tolist() == [3]
    assert w[3] == pytest.approx(-at_zero[3] / hessian[3, 3])


@pytest.mark.parametrize("l2", [0.0, 1e-3])
def test_correlated_features_are_no_obstacle(l2: float) -> None:
    rng = np.random.default_rng(5)
    common_part = rng.normal(size=(300, 1))
    x = common_part + 1e-2 * rng.normal(size=(300, 150))
    hessian, y = x.T @ x, x @ (rng.normal(size=150) * (rng.random(150) < 0.2))
    p = len(hessian)
    problem = Problem(hessian, -x.T @ y, np.zeros(p), np.full(p, 1e-2), np.full(p, l2))
    w = problem.minimise()
    assert problem.missed(w) <= 1e-10
    assert 0 < np.count_nonzero(w) < p


@pytest.mark.parametrize("classes", [2, 6, 7])
@pytest.mark.parametrize("l1_ratio", [0.5, 1.0])
@pytest.mark.parametrize("alpha", [1.0, 1e-2, 1e-4])
def test_multinomial_problems_are_solved(classes: int, l1_ratio: float, alpha: float) -> None:
    # With an L1 penalty alone, the hessian is singular: a feature's weights shift together.
    rng = np.random.default_rng(6)
    hessian, gradient = _softmax(rng, 400, 21, classes)
    penalised = np.tile(np.arange(21) < 20, classes)
    hessian[np.ix_(~penalised, ~penalised)] += hessian.diagonal().mean()
    l1 = np.where(penalised, alpha * l1_ratio, 0.0)
    l2 = np.where(penalised, alpha * (1 - l1_ratio), 0.0)
    problem = Problem(hessian, gradient, np.zeros(len(gradient)), l1, l2)
    assert problem.missed(problem.minimise()) <= 1e-10


def test_a_singular_hessian_is_no_obstacle_with_an_l2_penalty() -> None:
    rng = np.random.default_rng(7)
    x = rng.normal(size=(10, 40))
    at = rng.normal(size=40)
    l1, l2 = np.full(40, 0.1), np.full(40, 1e-3)
    problem = Problem(x.T @ x, rng.normal(size=40), at, l1, l2)
    w = problem.minimise()
    assert problem.missed(w) <= 1e-10
    # The minimum is unique, so that it is found from elsewhere as well.
    np.testing.assert_allclose(problem.started(np.zeros(40)).minimise(), w, rtol=0, atol=1e-8)


def test_without_any_curvature_or_slope_nothing_moves_but_to_zero() -> None:
    zero, at = np.zeros(2), np.array([1.0, 2.0])
    w = minimise_elastic_net(np.zeros((2, 2)), zero, at, np.array([1.0, 0.0]), zero)
    np.testing.assert_array_equal(w, [0.0, 2.0])


@settings(max_examples=100)
@given(problem=problems(), seed=st.integers(0, 2**32 - 1))
def test_the_start_does_not_change_the_minimum(problem: Problem, seed: int) -> None:
    # Well-conditioned, so that equal gradients mean equal coefficients.
    unit = float(problem.hessian.diagonal().mean())
    hessian = problem.hessian + 0.1 * unit * np.eye(len(problem.at))
    problem = Problem(hessian, problem.gradient, problem.at, problem.l1, problem.l2)
    w = problem.minimise()
    far = np.random.default_rng(seed).normal(size=len(w)) * 10.0
    for at in (w, far, np.zeros_like(w)):
        again = problem.started(at).minimise()
        np.testing.assert_allclose(again, w, rtol=0, atol=1e-8 * max(1.0, np.abs(w).max()))


def test_from_the_minimum_one_factorisation_suffices(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(8)
    hessian, gradient = _softmax(rng, 400, 21, 5)
    p = len(gradient)
    l1, l2 = np.full(p, 0.5), np.full(p, 0.5)
    problem = Problem(hessian, gradient, np.zeros(p), l1, l2)
    w = problem.minimise()
    assert 0 < np.count_nonzero(w) < p
    factors = []

    def count(*args: object, **options: object) -> object:
        factors.append(args)
        return cho_factor(*args, **options)

    monkeypatch.setattr("common.learners.elastic_net_step.cho_factor", count)
    again = problem.started(w).minimise()
    assert len(factors) == 1
    np.testing.assert_allclose(again, w, rtol=0, atol=1e-12)


def test_steps_that_go_around_in_circles_are_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    # Without Newton's method and with one useless attempt, the second must do.
    rng = np.random.default_rng(9)
    hessian, gradient = _softmax(rng, 200, 11, 3)
    p = len(gradient)
    problem = Problem(hessian, gradient, np.zeros(p), np.full(p, 1.0), np.full(p, 0.1))
    expected = problem.minimise()
    module = common.learners.elastic_net_step
    interior = module._interior
    tried = []

    def second_only(model: object, correction: float) -> object:
        tried.append(correction)
        return interior(model, correction) if len(tried) > 1 else None  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_newton", lambda *_: None)
    monkeypatch.setattr(module, "_interior", second_only)
    np.testing.assert_allclose(problem.minimise(), expected, rtol=0, atol=1e-8)
    assert len(tried) == 2


@pytest.mark.parametrize("l1", [0.0, 0.5])
def test_a_slope_that_nothing_holds_is_an_error(l1: float) -> None:
    # No curvature along the second axis, and a slope beyond the penalty.
    problem = Problem(
        np.diag([1.0, 0.0]), np.array([1.0, 1.0]), np.zeros(2), np.full(2, l1), np.zeros(2)
    )
    with pytest.raises(ContributionError, match="no elastic-net step; raise alpha_per_image"):
        problem.minimise()


@pytest.mark.parametrize("where", ["hessian", "gradient", "at"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_an_error(where: str, value: float) -> None:
    arrays = {"hessian": np.eye(3), "gradient": np.ones(3), "at": np.ones(3)}
    arrays[where] = np.where(np.arange(3) == 1, value, arrays[where])
    arrays["hessian"] = arrays["hessian"] + arrays["hessian"].T
    problem = Problem(**arrays, l1=np.full(3, 0.1), l2=np.zeros(3))
    with pytest.raises(ContributionError, match="alpha_per_image"):
        problem.minimise()


def test_a_hessian_that_curves_downwards_is_an_error() -> None:
    problem = Problem(np.diag([1.0, -1.0]), np.ones(2), np.zeros(2), np.full(2, 0.1), np.zeros(2))
    with pytest.raises(ContributionError, match="alpha_per_image"):
        problem.minimise()
