"""Asking a Dataverse: which files a dataset has, and for their bytes."""

from __future__ import annotations

import ipaddress
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import urljoin, urlsplit

import requests
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from common.errors import SourceError

RESUMES: Final = "run the same command again: it goes on where this one stopped"
# Harvard's firewall answers 403 to the name that `requests` gives itself.
_USER_AGENT: Final = "dermafed (research software)"
_TIMEOUTS_S: Final = (20.0, 60.0)  # to connect, and between two pieces of an answer
_HASHES: Final = frozenset({"md5", "sha1", "sha256", "sha512"})


@dataclass(frozen=True)
class PublishedFile:
    """A file that a Dataverse offers.

    Attributes
    ----------
    name : str
        Its name in the dataset.
    uploaded_name : str
        Its name before the Dataverse turned it into a ``.tab`` table; else the same.
    address : str
        Where the bytes of the upload are.
    size : int or None
        Count of those bytes, where published.
    checksum : str or None
        Of those bytes, as ``"md5:…"``; None where none is published that can be verified.
    """

    name: str
    uploaded_name: str
    address: str
    size: int | None
    checksum: str | None


class _Answer(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)


class _Checksum(_Answer):
    type: str
    value: str


class _DataFile(_Answer):
    id: int
    filesize: int | None = None
    checksum: _Checksum | None = None
    md5: str | None = None
    original_file_format: str | None = None
    original_file_name: str | None = None
    original_file_size: int | None = None


class _File(_Answer):
    label: str
    data_file: _DataFile


class _Version(_Answer):
    files: list[_File]


class _Dataset(_Answer):
    latest_version: _Version


class _Listing(_Answer):
    data: _Dataset


class Dataverse:
    """A session with one Dataverse; a context manager.

    Parameters
    ----------
    server : str
        Its address; https, unless it is this machine.

    Raises
    ------
    SourceError
        If the address is not one of https.
    """

    def __init__(self, server: str) -> None:
        _check_address(server)
        self.server = server.rstrip("/")
        self._session = requests.Session()
        # A proxy of the environment cannot reach this machine's own servers.
        self._session.trust_env = not _is_loopback(server)
        # Without compression the byte offsets of a resumed answer are those of the file.
        self._session.headers.update({"User-Agent": _USER_AGENT, "Accept-Encoding": "identity"})
        self._session.hooks["response"].append(_check_redirect)

    def __enter__(self) -> Self:
        """Begin the session."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close its connections."""
        self._session.close()

    def list_files(self, doi: str) -> list[PublishedFile]:
        """List the files of a dataset's latest version.

        Parameters
        ----------
        doi : str
            The dataset's DOI, without ``doi:``.

        Returns
        -------
        list of PublishedFile
            In the server's order.

        Raises
        ------
        SourceError
            If the server cannot be reached, refuses, or does not answer as a Dataverse.
        """
        address = f"{self.server}/api/datasets/:persistentId/?persistentId=doi:{doi}"
        try:
            with self.open(address) as response:
                listing = _Listing.model_validate_json(response.content)
        except requests.RequestException as error:
            raise connection_error(address, error) from error
        except ValidationError as error:
            first = error.errors()[0]
            raise SourceError(
                f"{address}: this is not the file list of a Dataverse "
                f"({'.'.join(map(str, first['loc'])) or 'answer'}: {first['msg']}); "
                "check the server's address"
            ) from error
        return [self._published(file) for file in listing.data.latest_version.files]

    def open(self, address: str, offset: int = 0) -> requests.Response:
        """Ask for an address, from byte `offset` on, and leave the body to be read.

        Parameters
        ----------
        address : str
            What to ask for.
        offset : int
            First byte wanted. Servers may ignore it; the answer's ``Content-Range`` tells.

        Returns
        -------
        requests.Response
            Status 200 or 206; with an offset also 416, no such byte.

        Raises
        ------
        SourceError
            If the server cannot be reached, or answers anything but the content.
        """
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        try:
            response = self._session.get(address, headers=headers, stream=True, timeout=_TIMEOUTS_S)
        except requests.RequestException as error:
            raise connection_error(address, error) from error
        # 202 is no success here: it is how a web firewall asks for a browser.
        if response.status_code not in ((200, 206, 416) if offset else (200,)):
            response.close()
            raise SourceError(
                f"{address}: the server answers {response.status_code} {response.reason}; wait a "
                f"while, then {RESUMES}"
            )
        return response

    def _published(self, file: _File) -> PublishedFile:
        data = file.data_file
        # An ingested table is offered as a .tab made from the upload; size and checksum of the
        # upload are published, and format=original gives it.
        ingested = data.original_file_format is not None
        address = f"{self.server}/api/access/datafile/{data.id}"
        checksum = data.checksum or (_Checksum(type="MD5", value=data.md5) if data.md5 else None)
        algorithm = checksum.type.lower().replace("-", "") if checksum else ""
        verifiable = checksum is not None and algorithm in _HASHES
        return PublishedFile(
            name=file.label,
            uploaded_name=data.original_file_name or file.label,
            address=f"{address}?format=original" if ingested else address,
            size=data.original_file_size if ingested else data.filesize,
            checksum=f"{algorithm}:{checksum.value}" if checksum and verifiable else None,
        )


def connection_error(address: str, error: requests.RequestException) -> SourceError:
    """Say that an address could not be reached or broke off, and what to do about it."""
    return SourceError(
        f"{address}: no connection, or it broke ({type(error).__name__}); check the network, then "
        f"{RESUMES}"
    )


def _is_loopback(address: str) -> bool:
    host = urlsplit(address).hostname or ""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _check_address(address: str) -> None:
    parts = urlsplit(address)
    local = parts.scheme == "http" and _is_loopback(address)
    if not parts.hostname or not (parts.scheme == "https" or local):
        raise SourceError(f"{address}: only https is safe to download from; give https://…")


def _check_redirect(response: requests.Response, **_: object) -> None:
    if not response.is_redirect:
        return
    try:
        _check_address(urljoin(response.url, response.headers["location"]))
    except SourceError:
        response.close()
        raise
