"""From an image file's bytes to the rectangle of pixels that a backbone looks at."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from common.errors import ImageError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL import Image


@dataclass(frozen=True)
class Transform:
    """Central crop to the shape, bicubic resize, then ``(x / 255 - mean) / std`` on every channel.

    Attributes
    ----------
    size : int
        Width, in pixels; the side of a square.
    mean, std : float
        Normalisation on the 0 to 1 scale; the network's side applies it.
    height : int or None
        Height, in pixels; None for a square.
    """

    size: int
    mean: float
    std: float
    height: int | None = field(default=None, kw_only=True)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, in pixels."""
        return self.height or self.size, self.size

    @property
    def key(self) -> str:
        """Text that changes whenever the pixels or their scale would."""
        shape = "centre-square,bicubic,{1}" if self.height is None else "centre,bicubic,{1}x{0}"
        return f"{shape.format(*self.shape)},mean={self.mean!r},std={self.std!r}"

    def pixels(self, data: bytes, source: Path) -> NDArray[np.uint8]:
        """Decode, crop and resize one image.

        Parameters
        ----------
        data : bytes
            The file's content, in any format that Pillow reads.
        source : Path
            Where it came from, for the error message.

        Returns
        -------
        ndarray of uint8, shape (height, size, 3)
            RGB pixels.

        Raises
        ------
        ImageError
            If the bytes are not a complete image.
        """
        return self.fit(decode(data, source))

    def fit(self, image: Image.Image) -> NDArray[np.uint8]:
        """Crop and resize one decoded image.

        Parameters
        ----------
        image : PIL.Image.Image
            In RGB, as `decode` gives it.

        Returns
        -------
        ndarray of uint8, shape (height, size, 3)
            RGB pixels.
        """
        from PIL import Image

        height, width = self.shape
        # The largest part in the middle that has the shape.
        across = min(image.width, max(1, round(image.height * width / height)))
        down = min(image.height, max(1, round(image.width * height / width)))
        left, top = (image.width - across) // 2, (image.height - down) // 2
        part = image.crop((left, top, left + across, top + down))
        return np.asarray(part.resize((width, height), Image.Resampling.BICUBIC))


def read_image(path: Path) -> bytes:
    """Read an image file's bytes.

    Raises
    ------
    ImageError
        If the file is missing, empty or cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: {error.strerror}; restore it or remove its row") from error
    if not data:
        raise ImageError(f"{path}: the file is empty; restore it or remove its row")
    return data


def decode(data: bytes, source: Path) -> Image.Image:
    """Decode one image whole.

    Parameters
    ----------
    data : bytes
        The file's content, in any format that Pillow reads.
    source : Path
        Where it came from, for the error message.

    Returns
    -------
    PIL.Image.Image
        In RGB.

    Raises
    ------
    ImageError
        If the bytes are not a complete image of at most 8 bits a channel.
    """
    from PIL import Image, UnidentifiedImageError

    if not data:
        raise ImageError(f"{source}: the file is empty; restore it or remove its row")
    try:
        with Image.open(io.BytesIO(data)) as image:
            problem = _problem(image)
            rgb = None if problem else image.convert("RGB")
    except UnidentifiedImageError as error:
        raise ImageError(f"{source}: not an image; restore it or remove its row") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"{source}: too many pixels for a photograph ({error})") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise ImageError(
            f"{source}: damaged or truncated ({error}); restore it or remove its row"
        ) from error
    if rgb is None:
        raise ImageError(f"{source}: {problem}")
    return rgb


def _problem(image: Image.Image) -> str:
    """Tell from its header alone why an image is not decoded; empty where it is."""
    from PIL import Image

    # Pillow only warns up to twice this number, and filters of warnings are not for threads.
    most = Image.MAX_IMAGE_PIXELS
    if most is not None and image.width * image.height > most:
        return f"too many pixels for a photograph ({image.width} x {image.height})"
    # Pillow would clip what is above 255 to white.
    if image.mode.startswith(("I", "F")):
        return "more than 8 bits a channel; convert it to 8"
    return ""
