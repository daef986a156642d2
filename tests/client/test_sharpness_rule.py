"""SAM's rule against two passes by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from client.training.rules.base import LocalRule
from client.training.rules.sharpness import Sharpness
from common.finetuning.plan import Phase, Place
from common.finetuning.strategies import (
    SharpnessSettings,
)
from tests.client.linear_round import (
    SGD,
    STEPS,
    Stacked,
    Weights,
    assert_close,
    assert_same,
    descend,
    differs,
    loss_and_slope,
    make_network,
    make_run,
    plain,
    rule,
    start,
)


def test_sam_steps_along_the_slope_at_the_worst_weights_nearby() -> None:
    def sharp(w: Weights, slope: Weights, step: int) -> Weights:
        norm = np.sqrt(sum((g**2).sum() for g in slope.values()))
        moved = {n: w[n] + 0.2 * slope[n] / norm for n in w}
        return loss_and_slope(moved, step)[1]

    done = make_run().run(rule("gradual-sam", "rho=0.2 ramp=0.5"))
    assert_close(done.weights, descend(start(), sharp))
    assert differs(done.weights, plain().weights)
    first = make_run(steps=1).run(rule("gradual-sam", "rho=0.2 ramp=0.5"))
    # The loss at the weights themselves.
    assert first.loss == pytest.approx(loss_and_slope(start(), 0)[0], rel=1e-5)


@pytest.mark.parametrize(
    ("position", "ramp", "expected"),
    [(0, 0.5, 0.0), (1, 0.5, 0.05), (3, 0.5, 0.15), (4, 0.5, 0.2), (7, 0.5, 0.2), (0, 0.0, 0.2)],
)
def test_sams_radius_rises_along_a_line(position: int, ramp: float, expected: float) -> None:
    found = Sharpness(SharpnessSettings(rho=0.2, ramp=ramp)).radius(Place(Phase(1, 8), position))
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(("text", "position"), [("rho=0", 4), ("rho=0.2 ramp=0.5", 0)])
def test_sam_of_no_radius_is_plain_to_the_bit_in_one_pass(text: str, position: int) -> None:
    feed = Stacked()
    run = make_run(place=Place(Phase(1, 8), position), feed=feed)
    assert_same(run.run(rule("gradual-sam", text)).weights, plain().weights)
    assert feed.calls == STEPS


def test_sam_counts_statistics_of_norms_once_a_step() -> None:
    settings = SGD.model_copy(update={"norm": "aggregated", "lr": 1e-12, "head_lr": 1e-12})
    found = [
        make_run(settings=settings, network=make_network(norm=True)).run(one).weights
        for one in (rule("gradual-sam", "rho=0.5"), LocalRule())
    ]
    for name in ("trunk.0.1.running_mean", "trunk.0.1.running_var"):
        torch.testing.assert_close(found[0][name], found[1][name])
