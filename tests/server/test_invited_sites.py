"""Only invited sites take part, each under the name that its key was registered for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from flwr.app import ConfigRecord, Message

from common.errors import DeploymentError, RoundError
from common.settings import RunSettings
from server.deployment.registry import Member, invited, read_registry, write_registry
from server.federation import run_federation
from server.sum_strategy import SumStrategy

if TYPE_CHECKING:
    from common.site_info import SiteInfo
    from tests.server.conftest import Clock, Hospitals

StrategyOf = Callable[..., SumStrategy]
# By node, as the fixture `hospitals` has it.
ALL = {7: "dias", 3: "modern", 9: "molemax", 5: "rosendahl"}


def _join(
    strategy: SumStrategy, hospitals: Hospitals, registered: Mapping[int, str] | None
) -> dict[int, SiteInfo]:
    fingerprint = hospitals.sites[9].backbone.fingerprint
    return strategy.join(0, fingerprint, 1, (), registered)


def test_sites_under_their_registered_names_take_part(
    hospitals: Hospitals, strategy_of: StrategyOf
) -> None:
    joined = _join(strategy_of(hospitals.grid()), hospitals, ALL)
    assert {node: info.site for node, info in joined.items()} == ALL


def test_an_invited_site_that_is_not_there_is_no_stranger_and_named(
    hospitals: Hospitals, strategy_of: StrategyOf
) -> None:
    strategy = strategy_of(hospitals.grid())
    joined = _join(strategy, hospitals, {**ALL, 77: "vidir"})
    assert len(joined) == 4
    assert strategy.left_out == {"vidir": "was not online when the run began"}


def test_after_the_deadline_a_quorum_of_the_expected_sites_is_enough(
    hospitals: Hospitals, strategy_of: StrategyOf, clock: Clock
) -> None:
    fingerprint = hospitals.sites[9].backbone.fingerprint
    grid = hospitals.grid()
    del grid.answers[9]
    strategy = strategy_of(grid, quorum=3, deadline=30.0)
    assert list(strategy.join(4, fingerprint, 1, (), ALL)) == [7, 3, 5]
    assert strategy.left_out == {"molemax": "was not online when the run began"}
    assert 30.0 <= clock.now < 31.0
    for quorum in (0, 4):
        with pytest.raises(RoundError, match="3 of 4 sites are online after 30 s"):
            strategy_of(grid, quorum=quorum, deadline=30.0).join(4, fingerprint, 1, (), ALL)


def test_a_site_that_says_nothing_at_all_is_named_by_its_key(
    hospitals: Hospitals, strategy_of: StrategyOf
) -> None:
    grid = hospitals.grid()
    grid.tamper[9] = lambda _message, _right: []
    strategy = strategy_of(grid, quorum=3, deadline=30.0)
    assert list(_join(strategy, hospitals, ALL)) == [7, 3, 5]
    assert strategy.left_out == {"molemax": "no reply within 30 s"}


def test_a_node_whose_key_is_anothers_is_refused_by_name(
    hospitals: Hospitals, strategy_of: StrategyOf, reports: list[str]
) -> None:
    strategy = strategy_of(hospitals.grid(), quorum=3)
    joined = _join(strategy, hospitals, {**ALL, 7: "vidir"})
    assert list(joined) == [3, 9, 5]
    reason = "says that it is dias, but its key is vidir's"
    assert strategy.left_out == {"vidir": reason}
    assert reports == [f"join: vidir left out: {reason}"]


@pytest.mark.parametrize("quorum", [0, 4])
def test_the_quorum_counts_without_an_impostor(
    hospitals: Hospitals, strategy_of: StrategyOf, quorum: int
) -> None:
    registered = {**ALL, 7: "vidir"}
    with pytest.raises(RoundError, match=r"3 of 4 sites count, 4 are needed\. vidir: says that"):
        _join(strategy_of(hospitals.grid(), quorum=quorum), hospitals, registered)


# A stranger: its key is with Flower, but it is no site of the run.


@pytest.mark.parametrize("quorum", [0, 3])
def test_a_stranger_is_named_and_asked_nothing_and_the_invited_sites_go_on(
    hospitals: Hospitals, strategy_of: StrategyOf, reports: list[str], quorum: int
) -> None:
    grid = hospitals.grid()
    strategy = strategy_of(grid, quorum=quorum)
    joined = _join(strategy, hospitals, {n: name for n, name in ALL.items() if n != 7})
    assert list(joined) == [3, 9, 5]
    assert strategy.left_out == {"node 7": "its key is no invited site's"}
    assert reports == ["join: node 7 left out: its key is no invited site's"]
    assert grid.kinds_asked(7) == []


def test_a_quorum_that_needs_the_stranger_is_not_met(
    hospitals: Hospitals, strategy_of: StrategyOf
) -> None:
    registered = {n: name for n, name in ALL.items() if n != 7}
    with pytest.raises(RoundError, match="3 of 3 sites count, 4 are needed"):
        _join(strategy_of(hospitals.grid(), quorum=4), hospitals, registered)


def test_a_stranger_does_not_stand_in_for_a_site_that_is_waited_for(
    hospitals: Hospitals, strategy_of: StrategyOf
) -> None:
    strategy = strategy_of(hospitals.grid(), deadline=5.0)
    fingerprint = hospitals.sites[9].backbone.fingerprint
    registered = {**{n: name for n, name in ALL.items() if n != 7}, 77: "dias"}
    with pytest.raises(RoundError, match="3 of 4 sites are online after 5 s"):
        strategy.join(4, fingerprint, 1, (), registered)


def test_an_impostor_does_not_turn_out_the_site_that_it_poses_as(
    hospitals: Hospitals, strategy_of: StrategyOf
) -> None:
    hospitals.replace(9, name="dias")
    with pytest.raises(RoundError, match=r"nodes \[7, 9\] all say that they are site dias"):
        _join(strategy_of(hospitals.grid(), quorum=3), hospitals, None)
    strategy = strategy_of(hospitals.grid(), quorum=3)
    joined = _join(strategy, hospitals, ALL)
    assert {node: info.site for node, info in joined.items()} == {
        7: "dias",
        3: "modern",
        5: "rosendahl",
    }
    assert strategy.left_out == {"molemax": "says that it is dias, but its key is molemax's"}


def test_two_sites_that_swap_their_names_are_both_refused(
    hospitals: Hospitals, strategy_of: StrategyOf
) -> None:
    hospitals.replace(9, name="dias")
    hospitals.replace(7, name="molemax")
    strategy = strategy_of(hospitals.grid(), quorum=2)
    assert list(_join(strategy, hospitals, ALL)) == [3, 5]
    assert strategy.left_out.keys() == {"dias", "molemax"}


@pytest.mark.parametrize("name", ["Dias", "dias ", "dia\u0455", "dias.", "d"])
def test_a_name_that_only_looks_like_the_registered_one_is_another(
    hospitals: Hospitals, strategy_of: StrategyOf, name: str
) -> None:
    hospitals.replace(7, name=name)
    strategy = strategy_of(hospitals.grid(), quorum=3)
    assert list(_join(strategy, hospitals, ALL)) == [3, 9, 5]


def test_an_impostors_classes_are_not_counted_in_the_task(
    hospitals: Hospitals, strategy_of: StrategyOf
) -> None:
    def forge(_message: Message, right: Message) -> list[Message]:
        record = right.content["config"]
        assert isinstance(record, ConfigRecord)
        record["classes"] = ["cat", "dog", "mel"]
        record["malignant"] = ["mel"]
        return [right]

    # Two impostors and one invited site: by their votes, it would be the one turned out.
    del hospitals.sites[5]
    grid = hospitals.grid()
    grid.tamper = {7: forge, 3: forge}
    strategy = strategy_of(grid, quorum=1)
    assert list(_join(strategy, hospitals, {9: "molemax", 7: "a", 3: "b"})) == [9]


def test_without_a_registry_names_are_believed(
    hospitals: Hospitals, strategy_of: StrategyOf
) -> None:
    hospitals.replace(7, name="anyone")
    joined = _join(strategy_of(hospitals.grid()), hospitals, None)
    assert {info.site for info in joined.values()} == {"anyone", "modern", "molemax", "rosendahl"}
    assert invited(RunSettings()) is None


def _write(path: Path, registered: Mapping[int, str]) -> None:
    write_registry(
        path, tuple(Member(site=name, node_id=node, key="") for node, name in registered.items())
    )


def test_a_run_takes_the_registry_that_its_settings_name(
    hospitals: Hospitals, tmp_path: Path
) -> None:
    registry, out = tmp_path / "sites.json", tmp_path / "out"
    _write(registry, {**ALL, 7: "vidir"})
    out.mkdir()
    settings = RunSettings(
        backbone="tiny", learner_settings="calibrate=none", quorum=3, registry=str(registry)
    )
    grid = hospitals.grid(learner_settings="calibrate=none")
    result = run_federation(grid, settings, out, print)
    assert list(result["test"]["sites"]) == ["modern", "molemax", "rosendahl"]
    assert result["partition"]["left_out"].keys() == {"vidir"}
    # Who was refused is asked nothing more.
    assert grid.kinds_asked(7) == ["query.join"]


def test_a_registry_in_which_nobody_is_lets_nobody_in(
    hospitals: Hospitals, strategy_of: StrategyOf, tmp_path: Path
) -> None:
    settings = RunSettings(registry=str(tmp_path / "sites.json"))
    with pytest.raises(RoundError, match="0 of 1 sites are online"):
        _join(strategy_of(hospitals.grid(), quorum=1), hospitals, invited(settings))


def test_the_registry_is_read_as_written_in_the_order_of_names(tmp_path: Path) -> None:
    path = tmp_path / "sites.json"
    # Flower's numbers need 64 bits, without a sign.
    registered = {2**64 - 1: "zurich", 3: "Bern", 2**53 + 1: "aarau"}
    _write(path, registered)
    assert [member.site for member in read_registry(path)] == ["Bern", "aarau", "zurich"]
    assert invited(RunSettings(registry=str(path))) == registered


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[1]",
        b'[{"site": "a/b", "node_id": 1, "key": ""}]',
        b'[{"site": "a"}]',
        b"\xff",
    ],
)
def test_a_damaged_registry_ends_the_run_and_lets_nobody_in(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "sites.json"
    path.write_bytes(content)
    with pytest.raises(DeploymentError, match=r"sites\.json: damaged"):
        invited(RunSettings(registry=str(path)))
