"""Who may take part: sites that agree on the task, each under a name of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest
from flwr.app import ConfigRecord, Message, MetricRecord, RecordDict

from common import wire
from common.errors import RoundError
from server.sum_strategy import SumStrategy

if TYPE_CHECKING:
    from common.site_info import SiteInfo
    from tests.server.conftest import Clock, Hospitals

StrategyOf = Callable[..., SumStrategy]


def _join(
    strategy: SumStrategy, hospitals: Hospitals, *, expected: int = 0, split_seed: int = 1
) -> dict[int, SiteInfo]:
    fingerprint = next(iter(hospitals.sites.values())).backbone.fingerprint
    return strategy.join(expected, fingerprint, split_seed)


def _says(field: str, value: object) -> Callable[[Message, Message], list[Message]]:
    """Forge one field of what a site tells when it joins."""

    def forge(message: Message, right: Message) -> list[Message]:
        record = right.content["config"]
        assert isinstance(record, ConfigRecord)
        record[field] = value  # type: ignore[assignment]
        return [right]

    return forge


def test_sites_are_returned_in_the_order_of_their_names(
    hospitals: Hospitals, strategy_of: StrategyOf
) -> None:
    joined = _join(strategy_of(hospitals.grid()), hospitals)
    assert list(joined) == [7, 3, 9, 5]
    site = hospitals.sites[9]
    train = (site.split == "train").sum()
    assert (joined[9].site, joined[9].images, joined[9].train) == ("molemax", 140, train)


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("backbone", "another", "its backbone is another, the run has"),
        ("split_seed", 2, "its split_seed is 2, the run has 1"),
        ("malignant", ["mel"], r"its malignant is \('mel',\), the run has \('bcc', 'mel'\)"),
        ("malignant", [""], r"its malignant is \(\), the run has \('bcc', 'mel'\)"),
        ("classes", ["nv", "mel", "bcc"], r"its classes is \('nv', 'mel', 'bcc'\), the run has"),
    ],
)
@pytest.mark.parametrize("name", ["dias", "rosendahl"])
def test_a_site_with_another_task_is_refused_and_named(
    hospitals: Hospitals,
    strategy_of: StrategyOf,
    name: str,
    field: str,
    value: object,
    reason: str,
) -> None:
    grid = hospitals.grid()
    node = hospitals.node(name)
    grid.tamper[node] = _says(field, value)
    with pytest.raises(RoundError, match=f"3 of 4 sites count, 4 are needed. {name}: {reason}"):
        _join(strategy_of(grid), hospitals)
    strategy = strategy_of(grid, quorum=3)
    assert node not in _join(strategy, hospitals)
    assert strategy.left_out.keys() == {name}


def test_an_empty_site_is_refused_and_named(hospitals: Hospitals, strategy_of: StrategyOf) -> None:
    site = hospitals.sites[7]
    none = {name: getattr(site, name)[:0] for name in ("rows", "x", "y", "group", "split", "kept")}
    hospitals.replace(7, **none, lesions=0)
    with pytest.raises(RoundError, match="dias: has no image"):
        _join(strategy_of(hospitals.grid()), hospitals)
    assert 7 not in _join(strategy_of(hospitals.grid(), quorum=3), hospitals)


def test_a_site_that_withholds_all_its_images_is_refused_as_an_empty_one(
    hospitals: Hospitals, strategy_of: StrategyOf
) -> None:
    hospitals.guard(25)
    strategy = strategy_of(hospitals.grid(), quorum=1)
    joined = _join(strategy, hospitals)
    # Only of `molemax` a class has as many images in one part.
    names = {site.name for site in hospitals.sites.values() if site.kept.any()}
    assert {info.site for info in joined.values()} == names
    assert strategy.left_out == dict.fromkeys(
        {"dias", "modern", "molemax", "rosendahl"} - names, "has no image"
    )


def test_two_nodes_of_one_name_end_the_run_naming_both(
    hospitals: Hospitals, strategy_of: StrategyOf
) -> None:
    hospitals.replace(9, name="dias")
    with pytest.raises(RoundError, match=r"nodes \[7, 9\] all say that they are site dias"):
        _join(strategy_of(hospitals.grid(), quorum=1), hospitals)


def test_without_a_node_the_run_ends_at_the_deadline_and_says_so(
    hospitals: Hospitals, strategy_of: StrategyOf, clock: Clock
) -> None:
    grid = hospitals.grid()
    grid.answers = {}
    with pytest.raises(RoundError, match="0 of 1 sites are online after 30 s"):
        _join(strategy_of(grid, deadline=30.0), hospitals)
    assert 30.0 <= clock.now < 31.0


def test_the_run_waits_for_the_sites_that_it_expects(
    hospitals: Hospitals, strategy_of: StrategyOf, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = hospitals.grid()

    def online() -> list[int]:
        return list(grid.answers)[: 1 + int(clock.now)]

    monkeypatch.setattr(grid, "get_node_ids", online)
    assert len(_join(strategy_of(grid), hospitals, expected=4)) == 4
    with pytest.raises(RoundError, match="4 of 5 sites are online after 600 s"):
        _join(strategy_of(grid), hospitals, expected=5)


def test_a_quorum_above_the_nodes_online_ends_the_run(
    hospitals: Hospitals, strategy_of: StrategyOf
) -> None:
    with pytest.raises(RoundError, match="4 of 4 sites count, 5 are needed"):
        _join(strategy_of(hospitals.grid(), quorum=5), hospitals)


def test_a_node_that_does_not_answer_is_named_by_its_number(
    hospitals: Hospitals, strategy_of: StrategyOf
) -> None:
    grid = hospitals.grid()
    grid.delay[9] = float("inf")
    with pytest.raises(RoundError, match="node 9: no reply within 600 s"):
        _join(strategy_of(grid), hospitals)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("images", -1),
        ("images", 10**18),
        ("images", 1.0),
        ("images", "60"),
        ("train", True),
        ("test", 1000),
        ("lesions", 61),
        ("split_seed", "1"),
        ("site", ""),
        ("site", 5),
        ("site", "x" * 201),
        ("site", "dias\x1b[2J"),
        ("site", "dias\nmolemax: left out"),
        ("site", "dias\u202esaid"),
        ("backbone", b"bytes"),
        ("classes", "nv"),
        ("classes", [1, 2]),
        ("classes", [""]),
        ("withheld", "train:nv"),
        ("withheld", [1]),
        ("withheld", ["train:nv", ""]),
        ("withheld", ["train:nv\x1b[2J"]),
        ("withheld", ["x" * 201]),
        ("withheld", ["train:nv"] * 10_001),
        ("patients", 12),
    ],
)
def test_a_site_that_tells_nonsense_is_refused(
    hospitals: Hospitals, strategy_of: StrategyOf, field: str, value: object
) -> None:
    grid = hospitals.grid()
    grid.tamper[7] = _says(field, value)
    strategy = strategy_of(grid, quorum=3)
    assert list(_join(strategy, hospitals)) == [3, 9, 5]
    assert strategy.left_out.keys() == {"node 7"}


@pytest.mark.parametrize(
    "content",
    [RecordDict(), RecordDict({"config": MetricRecord()}), RecordDict({"config": ConfigRecord()})],
)
def test_a_join_without_its_record_is_refused(
    hospitals: Hospitals, strategy_of: StrategyOf, content: RecordDict
) -> None:
    grid = hospitals.grid()
    grid.answers[7] = lambda message: Message(content, reply_to=message)
    strategy = strategy_of(grid, quorum=3)
    assert list(_join(strategy, hospitals)) == [3, 9, 5]
    assert strategy.left_out.keys() == {"node 7"}


def test_no_single_site_decides_what_the_classes_are(
    hospitals: Hospitals, strategy_of: StrategyOf
) -> None:
    # By its name it comes first, with images and without.
    hospitals.replace(7, name="aaa", classes=("cat", "dog"), malignant=("dog",))
    for images in (60, 0):
        site = hospitals.sites[7]
        few = {n: getattr(site, n)[:images] for n in ("rows", "x", "y", "group", "split", "kept")}
        hospitals.replace(7, **few, lesions=images)
        strategy = strategy_of(hospitals.grid(), quorum=3)
        assert list(_join(strategy, hospitals)) == [3, 9, 5]
        assert strategy.left_out.keys() == {"aaa"}


def test_a_site_that_calls_what_is_no_class_malignant_is_refused(
    hospitals: Hospitals, strategy_of: StrategyOf, reports: list[str]
) -> None:
    grid = hospitals.grid()
    grid.tamper[7] = _says("malignant", ["mel", "scc"])
    strategy = strategy_of(grid, quorum=3)
    assert list(_join(strategy, hospitals)) == [3, 9, 5]
    assert strategy.left_out == {"node 7": "malignant: names what is no class"}
    assert reports == ["join: node 7 left out: malignant: names what is no class"]


def test_sites_of_a_cohort_that_does_not_tell_malignant_classes_agree(
    hospitals: Hospitals, strategy_of: StrategyOf
) -> None:
    for node in hospitals.sites:
        hospitals.replace(node, malignant=())
    joined = _join(strategy_of(hospitals.grid()), hospitals)
    assert [info.malignant for info in joined.values()] == [()] * 4


def test_what_a_site_writes_reaches_the_log_as_one_short_line(
    hospitals: Hospitals, strategy_of: StrategyOf, reports: list[str]
) -> None:
    grid = hospitals.grid()
    text = "\x1b[2Jbalanced accuracy 1.0\nINFO: all is well\u202e" + "x" * 10**6
    grid.answers[7] = lambda message: wire.error_reply(text, "abc", message)
    grid.tamper[9] = _says("classes", ["y" * 199] * 5000)
    grid.tamper[5] = _says("z" * 10**6, 1)
    strategy = strategy_of(grid, quorum=1)
    assert list(_join(strategy, hospitals)) == [3]
    assert len(reports) == len(strategy.left_out) == 3
    for line in [*reports, *strategy.left_out.values()]:
        assert line.isprintable()
        assert len(line) < 400
    with pytest.raises(RoundError) as caught:
        _join(strategy_of(grid), hospitals)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1500


def test_the_counts_that_a_site_registers_are_those_of_its_split(
    hospitals: Hospitals, strategy_of: StrategyOf
) -> None:
    for node, info in _join(strategy_of(hospitals.grid()), hospitals).items():
        parts, counts = np.unique(hospitals.sites[node].split, return_counts=True)
        told = {"train": info.train, "validation": info.validation, "test": info.test}
        assert told == dict(zip(parts.tolist(), counts.tolist(), strict=True))
