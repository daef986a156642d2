"""Finding the files of a cohort in one or several folders."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from common.errors import CohortError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"})
MASK_SUFFIX = "_segmentation"


def without_ending(name: str) -> str:
    """Drop an image file's ending; other dots belong to the id."""
    path = Path(name)
    return path.with_suffix("").as_posix() if _is_image(path) else name


def list_images(folder: Path) -> Iterator[Path]:
    """List a folder's image files, by their ending, without opening any."""
    with os.scandir(folder) as entries:
        for entry in entries:
            path = folder / entry.name
            if _is_image(path):
                yield path


def find_images(
    root: Path, patterns: Sequence[str], names: Sequence[str], table: Path
) -> tuple[Path, ...]:
    """Find each image of a table.

    Parameters
    ----------
    root : Path
        The cohort's folder.
    patterns : sequence of str
        Image folders, relative to `root` or absolute; ``*`` may stand in a name.
    names : sequence of str
        Image ids, or file names with their ending, possibly below a folder.
    table : Path
        Where the names come from, for messages.

    Returns
    -------
    tuple of Path
        One file a name.

    Raises
    ------
    CohortError
        If a folder or a file is missing, or one id has two files.
    """
    folders = _folders(root, patterns)
    if not folders:
        raise CohortError(f"{root}: none of the image folders is there: {', '.join(patterns)}")
    by_stem: dict[str, Path] = {}
    for folder in folders:
        for path in list_images(folder):
            other = by_stem.setdefault(path.stem, path)
            if other != path:
                raise CohortError(f"{path}: image {path.stem} is there twice, also as {other}")
    files = [by_stem.get(name) or _named_file(folders, name) for name in names]
    missing = [name for name, file in zip(names, files, strict=True) if file is None]
    if missing:
        raise CohortError(
            f"{table}: {len(missing)} image(s) of the table have no file in "
            f"{', '.join(map(str, folders))}, first {missing[0]}"
        )
    return tuple(file for file in files if file is not None)


def find_masks(
    root: Path, patterns: Sequence[str], image_ids: Sequence[str]
) -> tuple[Path | None, ...]:
    """Find each image's lesion mask, None where there is none."""
    by_stem = {
        path.stem.removesuffix(MASK_SUFFIX): path
        for folder in _folders(root, patterns)
        for path in list_images(folder)
    }
    return tuple(by_stem.get(name) for name in image_ids)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES


def _folders(root: Path, patterns: Sequence[str]) -> list[Path]:
    found: set[Path] = set()
    for pattern in patterns:
        parts = Path(pattern).parts
        fixed = next((i for i, part in enumerate(parts) if "*" in part), len(parts))
        start = root.joinpath(*parts[:fixed])  # an absolute pattern replaces the root
        try:
            matches = start.glob("/".join(parts[fixed:])) if fixed < len(parts) else [start]
            found.update(path for path in matches if path.is_dir())
        except ValueError as error:
            raise CohortError(f"image folder {pattern!r}: {error}") from error
    return sorted(found)


def _named_file(folders: Sequence[Path], name: str) -> Path | None:
    if not _is_image(Path(name)):
        return None
    return next((folder / name for folder in folders if (folder / name).is_file()), None)
