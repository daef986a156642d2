"""One decoding of every image and mask, for all checks of images."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common.cohort import Cohort
from common.errors import ImageError
from common.features import Progress, cores, no_progress
from common.transform import decode, read_image

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

# Sides of the squares that likeness is judged on. Being square, they turn with the image.
HASH_SIDE, HASHED_SIDE, THUMB_SIDE = 16, 64, 112
# Names of Pillow's transpositions; the first leaves the image as it is.
UPRIGHT = "UPRIGHT"
ORIENTATIONS = (
    *(UPRIGHT, "FLIP_LEFT_RIGHT", "FLIP_TOP_BOTTOM", "ROTATE_90", "ROTATE_180", "ROTATE_270"),
    *("TRANSPOSE", "TRANSVERSE"),
)


@dataclass(frozen=True)
class Pictures:
    """What the images showed, in the order of the cohort's rows.

    Attributes
    ----------
    readable : ndarray of bool, shape (n,)
        Whether the image could be decoded; all other values of an unreadable one are zero.
    problem : tuple of str
        What is wrong with unreadable images and masks, each naming its file.
    size, mask_size : ndarray of intp, shape (n, 2)
        Width and height in pixels; zero where there is no mask or it is unreadable.
    digest : tuple of bytes
        BLAKE2b of each file's bytes.
    hashes : ndarray of uint8, shape (n, 8, 32), or None
        Perceptual hash (DCT, 256 bits) of the whole image in each of `ORIENTATIONS`.
    thumb : ndarray of uint8, shape (n, 112, 112), or None
        The whole image in grey, squeezed to a square.
    """

    readable: NDArray[np.bool_]
    problem: tuple[str, ...]
    size: NDArray[np.intp]
    mask_size: NDArray[np.intp]
    digest: tuple[bytes, ...]
    hashes: NDArray[np.uint8] | None
    thumb: NDArray[np.uint8] | None


def open_pictures(
    cohort: Cohort, *, likeness: bool = True, progress: Progress = no_progress
) -> Pictures:
    """Decode every image and mask of a cohort once, at full resolution.

    Parameters
    ----------
    cohort : Cohort
        Whose images.
    likeness : bool
        Whether to compute what near-duplicates are looked for with.
    progress : callable
        Called with (images done, images in all).
    """
    n = len(cohort)
    readable = np.zeros(n, dtype=np.bool_)
    size, mask_size = np.zeros((n, 2), dtype=np.intp), np.zeros((n, 2), dtype=np.intp)
    digest = [b""] * n
    code_bytes = HASH_SIDE * HASH_SIDE // 8
    hashes = np.zeros((n, len(ORIENTATIONS), code_bytes), dtype=np.uint8) if likeness else None
    thumb = np.zeros((n, THUMB_SIDE, THUMB_SIDE), dtype=np.uint8) if likeness else None

    def look(row: int) -> list[str]:
        problems = []
        try:
            data = read_image(cohort.path[row])
            digest[row] = blake2b(data, digest_size=16).digest()
            image = decode(data, cohort.path[row])
            readable[row], size[row] = True, image.size
            if hashes is not None and thumb is not None:
                hashes[row], thumb[row] = perceive(image)
        except ImageError as error:
            problems.append(str(error))
        mask = cohort.mask[row]
        if mask is not None:
            try:
                mask_size[row] = _mask_size(mask)
            except ImageError as error:
                problems.append(str(error))
        return problems

    problem: list[str] = []
    with ThreadPoolExecutor(cores()) as workers:
        for done, found in enumerate(workers.map(look, range(n)), start=1):
            problem.extend(found)
            progress(done, n)
    return Pictures(readable, tuple(problem), size, mask_size, tuple(digest), hashes, thumb)


def perceive(image: Image.Image) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Give an image's perceptual hashes and its thumbnail.

    The hash is imagehash's ``phash``: which of the 16 x 16 lowest DCT coefficients of the image
    at 64 x 64 are above their median.

    Parameters
    ----------
    image : PIL.Image.Image
        At full resolution.

    Returns
    -------
    ndarray of uint8, shape (8, 32)
        One hash an orientation.
    ndarray of uint8, shape (112, 112)
        The thumbnail.
    """
    import imagehash
    from PIL import Image

    grey = image.convert("L")
    small = grey.resize((HASHED_SIDE, HASHED_SIDE), Image.Resampling.LANCZOS)
    factor = HASHED_SIDE // HASH_SIDE
    bits = [
        imagehash.phash(turn(small, name), hash_size=HASH_SIDE, highfreq_factor=factor).hash
        for name in ORIENTATIONS
    ]
    thumb = grey.resize((THUMB_SIDE, THUMB_SIDE), Image.Resampling.BILINEAR)
    return np.packbits(np.reshape(bits, (len(bits), -1)), axis=1), np.asarray(thumb)


def turn(image: Image.Image, orientation: str) -> Image.Image:
    """Flip or turn an image into one of `ORIENTATIONS`."""
    from PIL import Image

    if orientation == UPRIGHT:
        return image
    return image.transpose(Image.Transpose[orientation])


def _mask_size(path: Path) -> tuple[int, int]:
    return decode(read_image(path), path).size
