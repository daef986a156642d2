"""The registry of rules, and rules that change gradients or losses only."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from client.training.rules import _PLAIN, make_rule
from client.training.rules.base import LocalRule
from client.training.rules.fair import Fair
from common.errors import SettingsError
from common.finetuning.strategies import (
    STRATEGIES,
    SharpnessSettings,
    StrategySettings,
)
from tests.client.linear_round import (
    RATE,
    SGD,
    STEPS,
    TRUNK,
    WIDTH,
    Stacked,
    assert_close,
    assert_same,
    descend,
    differs,
    loss_and_slope,
    make_batches,
    make_network,
    make_run,
    numbers,
    plain,
    rule,
    start,
)


def test_every_strategy_has_a_rule_and_only_the_named_ones_are_fedavgs() -> None:
    made = {name: type(rule(name)) for name in STRATEGIES}
    assert {name for name, kind in made.items() if kind is LocalRule} == set(_PLAIN)
    changed = [kind for kind in made.values() if kind is not LocalRule]
    assert len(set(changed)) == len(changed) == 8


def test_an_unknown_strategy_has_no_rule() -> None:
    with pytest.raises(SettingsError, match="fedmagic"):
        make_rule("fedmagic", StrategySettings())


def test_a_rule_takes_no_other_strategys_settings() -> None:
    with pytest.raises(TypeError, match="ProximalSettings"):
        make_rule("fedprox", SharpnessSettings())


def test_the_plain_rule_is_sgd_by_hand() -> None:
    assert_close(plain().weights, descend(start()))


def test_fedprox_adds_mu_times_the_distance_from_the_received_weights() -> None:
    at = start()
    found = make_run().run(rule("fedprox", "mu=0.7")).weights
    assert_close(
        found,
        descend(at, lambda w, slope, _: {n: g + 0.7 * (w[n] - at[n]) for n, g in slope.items()}),
    )
    assert differs(found, plain().weights)


def test_fedprox_without_mu_is_plain_to_the_bit() -> None:
    assert_same(make_run().run(rule("fedprox", "mu=0")).weights, plain().weights)


def test_fedprox_leaves_a_sites_own_norms_alone() -> None:
    settings = SGD.model_copy(update={"norm": "local"})
    own, shared = "trunk.0.1.weight", "trunk.0.0.weight"
    run = make_run(settings=settings, network=make_network(norm=True))
    with torch.no_grad():
        for parameter in run.parameters.values():
            parameter.grad = torch.zeros_like(parameter)
            parameter.add_(1.0)
    rule("fedprox", "mu=5").correct(run)
    slopes = {name: p.grad for name, p in run.parameters.items() if p.grad is not None}
    assert torch.equal(slopes[own], torch.zeros(WIDTH))
    torch.testing.assert_close(slopes[shared], torch.full((WIDTH, 3, 1, 1), 5.0))


def controls(seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        f"control|{name}": torch.randn(value.shape, generator=generator) * 0.1
        for name, value in make_network().named_parameters()
    }


def test_scaffold_without_variates_is_plain_in_its_first_round() -> None:
    zeros = {name: torch.zeros_like(value) for name, value in controls(1).items()}
    done = make_run(companions=zeros).run(rule("scaffold"))
    assert_same(done.weights, plain().weights)
    assert_same(done.companions, done.kept)


def test_scaffold_steps_along_the_corrected_slope() -> None:
    overall, own = controls(1), controls(2)
    c, c_i = numbers(overall), numbers(own)
    done = make_run(companions=overall, memory=own).run(rule("scaffold"))
    expected = descend(
        start(),
        lambda _w, slope, _step: {
            n: g + c[f"control|{n}"] - c_i[f"control|{n}"] for n, g in slope.items()
        },
    )
    assert_close(done.weights, expected)


def test_scaffolds_new_variate_is_option_two_of_the_paper_under_plain_sgd() -> None:
    overall, own = controls(1), controls(2)
    c, c_i, x = numbers(overall), numbers(own), start()
    done = make_run(companions=overall, memory=own).run(rule("scaffold"))
    y = numbers(done.weights)
    new = {
        f"control|{n}": c_i[f"control|{n}"] - c[f"control|{n}"] + (x[n] - y[n]) / (STEPS * RATE)
        for n in x
    }
    assert_close(done.kept, new)
    assert_close(done.companions, {name: value - c_i[name] for name, value in new.items()})


def test_scaffolds_variate_is_of_raw_gradients_whatever_the_optimiser_clips() -> None:
    zeros = {name: torch.zeros_like(value) for name, value in controls(1).items()}
    settings = SGD.model_copy(update={"clip": 1e-9})
    done = make_run(settings=settings, companions=zeros).run(rule("scaffold"))
    # Steps are so short that all slopes are those of the received weights.
    slopes = [loss_and_slope(start(), step)[1] for step in range(STEPS)]
    mean = {f"control|{n}": np.mean([s[n] for s in slopes], axis=0) for n in slopes[0]}
    assert_close(done.kept, mean)


def test_a_scaffold_array_that_is_new_in_a_phase_starts_from_no_variate() -> None:
    overall, own = controls(1), controls(2)
    del own[f"control|{TRUNK}"]
    done = make_run(companions=overall, memory=own).run(rule("scaffold"))
    key = f"control|{TRUNK}"
    assert torch.equal(done.companions[key], done.kept[key])
    zero = {**own, key: torch.zeros_like(overall[key])}
    assert_same(
        done.weights, make_run(companions=overall, memory=zero).run(rule("scaffold")).weights
    )


def test_scaffold_corrects_nothing_that_does_not_travel() -> None:
    overall = controls(1)
    del overall[f"control|{TRUNK}"]
    done = make_run(companions=overall).run(rule("scaffold"))
    assert done.kept.keys() == done.companions.keys() == overall.keys()
    c = numbers(overall)
    expected = descend(
        start(), lambda _w, s, _step: {n: g + c.get(f"control|{n}", 0.0) for n, g in s.items()}
    )
    assert_close(done.weights, expected)


def test_qfedavg_reports_the_loss_before_any_step_and_trains_plainly() -> None:
    done = make_run().run(rule("qfedavg"))
    assert_same(done.weights, plain().weights)
    network, y = make_network(), make_batches().y
    with torch.no_grad():
        logits = network(Stacked().images)
    expected = nn.functional.cross_entropy(logits, torch.from_numpy(y))
    assert done.loss == pytest.approx(float(expected), rel=1e-5)
    assert done.loss != pytest.approx(plain().loss, rel=1e-3)


def test_qfedavg_takes_at_most_256_images(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    run = make_run()

    def sample_loss(images: int) -> float:
        asked.append(images)
        return 0.25

    monkeypatch.setattr(run, "sample_loss", sample_loss)
    assert run.run(rule("qfedavg")).loss == 0.25
    assert asked == [256]


def test_qfedavgs_loss_is_of_the_statistics_that_came_and_leaves_them() -> None:
    settings = SGD.model_copy(update={"norm": "aggregated"})
    network = make_network(norm=True)
    run = make_run(settings=settings, network=network)
    training = [module.training for module in network.modules()]
    fair = Fair()
    fair.begin(run)
    assert [module.training for module in network.modules()] == training
    assert any(training)
    assert torch.equal(network.get_buffer("trunk.0.1.running_mean"), torch.zeros(WIDTH))
    with torch.no_grad():
        logits = network.eval()(Stacked().images)
    expected = nn.functional.cross_entropy(logits, torch.from_numpy(make_batches().y))
    assert fair.finish(run, 7.0)[1] == pytest.approx(float(expected), rel=1e-5)
