"""Bad input: one line that names what is wrong, a non-zero exit, and nothing half-written."""

from __future__ import annotations

import csv
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.backbones import get_backbone

BIN = Path(sys.executable).parent
TABLE = "HAM10000_metadata.csv"


@pytest.fixture
def broken(cohort: Path, tmp_path: Path) -> Path:
    """A copy of the cohort to break."""
    folder = tmp_path / "broken"
    shutil.copytree(cohort, folder)
    return folder


def read_table(folder: Path) -> list[dict[str, str]]:
    with (folder / TABLE).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def write_table(folder: Path, rows: list[dict[str, str]]) -> None:
    with (folder / TABLE).open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def without_column(folder: Path) -> list[str]:
    write_table(folder, [{k: v for k, v in row.items() if k != "dx"} for row in read_table(folder)])
    return [TABLE, "dx"]


def unknown_class(folder: Path) -> list[str]:
    rows = read_table(folder)
    rows[7]["dx"] = "wart"
    write_table(folder, rows)
    return [TABLE, "dx", "wart", "row 9"]


def duplicate_id(folder: Path) -> list[str]:
    rows = read_table(folder)
    write_table(folder, [*rows, rows[3]])
    return [TABLE, "image_id", rows[3]["image_id"]]


def empty_site(folder: Path) -> list[str]:
    rows = read_table(folder)
    rows[4]["dataset"] = ""
    write_table(folder, rows)
    return [TABLE, "dataset", "row 6"]


def missing_image(folder: Path) -> list[str]:
    name = read_table(folder)[11]["image_id"]
    (folder / "images" / f"{name}.jpg").unlink()
    return [TABLE, name]


def truncated_image(folder: Path) -> list[str]:
    path = folder / "images" / f"{read_table(folder)[12]['image_id']}.jpg"
    path.write_bytes(path.read_bytes()[:2000])
    return [str(path), "truncated"]


def not_an_image(folder: Path) -> list[str]:
    path = folder / "images" / f"{read_table(folder)[13]['image_id']}.jpg"
    path.write_text("a letter to the doctor", encoding="utf-8")
    return [str(path), "not an image"]


def sites_unknown(folder: Path) -> list[str]:
    rows = read_table(folder)
    write_table(folder, [{k: v for k, v in row.items() if k != "dataset"} for row in rows])
    return [str(folder), "sites are unknown", "iid:N"]


@pytest.mark.parametrize(
    "damage",
    [
        *(without_column, unknown_class, duplicate_id, empty_site, missing_image),
        *(truncated_image, not_an_image, sites_unknown),
    ],
)
def test_a_wrong_cohort_is_named_and_no_run_folder_appears(
    damage: Callable[[Path], list[str]], broken: Path, dermafed: Any, tmp_path: Path
) -> None:
    wanted = damage(broken)
    done = dermafed("simulate", broken, "--out", tmp_path / "run")
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    for text in wanted:
        assert text in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken"]


def test_an_unreadable_image_is_left_out_on_request_and_named(
    broken: Path, dermafed: Any, tmp_path: Path
) -> None:
    wanted = truncated_image(broken)
    done = dermafed("simulate", broken, "--skip-unreadable", "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert wanted[0] in done.stderr
    with (tmp_path / "run" / "predictions.csv").open(encoding="utf-8", newline="") as stream:
        names = [row["image_id"] for row in csv.DictReader(stream)]
    assert len(names) == len(read_table(broken)) - 1
    assert Path(wanted[0]).stem not in names


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (["--partition", "by-moon"], ["by-moon", "dirichlet:ALPHA:N"]),
        (["--partition", "iid:100000"], ["100000", "lesions"]),
        (["--partition", "dirichlet:-1:4"], ["dirichlet:-1:4", "positive"]),
        (["--learner", "oracle-bone"], ["oracle-bone", "ridge"]),
        (["--backbone", "spine"], ["spine", "efficientnet_lite0"]),
        (["--set", "pca"], ["learner settings", "'pca' is not key=value"]),
        (["--set", "nonsense=1"], ["learner settings", "nonsense", "alpha_per_image"]),
        (["--set", "pca=5000"], ["learner settings", "pca=5000", "1280"]),
        (["--set", "pca=-1"], ["learner settings", "pca"]),
        (["--set", "pca=many"], ["learner settings", "pca"]),
        (["--set", "alpha_per_image=0"], ["learner settings", "alpha_per_image"]),
        (["--set", "folds=5"], ["learner settings", "folds", "search"]),
        (["--set", "folds=5", "--set", "search=all"], ["search 'all'", "grid:LOW:HIGH:COUNT"]),
        (["--set", "pca=8", "--set", "pca=9"], ["learner settings", "pca is given twice"]),
        (["--learner", "lda", "--set", "l1_ratio=1"], ["learner settings", "l1_ratio"]),
        (["--disclosure", "open"], ["disclosure", "guarded"]),
        (["--minimum-count", "0"], ["minimum-count"]),
        (["--deadline", "-5"], ["deadline"]),
        (["--split-seed", "-1"], ["split-seed"]),
    ],
)
def test_a_wrong_setting_is_named_before_anything_is_computed(
    options: list[str], wanted: list[str], cohort: Path, dermafed: Any, tmp_path: Path
) -> None:
    done = dermafed("simulate", cohort, *options, "--out", tmp_path / "run")
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    for text in wanted:
        assert text in line
    assert list(tmp_path.iterdir()) == []


def test_an_existing_run_folder_is_kept_unless_told_otherwise(
    site_run: tuple[Path, Any], cohort: Path, dermafed: Any, tmp_path: Path
) -> None:
    before = (site_run[0] / "result.json").read_bytes()
    done = dermafed("simulate", cohort, "--out", site_run[0])
    assert done.returncode == 1
    assert str(site_run[0]) in done.stderr
    assert "--overwrite" in done.stderr
    assert (site_run[0] / "result.json").read_bytes() == before
    precious = tmp_path / "thesis"
    precious.mkdir()
    (precious / "chapter.txt").write_text("one", encoding="utf-8")
    done = dermafed("simulate", cohort, "--out", precious, "--overwrite")
    assert done.returncode == 1
    assert (precious / "chapter.txt").read_text(encoding="utf-8") == "one"


def test_a_name_is_never_broken_across_lines(dermafed: Any, tmp_path: Path) -> None:
    long = tmp_path / ("long-" * 40) / ("and-longer-" * 15)
    for command in (["data", "check", long], ["features", long, "--out", tmp_path / "f.npz"]):
        done = dermafed(*command)
        assert done.returncode == 1
        assert str(long) in done.stderr


def test_a_cache_of_another_backbone_is_refused_by_name(
    cohort: Path, dermafed: Any, shared_cache: Path, site_run: tuple[Path, Any], tmp_path: Path
) -> None:
    # Studies of changed looks keep theirs beside it.
    fingerprint = get_backbone("efficientnet_lite0").fingerprint[:16]
    (made,) = shared_cache.glob(f"*-{fingerprint}.sqlite")
    other = tmp_path / "cache"
    other.mkdir()
    shutil.copy(made, other / made.name)
    with sqlite3.connect(other / made.name) as database:
        database.execute("UPDATE owner SET fingerprint = 'another'")
    database.close()
    done = dermafed("simulate", cohort, "--cache", other, "--out", tmp_path / "run")
    assert done.returncode == 1
    assert str(other / made.name) in done.stderr
    assert "another backbone" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_full_disk_while_caching_is_told_and_keeps_what_was_stored(
    cohort: Path, tmp_path: Path
) -> None:
    cache, out = tmp_path / "cache", tmp_path / "features.npz"

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (900_000, 900_000))

    command = [*map(str, (BIN / "dermafed", "features", cohort, "--out", out, "--cache", cache))]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, preexec_fn=small_files, timeout=120
    )
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert str(cache) in line
    assert "full" in line
    assert not out.exists()
    again = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert again.returncode == 0, again.stderr
    kept = 240 - int(again.stderr.split(" images, ")[1].split(" computed")[0])
    assert kept > 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing_but_features_and_goes_on_from_there(
    number: int, cohort: Path, site_run: tuple[Path, Any], tmp_path: Path
) -> None:
    cache, out = tmp_path / "cache", tmp_path / "runs" / "run"
    command = [str(BIN / "dermafed"), "simulate", str(cohort), "--cache", str(cache)]
    command += ["--out", str(out)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    end = time.monotonic() + 120
    while not list(cache.glob("*.sqlite")):
        assert process.poll() is None, "it ended before it could be interrupted"
        assert time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in errors.strip().splitlines()[-1]
    assert list(out.parent.iterdir()) == []
    again = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert again.returncode == 0, again.stderr
    wanted = (site_run[0] / "model.safetensors").read_bytes()
    assert (out / "model.safetensors").read_bytes() == wanted


def test_a_bracket_in_a_name_is_printed_as_it_is(broken: Path, dermafed: Any) -> None:
    folder = broken.with_name("[red] ward")
    broken.rename(folder)
    rows = read_table(folder)
    for row in rows:
        row["dataset"] = "[bold]clinic"
    write_table(folder, rows)
    wanted = truncated_image(folder)
    done = dermafed("data", "check", folder)
    assert done.returncode == 1
    assert wanted[0] in done.stderr.splitlines()[0]
    assert "[bold]clinic" in done.stdout
