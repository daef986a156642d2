"""What tests of studies share: the made-up lab, studies without Ray, and real ones run once."""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import common.backbones.registry
import simulations.studies.runner
from common.cohort import Cohort
from simulations.studies import STUDIES
from simulations.studies.lab import Lab
from tests.simulations.studies.study_lab import (
    STAGED,
    TINY,
    Shown,
    make_cohort,
    make_lab,
    one_by_one,
    options,
)

RunHere = Callable[..., dict[str, Any]]
RealStudy = Callable[[str], Path]
Dermafed = Callable[..., "subprocess.CompletedProcess[str]"]

_BRIEFLY = (
    *("--split-seed", 1, "--no-local", "--backbone", "efficientnet_lite0+view:32x24"),
    *("--train", "plan=1:1", "--train", "steps=2", "--train", "batch=8"),
)
REAL_OPTIONS: dict[str, tuple[str | int, ...]] = {
    "leave-one-site-out": ("--learner", "ridge", "--split-seed", 2, "--split-seed", 1),
    "cross-site": ("--learner", "logistic pca=8", "--split-seed", 1),
    "heterogeneity": (
        *("--learner", "ridge", "--split-seed", 1),
        *("--partition", "iid:3", "--partition", "look:4"),
    ),
    "fairness": ("--learner", "ridge", "--split-seed", 1),
    "learning-curve": ("--learner", "ncm", "--split-seed", 1, "--images-per-site", 20),
    "fusion": ("--learner", "ridge", "--split-seed", 1),
    "fine-tuning": (*_BRIEFLY, "--learner", "fedavg", "--learner", "fedper"),
    "fine-tuning-left-out": (*_BRIEFLY, "--learner", "fedavg"),
}
REAL_DRAWS = 50


@pytest.fixture(autouse=True)
def tiny_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    known = common.backbones.registry._BACKBONES
    monkeypatch.setattr(common.backbones.registry, "_BACKBONES", (*known, TINY, STAGED))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Let torch compute as in a study's workers, which have a core each."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def made_cohort() -> Cohort:
    return make_cohort()


@pytest.fixture(scope="session")
def lab(made_cohort: Cohort) -> Lab:
    made = make_lab(made_cohort)
    made.x.setflags(write=False)
    return made


@pytest.fixture
def run_here(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> RunHere:
    """Run a study of a made-up lab in this process; ``stop_after`` fits it is interrupted."""
    runner = simulations.studies.runner

    @contextmanager
    def no_ray(_address: str | None) -> Iterator[int]:
        yield 2

    def run(
        study: str, out: Path, *, on: Lab = lab, stop_after: int | None = None, **changes: Any
    ) -> dict[str, Any]:
        def pieces(function: Any, *arguments: Any) -> Iterator[tuple[Any, Any]]:
            for number, found in enumerate(one_by_one(function, *arguments)):
                if number == stop_after:
                    raise KeyboardInterrupt
                yield found

        monkeypatch.setattr(runner, "load_cohort", lambda _path: on.cohort)
        monkeypatch.setattr(runner, "open_lab", lambda *_: (on, []))
        monkeypatch.setattr(runner, "ray_session", no_ray)
        monkeypatch.setattr(runner, "run_pieces", pieces)
        return runner.run_study(
            STUDIES[study],
            options(out, **changes),
            ray_address=None,
            display=Shown().display(),
        )

    return run


@pytest.fixture(scope="session")
def real_study(
    dermafed: Dermafed, cohort: Path, tmp_path_factory: pytest.TempPathFactory
) -> RealStudy:
    """Give the folder of a study that the real command ran; it is run when first asked for."""
    base = tmp_path_factory.getbasetemp()
    # Where tests run two at a time, what one has run serves the other.
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "real-studies"
    shared.mkdir(exist_ok=True)

    @cache
    def folder(name: str) -> Path:
        out, printed = shared / name, shared / f"{name}.txt"
        with (shared / f"{name}.lock").open("w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not printed.exists():
                arguments = (*REAL_OPTIONS[name], "--draws", REAL_DRAWS, "--out", out)
                done = dermafed("study", name, cohort, *arguments)
                assert done.returncode == 0, done.stderr
                (out / "printed.txt").write_text(done.stdout, encoding="utf-8")
                printed.touch()
        return out

    return folder
