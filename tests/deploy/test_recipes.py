"""What cannot be started in a test is at least parsed by the program that it is for."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.conftest import DERMAFED, PROJECT, wait_until

UNITS = sorted((PROJECT / "deploy/systemd").glob("*.service"))


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_systemd_takes_the_unit_and_finds_it_hardened(unit: Path, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    text = unit.read_text(encoding="utf-8")
    copy = tmp_path / unit.name
    copy.write_text(text.replace("/opt/dermafed/bin/dermafed", str(DERMAFED)), encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", str(copy)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", str(copy)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    exposure = re.search(r"exposure level for \S+: ([0-9.]+)", rated.stdout)
    assert exposure is not None
    assert float(exposure[1]) < 3.0


def test_there_are_units() -> None:
    assert [path.stem for path in UNITS] == ["dermafed-coordinator", "dermafed-site"]


def test_the_local_recipe_is_a_script_that_says_how_it_is_used() -> None:
    script = PROJECT / "deploy/local/federation"
    subprocess.run(["bash", "-n", str(script)], check=True, timeout=10)
    done = subprocess.run([str(script)], capture_output=True, text=True, check=False, timeout=10)
    assert done.returncode == 2
    assert "federation up [COHORT]" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_up_says_what_is_true_of_it(tmp_path: Path, number: signal.Signals) -> None:
    # Stands for the first command, and is interrupted with the script as in a terminal.
    stub = tmp_path / "dermafed"
    stub.write_text(
        f"""#!{sys.executable}
import pathlib, signal, sys
for one in (signal.SIGINT, signal.SIGTERM):
    signal.signal(one, lambda *_: sys.exit(130))
pathlib.Path({str(tmp_path / "waits")!r}).touch()
signal.pause()
""",
        encoding="utf-8",
    )
    stub.chmod(0o755)
    script = str(PROJECT / "deploy/local/federation")
    with subprocess.Popen(
        [script, "up"],
        env={**os.environ, "DERMAFED": str(stub), "DERMAFED_LOCAL": str(tmp_path / "local")},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        wait_until((tmp_path / "waits").exists, 30.0)
        os.killpg(process.pid, number)
        _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert told == (
        f"interrupted; what is up stays up until {script} down; "
        f"{script} up then goes on from there\n"
    )


def test_every_recipe_says_what_it_does_how_to_check_it_and_how_to_undo_it() -> None:
    pages = sorted((PROJECT / "deploy").glob("*/README.md"))
    assert len(pages) >= 2
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for heading in ("**What it does.**", "**How to check it.**", "**How to undo it.**"):
            assert heading in text, f"{page.parent.name}: {heading}"
