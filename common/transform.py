"""From an image file's bytes to the rectangle of pixels that a backbone looks at."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from common.errors import ImageError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL import Image
    from torch import Tensor

Interpolation = Literal["bicubic", "bilinear"]


@dataclass(frozen=True)
class Transform:
    """Central crop to the shape and a resize to it, or a resize first; then normalisation.

    Attributes
    ----------
    size : int
        Width, in pixels; the side of a square.
    mean, std : float or tuple of float
        ``(x / 255 - mean) / std``, on every channel or on red, green and blue; `normalise` does it.
    height : int or None
        Height, in pixels; None for a square.
    resize : int or None
        The image's shorter side, in pixels, after a resize that comes before the central crop, as
        torchvision's weights want it: the margin is never seen. None to crop first.
    interpolation : str
        Of the resize: ``bicubic`` or ``bilinear``.
    """

    size: int
    mean: float | tuple[float, float, float]
    std: float | tuple[float, float, float]
    height: int | None = field(default=None, kw_only=True)
    resize: int | None = field(default=None, kw_only=True)
    interpolation: Interpolation = field(default="bicubic", kw_only=True)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, in pixels."""
        return self.height or self.size, self.size

    @property
    def key(self) -> str:
        """Text that changes whenever the pixels or their scale would."""
        shape = "centre-square,{2},{1}" if self.height is None else "centre,{2},{1}x{0}"
        text = shape.format(*self.shape, self.interpolation)
        before = "" if self.resize is None else f"resize={self.resize},"
        return f"{before}{text},mean={self.mean!r},std={self.std!r}"

    def normalise(self, x: Tensor) -> Tensor:
        """Scale pixels as the network wants them, in place.

        Parameters
        ----------
        x : Tensor of float32, shape (n, 3, height, width)
            On the 0 to 1 scale.
        """
        mean, std = (
            value if isinstance(value, float) else x.new_tensor(value).view(3, 1, 1)
            for value in (self.mean, self.std)
        )
        return x.sub_(mean).div_(std)

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

        how = Image.Resampling[self.interpolation.upper()]
        height, width = self.shape
        if self.resize is not None:
            # The arithmetic of torchvision's Resize and CenterCrop.
            shorter = min(image.size)
            across, down = (int(self.resize * side / shorter) for side in image.size)
            left, top = round((across - width) / 2), round((down - height) / 2)
            part = image.resize((across, down), how)
            return np.asarray(part.crop((left, top, left + width, top + height)))
        # The largest part in the middle that has the shape.
        across = min(image.width, max(1, round(image.height * width / height)))
        down = min(image.height, max(1, round(image.width * height / width)))
        left, top = (image.width - across) // 2, (image.height - down) // 2
        part = image.crop((left, top, left + across, top + down))
        return np.asarray(part.resize((width, height), how))


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
