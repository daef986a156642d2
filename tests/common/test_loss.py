"""Losses and their derivatives against finite differences and formulas written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.metrics import hinge_loss, log_loss

from common.learners.loss import (
    Images,
    Loss,
    MultinomialLoss,
    SquaredHinge,
    derivative_sums,
    full_hessian,
)
from common.learners.symmetric import check_positive, packed_length

LOSSES: dict[str, Loss] = {"multinomial": MultinomialLoss(), "squared hinge": SquaredHinge()}
BOTH = pytest.mark.parametrize("name", LOSSES)
CLASSES, SIZE = 4, 3
SEEDS = st.integers(0, 2**32 - 1)
Matrix = NDArray[np.float64]


def _images(seed: int, n: int = 30, present: int = CLASSES, spread: float = 1.0) -> Images:
    rng = np.random.default_rng(seed)
    z = np.column_stack([spread * rng.normal(size=(n, SIZE - 1)), np.ones(n)])
    return Images(z, rng.integers(0, present, n), rng.uniform(0.1, 3.0, n))


def _coef(seed: int) -> Matrix:
    return np.random.default_rng(seed).normal(size=(CLASSES, SIZE))


def _sums(
    name: str, images: Images, coef: Matrix, present: int = CLASSES
) -> tuple[float, Matrix, Matrix]:
    there = np.arange(CLASSES) < present
    value, gradient, packed = derivative_sums(LOSSES[name], images, coef, there, hessian=True)
    assert packed.shape == (len(LOSSES[name].blocks(CLASSES)), packed_length(SIZE))
    short = derivative_sums(LOSSES[name], images, coef, there, hessian=False)
    assert (short[0], short[1].tolist()) == (value, gradient.tolist())
    assert short[2].shape == (0, packed_length(SIZE))
    return value, gradient, full_hessian(LOSSES[name], packed, CLASSES, SIZE)


@BOTH
@pytest.mark.parametrize("present", [4, 3])
@pytest.mark.parametrize("seed", range(3))
def test_derivatives_are_those_of_finite_differences(name: str, present: int, seed: int) -> None:
    images, coef, step = _images(seed, present=present), _coef(seed), 1e-6
    _, gradient, hessian = _sums(name, images, coef, present)
    for index in range(coef.size):
        move = np.zeros(coef.size)
        move[index] = step
        up = _sums(name, images, coef + move.reshape(coef.shape), present)
        down = _sums(name, images, coef - move.reshape(coef.shape), present)
        slope = (up[0] - down[0]) / (2 * step)
        np.testing.assert_allclose(gradient.ravel()[index], slope, rtol=1e-6, atol=1e-6)
        turn = (up[1] - down[1]).ravel() / (2 * step)
        np.testing.assert_allclose(hessian[index], turn, rtol=1e-5, atol=1e-5)


@settings(max_examples=60)
@given(seed=SEEDS, n=st.integers(0, 20), present=st.integers(2, CLASSES))
def test_the_multinomial_loss_is_the_formula_written_out(seed: int, n: int, present: int) -> None:
    images, coef = _images(seed, n, present), _coef(seed + 1)
    value, gradient, hessian = _sums("multinomial", images, coef, present)
    p = np.zeros((n, CLASSES))
    p[:, :present] = softmax(images.z @ coef[:present].T, axis=1)
    expected_gradient, expected_hessian = np.zeros_like(coef), np.zeros((coef.size, coef.size))
    loss = 0.0
    for z, y, w, own in zip(images.z, images.y, images.weight, p, strict=True):
        loss -= w * np.log(own[y])
        expected_gradient += w * np.outer(own - np.eye(CLASSES)[y], z)
        expected_hessian += w * np.kron(np.diag(own) - np.outer(own, own), np.outer(z, z))
    np.testing.assert_allclose(value, loss, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-11)
    np.testing.assert_allclose(hessian, expected_hessian, atol=1e-11)
    np.testing.assert_array_equal(hessian, hessian.T)
    if n:
        labels = range(present)
        reference = log_loss(images.y, p[:, :present], sample_weight=images.weight, labels=labels)
        np.testing.assert_allclose(value / images.weight.sum(), reference, rtol=1e-10)


@settings(max_examples=60)
@given(seed=SEEDS, n=st.integers(0, 20), present=st.integers(2, CLASSES))
def test_the_squared_hinge_is_the_formula_written_out(seed: int, n: int, present: int) -> None:
    images, coef = _images(seed, n, present), _coef(seed + 1)
    value, gradient, hessian = _sums("squared hinge", images, coef, present)
    expected_gradient, expected_hessian = np.zeros_like(coef), np.zeros((coef.size, coef.size))
    loss = 0.0
    for z, y, w in zip(images.z, images.y, images.weight, strict=True):
        for label in range(present):
            target = 1.0 if y == label else -1.0
            slack = 1.0 - target * (z @ coef[label])
            if slack <= 0:
                continue
            loss += w * slack**2
            expected_gradient[label] -= 2.0 * w * target * slack * z
            own = slice(label * SIZE, (label + 1) * SIZE)
            expected_hessian[own, own] += 2.0 * w * np.outer(z, z)
    np.testing.assert_allclose(value, loss, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-11)
    np.testing.assert_allclose(hessian, expected_hessian, atol=1e-11)


def test_the_hinge_is_scikit_learns_where_slack_is_one_or_none() -> None:
    # Slacks of 0 and 1 are their own squares.
    z = np.array([[1.0], [1.0], [-1.0], [0.0]])
    y, coef = np.array([0, 1, 1, 1]), np.array([[0.0], [1.0]])
    images = Images(z, y, np.ones(4))
    value, _, _ = SquaredHinge().derivatives(images, coef, np.array([False, True]))
    # Scores 1, 1, -1 and 0 of the second class: slacks 2, 0, 2 and 1.
    assert value == 4.0 + 0.0 + 4.0 + 1.0
    assert 4 * hinge_loss(y, (z @ coef.T)[:, 1]) == 2.0 + 0.0 + 2.0 + 1.0


@BOTH
def test_absent_classes_have_no_part(name: str) -> None:
    images, coef = _images(0, present=2), _coef(0)
    value, gradient, hessian = _sums(name, images, coef, present=2)
    assert not gradient[2:].any()
    assert not hessian[2 * SIZE :].any()
    coef[2:] = 1e6
    assert _sums(name, images, coef, present=2)[0] == value


@BOTH
def test_no_rows_give_zeros(name: str) -> None:
    value, gradient, hessian = _sums(name, _images(0, 0), _coef(0))
    assert value == 0.0
    assert not gradient.any()
    assert not hessian.any()


@BOTH
@settings(max_examples=100)
@given(seed=SEEDS, n=st.integers(1, 5), spread=st.floats(1.0, 1e3))
def test_a_hessian_of_images_has_no_negative_eigenvalue(
    name: str, seed: int, n: int, spread: float
) -> None:
    """Also where a few images are classified beyond doubt, and little is left of each curvature."""
    images = _images(seed, n, spread=spread)
    check_positive("hessian", _sums(name, images, _coef(seed))[2])


def test_certainty_leaves_curvature_of_full_precision() -> None:
    # By hand: two classes whose scores differ by 40 have a curvature of e^-40, not of 0.
    images = Images(np.ones((1, 1)), np.array([0]), np.ones(1))
    coef, present = np.array([[40.0], [0.0]]), np.ones(2, dtype=np.bool_)
    value, _, packed = derivative_sums(MultinomialLoss(), images, coef, present, hessian=True)
    small = np.exp(-40.0)
    np.testing.assert_allclose(packed.ravel(), [small, -small, small], rtol=1e-12)
    assert value == pytest.approx(small, abs=1e-14)
