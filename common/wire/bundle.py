"""The app bundle: what a coordinator sends, made of this installation's own code.

A site runs its own installed code and never the bundle's. It pins the bundle's bytes, so that a
coordinator that sends anything else is refused before a byte of it is unpacked.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import tomli_w
from flwr.cli.build import build_fab_from_files

from common.errors import DeploymentError
from common.settings import RunSettings

PACKAGES = ("client", "common", "server")


@cache
def make_bundle() -> bytes:
    """Make the bundle, in Flower's format.

    Raises
    ------
    DeploymentError
        If a package's files cannot be found.
    """
    return build_fab_from_files(bundle_files())[0]


def bundle_hash(bundle: bytes | None = None) -> str:
    """Give a bundle's SHA-256, over all of its bytes; of this installation's if none is given."""
    return hashlib.sha256(make_bundle() if bundle is None else bundle).hexdigest()


def code_hash(files: Mapping[str, bytes] | None = None) -> str:
    """Give a hash of a bundle's files, which is the same wherever the code is.

    The bundle's own bytes also depend on the library that compresses them.

    Parameters
    ----------
    files : mapping of str to bytes, or None
        By their path within it; None for this installation's.
    """
    digest = hashlib.sha256()
    found = bundle_files() if files is None else files
    for name, content in sorted(found.items()):
        digest.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    return digest.hexdigest()


def bundle_files() -> dict[str, bytes]:
    """Give the files that the bundle is made of, by their path within it."""
    files = {"pyproject.toml": _project().encode(), "LICENSE": b"Apache-2.0\n"}
    for package in PACKAGES:
        root = _folder(package)
        for path in sorted(root.rglob("*.py")):
            files[f"{package}/{path.relative_to(root).as_posix()}"] = path.read_bytes()
    return files


def write_bundle_folder(folder: Path) -> None:
    """Write the bundle's files, as ``flwr run`` takes them, in the place of what is there."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in bundle_files().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def folder_hashes(folder: Path) -> tuple[str, str]:
    """Give the hashes of what ``flwr run`` would send of a folder that was written here.

    Returns
    -------
    bundle, code : str
        As `bundle_hash` and `code_hash`.
    """
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    return bundle_hash(build_fab_from_files(files)[0]), code_hash(files)


def _folder(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise DeploymentError(f"package {package}: not installed; install dermafed anew")
    return Path(spec.origin).parent


def _project() -> str:
    return tomli_w.dumps(
        {
            "project": {
                "name": "dermafed",
                "version": version("dermafed"),
                "description": "One skin-lesion classifier over hospitals",
                "license": {"file": "LICENSE"},
                "requires-python": ">=3.11",
                "dependencies": [f"flwr>={version('flwr')}"],
            },
            "tool": {
                "flwr": {
                    "app": {
                        "publisher": "dermafed",
                        "fab-format-version": 1,
                        "flwr-version-target": version("flwr"),
                        "fab-include": [*(f"{name}/**/*.py" for name in PACKAGES), "LICENSE"],
                        "components": {
                            "serverapp": "server.app:app",
                            "clientapp": "client.app:app",
                        },
                        "config": RunSettings().run_config(),
                    }
                }
            },
        }
    )
