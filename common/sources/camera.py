"""What the camera of a site makes of a lesion: framing, lens, light, colours and what is in front.

Each site photographs with one instrument in one manner, and varies around it; this is what makes
a model that has never seen a site fail there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from common.sources.canvas import SIDE, Lesion, noise

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    Plane = NDArray[np.float32]

# Half the size of HAM10000's pictures.
WIDTH, HEIGHT = 300, 225
_GREY_WEIGHTS = np.array([0.299, 0.587, 0.114], dtype=np.float32)


@dataclass(frozen=True)
class Camera:
    """The instrument of a site and its manner; pairs are ranges of a uniform draw.

    Attributes
    ----------
    gain : tuple of float
        Factor of red, green and blue: the colour cast.
    unsteady : float
        Standard deviation of the gain from picture to picture.
    saturation, gamma, haze : float
        Colourfulness (1 keeps it), exponent of the tone curve, share of grey light added.
    zoom : tuple of float
        Picture pixels per pixel of a drawn lesion.
    blur : tuple of float
        Standard deviation of the lens blur in pixels.
    resolution : float
        Share of the picture's lines that the sensor has.
    interlace : float
        Contrast of the sensor's scan lines.
    grain : float
        Standard deviation of the noise, of full scale.
    vignette : float
        Light lost in the corners.
    circle : float
        Probability that the round edge of the dermatoscope is in the picture.
    hair, ruler, bubbles, glare : float
        Probability of each.
    quality : int
        Of the JPEG file.
    """

    gain: tuple[float, float, float]
    unsteady: float
    saturation: float
    gamma: float
    haze: float
    zoom: tuple[float, float]
    blur: tuple[float, float]
    resolution: float
    interlace: float
    grain: float
    vignette: float
    circle: float
    hair: float
    ruler: float
    bubbles: float
    glare: float
    quality: int


# fmt: off
CAMERAS: Mapping[str, Camera] = {
    # A private practice in Queensland: sharp, warm, hairy, with gel.
    "rosendahl": Camera(
        gain=(1.04, 0.93, 0.80), unsteady=0.035, saturation=1.20, gamma=1.05, haze=0.0,
        zoom=(0.95, 1.25), blur=(0.2, 0.7), resolution=1.0, interlace=0.0, grain=0.012,
        vignette=0.12, circle=0.10, hair=0.40, ruler=0.10, bubbles=0.35, glare=0.2, quality=88,
    ),
    # A university clinic, digital: bright, pink, little in front of the lens.
    "vidir_modern": Camera(
        gain=(1.08, 0.98, 1.02), unsteady=0.03, saturation=1.0, gamma=0.85, haze=0.03,
        zoom=(0.8, 1.1), blur=(0.4, 0.9), resolution=0.85, interlace=0.0, grain=0.010,
        vignette=0.22, circle=0.35, hair=0.20, ruler=0.05, bubbles=0.10, glare=0.1, quality=85,
    ),
    # The same clinic's older video system: few lines, bluish, soft.
    "vidir_molemax": Camera(
        gain=(0.82, 0.93, 1.06), unsteady=0.025, saturation=0.65, gamma=0.9, haze=0.12,
        zoom=(0.95, 1.3), blur=(0.6, 1.2), resolution=0.55, interlace=0.05, grain=0.020,
        vignette=0.30, circle=0.05, hair=0.30, ruler=0.0, bubbles=0.25, glare=0.35, quality=75,
    ),
    # Slides, scanned decades later: contrasty, faded to orange, grainy, with the scope's edge.
    "vienna_dias": Camera(
        gain=(1.12, 0.84, 0.74), unsteady=0.05, saturation=1.20, gamma=1.35, haze=0.05,
        zoom=(0.60, 0.90), blur=(0.4, 1.1), resolution=0.8, interlace=0.0, grain=0.030,
        vignette=0.40, circle=0.75, hair=0.25, ruler=0.30, bubbles=0.30, glare=0.1, quality=85,
    ),
}
# fmt: on


def photograph(lesion: Lesion, camera: Camera, rng: Generator) -> tuple[Image.Image, Image.Image]:
    """Take one picture.

    Parameters
    ----------
    lesion : Lesion
        What lies in front of the camera.
    camera : Camera
        The site's instrument.
    rng : numpy.random.Generator
        Source of everything that varies between two pictures of a lesion.

    Returns
    -------
    PIL.Image.Image, PIL.Image.Image
        The picture (RGB) and its lesion mask (grey, 255 in the lesion), `WIDTH` x `HEIGHT`.
    """
    frame = _framing(camera, rng)
    size, how = (WIDTH, HEIGHT), Image.Transform.AFFINE
    drawn = lesion.picture.transform(size, how, frame, Image.Resampling.BILINEAR)
    mask = lesion.mask.transform(size, how, frame, Image.Resampling.NEAREST)
    texture = 1.0 + 0.03 * noise(rng, 4, WIDTH, HEIGHT) + 0.02 * noise(rng, 70, WIDTH, HEIGHT)
    red, green, blue, opaque = (np.asarray(band, dtype=np.float32) for band in drawn.split())
    opaque = opaque * np.float32(1 / 255)
    scene = np.empty((HEIGHT, WIDTH, 3), dtype=np.uint8)
    # One colour at a time: whole planes are several times as fast as rows of three.
    for c, band in enumerate((red, green, blue)):
        skin = texture * (lesion.skin[c] * np.float32(255))
        scene[..., c] = np.clip(skin + opaque * (band - skin), 0.0, 255.0)
    picture = _in_front(Image.fromarray(scene), camera, rng)
    picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(*camera.blur)))
    if camera.resolution < 1.0:
        fewer = (round(WIDTH * camera.resolution), round(HEIGHT * camera.resolution))
        picture = picture.resize(fewer, Image.Resampling.BILINEAR)
        picture = picture.resize(size, Image.Resampling.BILINEAR)
    return Image.fromarray(_expose(picture, camera, rng)), mask


def _framing(camera: Camera, rng: Generator) -> tuple[float, float, float, float, float, float]:
    """Give the affine map from picture pixels to lesion pixels: turn, flip, zoom, shift."""
    angle, scale = rng.uniform(0, 2 * np.pi), 1.0 / rng.uniform(*camera.zoom)
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    flip = 1.0 if rng.random() < 0.5 else -1.0
    a, b, d, e = flip * cos, -sin, flip * sin, cos
    column, row = np.array([WIDTH, HEIGHT]) / 2 + rng.normal(0.0, 9.0, 2)
    middle = SIDE / 2
    return (a, b, middle - a * column - b * row, d, e, middle - d * column - e * row)


def _in_front(picture: Image.Image, camera: Camera, rng: Generator) -> Image.Image:
    """Lay hair, a ruler, gel bubbles and glare over the skin."""
    pen = ImageDraw.Draw(picture, "RGBA")
    if rng.random() < camera.hair:
        dark = tuple(int(v) for v in rng.uniform(15, 70) * np.array([1.0, 0.8, 0.65]))
        lean = rng.uniform(0, 2 * np.pi)
        for _ in range(int(rng.integers(2, 14))):
            _hair(pen, lean + rng.normal(0.0, 0.4), (*dark, 215), rng)
    if rng.random() < camera.ruler:
        edge, pitch = int(rng.integers(4, 16)), rng.uniform(9, 16)
        for k in range(int(WIDTH / pitch)):
            tick = 16 if k % 5 == 0 else 9
            place = [(k * pitch, HEIGHT - edge), (k * pitch, HEIGHT - edge - tick)]
            pen.line(place, fill=(30, 30, 35, 220), width=1)
    if rng.random() < camera.bubbles:
        for _ in range(int(rng.integers(2, 12))):
            x, y, r = rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT), rng.uniform(2, 11)
            pen.ellipse((x - r, y - r, x + r, y + r), outline=(255, 250, 245, 110), width=1)
            pen.ellipse((x - r / 2, y - r / 2, x, y), fill=(255, 255, 255, 120))
    if rng.random() < camera.glare:
        for _ in range(int(rng.integers(3, 25))):
            x, y, r = rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT), rng.uniform(0.6, 2.5)
            pen.ellipse((x - r, y - r, x + r, y + r), fill=(255, 255, 255, 170))
    return picture


def _hair(
    pen: ImageDraw.ImageDraw, heading: float, colour: tuple[int, ...], rng: Generator
) -> None:
    x, y, bend = rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT), rng.normal(0.0, 0.06)
    points = [(x, y)]
    for _ in range(int(rng.integers(6, 20))):
        heading += bend
        x, y = x + 11 * np.cos(heading), y + 11 * np.sin(heading)
        points.append((x, y))
    pen.line(points, fill=colour, width=int(rng.integers(1, 3)), joint="curve")


@cache
def _radius() -> Plane:
    """Distance from the middle, 1 at the ends of the longer side."""
    x = np.linspace(-1, 1, WIDTH, dtype=np.float32)
    y = np.linspace(-1, 1, HEIGHT, dtype=np.float32) * np.float32(HEIGHT / WIDTH)
    columns, rows = np.meshgrid(x, y)
    distance: Plane = np.hypot(columns, rows)
    return distance


def _expose(picture: Image.Image, camera: Camera, rng: Generator) -> NDArray[np.uint8]:
    """Turn light into the file's colours: vignette, cast, tone curve, haze, grain."""
    gain = np.array(camera.gain) * rng.normal(1.0, camera.unsteady, 3)
    gain *= rng.normal(1.0, 1.5 * camera.unsteady)
    shade = 1.0 - np.float32(camera.vignette * rng.uniform(0.6, 1.2)) * _radius() ** 2
    speckle = np.float32(camera.grain) * rng.standard_normal(shade.shape, dtype=np.float32)
    if camera.interlace:
        speckle[::2] += np.float32(camera.interlace)
    edge = np.ones_like(shade)
    if rng.random() < camera.circle:
        edge = np.clip((np.float32(rng.uniform(0.80, 1.1)) - _radius()) * 25.0, 0.02, 1.0)

    bands = [np.asarray(band, dtype=np.float32) / np.float32(255) for band in picture.split()]
    grey = sum(weight * band for weight, band in zip(_GREY_WEIGHTS, bands, strict=True))
    exposed = np.empty((HEIGHT, WIDTH, 3), dtype=np.uint8)
    for c, band in enumerate(bands):
        light = grey + np.float32(camera.saturation) * (band - grey)
        light = np.maximum(light * (shade * np.float32(gain[c])), 0.0) ** np.float32(camera.gamma)
        light = light * np.float32(1.0 - camera.haze) + np.float32(0.6 * camera.haze) + speckle
        exposed[..., c] = np.clip(light * edge * 255.0, 0.0, 255.0)
    return exposed
