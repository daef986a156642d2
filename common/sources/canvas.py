"""A lesion in the making: its outline, its pigments and what covers them.

A lesion absorbs light: melanin and blood are densities over the skin's colour, and what covers
them (veil, scale, cysts) is laid on top.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    Plane = NDArray[np.float32]

SIDE = 256
# Absorption of red, green and blue light at unit density.
_MELANIN = np.array([0.62, 1.0, 1.28], dtype=np.float32)
_BLOOD = np.array([0.14, 1.0, 0.85], dtype=np.float32)


@dataclass(frozen=True)
class Lesion:
    """One lesion, seen from straight above without a camera.

    Attributes
    ----------
    picture : PIL.Image.Image
        RGBA, `SIDE` x `SIDE`; transparent where there is plain skin.
    mask : PIL.Image.Image
        Grey, `SIDE` x `SIDE`; 255 where the lesion is.
    skin : ndarray of float32, shape (3,)
        Colour of the patient's skin, red, green, blue from 0 to 1.
    """

    picture: Image.Image
    mask: Image.Image
    skin: Plane


@dataclass(frozen=True)
class Recipe:
    """What lesions of a class have in common; pairs are ranges of a uniform draw.

    `radius` is in halves of the canvas, `wavy` the amplitude of the outline, `soft` the width of
    the border in radii, `melanin` and `blood` densities, `patchy` how much melanin varies inside,
    `chance` the probability of each structure.
    """

    radius: tuple[float, float]
    wavy: tuple[float, float]
    soft: tuple[float, float]
    melanin: tuple[float, float]
    blood: tuple[float, float]
    patchy: tuple[float, float]
    chance: Mapping[str, float]


def noise(rng: Generator, cells: int, width: int = SIDE, height: int = SIDE) -> Plane:
    """Draw smooth noise: normal values on a coarse grid, interpolated.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of the values.
    cells : int
        Grid points along the height.
    width, height : int
        Size of the result in pixels.

    Returns
    -------
    ndarray of float32, shape (height, width)
        Mean about 0, standard deviation somewhat below 1.
    """
    shape = (cells, max(2, round(cells * width / height)))
    grid = Image.fromarray(rng.standard_normal(shape, dtype=np.float32))
    return np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC))


@cache
def _polar() -> tuple[Plane, Plane, Plane, Plane]:
    axis = np.linspace(-1, 1, SIDE, dtype=np.float32)
    x, y = np.meshgrid(axis, axis)
    return x, y, np.hypot(x, y), np.arctan2(y, x)


class Drawing:
    """A lesion in the making: `depth` is 1 at its centre, 0 on its outline, negative outside.

    Parameters
    ----------
    recipe : Recipe
        Ranges of size and pigment.
    rng : numpy.random.Generator
        Where every choice comes from.
    """

    def __init__(self, recipe: Recipe, rng: Generator) -> None:
        self.x, self.y, distance, angle = _polar()
        tone = rng.normal(0.0, 0.035)
        self.skin = np.array([0.85, 0.69, 0.61], dtype=np.float32) + np.float32(tone)
        self.skin += rng.normal(0.0, 0.02, 3).astype(np.float32)
        wavy = rng.uniform(*recipe.wavy)
        turns = np.linspace(-np.pi, np.pi, 361)
        outline = 1.0 + rng.uniform(0.0, 0.18) * np.cos(2 * turns + rng.uniform(0, 2 * np.pi))
        for k in range(3, 9):
            outline += rng.normal(0.0, wavy / (k - 1)) * np.cos(k * turns + rng.uniform(0, 7))
        outline *= rng.uniform(*recipe.radius)
        reach = np.interp(angle, turns, np.clip(outline, 0.15, 0.97)).astype(np.float32)
        self.depth = 1.0 - distance / reach + np.float32(wavy * 0.35) * noise(rng, 14)
        self.inside = step(self.depth, 0.0, rng.uniform(*recipe.soft))
        variation = noise(rng, 3) + 0.5 * noise(rng, 7)
        patchy = np.float32(rng.uniform(*recipe.patchy))
        self.melanin = rng.uniform(*recipe.melanin) * np.exp(patchy * 0.6 * variation)
        self.melanin *= 1.0 + np.float32(rng.uniform(-0.35, 0.35)) * (self.depth - 0.5)
        self.blood = np.float32(rng.uniform(*recipe.blood)) * (1.0 + 0.35 * noise(rng, 4))
        # No skin is a flat colour: mottling and fine grain, whatever the class.
        mottle = 1.0 + 0.12 * noise(rng, 26) + 0.10 * noise(rng, 60)
        self.melanin *= mottle
        self.blood *= mottle
        self.cover: list[tuple[tuple[float, float, float], Plane]] = []

    def places(self, rng: Generator, count: int, low: float, high: float = 9.0) -> NDArray[np.intp]:
        """Draw pixels (column, row) between two depths; none if there is no room."""
        room = np.flatnonzero((self.depth > low) & (self.depth < high))
        if room.size == 0:
            return np.empty((0, 2), dtype=np.intp)
        chosen = rng.choice(room, count)
        return np.stack([chosen % SIDE, chosen // SIDE], axis=1)

    def blobs(
        self, rng: Generator, count: int, size: tuple[float, float], low: float, blur: float = 0.8
    ) -> Plane:
        """Draw filled ellipses of `size` pixels of radius at random places, values 0 to 1."""
        sheet = Image.new("L", (SIDE, SIDE))
        pen = ImageDraw.Draw(sheet)
        for column, row in self.places(rng, count, low).tolist():
            a, b = rng.uniform(*size), rng.uniform(0.7, 1.0)
            box = (column - a, row - a * b, column + a, row + a * b)
            pen.ellipse(box, fill=int(rng.uniform(140, 255)))
        return plane(sheet, blur)

    def finish(self) -> Lesion:
        """Let light through the pigments and lay the covers on top."""
        blood = np.maximum(self.blood, 0.0)
        cover = [(tint, np.clip(weight, 0.0, 1.0)) for tint, weight in self.cover]
        rgba = np.empty((SIDE, SIDE, 4), dtype=np.uint8)
        # One colour at a time: whole planes are several times as fast as rows of three.
        for c in range(3):
            colour = self.skin[c] * np.exp(-(self.melanin * _MELANIN[c] + blood * _BLOOD[c]))
            for tint, weight in cover:
                colour += weight * (np.float32(tint[c]) - colour)
            rgba[..., c] = np.clip(colour * 255.0, 0.0, 255.0)
        rgba[..., 3] = np.clip(self.inside * 255.0, 0.0, 255.0)
        mask = Image.fromarray(np.where(self.inside > 0.3, np.uint8(255), np.uint8(0)))
        return Lesion(Image.fromarray(rgba), mask, self.skin)


def step(values: NDArray[np.floating], at: float, width: float) -> Plane:
    """Rise smoothly from 0 to 1 around `at`, over `width`; any shape, kept."""
    t: Plane = np.clip((values - np.float32(at)) / np.float32(width) + np.float32(0.5), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def plane(sheet: Image.Image, blur: float) -> Plane:
    """Turn a grey sheet into values from 0 to 1, blurred by `blur` pixels."""
    smooth = sheet.filter(ImageFilter.GaussianBlur(blur))
    return np.asarray(smooth, dtype=np.float32) * np.float32(1 / 255)
