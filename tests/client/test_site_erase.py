"""``dermafed site erase``: what was computed of images goes, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from client.deployment.audit import AUDIT_FILE
from client.deployment.settings import read_site_file, write_site_file
from client.training.keep import Keep
from common.deployment.family import mark
from common.deployment.running import STATE
from common.feature_cache import CACHE_VARIABLE, STATES
from tests.client.site_commands import SiteCommands


@pytest.fixture
def site(write_cached_cohort: Callable[..., Path], clinic: SiteCommands) -> SiteCommands:
    """A site with features, states, logs and a trail."""
    root = write_cached_cohort({"dias": 40, "molemax": 9})
    assert clinic("init", "--site", "dias", "--cohort", root, "--cache", root / "cache")[0] == 0
    (clinic.folder / "logs").mkdir()
    (clinic.folder / "logs" / "worker.log").write_text("/data/patient7.jpg\n", encoding="utf-8")
    Keep(root / "cache" / STATES, "0" * 32, "dias").save(3, {"m": np.ones(2)}, ())
    (root / "cache" / "weights").mkdir()
    (root / "cache" / "weights" / "resnet50.pth").write_bytes(b"published")
    clinic.add_line()
    return clinic


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_nothing_is_erased_unasked(site: SiteCommands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("typer.confirm", lambda _question: False)
    (features,) = (read_site_file(site.folder).cohort / "cache").glob("*.sqlite")
    code, _, _ = site("erase")
    assert code == 1
    assert features.exists()


def test_features_states_and_logs_go_and_images_key_settings_and_trail_stay(
    site: SiteCommands,
) -> None:
    cohort = read_site_file(site.folder).cohort
    (features,) = (cohort / "cache").glob("*.sqlite")
    features.with_name(f"{features.name}-journal").write_bytes(b"cut short")
    size = features.stat().st_size
    kept = {name: (site.folder / name).read_bytes() for name in ("site.key", AUDIT_FILE)}
    images = _files(cohort / "images")
    code, shown, errors = site("erase", "--yes")
    assert (code, errors) == (0, "")
    assert f"erased {features} ({size:,} bytes)" in shown
    assert f"erased {cohort / 'cache' / STATES} (" in shown
    assert f"erased {site.folder / 'logs'} (19 bytes)" in shown
    last = shown.splitlines()[-1]
    assert last.startswith("kept ")
    assert str(site.folder / AUDIT_FILE) in last
    # Published weights tell nothing of an image.
    assert _files(cohort / "cache") == {"weights/resnet50.pth"}
    assert _files(cohort / "images") == images
    names = {"site.toml", "site.key", "site.pub", "worker.secret", AUDIT_FILE}
    assert _files(site.folder) - {"services.lock"} == names
    assert {name: (site.folder / name).read_bytes() for name in kept} == kept
    assert site("erase", "--yes")[1].startswith("nothing was there to erase\n")


def test_without_a_cache_of_its_own_the_users_is_erased(
    site: SiteCommands, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = read_site_file(site.folder)
    write_site_file(site.folder, own.model_copy(update={"cache": None}))
    monkeypatch.setenv(CACHE_VARIABLE, str(own.cohort / "cache"))
    assert site("erase", "--yes")[0] == 0
    assert not list((own.cohort / "cache").glob("*.sqlite"))


@pytest.mark.parametrize("supervised", [True, False])
def test_a_site_whose_programs_run_is_not_erased(site: SiteCommands, supervised: bool) -> None:
    me, nobody = mark(psutil.Process()), {**mark(psutil.Process()), "created": -1.0}
    state = {"supervisor": me if supervised else nobody, "ready": True, "services": {"worker": me}}
    (site.folder / STATE).write_text(json.dumps(state), encoding="utf-8")
    before = _files(read_site_file(site.folder).cohort)
    assert "dermafed site leave --stop-only" in site.refuse("erase", "--yes")
    assert _files(read_site_file(site.folder).cohort) == before


def test_what_cannot_be_erased_is_named(
    site: SiteCommands, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, **_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    assert ".sqlite: Permission denied" in site.refuse("erase", "--yes")


def test_a_folder_that_is_no_site_is_not_erased(site: SiteCommands) -> None:
    (site.folder / "site.toml").rename(site.folder / "moved")
    assert "site.toml: missing" in site.refuse("erase", "--yes")
