"""A file appears whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import OutputError
from common.whole_file import check_output, whole_file


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _write(path: Path, text: str, error: BaseException) -> None:
    with whole_file(path) as partial:
        partial.write_text(text)
        raise error


def test_a_file_appears_when_the_body_ends(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "out.csv"
    with whole_file(path) as partial:
        partial.write_text("new")
        assert not path.exists()
        assert partial.suffix == ".csv"
    assert path.read_text() == "new"
    assert _names(path.parent) == ["out.csv"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, RuntimeError])
def test_nothing_is_left_and_the_old_stays_when_the_body_fails(
    tmp_path: Path, error: type[BaseException]
) -> None:
    for before in ([], ["out.csv"]):
        for name in before:
            (tmp_path / name).write_text("old")
        with pytest.raises(error):
            _write(tmp_path / "out.csv", "half", error())
        assert _names(tmp_path) == before
    assert (tmp_path / "out.csv").read_text() == "old"


def test_an_old_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("old")
    with whole_file(tmp_path / "out") as partial:
        partial.write_text("new")
    assert (tmp_path / "out").read_text() == "new"


def test_a_body_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=r"out\.csv: cannot write it"),
        whole_file(tmp_path / "out.csv"),
    ):
        pass


def test_an_error_of_the_disk_names_the_file(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=r"out\.csv: cannot write it: No space left"),
        whole_file(tmp_path / "out.csv"),
    ):
        raise OSError(28, "No space left on device")
    assert _names(tmp_path) == []


def test_a_name_as_long_as_the_system_allows_is_taken(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 251 + ".csv")
    with whole_file(path) as partial:
        partial.write_text("new")
    assert path.read_text() == "new"


def test_an_existing_file_is_refused_unless_it_may_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    check_output(path, overwrite=False)
    path.touch()
    with pytest.raises(OutputError, match="exists already; choose another --out or give"):
        check_output(path, overwrite=False)
    check_output(path, overwrite=True)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_is_no_file(tmp_path: Path, overwrite: bool) -> None:
    with pytest.raises(OutputError, match="is a folder"):
        check_output(tmp_path, overwrite=overwrite)


def test_a_name_that_is_too_long_is_named(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 256)
    with pytest.raises(OutputError, match="too long") as caught:
        check_output(path, overwrite=False)
    assert str(path) in str(caught.value)
