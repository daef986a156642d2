"""The app bundle is Flower's own of this installation's code, and nothing else."""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import shutil
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from flwr.cli.build import build_fab_from_disk
from flwr.cli.config_utils import get_fab_metadata

from common.errors import DeploymentError
from common.settings import RunSettings
from common.wire import bundle
from common.wire.bundle import (
    PACKAGES,
    bundle_files,
    bundle_hash,
    code_hash,
    folder_hashes,
    make_bundle,
    write_bundle_folder,
)

ROOT = Path(__file__).parents[2]

# Flower asks pathspec for a pattern by its former name.
pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")


@pytest.fixture
def made_anew() -> Iterator[None]:
    """Let a test change what the bundle is made of; it is made once a process."""
    make_bundle.cache_clear()
    yield
    make_bundle.cache_clear()


def _files_within(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _project() -> dict[str, dict[str, dict[str, dict[str, object]]]]:
    return tomllib.loads(_files_within(make_bundle())["pyproject.toml"].decode())


def test_the_bundle_is_what_flower_makes_of_its_folder(tmp_path: Path) -> None:
    write_bundle_folder(tmp_path / "bundle")
    assert build_fab_from_disk(tmp_path / "bundle") == make_bundle()


def test_a_folder_that_is_written_again_holds_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    write_bundle_folder(folder)
    (folder / "server" / "app.py").write_text("other = 1\n", encoding="utf-8")
    (folder / "server" / "more.py").write_text("other = 1\n", encoding="utf-8")
    write_bundle_folder(folder)
    assert build_fab_from_disk(folder) == make_bundle()


def test_a_folders_hashes_are_of_what_flower_would_send(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    write_bundle_folder(folder)
    assert folder_hashes(folder) == (bundle_hash(), code_hash())
    (folder / "server" / "more.py").write_text("other = 1\n", encoding="utf-8")
    bundle_of_more, code_of_more = folder_hashes(folder)
    assert bundle_of_more == bundle_hash(build_fab_from_disk(folder)) != bundle_hash()
    assert code_of_more != code_hash()


def test_the_bundle_holds_the_three_packages_whole_and_nothing_else() -> None:
    within = _files_within(make_bundle())
    listed = within.pop(".info/CONTENT").decode().splitlines()
    assert within.pop("LICENSE")
    assert tomllib.loads(within.pop("pyproject.toml").decode())["project"]["name"] == "dermafed"
    packages = ("client", "common", "server")
    code = {
        path.relative_to(ROOT).as_posix(): path.read_bytes()
        for package in packages
        for path in (ROOT / package).rglob("*.py")
    }
    assert within == code
    # Flower's list of what a bundle holds: name, SHA-256 and size in bits.
    assert {line.split(",")[0] for line in listed} == {*code, "LICENSE", "pyproject.toml"}
    app = code["server/app.py"]
    assert f"server/app.py,{hashlib.sha256(app).hexdigest()},{8 * len(app)}" in listed


def test_every_hashed_file_is_in_the_bundle() -> None:
    assert {*bundle_files(), ".info/CONTENT"} == set(_files_within(make_bundle()))


def test_the_bundle_tells_nothing_of_this_machine() -> None:
    files = bundle_files()
    assert str(ROOT).encode() not in files["pyproject.toml"] + files["LICENSE"]


def test_a_run_of_the_bundle_has_the_settings_of_this_release() -> None:
    app = _project()["tool"]["flwr"]["app"]
    written = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert app["config"] == RunSettings().run_config()
    for key in ("config", "components", "publisher", "fab-include"):
        assert app[key] == written["tool"]["flwr"]["app"][key]
    version = importlib.metadata.version("dermafed")
    assert get_fab_metadata(make_bundle()) == ("dermafed/dermafed", version)


def test_the_bundles_hash_is_over_all_of_its_bytes() -> None:
    assert bundle_hash() == hashlib.sha256(make_bundle()).hexdigest()
    assert bundle_hash(b"other") == hashlib.sha256(b"other").hexdigest()


@pytest.mark.usefixtures("made_anew")
@pytest.mark.parametrize("name", ["client/app.py", "common/wire/bundle.py", "server/app.py"])
def test_a_changed_byte_changes_both_hashes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (bundle_hash(), code_hash())
    files = bundle_files()
    files[name] = files[name].replace(b"import", b"Import", 1)
    monkeypatch.setattr(bundle, "bundle_files", lambda: dict(files))
    make_bundle.cache_clear()
    after = (bundle_hash(), code_hash())
    assert before[0] != after[0]
    assert before[1] != after[1]


@pytest.mark.parametrize("change", ["renamed", "swapped", "removed", "added"])
def test_names_are_part_of_the_code_hash(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before, files = code_hash(), bundle_files()
    if change == "renamed":
        files["server/app.pyx"] = files.pop("server/app.py")
    elif change == "swapped":
        files["server/app.py"], files["client/app.py"] = (
            files["client/app.py"],
            files["server/app.py"],
        )
    elif change == "removed":
        del files["server/app.py"]
    else:
        files["server/other.py"] = b""
    monkeypatch.setattr(bundle, "bundle_files", lambda: files)
    assert code_hash() != before


@pytest.mark.usefixtures("made_anew")
def test_the_code_hash_does_not_depend_on_compression(monkeypatch: pytest.MonkeyPatch) -> None:
    before = (bundle_hash(), code_hash())
    # As another release of the library that compresses: other bytes of the same files.
    monkeypatch.setattr(zipfile, "ZIP_DEFLATED", zipfile.ZIP_STORED)
    make_bundle.cache_clear()
    assert bundle_hash() != before[0]
    assert code_hash() == before[1]


@pytest.mark.usefixtures("made_anew")
def test_the_bundle_is_the_same_wherever_the_code_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (make_bundle(), code_hash())
    for package in PACKAGES:
        code = shutil.ignore_patterns("__pycache__", "*.txt")
        shutil.copytree(ROOT / package, tmp_path / package, ignore=code)
        (tmp_path / package / "notes.txt").write_text("of this machine", encoding="utf-8")
        (tmp_path / package / "left.pyc").write_bytes(b"\0")
    monkeypatch.setattr(bundle, "_folder", lambda package: tmp_path / package)
    make_bundle.cache_clear()
    assert (make_bundle(), code_hash()) == before


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "PACKAGES", ("client", "no_such_package"))
    with pytest.raises(DeploymentError, match="package no_such_package: not installed"):
        bundle_files()
