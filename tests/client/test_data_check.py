"""``dermafed data check`` as its user meets it: what it shows, writes and exits with."""

from __future__ import annotations

import csv
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common import cli

Check = Callable[..., tuple[int, str, str]]


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Check:
    """Run the command in this process; gives the exit code, what was shown and the errors."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            cli.main(["data", "check", *map(str, arguments)])
        assert isinstance(caught.value.code, int)
        shown = capsys.readouterr()
        return caught.value.code, shown.out, shown.err

    return run


@pytest.fixture
def cohort(write_cohort: Callable[..., Path]) -> Path:
    """30 lesions of two images at two sites."""
    rows = [
        {"lesion_id": f"L{i // 2}", "dataset": "xy"[i // 2 % 2], "dx": ("nv", "mel")[i // 4 % 2]}
        for i in range(60)
    ]
    return write_cohort(rows)


@pytest.fixture
def image_level(tmp_path: Path) -> Path:
    """Every second image is for testing, so every lesion is on both sides."""
    path = tmp_path / "split.csv"
    rows = [f"ISIC_{i},{('train', 'test')[i % 2]},0.5" for i in range(60)]
    path.write_text("\n".join(["image_id,split,p_nv", *rows]), encoding="utf-8")
    return path


def test_our_own_split_passes_and_says_that_nothing_leaks(check: Check, cohort: Path) -> None:
    code, shown, errors = check(cohort, "--split-seed", 3)
    assert (code, errors) == (0, "")
    assert "0 of 30 lesions straddle the split by lesion, seed 3" in shown
    assert "split by lesion, seed 3: 0 leaks, 0 errors, " in shown.splitlines()[-1]


def test_an_image_level_split_fails_in_one_line_that_says_what_to_do(
    check: Check, cohort: Path, image_level: Path
) -> None:
    code, shown, errors = check(cohort, "--split-file", image_level)
    assert code == 1
    assert "30 of 30 test images (100.0%) share a lesion with training" in shown
    assert errors.startswith(f"dermafed: {cohort}: 1 leak (lesions: 30) in the split of ")
    assert str(image_level) in errors
    assert "split by lesion" in errors
    assert errors.count("\n") == 1


def test_findings_are_written_for_machines_also_when_the_audit_fails(
    check: Check, cohort: Path, image_level: Path, tmp_path: Path
) -> None:
    out = tmp_path / "audit.json"
    code, _, _ = check(cohort, "--split-file", image_level, "--json", out)
    assert code == 1
    written = json.loads(out.read_text(encoding="utf-8"))
    assert written["findings_by_severity"]["leak"] == 1
    assert written["images"] == 60
    leak = written["findings"][0]
    assert (leak["check"], leak["severity"], leak["count"]) == ("lesions", "leak", 30)
    assert leak["examples"] == sorted(f"L{i}" for i in range(30))
    counted = sum(written["findings_by_severity"].values())
    assert counted == len(written["findings"])


def test_an_existing_file_of_findings_is_kept_unless_told_otherwise(
    check: Check, cohort: Path, tmp_path: Path
) -> None:
    out = tmp_path / "audit.json"
    out.write_text("mine", encoding="utf-8")
    code, shown, errors = check(cohort, "--json", out)
    assert (code, shown) == (1, "")
    assert str(out) in errors
    assert "--overwrite" in errors
    assert out.read_text(encoding="utf-8") == "mine"
    code, _, errors = check(cohort, "--json", tmp_path)
    assert (code, "is a folder" in errors) == (1, True)
    code, _, _ = check(cohort, "--json", out, "--overwrite")
    assert code == 0
    assert json.loads(out.read_text(encoding="utf-8"))["findings_by_severity"]["leak"] == 0


def test_a_damaged_image_is_named_and_fails(check: Check, cohort: Path) -> None:
    broken = cohort / "images" / "ISIC_7.jpg"
    broken.write_bytes(broken.read_bytes()[:200])
    code, shown, errors = check(cohort)
    assert code == 1
    first, last = errors.splitlines()
    assert str(broken) in first
    assert last.startswith(f"dermafed: {cohort}: 1 error (unreadable: 1), named above; ")
    assert "1 file cannot be read" in shown
    code, _, errors = check(cohort, "--no-open-images")
    assert (code, errors) == (0, "")


def test_the_same_file_under_two_lesions_fails_also_without_near_duplicates(
    check: Check, cohort: Path
) -> None:
    images = cohort / "images"
    (images / "ISIC_9.jpg").write_bytes((images / "ISIC_0.jpg").read_bytes())
    code, shown, errors = check(cohort, "--no-near-duplicates")
    assert code == 1
    assert "identical: 1" in errors
    assert "ISIC_0 ISIC_9" in shown
    assert "not looked for: --no-near-duplicates" in shown


def test_a_wrong_split_file_is_told_before_images_are_opened(
    check: Check, cohort: Path, tmp_path: Path
) -> None:
    (cohort / "images" / "ISIC_7.jpg").write_bytes(b"")
    path = tmp_path / "none.csv"
    code, shown, errors = check(cohort, "--split-file", path)
    assert (code, shown) == (1, "")
    assert errors.startswith(f"dermafed: {path}: ")
    assert errors.count("\n") == 1


def test_help_shows_how_to_audit_any_split(check: Check) -> None:
    code, shown, _ = check("--help")
    assert code == 0
    for text in ("--split-file", "predictions.csv", "--json", "--no-near-duplicates"):
        assert text in shown


def test_the_default_split_of_ham10000_passes(check: Check, ham10000: Path) -> None:
    code, shown, errors = check(ham10000, "--no-open-images")
    assert (code, errors) == (0, "")
    assert "0 of 7,450 lesions straddle the split by lesion, seed 1" in shown


def test_an_image_level_split_of_ham10000_fails_with_the_share_that_sets_count(
    check: Check, ham10000: Path, tmp_path: Path
) -> None:
    with (ham10000 / "HAM10000_metadata.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    part = np.where(np.random.default_rng(0).random(len(rows)) < 0.2, "test", "train").tolist()
    path = tmp_path / "images.csv"
    lines = [f"{row['image_id']},{value}" for row, value in zip(rows, part, strict=True)]
    path.write_text("\n".join(["image_id,split", *lines]), encoding="utf-8")
    out = tmp_path / "audit.json"
    code, _, errors = check(ham10000, "--no-open-images", "--split-file", path, "--json", out)
    assert code == 1
    assert "2 leaks (lesions: " in errors

    train = {row["lesion_id"] for row, value in zip(rows, part, strict=True) if value == "train"}
    tested = [row["lesion_id"] for row, value in zip(rows, part, strict=True) if value == "test"]
    by_id = sum(lesion in train for lesion in tested)
    (leak,) = findings(out, "lesions")
    found = int(leak["message"].split(": ")[1].split(" of ")[0].replace(",", ""))
    # Joining 40 lesion ids to 20 lesions adds at most their images.
    assert by_id <= found <= by_id + 60
    assert found / len(tested) > 0.36


@pytest.mark.slow
def test_all_images_of_ham10000_pass_and_the_pairs_that_were_seen_are_found(
    check: Check, ham10000: Path, tmp_path: Path
) -> None:
    out = tmp_path / "audit.json"
    code, _, errors = check(ham10000, "--json", out)
    assert (code, errors) == (0, "")
    pairs = {tuple(e.split()[:2]) for f in findings(out, "near-duplicates") for e in f["examples"]}
    # Each was looked at: one lesion under two ids, which the published list lacks.
    assert pairs == {
        ("ISIC_0027636", "ISIC_0027994"),
        ("ISIC_0034248", "ISIC_0034228"),
        ("ISIC_0025387", "ISIC_0029880"),
    }


def findings(path: Path, check: str) -> list[dict[str, Any]]:
    content = json.loads(path.read_text(encoding="utf-8"))
    return [finding for finding in content["findings"] if finding["check"] == check]
