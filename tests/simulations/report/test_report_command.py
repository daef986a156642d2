"""``dermafed report``: two files, whole or not at all, and errors that name what to do."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from common.errors import CohortError, OutputError, RunFolderError, SettingsError
from simulations.commands.report import report

RunFolder = Callable[..., Path]


@pytest.fixture
def copy(run_folder: RunFolder, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run_folder("simulate"), tmp_path / "run"))


def test_page_and_card_lie_in_the_run_folder(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report([copy])
    page, card = copy / "report.html", copy / "report-model-card.md"
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert card.read_text(encoding="utf-8").startswith("# Model card")
    assert capsys.readouterr().out.split() == [str(page), str(card)]
    assert page.stat().st_size < 5_000_000


def test_several_runs_make_one_page_where_the_user_is(
    run_folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    report([run_folder("simulate"), run_folder("simulate", "other")], no_images=True)
    assert (tmp_path / "report.html").is_file()
    assert (tmp_path / "report-model-card.md").is_file()


def test_a_page_that_is_there_is_kept_unless_told(copy: Path) -> None:
    (copy / "report-model-card.md").write_text("a person's words", encoding="utf-8")
    with pytest.raises(OutputError, match=r"report-model-card\.md: exists already"):
        report([copy])
    assert not (copy / "report.html").exists()
    report([copy], overwrite=True, no_images=True)
    assert "a person's words" not in (copy / "report-model-card.md").read_text(encoding="utf-8")


def test_nothing_is_written_where_a_run_is_damaged(copy: Path, tmp_path: Path) -> None:
    (copy / "result.json").write_text("{", encoding="utf-8")
    with pytest.raises(RunFolderError, match="damaged"):
        report([copy], out=tmp_path / "out" / "page.html")
    assert not (tmp_path / "out").exists()


def test_images_come_from_where_the_user_says(
    copy: Path, small_cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (copy / "result.json").read_text(encoding="utf-8")
    gone = text.replace(str(small_cohort), str(tmp_path / "gone"))
    (copy / "result.json").write_text(gone, encoding="utf-8")
    report([copy])
    assert "Without images" in capsys.readouterr().err
    assert "<img" not in (copy / "report.html").read_text(encoding="utf-8")
    report([copy], cohort=small_cohort, overwrite=True)
    assert (copy / "report.html").read_text(encoding="utf-8").count("<img") == 12
    with pytest.raises(CohortError):
        report([copy], cohort=tmp_path / "nowhere", overwrite=True)


def test_contradictions_are_refused(copy: Path, small_cohort: Path) -> None:
    with pytest.raises(SettingsError, match="stands twice"):
        report([copy, copy])
    with pytest.raises(SettingsError, match="--cohort is for images"):
        report([copy], cohort=small_cohort, no_images=True)
