"""A study's progress where output is no terminal: lines, for who reads a log."""

from __future__ import annotations

import time

import pytest

from common.console import messages
from simulations.studies import screen


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_a_long_extraction_says_how_long_it_will_take(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with screen.screen(messages()) as display:
        report = display.images("features of resnet18")
        for second in range(0, 25, 5):
            clock[0] = float(second)
            report(second, 40)
    assert capsys.readouterr().err.split("\n")[:2] == [
        "features of resnet18: 10 of 40 done, about 30 s left",
        "features of resnet18: 20 of 40 done, about 20 s left",
    ]


def test_features_that_are_kept_already_say_nothing(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with screen.screen(messages()) as display:
        display.images("features")(40, 40)
    assert not capsys.readouterr().err.strip()


def test_the_last_piece_is_always_told(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with screen.screen(messages()) as display:
        report = display.pieces("fits")
        report(0, 2, ["ridge"])
        report(2, 2, [])
    assert capsys.readouterr().err.strip() == "fits: 2 of 2 done"
