"""Downloading one published file: resumed where it stopped, verified before it gets its name."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pooch
import requests

from common.errors import SourceError
from common.quiet_pooch import quiet_pooch
from common.sources.dataverse import RESUMES, Dataverse, PublishedFile, connection_error

Progress = Callable[[str, int, int], None]

# When a connection breaks, the piece under way is lost.
_PIECE_BYTES: Final = 1 << 16


def download(dataverse: Dataverse, file: PublishedFile, target: Path, progress: Progress) -> None:
    """Download a file, unless it is there already.

    What has arrived stays in ``<target>.part`` until its checksum is found right; the next call
    goes on from there.

    Parameters
    ----------
    dataverse : Dataverse
        The session to use.
    file : PublishedFile
        What to download; verified where it has a checksum.
    target : Path
        Where to, in a folder that exists.
    progress : callable
        Called with the file's name, bytes so far and bytes in all (0 where unknown).

    Raises
    ------
    SourceError
        If the server cannot be reached or refuses, the connection breaks, the disk is full, or
        the checksum is wrong.
    """
    part = target.with_name(f"{target.name}.part")
    downloader = ResumingDownloader(dataverse, file, part, progress)
    try:
        with quiet_pooch():
            pooch.retrieve(
                file.address,
                known_hash=file.checksum,
                fname=target.name,
                path=target.parent,
                downloader=downloader,
            )
    except ValueError as error:  # so pooch tells that a checksum is wrong
        if not downloader.complete:
            raise
        part.unlink(missing_ok=True)
        raise SourceError(
            f"{target.name}: what {file.address} gave does not have the published checksum "
            f"{file.checksum}; it was removed, run the same command again to download it anew"
        ) from error
    except OSError as error:
        raise disk_error(part, error) from error
    part.unlink(missing_ok=True)


def disk_error(path: Path, error: OSError) -> SourceError:
    """Say what the file system refused at `path`, and what to do about it."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return SourceError(f"{path}: the disk is full; free some space, then {RESUMES}")
    return SourceError(f"{error.filename or path}: {error.strerror or error}")


class ResumingDownloader:
    """What pooch calls to download; it keeps the bytes in a part file of our own.

    Parameters
    ----------
    dataverse : Dataverse
        The session to use.
    file : PublishedFile
        What to download.
    part : Path
        Where its bytes are kept until all have arrived and are verified.
    progress : callable
        As for `download`.

    Attributes
    ----------
    complete : bool
        Whether pooch was handed the whole file.
    """

    def __init__(
        self, dataverse: Dataverse, file: PublishedFile, part: Path, progress: Progress
    ) -> None:
        self.dataverse, self.file, self.part, self.progress = dataverse, file, part, progress
        self.complete = False

    def __call__(self, url: str, output_file: str, _pooch: object) -> None:
        """Complete the part file and hand it to pooch as `output_file`.

        Raises
        ------
        SourceError
            If the server cannot be reached or refuses, or gives too few or too many bytes.
        """
        offset = self.part.stat().st_size if self.part.exists() else 0
        if self.file.size is None or offset > self.file.size:
            offset = 0
        if offset == 0 or offset != self.file.size:
            self._transfer(url, offset)
        output = Path(output_file)
        output.unlink(missing_ok=True)
        try:
            # pooch deletes its file when Ctrl-C stops it at the checksum; the second link keeps
            # what took hours to arrive.
            os.link(self.part, output)
        except OSError:  # a file system without links
            shutil.move(self.part, output)
        self.complete = True

    def _transfer(self, url: str, offset: int) -> None:
        response = self.dataverse.open(url, offset)
        if offset and not _starts_at(response, offset):
            response.close()
            offset = 0
            response = self.dataverse.open(url)
        done = self._write(url, response, offset)
        size = self.file.size
        if size is not None and done > size:
            self.part.unlink()
            raise SourceError(
                f"{self.file.name}: {url} gives more than the {size:,} bytes published; they were "
                "removed, run the same command again to download it anew"
            )
        if size is not None and done < size:
            raise SourceError(
                f"{self.file.name}: {url} gave {done:,} of {size:,} bytes, then ended; {RESUMES}"
            )

    def _write(self, url: str, response: requests.Response, done: int) -> int:
        name, size = self.file.name, self.file.size
        with response, self.part.open("ab" if done else "wb") as stream:
            self.progress(name, done, size or 0)
            try:
                for piece in response.iter_content(_PIECE_BYTES):
                    stream.write(piece)
                    done += len(piece)
                    self.progress(name, done, size or 0)
                    if size is not None and done > size:
                        break
            except requests.RequestException as error:
                raise connection_error(url, error) from error
        return done


def _starts_at(response: requests.Response, offset: int) -> bool:
    # 206 alone does not tell: servers have answered other ranges, and 200 with a part.
    content_range = response.headers.get("Content-Range", "")
    return response.status_code == 206 and content_range.startswith(f"bytes {offset}-")
