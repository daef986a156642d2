"""Descents that are asked at one point at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.linalg import solve
from scipy.optimize import minimize

from common.errors import ContributionError
from common.learners.descent import Track, advance, begin, restore, store

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Smooth:
    """A function of each coordinate, with its first two derivatives."""

    value: Callable[[Vector], Vector]
    first: Callable[[Vector], Vector]
    second: Callable[[Vector], Vector]


# Full Newton steps diverge from beyond 1.09, and from beyond 1.
LOG_COSH = Smooth(lambda x: np.logaddexp(x, -x), np.tanh, lambda x: 1.0 / np.square(np.cosh(x)))
ROOT = Smooth(
    lambda x: np.sqrt(1.0 + x * x),
    lambda x: x / np.sqrt(1.0 + x * x),
    lambda x: (1.0 + x * x) ** -1.5,
)
DIVERGING = {"log cosh": LOG_COSH, "root": ROOT}


def _newton(
    function: Smooth, at: Vector, start: Vector, *, tolerance: float = 1e-9, most: int = 100
) -> tuple[Track, list[float]]:
    """Descend to the minimum of ``sum f(x - at)``; gives every loss that was asked for."""
    track, losses = begin(start), []
    while not track.done:
        point = track.point - at
        losses.append(float(function.value(point).sum()))

        def step(point: Vector = point) -> tuple[Vector, float]:
            direction = -function.first(point) / function.second(point)
            return direction, float(function.first(point) @ direction)

        track = advance(track, losses[-1], step, tolerance=tolerance, quadratic=True)
        assert len(losses) < most
        # What survives a round is what a state's memory holds.
        (track,) = restore(store([track]))
    return track, losses


@pytest.mark.parametrize("name", DIVERGING)
@pytest.mark.parametrize("far", [1.2, -3.0, 8.0])
def test_full_steps_diverge_and_the_descent_does_not(name: str, far: float) -> None:
    function, x = DIVERGING[name], np.array([far])
    for _ in range(2):
        if abs(x[0]) < 100:
            before, x = x, x - function.first(x) / function.second(x)
            assert abs(x[0]) > abs(before[0])
    at = np.array([5.0])
    track, losses = _newton(function, at, at + far)
    assert track.point[0] == pytest.approx(5.0, abs=1e-8)
    assert 4 < len(losses) <= 30


@pytest.mark.parametrize("residue", [0.0, 1e-17])
def test_a_solution_of_zero_ends(residue: float) -> None:
    """Rounding moves it from one nothing to another, each step as long as the point."""
    track, rounds = begin(np.zeros(3)), 0
    while not track.done:
        x, sign = track.point, (-1.0) ** rounds

        def step(x: Vector = x, sign: float = sign) -> tuple[Vector, float]:
            gradient = x + sign * residue
            return -gradient, -float(gradient @ gradient)

        track = advance(track, 7.0 + float(x @ x) / 2, step, tolerance=1e-9, quadratic=True)
        rounds += 1
        assert rounds < 5
    assert np.abs(track.point).max() <= 1e-16


@settings(max_examples=60)
@given(
    name=st.sampled_from(sorted(DIVERGING)),
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(1, 5),
    far=st.floats(0.1, 6.0),
)
def test_it_ends_at_the_minimum_of_several_variables(
    name: str, seed: int, size: int, far: float
) -> None:
    rng = np.random.default_rng(seed)
    at = rng.normal(size=size) + 3.0
    track, losses = _newton(DIVERGING[name], at, at + far * rng.normal(size=size))
    np.testing.assert_allclose(track.point, at, atol=1e-8)
    # It ends as low as anything that it asked for.
    assert losses[-1] <= min(losses) * (1 + 1e-12)


def test_it_finds_what_scipy_finds() -> None:
    rng = np.random.default_rng(0)
    mixing, shift = rng.normal(size=(8, 4)), 3.0 * rng.normal(size=8)

    def value(x: Vector) -> float:
        return float(LOG_COSH.value(mixing @ x - shift).sum() + 0.05 * x @ x)

    track = begin(np.full(4, 4.0))
    while not track.done:
        x = track.point

        def step(x: Vector = x) -> tuple[Vector, float]:
            inner = mixing @ x - shift
            gradient = mixing.T @ LOG_COSH.first(inner) + 0.1 * x
            hessian = (mixing.T * LOG_COSH.second(inner)) @ mixing + 0.1 * np.eye(4)
            direction: Vector = -solve(hessian, gradient)
            return direction, float(gradient @ direction)

        track = advance(track, value(x), step, tolerance=1e-10, quadratic=True)
    expected = minimize(value, np.zeros(4), method="BFGS", options={"gtol": 1e-9})
    np.testing.assert_allclose(track.point, expected.x, atol=1e-6)


@pytest.mark.parametrize("tolerance", [1e-3, 1e-6, 1e-9])
def test_a_round_that_would_only_confirm_is_saved(tolerance: float) -> None:
    """Where steps shrink quadratically, the last is foretold, and it is right to the tolerance."""
    at = np.array([5.0, -2.0])

    def rounds(*, quadratic: bool) -> int:
        track, asked = begin(at + 0.4), 0
        while not track.done:
            x = track.point - at

            def step(x: Vector = x) -> tuple[Vector, float]:
                direction = -ROOT.first(x) / ROOT.second(x)
                return direction, float(ROOT.first(x) @ direction)

            loss = float(ROOT.value(x).sum())
            track = advance(track, loss, step, tolerance=tolerance, quadratic=quadratic)
            asked += 1
        error = np.linalg.norm(track.point - at) / np.linalg.norm(at)
        assert error <= tolerance
        return asked

    assert rounds(quadratic=True) <= rounds(quadratic=False)
    if tolerance == 1e-6:
        assert rounds(quadratic=True) < rounds(quadratic=False)


def test_a_point_that_was_refused_asks_for_no_step() -> None:
    track = Track(np.zeros(2), np.array([1.0, 0.0]), loss=1.0, slope=-1.0)

    def step() -> tuple[Vector, float]:
        raise AssertionError

    after = advance(track, 3.0, step, tolerance=1e-9, quadratic=True)
    # The parabola with f(0) = 1, f'(0) = -1 and f(1) = 3 is least at 1/6.
    assert after.scale == pytest.approx(1 / 6)
    assert after.point.tolist() == pytest.approx([1 / 6, 0.0])
    # Bounds: a tenth and a half of what was tried; of what is no number, a tenth.
    for loss, scale in ((1e6, 0.1), (1.0, 0.5), (np.nan, 0.1), (np.inf, 0.1)):
        tried = advance(track, loss, step, tolerance=1e-9, quadratic=True)
        assert tried.scale == pytest.approx(scale)
        assert (tried.loss, tried.slope) == (1.0, -1.0)


@pytest.mark.parametrize("loss", [2.0, np.nan, np.inf])
def test_sums_that_contradict_each_other_are_refused(loss: float) -> None:
    """The slope promises a descent, and no share of the step brings one."""
    track = Track(np.zeros(1), np.ones(1), loss=1.0, slope=-1.0)
    with pytest.raises(ContributionError, match="alpha_per_image is too small"):
        for _ in range(100):
            track = advance(track, loss, lambda: (np.ones(1), -1.0), tolerance=1e-9, quadratic=True)


def test_rounding_of_the_loss_is_no_contradiction() -> None:
    # At the minimum, sums in another order may lie higher by some last digits.
    track = Track(np.ones(1), np.full(1, 1e-10), loss=1e6, slope=-1e-12)
    loss = 1e6 * (1 + 5e-13)
    after = advance(track, loss, lambda: (np.zeros(1), 0.0), tolerance=1e-9, quadratic=True)
    assert after.done


def test_descents_survive_a_memory() -> None:
    track = Track(np.array([1.0, -2.0]), np.array([0.5, 0.0]), 3.0, -0.25, 0.125, 0.75)
    fresh = begin(np.zeros(2))
    found = restore(store([track, fresh, replace(track, done=True)]))
    for after, before in zip(found, [track, fresh, replace(track, done=True)], strict=True):
        np.testing.assert_array_equal(after.base, before.base)
        np.testing.assert_array_equal(after.direction, before.direction)
        numbers = ("loss", "slope", "scale", "size", "done")
        assert [getattr(after, n) for n in numbers] == [getattr(before, n) for n in numbers]
    assert found[1].point.tolist() == [0.0, 0.0]
    assert found[0].point.tolist() == [1.0625, -2.0]
