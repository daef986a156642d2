"""The app bundle, and Flower's own simulation of it: the same model to the last bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


@pytest.fixture
def flower(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment of Flower's own in a neutral folder; its detached SuperLink is stopped."""
    home = tmp_path / "flower"
    home.mkdir()
    yield {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "FLWR_HOME": str(home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }
    for process in Path("/proc").glob("[0-9]*"):
        try:
            belongs = f"FLWR_HOME={home}".encode() in (process / "environ").read_bytes()
            if belongs:
                os.kill(int(process.name), signal.SIGTERM)
        except OSError:
            continue


def build_bundle(folder: Path, environment: dict[str, str]) -> Path:
    subprocess.run(
        [BIN / "flwr", "build", "--app", PROJECT],
        cwd=folder,
        env=environment,
        check=True,
        capture_output=True,
        timeout=120,
    )
    (bundle,) = folder.glob("*.fab")
    return bundle


def test_the_bundle_holds_client_server_and_common_only_and_runs_from_a_neutral_folder(
    flower: dict[str, str], tmp_path: Path
) -> None:
    bundle = build_bundle(tmp_path, flower)
    unpacked = tmp_path / "unpacked"
    with zipfile.ZipFile(bundle) as archive:
        names = archive.namelist()
        archive.extractall(unpacked)
    folders = {name.split("/")[0] for name in names if "/" in name}
    assert folders - {".info"} == {"client", "common", "server"}
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import client.app, server.app\n"
        "for name, module in list(sys.modules.items()):\n"
        "    if name.split('.')[0] in ('client', 'common', 'server', 'simulations'):\n"
        "        assert module.__file__.startswith(sys.argv[1]), module.__file__\n"
        "assert 'ray' not in sys.modules and 'torch' not in sys.modules\n"
        "assert callable(client.app.app) and callable(server.app.app)\n"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(unpacked)], cwd=tmp_path, check=True, timeout=120
    )


@pytest.mark.parametrize("learner", ["ridge", pytest.param("svm", marks=pytest.mark.slow)])
def test_flowers_own_simulation_gives_the_same_model_to_the_last_bit(
    learner: str,
    flower: dict[str, str],
    site_run: tuple[Path, Any],
    dermafed: Any,
    cohort: Path,
    shared_cache: Path,
    tmp_path: Path,
) -> None:
    ours, out = site_run[0], tmp_path / "run"
    settings = f'cohort="{cohort}" out="{out}" cache="{shared_cache}" sites=4'
    if learner == "svm":
        # Newton's rounds along a path by folds, and a temperature.
        text = "pca=4 folds=2 search=grid:0.1:1:2"
        ours = tmp_path / "ours"
        given = [word for item in text.split() for word in ("--set", item)]
        done = dermafed("simulate", cohort, "--learner", learner, *given, "--out", ours)
        assert done.returncode == 0, done.stderr
        settings += f' learner="{learner}" learner-settings="{text}"'
    started = subprocess.run(
        [
            *(BIN / "flwr", "run", PROJECT, "local"),
            *("--federation-config", "num-supernodes=4", "--run-config", settings),
        ],
        cwd=tmp_path,
        env=flower,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert started.returncode == 0, started.stdout + started.stderr
    end = time.monotonic() + 180
    while not (out / "result.json").is_file():
        assert time.monotonic() < end, "the run did not finish"
        time.sleep(0.2)
    assert (out / "model.safetensors").read_bytes() == (ours / "model.safetensors").read_bytes()
    flowers = json.loads((out / "result.json").read_text(encoding="utf-8"))
    result = json.loads((ours / "result.json").read_text(encoding="utf-8"))
    for name, metrics in flowers["test"]["sites"].items():
        assert metrics["confusion"] == result["test"]["clients"][name]["confusion"]
    assert not (out / "predictions.csv").exists()
