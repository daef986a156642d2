"""Run folders are checked on reading, and what is wrong is named."""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.errors import RunFolderError
from simulations.report.loading import load_run

RunFolder = Callable[..., Path]
Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def copy(run_folder: RunFolder, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run_folder("simulate"), tmp_path / "copy"))


def _change(folder: Path, change: Change) -> None:
    path = folder / "result.json"
    result = json.loads(path.read_text(encoding="utf-8"))
    change(result)
    path.write_text(json.dumps(result), encoding="utf-8")


def test_a_study_is_read_whole(run_folder: RunFolder) -> None:
    run = load_run(run_folder("simulate"))
    assert run.study.study == "simulate"
    with (run.folder / "predictions.csv").open(encoding="utf-8", newline="") as stream:
        splits = Counter(row["split"] for row in csv.DictReader(stream))
    assert splits.keys() == {"train", "validation", "test"}
    assert len(run.predictions) == splits["test"]
    assert run.predictions.probabilities.shape[1] == 7


def test_what_is_no_run_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="gone: no such run folder"):
        load_run(tmp_path / "gone")
    with pytest.raises(RunFolderError, match=r"result\.json: is missing"):
        load_run(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"kind": NaN}', "\x00"])
def test_a_damaged_result_is_named(copy: Path, text: str) -> None:
    (copy / "result.json").write_text(text, encoding="utf-8")
    with pytest.raises(RunFolderError, match=r"result\.json: damaged"):
        load_run(copy)


def test_a_result_of_something_else_is_refused(copy: Path) -> None:
    _change(copy, lambda result: result.pop("kind"))
    with pytest.raises(RunFolderError, match="has no kind"):
        load_run(copy)


def _drop_learners(result: dict[str, Any]) -> None:
    result["settings"]["learners"] = []


def _short_interval(result: dict[str, Any]) -> None:
    result["cells"][0]["metrics"]["accuracy"] = [0.5, 0.4]


def _long_matrix(result: dict[str, Any]) -> None:
    result["cells"][3]["confusion"].append([0] * 7)


def _unknown_study(result: dict[str, Any]) -> None:
    result["study"] = "alchemy"


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (_drop_learners, r"settings\.learners"),
        (_short_interval, r"cells\.0\.metrics\.accuracy"),
        (_long_matrix, r"cells\.3\.confusion"),
        (_unknown_study, "study: Input should be"),
    ],
)
def test_a_field_that_is_not_what_it_must_be_is_named(
    copy: Path, change: Change, place: str
) -> None:
    _change(copy, change)
    with pytest.raises(RunFolderError, match=place) as caught:
        load_run(copy)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("column", ["cluster", "split", "y_pred", "p_mel"])
def test_a_missing_column_is_named(copy: Path, column: str) -> None:
    path = copy / "predictions.csv"
    header, rest = path.read_text(encoding="utf-8").split("\n", 1)
    path.write_text(f"{header.replace(f',{column},', ',other,')}\n{rest}", encoding="utf-8")
    with pytest.raises(RunFolderError, match=rf"predictions\.csv: column {column} is missing"):
        load_run(copy)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("p_mel", "2", r"row 2: column p_mel: '2' is no probability"),
        ("p_mel", "nan", r"row 2: column p_mel: 'nan' is no probability"),
        ("p_mel", "x", "column p_mel: could not convert"),
        ("y_true", "wart", "row 2: column y_true: 'wart' is none of the classes"),
    ],
)
def test_a_value_that_cannot_be_is_named(copy: Path, column: str, value: str, message: str) -> None:
    path = copy / "predictions.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    position = lines[0].split(",").index(column)
    # Sites' names may hold quotes, but no comma.
    fields = lines[1].split(",")
    fields[position] = value
    path.write_text("\n".join([lines[0], ",".join(fields), *lines[2:]]), encoding="utf-8")
    with pytest.raises(RunFolderError, match=message):
        load_run(copy)


def test_a_table_cut_short_is_refused(copy: Path) -> None:
    path = copy / "predictions.csv"
    text = path.read_text(encoding="utf-8")
    path.write_text(text[: text.rindex(",")], encoding="utf-8")
    with pytest.raises(RunFolderError, match=r"row \d+ has \d+ fields"):
        load_run(copy)
    path.write_text(text.splitlines()[0] + "\n", encoding="utf-8")
    with pytest.raises(RunFolderError, match="no row of data"):
        load_run(copy)
    path.unlink()
    with pytest.raises(RunFolderError, match=r"predictions\.csv: is missing"):
        load_run(copy)
