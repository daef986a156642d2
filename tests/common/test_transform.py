"""From bytes to pixels."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from common.errors import ImageError
from common.transform import Transform

TRANSFORM = Transform(size=32, mean=0.5, std=0.5)
SOURCE = Path("images/ISIC_1.jpg")


def _noise(width: int, height: int, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def _bytes(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _reference(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """Crop with numpy, resize with Pillow."""
    pixels = np.asarray(image.convert("RGB"))
    side = min(pixels.shape[:2])
    top, left = ((length - side) // 2 for length in pixels.shape[:2])
    square = Image.fromarray(pixels[top : top + side, left : left + side])
    return np.asarray(square.resize((size, size), Image.Resampling.BICUBIC))


@settings(deadline=None, max_examples=40)
@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    size=st.integers(1, 64),
    kind=st.sampled_from(["PNG", "JPEG", "BMP", "TIFF"]),
)
def test_pixels_are_the_central_square_resized(
    width: int, height: int, size: int, kind: str
) -> None:
    data = _bytes(_noise(width, height), kind)
    pixels = Transform(size, 0.5, 0.5).pixels(data, SOURCE)
    assert pixels.shape == (size, size, 3)
    assert pixels.dtype == np.uint8
    with Image.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(pixels, _reference(image, size))


@pytest.mark.parametrize("mode", ["P", "RGBA", "L", "LA", "1", "CMYK"])
def test_any_mode_of_eight_bits_becomes_rgb(mode: str) -> None:
    image = _noise(40, 30).convert(mode)
    kind = "TIFF" if mode == "CMYK" else "PNG"
    pixels = TRANSFORM.pixels(_bytes(image, kind), SOURCE)
    np.testing.assert_array_equal(pixels, _reference(image, 32))


def test_a_grey_image_has_three_equal_channels() -> None:
    pixels = TRANSFORM.pixels(_bytes(_noise(40, 30).convert("L")), SOURCE)
    assert (pixels == pixels[:, :, :1]).all()


@pytest.mark.parametrize("cut", [30, 200, 1000])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_truncated_image_is_refused(kind: str, cut: int) -> None:
    data = _bytes(_noise(60, 50), kind)
    with pytest.raises(ImageError, match=r"images/ISIC_1\.jpg: damaged or truncated"):
        TRANSFORM.pixels(data[: len(data) - cut], SOURCE)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "the file is empty"),
        (b"this is a text file\n" * 10, "not an image"),
        (b"\xff\xd8\xff", "not an image"),
        (b"\0" * 1000, "not an image"),
    ],
)
def test_what_is_no_image_is_refused_by_file(data: bytes, match: str) -> None:
    with pytest.raises(ImageError, match=match) as caught:
        TRANSFORM.pixels(data, SOURCE)
    assert str(caught.value).startswith(f"{SOURCE}: ")


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_more_than_eight_bits_a_channel_are_refused_rather_than_clipped(dtype: type) -> None:
    image = Image.fromarray(np.arange(900, dtype=dtype).reshape(30, 30))
    with pytest.raises(ImageError, match="more than 8 bits a channel"):
        TRANSFORM.pixels(_bytes(image, "TIFF"), SOURCE)


@pytest.mark.parametrize("factor", [1, 3])
def test_an_image_of_absurdly_many_pixels_is_refused(
    monkeypatch: pytest.MonkeyPatch, factor: int
) -> None:
    data = _bytes(_noise(30, 30))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 900)
    TRANSFORM.pixels(data, SOURCE)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 899 // factor)
    with pytest.raises(ImageError, match="too many pixels"):
        TRANSFORM.pixels(data, SOURCE)


@settings(deadline=None, max_examples=150)
@given(
    kind=st.sampled_from(["JPEG", "PNG", "BMP", "GIF", "WEBP"]),
    changes=st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), max_size=5),
    share=st.floats(0.2, 1.0),
)
def test_damaged_bytes_give_pixels_or_an_image_error(
    kind: str, changes: list[tuple[int, int]], share: float
) -> None:
    data = bytearray(_bytes(_noise(20, 16), kind))
    for place, value in changes:
        data[place % len(data)] = value
    try:
        pixels = TRANSFORM.pixels(bytes(data[: int(share * len(data))]), SOURCE)
    except ImageError as error:
        assert str(error).startswith(f"{SOURCE}: ")  # noqa: PT017
    else:
        assert pixels.shape == (32, 32, 3)


def test_the_key_changes_with_all_that_the_pixels_depend_on() -> None:
    kinds = [(32, 0.5, 0.5), (33, 0.5, 0.5), (32, 0.4, 0.5), (32, 0.5, 0.4)]
    assert len({Transform(*kind).key for kind in kinds}) == 4
