"""Unpacking an archive of images into one folder, whole or not at all."""

from __future__ import annotations

import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from common.errors import SourceError
from common.image_folders import IMAGE_SUFFIXES, list_images
from common.sources.download import Progress

_CLUTTER = "__MACOSX"


def is_unpacked(folder: Path, images: int) -> bool:
    """Tell whether a folder holds the images that it must.

    Parameters
    ----------
    folder : Path
        The folder, which need not exist.
    images : int
        How many there must be at least.

    Raises
    ------
    SourceError
        If the folder is there but lacks images: nothing of a user's own is overwritten.
    """
    if not folder.exists():
        return False
    found = sum(1 for _ in list_images(folder))
    if found < images:
        raise SourceError(
            f"{folder}: holds {found:,} of {images:,} images; move this folder away and run the "
            "same command again to fetch all of them"
        )
    return True


def unpack_images(archive: Path, folder: Path, images: int, progress: Progress) -> None:
    """Unpack the images of a zip archive, whatever folders it has, straight into `folder`.

    They are unpacked beside the archive first, so that `folder` appears with all of them.

    Parameters
    ----------
    archive : Path
        The zip file, on the file system of `folder`.
    folder : Path
        Where to, not yet there.
    images : int
        How many there must be at least.
    progress : callable
        Called with the folder's name, bytes so far and bytes in all.

    Raises
    ------
    SourceError
        If the archive is damaged, lacks images, or has members that a safe one never has: paths
        out of the folder, links, two of one name.
    """
    temporary = archive.with_name(f"{folder.name}.unpacking")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        with zipfile.ZipFile(archive) as opened:
            members = _images(archive, opened)
            if len(members) < images:
                raise SourceError(
                    f"{archive}: holds {len(members):,} images instead of {images:,}; is the "
                    "server's dataset the official one?"
                )
            total, done = sum(member.file_size for member in members.values()), 0
            for name, member in members.items():
                with opened.open(member) as source, (temporary / name).open("xb") as stream:
                    shutil.copyfileobj(source, stream)
                done += member.file_size
                progress(folder.name, done, total)
        temporary.replace(folder)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise SourceError(
            f"{archive}: not a zip file that can be unpacked: {error}; delete it and run the same "
            "command again to download it anew"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _images(archive: Path, opened: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    members: dict[str, zipfile.ZipInfo] = {}
    for member in opened.infolist():
        path = PurePosixPath(member.filename)
        _refuse_unsafe(archive, member, path)
        hidden = _CLUTTER in path.parts or path.name.startswith(".")
        if member.is_dir() or hidden or path.suffix.lower() not in IMAGE_SUFFIXES:
            continue
        if path.name in members:
            raise SourceError(f"{archive}: {path.name} is in it twice; nothing was unpacked")
        members[path.name] = member
    return members


def _refuse_unsafe(archive: Path, member: zipfile.ZipInfo, path: PurePosixPath) -> None:
    # Windows reads \ and : in names as paths; zipfile changes names, so look at the original too.
    name = member.orig_filename
    leaves = path.is_absolute() or ".." in path.parts or any(sign in name for sign in "\\:\0")
    if leaves or stat.S_ISLNK(member.external_attr >> 16):
        raise SourceError(
            f"{archive}: member {name!r} would be written outside the folder or is a link; such an "
            "archive is not to be trusted, and nothing was unpacked"
        )
