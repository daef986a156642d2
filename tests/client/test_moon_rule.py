"""MOON's rule against its term by numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from client.training.rules import make_rule
from client.training.rules.base import LocalRule
from common.finetuning.network import FineTunedNetwork
from common.finetuning.strategies import (
    ContrastiveSettings,
)
from tests.client.linear_round import (
    IMAGES,
    RATE,
    SGD,
    STEPS,
    TRUNK,
    WIDTH,
    Floats,
    Stacked,
    assert_close,
    assert_same,
    differs,
    loss_and_slope,
    make_batches,
    make_network,
    make_run,
    plain,
    rule,
    start,
)


def previous_model(seed: int) -> dict[str, Tensor]:
    return {
        f"previous|{name}": value.detach().clone()
        for name, value in make_network(seed=seed).named_parameters()
    }


def cosine(a: Floats, b: Floats) -> Floats:
    found: Floats = (a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1))
    return found


def contrast_of(maps: Floats, z: Floats, mu: float, temperature: float) -> float:
    """Give MOON's term by numpy, with the received network and that of seed 9."""
    others = []
    for network in (make_network(), make_network(seed=9)):
        weight = network.get_parameter(TRUNK).detach().double().numpy()[:, :, 0, 0]
        others.append(np.exp(cosine(z, maps.mean((2, 3)) @ weight.T) / temperature))
    return float(mu * -np.log(others[0] / (others[0] + others[1])).mean())


def test_moons_term_is_that_of_the_paper() -> None:
    run = make_run(memory=previous_model(9))
    moon = make_rule("moon", ContrastiveSettings(mu=2.0, temperature=0.3))
    moon.begin(run)
    images = Stacked().images
    features = torch.randn((IMAGES, WIDTH), generator=torch.Generator().manual_seed(5))
    found = moon.extra_loss(run, images, features)
    assert found is not None
    expected = contrast_of(images.double().numpy(), features.double().numpy(), 2.0, 0.3)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_moon_trains_along_its_terms_slope() -> None:
    memory = previous_model(9)
    found = make_run(memory=memory, steps=1).run(rule("moon", "mu=2 temperature=0.3")).weights
    at, width = start(), 1e-6
    slope = loss_and_slope(at, 0)[1]
    images = Stacked().images.double().numpy()[make_batches(1).rows[0]]

    def term(trunk: Floats) -> float:
        z = images.mean((2, 3)) @ trunk[:, :, 0, 0].T
        return contrast_of(images, z, 2.0, 0.3)

    for place in np.ndindex(at[TRUNK].shape):
        up, down = at[TRUNK].copy(), at[TRUNK].copy()
        up[place] += width
        down[place] -= width
        slope[TRUNK][place] += (term(up) - term(down)) / (2 * width)
    assert_close(found, {name: at[name] - RATE * slope[name] for name in at})
    assert differs(found, make_run(steps=1).run(LocalRule()).weights)


def test_moons_contrast_is_with_the_received_network_as_it_was() -> None:
    run = make_run(memory=previous_model(9))
    moon = rule("moon")
    moon.begin(run)
    images, features = Stacked().images, torch.ones((IMAGES, WIDTH))
    before = moon.extra_loss(run, images, features)
    with torch.no_grad():
        for parameter in run.parameters.values():
            parameter.mul_(-2.0)
    after = moon.extra_loss(run, images, features)
    assert before is not None
    assert after is not None
    assert torch.equal(before, after)


def test_moons_first_round_has_no_contrast_and_keeps_the_last_network() -> None:
    done = make_run().run(rule("moon"))
    assert_same(done.weights, plain().weights)
    assert_same(done.kept, {f"previous|{n}": value for n, value in done.weights.items()})


def test_moon_has_no_contrast_where_a_phase_trains_what_was_not_kept() -> None:
    memory = previous_model(9)
    del memory[f"previous|{TRUNK}"]
    assert_same(make_run(memory=memory).run(rule("moon")).weights, plain().weights)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[torch.dtype]:
    """List what each pass through a network's trained stages came in."""
    found: list[torch.dtype] = []
    upper = FineTunedNetwork.upper

    def watched(network: FineTunedNetwork, maps: Tensor, depth: int) -> Tensor:
        features = upper(network, maps, depth)
        found.append(features.dtype)
        return features

    monkeypatch.setattr(FineTunedNetwork, "upper", watched)
    return found


def test_moon_without_mu_is_plain_to_the_bit_in_one_pass(passes: list[torch.dtype]) -> None:
    done = make_run(memory=previous_model(9)).run(rule("moon", "mu=0"))
    assert len(passes) == STEPS
    assert_same(done.weights, plain().weights)


def test_moon_computes_all_features_in_what_training_does(passes: list[torch.dtype]) -> None:
    make_run(memory=previous_model(9), precision=torch.bfloat16).run(rule("moon"))
    assert passes == [torch.bfloat16] * 3 * STEPS
    passes.clear()
    make_run(memory=previous_model(9)).run(rule("moon"))
    assert passes == [torch.float32] * 3 * STEPS


def test_moons_other_networks_have_the_statistics_that_they_came_with() -> None:
    settings = SGD.model_copy(update={"norm": "aggregated"})
    first = make_run(settings=settings, network=make_network(norm=True)).run(rule("moon"))
    network = make_network(norm=True, seed=2)
    run = make_run(settings=settings, network=network, memory=first.kept)
    moon = rule("moon")
    moon.begin(run)
    images = Stacked().images
    features = torch.randn((IMAGES, WIDTH), generator=torch.Generator().manual_seed(5))
    whole = moon.extra_loss(run, images, features)
    assert whole is not None
    # No image's term depends on the other images of its batch.
    halves = [moon.extra_loss(run, images[at], features[at]) for at in (slice(6), slice(6, 12))]
    assert halves[0] is not None
    assert halves[1] is not None
    torch.testing.assert_close(whole, (halves[0] + halves[1]) / 2)
    assert torch.equal(network.get_buffer("trunk.0.1.running_mean"), torch.zeros(WIDTH))
    assert network.trunk[0].training
