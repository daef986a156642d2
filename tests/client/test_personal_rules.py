"""FedRep's and Ditto's rules against plain SGD by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from client.training.rules.base import LocalRule, LocalRun
from common.finetuning.plan import Phase, Place
from tests.client.linear_round import (
    BIAS,
    CLASSES,
    HEAD,
    SGD,
    STEPS,
    TRUNK,
    Weights,
    assert_close,
    assert_same,
    descend,
    differs,
    make_network,
    make_run,
    numbers,
    plain,
    rule,
    start,
)


def test_fedrep_trains_the_head_first_then_the_trunk() -> None:
    def part(_w: Weights, slope: Weights, step: int) -> Weights:
        return {n: g for n, g in slope.items() if (n != TRUNK) == (step < 2)}

    found = make_run().run(rule("fedrep", "head_share=0.4")).weights
    assert_close(found, descend(start(), part))


@pytest.mark.parametrize(("share", "heads"), [(0.01, 1), (0.99, STEPS - 1)])
def test_fedrep_trains_either_part_for_a_step_at_least(share: float, heads: int) -> None:
    def part(_w: Weights, slope: Weights, step: int) -> Weights:
        return {n: g for n, g in slope.items() if (n != TRUNK) == (step < heads)}

    found = make_run().run(rule("fedrep", f"head_share={share}")).weights
    assert_close(found, descend(start(), part))


def test_fedreps_idle_part_is_moved_by_no_decay_and_no_momentum() -> None:
    settings = SGD.model_copy(
        update={"optimizer": "adamw", "weight_decay": 0.5, "keep_optimizer": True}
    )
    warm = make_run(settings=settings).run(LocalRule()).kept
    assert warm
    run = make_run(settings=settings, memory=warm)
    fedrep = rule("fedrep", "head_share=0.4")
    trunk: list[Tensor] = []
    head: list[Tensor] = []

    class Watching(LocalRule):
        def take_step(self, run: LocalRun) -> Tensor:
            loss = fedrep.take_step(run)
            trunk.append(run.parameters[TRUNK].detach().clone())
            head.append(run.parameters[HEAD].detach().clone())
            return loss

    run.run(Watching())
    at = make_network()
    assert torch.equal(trunk[1], at.get_parameter(TRUNK))
    assert not torch.equal(trunk[2], trunk[1])
    assert not torch.equal(head[0], at.get_parameter(HEAD))
    assert torch.equal(head[4], head[1])


def test_fedrep_trains_the_head_alone_in_a_phase_of_the_head() -> None:
    place = Place(Phase(0, 2), 0)
    network = make_network()
    # Behind all stages, images are features.
    network.classifier = nn.Linear(3, CLASSES)
    one = make_run(place=place, network=network)
    at = {name: value.clone() for name, value in one.received.items()}
    found = one.run(rule("fedrep", "head_share=0.2")).weights
    network.load_state_dict(at, strict=False)
    expected = make_run(place=place, network=network).run(LocalRule()).weights
    assert found.keys() == {HEAD, BIAS}
    assert_same(found, expected)
    assert differs(found, at)


def test_fedreps_round_of_one_step_trains_both() -> None:
    found = make_run(steps=1).run(rule("fedrep")).weights
    assert_same(found, make_run(steps=1).run(LocalRule()).weights)


def own_model(seed: int) -> dict[str, Tensor]:
    return {
        f"own|{name}": value.detach().clone()
        for name, value in make_network(seed=seed).named_parameters()
    }


def test_ditto_sends_the_plain_weights_and_loss() -> None:
    done = make_run(memory=own_model(9)).run(rule("ditto", "strength=0.5"))
    assert_same(done.weights, plain().weights)
    assert done.loss == plain().loss
    assert not done.companions


def test_dittos_own_model_is_held_to_the_received_weights() -> None:
    at, own = start(), own_model(9)
    done = make_run(memory=own).run(rule("ditto", "strength=0.5"))
    v = {name.removeprefix("own|"): value for name, value in numbers(own).items()}
    held = descend(v, lambda w, slope, _: {n: g + 0.5 * (w[n] - at[n]) for n, g in slope.items()})
    assert_close(done.kept, {f"own|{name}": value for name, value in held.items()})


def test_ditto_without_strength_trains_the_own_model_alone() -> None:
    done = make_run(memory=own_model(9)).run(rule("ditto", "strength=0"))
    alone = make_run(network=make_network(seed=9)).run(LocalRule()).weights
    assert_same(done.kept, {f"own|{name}": value for name, value in alone.items()})


def test_dittos_own_model_starts_from_the_received_weights() -> None:
    done = make_run().run(rule("ditto", "strength=0"))
    assert_same(done.kept, {f"own|{name}": value for name, value in plain().weights.items()})


def test_dittos_own_model_takes_none_of_the_global_ones_moments() -> None:
    settings = SGD.model_copy(update={"momentum": 0.9, "keep_optimizer": True})
    done = make_run(settings=settings, memory=own_model(9)).run(rule("ditto", "strength=0"))
    alone = make_run(settings=settings, network=make_network(seed=9)).run(LocalRule())
    own = {n: v for n, v in done.kept.items() if n.startswith("own|")}
    assert_same(own, {f"own|{name}": value for name, value in alone.weights.items()})
    moments = make_run(settings=settings).run(LocalRule()).kept
    assert_same({n: v for n, v in done.kept.items() if n.startswith("optimizer|")}, moments)
