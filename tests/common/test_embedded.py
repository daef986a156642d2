from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import SourceError
from common.features import no_progress
from common.sources import embedded


def test_the_cohort_is_drawn_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Path] = []

    def draw(folder: Path, **_settings: object) -> None:
        folder.mkdir()
        drawn.append(folder)

    monkeypatch.setattr(embedded, "write_synthetic", draw)
    first = embedded.embedded_cohort(tmp_path, no_progress)
    assert embedded.embedded_cohort(tmp_path, no_progress) == first
    assert drawn == [first]


def test_one_that_another_process_finishes_meanwhile_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose_the_race(folder: Path, **_settings: object) -> None:
        folder.mkdir()
        raise SourceError("not empty")

    monkeypatch.setattr(embedded, "write_synthetic", lose_the_race)
    assert embedded.embedded_cohort(tmp_path, no_progress).is_dir()


def test_a_drawing_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_folder: Path, **_settings: object) -> None:
        raise SourceError("the disk is full")

    monkeypatch.setattr(embedded, "write_synthetic", fail)
    with pytest.raises(SourceError, match="the disk is full"):
        embedded.embedded_cohort(tmp_path, no_progress)
