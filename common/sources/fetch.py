"""The official HAM10000, from the Harvard Dataverse into its official layout."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from common.errors import SourceError
from common.manifest import HAM10000_TABLE
from common.sources.dataverse import Dataverse, PublishedFile
from common.sources.download import Progress, disk_error, download
from common.sources.unpack import is_unpacked, unpack_images

HARVARD: Final = "https://dataverse.harvard.edu"
DOWNLOADS: Final = "dermafed_download"  # folder of what is under way, within the cohort's
LICENCE: Final = """\
The HAM10000 dataset, a large collection of multi-source dermatoscopic images of common pigmented
skin lesions, by Philipp Tschandl, Cliff Rosendahl and Harald Kittler.
https://doi.org/10.7910/DVN/DBW86T

Licence: Creative Commons Attribution-NonCommercial 4.0 International (CC BY-NC 4.0),
https://creativecommons.org/licenses/by-nc/4.0/ . You may share and adapt the images for purposes
that are not commercial, if you credit the authors. The dataset's page shows the terms in force.

Cite: Tschandl, P., Rosendahl, C. & Kittler, H. The HAM10000 dataset, a large collection of
multi-source dermatoscopic images of common pigmented skin lesions. Scientific Data 5, 180161
(2018). https://doi.org/10.1038/sdata.2018.161
If you use the lesion masks, cite also: Tschandl, P., Rinner, C., Apalla, Z. et al. Human-computer
collaboration for skin cancer recognition. Nature Medicine 26, 1229-1234 (2020).
https://doi.org/10.1038/s41591-020-0942-0
"""
_TABLE_COLUMNS: Final = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")


@dataclass(frozen=True)
class ImageArchive:
    """A zip file of images, unpacked into a folder of its name.

    Attributes
    ----------
    name : str
        The folder's; the file's without its ending.
    images : int
        How many it holds.
    optional : bool
        Whether the dataset may lack it.
    """

    name: str
    images: int
    optional: bool = False


@dataclass(frozen=True)
class Source:
    """What to fetch from a dataset.

    Attributes
    ----------
    doi : str
        The dataset's, without ``doi:``.
    rows : int
        Rows of the table, one an image.
    archives : tuple of ImageArchive
        Its images and masks.
    """

    doi: str
    rows: int
    archives: tuple[ImageArchive, ...]


HAM10000_SOURCE: Final = Source(
    doi="10.7910/DVN/DBW86T",
    rows=10_015,
    archives=(
        ImageArchive("HAM10000_images_part_1", images=5_000),
        ImageArchive("HAM10000_images_part_2", images=5_015),
        ImageArchive("HAM10000_segmentations_lesion_tschandl", images=10_015, optional=True),
    ),
)


def fetch_ham10000(
    folder: Path,
    *,
    accept_licence: bool,
    server: str = HARVARD,
    progress: Progress,
    source: Source = HAM10000_SOURCE,
) -> None:
    """Download HAM10000 and unpack it; what is there already is kept.

    After Ctrl-C or an error the next call goes on where this one stopped.

    Parameters
    ----------
    folder : Path
        Where to; `common.cohort.load_cohort` reads it afterwards.
    accept_licence : bool
        Whether the user has accepted `LICENCE`; nothing is asked of the server otherwise.
    server : str
        A Dataverse that holds the dataset; https, unless it is this machine.
    progress : callable
        Called with a file's name, bytes done and bytes in all (0 where unknown); first while it
        is downloaded, then, by its folder's name, while it is unpacked.
    source : Source
        Which dataset, and what must be in it.

    Raises
    ------
    SourceError
        If the licence is not accepted, the server cannot be reached or refuses, a file is missing,
        damaged or not what was published, or the disk is full.
    """
    if not accept_licence:
        raise SourceError(
            "HAM10000 is under the licence CC BY-NC 4.0 (not for commercial use; cite the "
            f"authors): read it at https://doi.org/{HAM10000_SOURCE.doi} and, if you accept it, "
            "pass --accept-licence; nothing was downloaded"
        )
    try:
        _fetch(folder, server, progress, source)
    except OSError as error:
        raise disk_error(folder, error) from error


def _fetch(folder: Path, server: str, progress: Progress, source: Source) -> None:
    table = folder / HAM10000_TABLE
    has_table = table.exists()
    if has_table:
        problem = _table_problem(table, source.rows)
        if problem is not None:
            raise SourceError(
                f"{table}: not HAM10000's table: {problem}; move it away and run the same command "
                "again"
            )
    archives = [
        archive
        for archive in source.archives
        if not is_unpacked(folder / archive.name, archive.images)
    ]
    if has_table and not archives:
        return
    downloads = folder / DOWNLOADS
    with Dataverse(server) as dataverse:
        offered = dataverse.list_files(source.doi)
        # Look for everything before an hour goes into a part of it.
        table_file = None if has_table else _find(offered, HAM10000_TABLE, dataverse.server)
        files = {
            archive: _find(offered, archive.name, dataverse.server)
            for archive in archives
            if not archive.optional or _matches(offered, archive.name)
        }
        for file in files.values():
            if file.checksum is None:
                raise SourceError(
                    f"{file.address}: no checksum is published for {file.name}, so nothing would "
                    "tell whether it arrives whole; nothing was downloaded"
                )
        downloads.mkdir(parents=True, exist_ok=True)
        if table_file is not None:
            _fetch_table(dataverse, table_file, downloads, source.rows, progress)
        for archive, file in files.items():
            arrived = downloads / f"{archive.name}.zip"
            download(dataverse, file, arrived, progress)
            unpack_images(arrived, folder / archive.name, archive.images, progress)
            arrived.unlink()  # of two copies on the disk one is enough
    shutil.rmtree(downloads, ignore_errors=True)


def _fetch_table(
    dataverse: Dataverse, file: PublishedFile, downloads: Path, rows: int, progress: Progress
) -> None:
    arrived = downloads / HAM10000_TABLE
    if file.checksum is None:  # nothing tells whether what an earlier call left is whole
        arrived.unlink(missing_ok=True)
    download(dataverse, file, arrived, progress)
    problem = _table_problem(arrived, rows)
    if problem is not None:
        arrived.unlink()
        raise SourceError(
            f"{file.address}: what it gives is not HAM10000's table: {problem}; is the server's "
            "dataset the official one?"
        )
    arrived.replace(downloads.parent / HAM10000_TABLE)


def _table_problem(table: Path, rows: int) -> str | None:
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            header = [name.strip() for name in next(reader, [])]
            found = sum(1 for row in reader if row)
    except (csv.Error, UnicodeDecodeError) as error:
        return f"no CSV file in UTF-8: {error}"
    missing = [column for column in _TABLE_COLUMNS if column not in header]
    if missing:
        return f"column {missing[0]} is missing"
    return None if found == rows else f"{found:,} rows, not {rows:,}"


def _find(files: Sequence[PublishedFile], name: str, server: str) -> PublishedFile:
    matches = _matches(files, name)
    if not matches:
        raise SourceError(
            f"{server}: the dataset has no file {name}; it has: "
            f"{', '.join(file.name for file in files) or 'none'}"
        )
    return matches[0]


def _matches(files: Sequence[PublishedFile], name: str) -> list[PublishedFile]:
    """Find files by name; their endings and separators differ between versions of the dataset."""
    key = _bare(name)
    return [file for file in files if key in (_bare(file.name), _bare(file.uploaded_name))]


def _bare(name: str) -> str:
    stem = re.sub(r"\.(zip|csv|tab|tsv|txt)$", "", name.lower())
    return re.sub(r"[^a-z0-9]", "", stem)
