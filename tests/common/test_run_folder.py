"""A run folder appears whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from common.errors import RunFolderError
from common.run_folder import check_run_folder, new_run_folder


def _fill(folder: Path, text: str) -> None:
    (folder / "result.json").write_text(text)
    (folder / "sub").mkdir()
    (folder / "sub" / "more.txt").write_text(text)


def _write(
    path: Path, text: str, *, overwrite: bool = False, then: Callable[[], object] | None = None
) -> None:
    with new_run_folder(path, overwrite=overwrite) as partial:
        _fill(partial, text)
        if then is not None:
            then()


def _raise(error: BaseException) -> Callable[[], object]:
    def fail() -> None:
        raise error

    return fail


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    path = tmp_path / "runs" / "one"
    with new_run_folder(path) as partial:
        _fill(partial, "old")
    return path


def test_a_folder_appears_when_the_body_ends(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "runs" / "one"
    with new_run_folder(path) as partial:
        assert not path.exists()
        assert partial.parent == path.parent
        _fill(partial, "new")
    assert (path / "sub" / "more.txt").read_text() == "new"
    assert _names(path.parent) == ["one"]
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o777 & ~umask


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, RuntimeError, MemoryError])
def test_nothing_is_left_when_the_body_fails(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error):
        _write(tmp_path / "one", "new", then=_raise(error()))
    assert _names(tmp_path) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_the_old_folder_stays_when_the_body_fails(
    finished: Path, error: type[BaseException]
) -> None:
    with pytest.raises(error):
        _write(finished, "new", overwrite=True, then=_raise(error()))
    assert (finished / "result.json").read_text() == "old"
    assert _names(finished.parent) == ["one"]


def test_the_old_folder_comes_back_when_the_new_one_cannot_take_its_place(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def fails_for_the_new(self: Path, target: Path) -> Path:
        if target == finished and not self.name.endswith(".replaced"):
            raise OSError(5, "Input/output error")
        return rename(self, target)

    with monkeypatch.context() as patch, pytest.raises(RunFolderError, match="Input/output error"):
        _write(
            finished,
            "new",
            overwrite=True,
            then=lambda: patch.setattr(Path, "rename", fails_for_the_new),
        )
    assert (finished / "result.json").read_text() == "old"
    assert _names(finished.parent) == ["one"]


def test_an_error_of_the_disk_names_the_folder(tmp_path: Path) -> None:
    with (
        pytest.raises(RunFolderError, match="one: cannot write it: No space left on device"),
        new_run_folder(tmp_path / "one"),
    ):
        raise OSError(28, "No space left on device")
    assert _names(tmp_path) == []


def test_an_existing_folder_is_refused_before_any_work(finished: Path) -> None:
    for use in (check_run_folder, lambda path, overwrite: _enter(path, overwrite=overwrite)):
        with pytest.raises(RunFolderError, match="exists already; choose another --out or give"):
            use(finished, overwrite=False)
    assert (finished / "result.json").read_text() == "old"


def _enter(path: Path, *, overwrite: bool) -> None:
    with new_run_folder(path, overwrite=overwrite):
        raise AssertionError("work was done")


def test_overwriting_replaces_the_whole_folder(finished: Path) -> None:
    with new_run_folder(finished, overwrite=True) as partial:
        (partial / "result.json").write_text("new")
    assert _names(finished) == ["result.json"]
    assert (finished / "result.json").read_text() == "new"
    assert _names(finished.parent) == ["one"]


def test_overwriting_takes_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    with new_run_folder(tmp_path / "one", overwrite=True) as partial:
        _fill(partial, "new")
    assert (tmp_path / "one" / "result.json").read_text() == "new"


def test_overwriting_spares_what_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    (tmp_path / "file").write_text("also")
    for name in ("thesis", "file"):
        with pytest.raises(RunFolderError, match="is not the folder of a run"):
            _enter(tmp_path / name, overwrite=True)
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "years of work"
    assert (tmp_path / "file").read_text() == "also"


def test_a_folder_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "one"

    def appear() -> None:
        path.mkdir()
        (path / "result.json").write_text("another run's")

    with pytest.raises(RunFolderError, match="exists already"):
        _write(path, "new", then=appear)
    assert (path / "result.json").read_text() == "another run's"
    assert _names(tmp_path) == ["one"]


def test_overwriting_a_link_leaves_what_it_points_at(finished: Path) -> None:
    link = finished.with_name("latest")
    link.symlink_to(finished)
    with new_run_folder(link, overwrite=True) as partial:
        _fill(partial, "new")
    assert (link / "result.json").read_text() == "new"
    assert (finished / "result.json").read_text() == "old"
    assert _names(finished.parent) == ["latest", "one"]


def test_a_name_as_long_as_the_system_allows_is_taken(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)
    with new_run_folder(path) as partial:
        _fill(partial, "new")
    assert (path / "result.json").exists()


@pytest.mark.parametrize("name", ["x" * 256, "file/one"])
def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunFolderError) as caught:
        _enter(tmp_path / name, overwrite=False)
    assert str(caught.value).startswith(str(tmp_path / name))
