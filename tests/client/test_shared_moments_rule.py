"""Moments that sites share: by PyTorch's own AdamW, and bit for bit with those that stay."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from common import wire
from common.errors import ContributionError, SettingsError
from common.finetuning.order import Update
from common.finetuning.plan import Phase, Place
from common.finetuning.strategies import training_of
from common.finetuning.travel import Travel
from tests.client.linear_round import (
    RATE,
    SGD,
    STEPS,
    TRUNK,
    assert_close,
    assert_same,
    loss_and_slope,
    make_network,
    make_run,
    numbers,
    rule,
    start,
)

ADAM = SGD.model_copy(
    update={
        "optimizer": "adamw",
        "weight_decay": 0.02,
        "keep_optimizer": True,
        "lr": 0.01,
        "head_lr": 0.01,
    }
)
FIRST, SECOND = Place(Phase(1, 8), 0), Place(Phase(1, 8), 1)


def moments(value: float = 0.0) -> dict[str, Tensor]:
    return {
        f"{moment}|{name}": torch.full_like(parameter, value)
        for moment in ("exp_avg", "exp_avg_sq")
        for name, parameter in make_network().named_parameters()
    }


def test_a_site_alone_trains_as_with_moments_of_its_own_to_the_bit() -> None:
    own = make_run(settings=ADAM, place=FIRST).run(rule("fedavg"))
    sent = make_run(settings=ADAM, place=FIRST, companions=moments()).run(rule("shared-moments"))
    assert_same(sent.weights, own.weights)
    networks = [make_network(), make_network()]
    for network, done in zip(networks, (own, sent), strict=True):
        network.load_state_dict(done.weights)
    own = make_run(settings=ADAM, place=SECOND, network=networks[0], memory=own.kept).run(
        rule("fedavg")
    )
    sent = make_run(
        settings=ADAM, place=SECOND, network=networks[1], companions=sent.companions
    ).run(rule("shared-moments"))
    assert_same(sent.weights, own.weights)


def test_it_goes_on_from_the_moments_that_it_is_sent_as_pytorch_does() -> None:
    sent = moments(0.25)
    done = make_run(settings=ADAM, place=SECOND, companions=sent).run(rule("shared-moments"))
    weights = {name: torch.tensor(value) for name, value in start().items()}
    optimizer = torch.optim.AdamW(list(weights.values()), lr=0.01, weight_decay=0.02)
    for name, weight in weights.items():
        optimizer.state[weight] = {
            "step": torch.tensor(float(STEPS)),
            "exp_avg": sent[f"exp_avg|{name}"].double(),
            "exp_avg_sq": sent[f"exp_avg_sq|{name}"].double(),
        }
    for step in range(STEPS):
        slope = loss_and_slope(numbers(weights), step)[1]
        for name, weight in weights.items():
            weight.grad = torch.tensor(slope[name])
        optimizer.step()
    assert_close(done.weights, numbers(weights))
    for name, weight in weights.items():
        for moment in ("exp_avg", "exp_avg_sq"):
            torch.testing.assert_close(
                done.companions[f"{moment}|{name}"].double(),
                optimizer.state[weight][moment],
                rtol=1e-4,
                atol=1e-7,
            )


def test_nothing_that_is_shared_is_kept_at_the_site() -> None:
    done = make_run(settings=ADAM, companions=moments()).run(rule("shared-moments"))
    assert done.kept == {}
    some = {name: value for name, value in moments().items() if not name.endswith(TRUNK)}
    done = make_run(settings=ADAM, companions=some).run(rule("shared-moments"))
    assert {key.rpartition("|")[2] for key in done.kept} == {TRUNK}


def test_a_negative_mean_square_is_refused() -> None:
    travel = Travel(make_network(), 1, "frozen", "shared-moments")
    spec = {**travel.weights, **travel.companions}
    arrays = {n: v.numpy() for n, v in {**make_network().state_dict(), **moments()}.items()}
    content = wire.encode_update(Update(arrays, 1, 0.5))
    assert wire.decode_update(content, spec).arrays.keys() == spec.keys()
    arrays[f"exp_avg|{TRUNK}"] = arrays[f"exp_avg|{TRUNK}"] - RATE
    wire.decode_update(wire.encode_update(Update(arrays, 1, 0.5)), spec)
    arrays[f"exp_avg_sq|{TRUNK}"] = arrays[f"exp_avg_sq|{TRUNK}"] - RATE
    with pytest.raises(ContributionError, match="exp_avg_sq"):
        wire.decode_update(wire.encode_update(Update(arrays, 1, 0.5)), spec)


def test_sgd_has_no_moments_to_share() -> None:
    with pytest.raises(SettingsError, match="use adamw"):
        training_of("shared-moments", "optimizer=sgd")
