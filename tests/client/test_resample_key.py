"""The key that a site draws its resamples by: its own, and told to nobody."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Context, Message, RecordDict

from client.app import app
from client.node import site_of_node
from client.site import Site
from common import wire
from common.errors import SettingsError
from common.learners import make_learner
from common.learners.base import Problem
from common.metrics import seed_key

if TYPE_CHECKING:
    from flwr.app.user_config import UserConfigValue
    from numpy.typing import NDArray

    from tests.client.conftest import Asker

KEY = "Xq7-only-this-hospital-knows"
WriteCachedCohort = Callable[..., Path]
AskerOf = Callable[..., "Asker"]


@pytest.fixture
def node(write_cached_cohort: WriteCachedCohort) -> dict[str, UserConfigValue]:
    root = write_cached_cohort({"dias": 900})
    return {"cohort": str(root), "site": "dias", "cache": str(root / "cache")}


def _site(node: dict[str, UserConfigValue], **run: UserConfigValue) -> Site:
    config: dict[str, UserConfigValue] = {"backbone": "tiny", **run}
    return site_of_node(
        Context(run_id=1, node_id=4, node_config=node, state=RecordDict(), run_config=config)
    )


def _question(node: dict[str, UserConfigValue]) -> RecordDict:
    """Ask for the evaluation of a model that the site's own images give."""
    site = _site(node)
    learner = make_learner("ridge", Problem(site.classes, site.backbone.dimension))
    state = learner.start()
    while not state.done:
        data = site.part(learner.part(state.stage))
        state = learner.update(state, learner.contribute(data, state))
    return wire.encode_state(state)


def _arrays(reply: Message) -> dict[str, NDArray[Any]]:
    record = reply.content["arrays"]
    assert isinstance(record, ArrayRecord)
    return {name: array.numpy() for name, array in record.items()}


def _text(reply: Message) -> str:
    """All that a reply carries, as text and as bytes."""
    parts = [repr(reply.metadata), repr(reply.__dict__)]
    for record in reply.content.values() if reply.has_content() else ():
        parts += [repr(dict(record))]
        parts += [str(bytes(v.data)) for v in record.values() if isinstance(v, Array)]
    return "\n".join(parts)


def _twice(
    asker_of: AskerOf, node: dict[str, UserConfigValue]
) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    question, ask = _question(node), asker_of(app)
    ask.node_config = node
    first, second = (_arrays(ask(wire.EVALUATE, question)) for _ in range(2))
    for name in first:
        if not name.startswith("drawn_"):
            np.testing.assert_array_equal(first[name], second[name])
    return first, second


def _drawn(arrays: dict[str, NDArray[Any]]) -> dict[str, bytes]:
    return {name: a.tobytes() for name, a in arrays.items() if name.startswith("drawn_")}


def test_asking_again_gives_a_coordinator_no_further_draws(
    asker_of: AskerOf, node: dict[str, UserConfigValue]
) -> None:
    first, second = (_drawn(arrays) for arrays in _twice(asker_of, node))
    assert len(first) == 5
    assert all(any(array) for array in first.values()), "nothing is drawn"
    assert first == second


def test_a_sites_own_key_is_made_of_its_features(node: dict[str, UserConfigValue]) -> None:
    site = _site(node)
    assert site.resample_key == blake2b(site.x.tobytes(), digest_size=16).digest()


def test_with_a_key_a_site_draws_alike_each_time_and_unlike_the_labs_seed(
    asker_of: AskerOf, node: dict[str, UserConfigValue]
) -> None:
    first, second = _twice(asker_of, {**node, "resample-key": KEY})
    assert _drawn(first) == _drawn(second)
    other, _ = _twice(asker_of, {**node, "resample-key": KEY + "."})
    assert _drawn(first) != _drawn(other)


def test_a_run_cannot_choose_a_real_sites_key(node: dict[str, UserConfigValue]) -> None:
    keyed = {**node, "resample-key": KEY}
    assert _site(keyed, seed=3).resample_key == KEY.encode()
    assert _site({**keyed, "partition-id": 0, "num-partitions": 1}).resample_key == KEY.encode()
    keys = {_site(node, seed=3).resample_key for _ in range(3)}
    assert len(keys) == 1
    assert seed_key(3) not in keys
    assert min(map(len, keys)) >= 16
    with pytest.raises(SettingsError, match="resample-key"):
        _site(node, **{"resample-key": KEY})


def test_simulated_sites_share_the_key_of_the_runs_seed(node: dict[str, UserConfigValue]) -> None:
    run = {"cohort": node["cohort"], "cache": node["cache"], "seed": 3}
    site = _site({"partition-id": 0, "num-partitions": 1}, **run)
    assert site.resample_key == seed_key(3)


@pytest.mark.parametrize("key", ["", "short", "x" * 15, 1234567890123456, True, 0.5])
def test_a_key_that_could_be_guessed_lets_nothing_leave_and_is_not_shown(
    asker_of: AskerOf,
    node: dict[str, UserConfigValue],
    caplog: pytest.LogCaptureFixture,
    key: UserConfigValue,
) -> None:
    with pytest.raises(SettingsError, match="resample-key: give 16 characters or more") as caught:
        _site({**node, "resample-key": key})
    assert not str(key) or str(key) not in str(caught.value)
    ask = asker_of(app)
    ask.node_config = {**node, "resample-key": key}
    for kind in (wire.JOIN, wire.EVALUATE):
        reply = ask(kind)
        assert not reply.has_content()
        assert str(reply.error.reason).startswith("SettingsError")
    assert "resample-key" in caplog.text
    assert not str(key) or str(key) not in caplog.text


def test_the_key_is_in_no_reply_log_or_text_of_a_site(
    asker_of: AskerOf, node: dict[str, UserConfigValue], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    question, ask = _question(node), asker_of(app)
    ask.node_config = {**node, "resample-key": KEY}
    replies = [ask(wire.JOIN), ask(wire.EVALUATE, question), ask(wire.EVALUATE, RecordDict())]
    assert [reply.has_content() for reply in replies] == [True, True, False]
    site = _site(ask.node_config)
    # Settings, and a cohort that is not there, are refused with the key at hand.
    ask.run_config["seed"] = -1
    replies.append(ask(wire.EVALUATE, question))
    ask.node_config = {**ask.node_config, "cohort": "nowhere", "mistyped": 1}
    replies.append(ask(wire.JOIN))
    assert replies[-1].has_error()
    texts = [*map(_text, replies), caplog.text, repr(site), str(site), repr(site.info())]
    assert not any(KEY in text for text in texts)
    # The text of a site would show it otherwise.
    assert replace(site, name=KEY).name in repr(replace(site, name=KEY))
    assert ask.state == RecordDict()


@pytest.mark.parametrize("draws", [0, 7])
def test_a_site_draws_as_often_as_the_run_asks(
    asker_of: AskerOf, node: dict[str, UserConfigValue], draws: int
) -> None:
    question, ask = _question(node), asker_of(app)
    ask.node_config = node
    ask.run_config["draws"] = draws
    arrays = _arrays(ask(wire.EVALUATE, question))
    assert {len(a) for name, a in arrays.items() if name.startswith("drawn_")} == {draws}
