"""Images of a cohort, small enough to stand within a page."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.cohort import load_cohort
from common.errors import CohortError
from common.transform import decode, read_image

SIDE, QUALITY = 160, 80


@dataclass(frozen=True)
class Thumbnail:
    """A small image.

    Attributes
    ----------
    source : str
        A ``data:`` address of a JPEG without any metadata.
    width, height : int
        In pixels; the longer one is at most `SIDE`.
    """

    source: str
    width: int
    height: int


def thumbnails(cohort: Path, image_ids: Sequence[str]) -> dict[str, Thumbnail]:
    """Make thumbnails of some images of a cohort.

    Parameters
    ----------
    cohort : Path
        Its folder or manifest.
    image_ids : sequence of str
        Which images.

    Raises
    ------
    CohortError
        If the cohort cannot be read, or lacks one of the images.
    ImageError
        If an image cannot be read.
    """
    loaded = load_cohort(cohort)
    path_of = dict(zip(loaded.image_id.tolist(), loaded.path, strict=True))
    missing = [name for name in image_ids if name not in path_of]
    if missing:
        raise CohortError(
            f"{cohort}: has no image {missing[0]}, so it is not the cohort of this run; "
            "give the right one with --cohort, or --no-images"
        )
    return {name: _thumbnail(path_of[name]) for name in image_ids}


def _thumbnail(path: Path) -> Thumbnail:
    image = decode(read_image(path), path)
    image.thumbnail((SIDE, SIDE))
    # Pillow would carry a comment over.
    image.info.clear()
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=QUALITY)
    source = f"data:image/jpeg;base64,{b64encode(stream.getvalue()).decode()}"
    return Thumbnail(source, image.width, image.height)
