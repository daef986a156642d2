"""Drawing one lesion of a class: its outline, its pigments and its dermoscopic structures.

A lesion absorbs light: melanin and blood are densities over the skin's colour, and what covers
them (veil, scale, cysts) is laid on top. A class is a recipe: ranges of size and pigment, and how
often each structure occurs. Recipes overlap on purpose; no structure belongs to one class alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
_WHITE, _CREAM, _YELLOW = (0.93, 0.90, 0.88), (0.95, 0.90, 0.72), (0.82, 0.62, 0.30)
_BLUE_GREY, _BLUE_BLACK, _SLATE = (0.50, 0.55, 0.66), (0.16, 0.16, 0.24), (0.34, 0.37, 0.47)
_CRUST, _PURPLE = (0.50, 0.22, 0.12), (0.34, 0.08, 0.20)


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
class _Recipe:
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


RECIPES: Mapping[str, _Recipe] = {
    "akiec": _Recipe(
        (0.50, 0.85), (0.04, 0.14), (0.10, 0.45), (0.05, 0.45), (0.15, 0.50), (0.1, 0.4),
        {"scale": 0.60, "strawberry": 0.48, "dots": 0.45, "crust": 0.22, "waxy": 0.15,
         "network": 0.12, "tree": 0.08},
    ),
    "bcc": _Recipe(
        (0.45, 0.80), (0.04, 0.14), (0.10, 0.45), (0.0, 0.45), (0.10, 0.42), (0.1, 0.4),
        {"tree": 0.55, "nests": 0.45, "crust": 0.35, "scale": 0.25, "veil": 0.10, "cysts": 0.12,
         "blotch": 0.12, "scar": 0.1, "dots": 0.08},
    ),
    "bkl": _Recipe(
        (0.50, 0.88), (0.03, 0.14), (0.03, 0.22), (0.30, 1.0), (0.0, 0.25), (0.1, 0.6),
        {"cysts": 0.45, "comedones": 0.4, "ridges": 0.35, "waxy": 0.5, "network": 0.3,
         "globules": 0.15, "scale": 0.18, "veil": 0.1, "blotch": 0.25, "dots": 0.06},
    ),
    "df": _Recipe(
        (0.45, 0.72), (0.01, 0.06), (0.20, 0.50), (0.20, 0.55), (0.05, 0.25), (0.05, 0.20),
        {"scar": 0.92, "network": 0.65, "globules": 0.1, "dots": 0.12},
    ),
    "mel": _Recipe(
        (0.50, 0.95), (0.05, 0.20), (0.05, 0.22), (0.45, 1.45), (0.0, 0.25), (0.2, 0.8),
        {"network": 0.5, "globules": 0.4, "streaks": 0.35, "veil": 0.45, "regression": 0.35,
         "blotch": 0.55, "dots": 0.15, "comedones": 0.06, "scar": 0.05},
    ),
    "nv": _Recipe(
        (0.40, 0.88), (0.02, 0.13), (0.08, 0.35), (0.35, 1.25), (0.0, 0.3), (0.05, 0.55),
        {"network": 0.6, "globules": 0.4, "blotch": 0.35, "streaks": 0.08, "cysts": 0.06,
         "veil": 0.08, "regression": 0.06, "comedones": 0.05, "waxy": 0.08},
    ),
    "vasc": _Recipe(
        (0.35, 0.70), (0.03, 0.12), (0.06, 0.20), (0.0, 0.12), (0.50, 1.0), (0.1, 0.4),
        {"lacunae": 0.92, "veil": 0.15, "scar": 0.05, "scale": 0.08},
    ),
}


def draw_lesion(dx: str, rng: Generator) -> Lesion:
    """Draw a lesion.

    Parameters
    ----------
    dx : str
        A class of HAM10000.
    rng : numpy.random.Generator
        Where every choice comes from.

    Raises
    ------
    KeyError
        If there is no recipe for `dx`.
    """
    recipe = RECIPES[dx]
    drawing = _Drawing(recipe, rng)
    for name, chance in recipe.chance.items():
        if rng.random() < chance:
            _STRUCTURES[name](drawing, rng)
    return drawing.finish()


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


class _Drawing:
    """A lesion in the making: `depth` is 1 at its centre, 0 on its outline, negative outside."""

    def __init__(self, recipe: _Recipe, rng: Generator) -> None:
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
        self.inside = _step(self.depth, 0.0, rng.uniform(*recipe.soft))
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
        return _plane(sheet, blur)

    def finish(self) -> Lesion:
        """Let light through the pigments and lay the covers on top."""
        density = (
            self.melanin[..., None] * _MELANIN + np.maximum(self.blood, 0.0)[..., None] * _BLOOD
        )
        colour = self.skin * np.exp(-density)
        for tint, weight in self.cover:
            colour += np.clip(weight, 0.0, 1.0)[..., None] * (np.float32(tint) - colour)
        rgba = np.empty((SIDE, SIDE, 4), dtype=np.uint8)
        rgba[..., :3] = np.clip(colour * 255.0, 0.0, 255.0)
        rgba[..., 3] = np.clip(self.inside * 255.0, 0.0, 255.0)
        mask = Image.fromarray(np.where(self.inside > 0.3, np.uint8(255), np.uint8(0)))
        return Lesion(Image.fromarray(rgba), mask, self.skin)


def _step(values: Plane, at: float, width: float) -> Plane:
    """Rise smoothly from 0 to 1 around `at`."""
    t = np.clip((values - np.float32(at)) / np.float32(width) + np.float32(0.5), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def _plane(sheet: Image.Image, blur: float) -> Plane:
    smooth = sheet.filter(ImageFilter.GaussianBlur(blur))
    return np.asarray(smooth, dtype=np.float32) * np.float32(1 / 255)


def _network(d: _Drawing, rng: Generator) -> None:
    """Honeycomb of pigment: three plane waves, bent."""
    pitch, bend = rng.uniform(0.048, 0.09), np.float32(rng.uniform(0.015, 0.055))
    x, y = d.x + bend * noise(rng, 9), d.y + bend * noise(rng, 9)
    waves = np.zeros_like(x)
    for turn in rng.uniform(0, np.pi) + np.arange(3) * (np.pi / 3):
        across = np.float32(np.cos(turn)) * x + np.float32(np.sin(turn)) * y
        waves += np.cos(np.float32(2 * np.pi / pitch) * across)
    lines = _step(-waves, 0.2, 1.6) - 0.55
    strength = rng.uniform(0.35, 0.9) * np.clip(0.8 + 0.6 * noise(rng, 4), 0.0, 1.6)
    fade = _step(d.depth, 0.15, 0.4) * (1.0 - rng.uniform(0, 0.7) * _step(d.depth, 0.6, 0.4))
    d.melanin *= np.exp(strength * 1.4 * lines * fade)


def _globules(d: _Drawing, rng: Generator) -> None:
    count, size = int(rng.integers(15, 70)), rng.uniform(1.6, 3.6)
    d.melanin += rng.uniform(0.4, 1.0) * d.blobs(rng, count, (size * 0.7, size * 1.3), 0.08)


def _blotch(d: _Drawing, rng: Generator) -> None:
    spot = _step(noise(rng, 3) + d.depth, rng.uniform(0.6, 1.3), 0.5)
    d.melanin += rng.uniform(0.4, 1.3) * spot


def _streaks(d: _Drawing, rng: Generator) -> None:
    """Radial lines that leave the outline, over part of the border."""
    sheet = Image.new("L", (SIDE, SIDE))
    pen = ImageDraw.Draw(sheet)
    centre, start = SIDE / 2, rng.uniform(0, 2 * np.pi)
    for column, row in d.places(rng, int(rng.integers(30, 90)), -0.05, 0.2).tolist():
        away = np.arctan2(row - centre, column - centre)
        if np.cos(away - start) < rng.uniform(-0.8, 0.4):
            continue
        length = rng.uniform(6, 18)
        tip = (column + length * np.cos(away), row + length * np.sin(away))
        root = (column - length * np.cos(away), row - length * np.sin(away))
        pen.line([root, tip], fill=int(rng.uniform(150, 255)), width=int(rng.integers(2, 4)))
    drawn = _plane(sheet, 0.9)
    d.inside = np.maximum(d.inside, drawn * _step(d.depth, -0.25, 0.2))
    d.melanin += rng.uniform(0.4, 1.0) * drawn


def _veil(d: _Drawing, rng: Generator) -> None:
    spot = _step(noise(rng, 3) + 1.2 * d.depth, rng.uniform(0.5, 1.1), 0.9)
    d.cover.append((_BLUE_GREY, rng.uniform(0.35, 0.85) * spot * (0.85 + 0.15 * noise(rng, 24))))


def _regression(d: _Drawing, rng: Generator) -> None:
    """A scar-like pale area with grey pepper."""
    spot = _step(noise(rng, 3), rng.uniform(0.2, 0.7), 0.6)
    d.cover.append((_WHITE, rng.uniform(0.25, 0.55) * spot))
    d.cover.append((_SLATE, 0.7 * spot * d.blobs(rng, 160, (0.8, 1.6), 0.05, 0.6)))


def _tree(d: _Drawing, rng: Generator) -> None:
    """Arborising vessels: red walks that fork and thin out."""
    sheet = Image.new("L", (SIDE, SIDE))
    pen = ImageDraw.Draw(sheet)
    stems = d.places(rng, int(rng.integers(2, 6)), -0.1, 0.6).tolist()
    walks = [(*map(float, p), rng.uniform(0, 2 * np.pi), rng.uniform(2.2, 3.8)) for p in stems]
    while walks:
        column, row, heading, width = walks.pop()
        for _ in range(int(rng.integers(4, 9))):
            heading += rng.normal(0.0, 0.35)
            there = (column + 7 * np.cos(heading), row + 7 * np.sin(heading))
            pen.line([(column, row), there], fill=230, width=max(1, round(width)))
            column, row = there
        if width > 1.2:
            for side in (-1, 1):
                turn = side * rng.uniform(0.3, 0.9)
                walks.append((column, row, heading + turn, width * rng.uniform(0.55, 0.8)))
    drawn = _plane(sheet, 0.7)
    d.inside = np.maximum(d.inside, drawn * _step(d.depth, -0.2, 0.2))
    d.blood = d.blood + rng.uniform(0.7, 1.5) * drawn


def _nests(d: _Drawing, rng: Generator) -> None:
    tint = _SLATE if rng.random() < 0.7 else _BLUE_BLACK
    d.cover.append((tint, 0.9 * d.blobs(rng, int(rng.integers(2, 12)), (5, 17), 0.05, 1.8)))


def _crust(d: _Drawing, rng: Generator) -> None:
    """Ulceration: an orange-red to brown area with a sharp edge."""
    spot = _step(noise(rng, 5) + 1.5 * d.depth, rng.uniform(1.2, 1.7), 0.35)
    d.cover.append((_CRUST, rng.uniform(0.5, 0.9) * spot))


def _cysts(d: _Drawing, rng: Generator) -> None:
    d.cover.append((_CREAM, 0.85 * d.blobs(rng, int(rng.integers(6, 30)), (1.5, 4.0), 0.1, 1.2)))


def _comedones(d: _Drawing, rng: Generator) -> None:
    d.melanin += 1.3 * d.blobs(rng, int(rng.integers(6, 28)), (2.0, 5.5), 0.08, 1.0)


def _ridges(d: _Drawing, rng: Generator) -> None:
    """Fissures and ridges: bent parallel bands, as on a brain."""
    field = noise(rng, int(rng.integers(8, 16)))
    d.melanin *= 1.0 + rng.uniform(0.4, 0.9) * np.cos(field * np.float32(rng.uniform(3, 6)))


def _waxy(d: _Drawing, rng: Generator) -> None:
    d.cover.append((_YELLOW, rng.uniform(0.15, 0.45) * np.clip(0.8 + 0.4 * noise(rng, 5), 0, 1)))


def _scale(d: _Drawing, rng: Generator) -> None:
    rough = noise(rng, 11) + 0.6 * noise(rng, 40)
    tint = _WHITE if rng.random() < 0.6 else _CREAM
    d.cover.append((tint, rng.uniform(0.45, 0.85) * _step(rough, rng.uniform(0.5, 1.1), 0.9)))


def _strawberry(d: _Drawing, rng: Generator) -> None:
    """A red pseudo-network around pale follicles."""
    size = rng.uniform(2.2, 4.0)
    holes = d.blobs(rng, int(rng.integers(40, 110)), (size * 0.7, size * 1.2), 0.02, 1.0)
    d.blood = d.blood + rng.uniform(0.2, 0.4) * (1.0 - holes)
    d.cover.append((_CREAM, 0.6 * holes))


def _dots(d: _Drawing, rng: Generator) -> None:
    d.blood = d.blood + 1.1 * d.blobs(rng, int(rng.integers(25, 90)), (1.2, 2.6), 0.05, 0.7)


def _scar(d: _Drawing, rng: Generator) -> None:
    spot = _step(d.depth + 0.25 * noise(rng, 6), rng.uniform(0.5, 0.75), 0.35)
    d.cover.append((_WHITE, rng.uniform(0.35, 0.75) * spot * (0.9 + 0.15 * noise(rng, 28))))


def _lacunae(d: _Drawing, rng: Generator) -> None:
    pools = d.blobs(rng, int(rng.integers(8, 30)), (7, 18), 0.1, 1.5)
    d.blood = d.blood + rng.uniform(0.5, 1.2) * pools
    d.cover.append((_PURPLE, rng.uniform(0.0, 0.85) * pools * _step(noise(rng, 5), 0.0, 0.8)))


_STRUCTURES: Mapping[str, Callable[[_Drawing, Generator], None]] = {
    "network": _network,
    "globules": _globules,
    "blotch": _blotch,
    "streaks": _streaks,
    "veil": _veil,
    "regression": _regression,
    "tree": _tree,
    "nests": _nests,
    "crust": _crust,
    "cysts": _cysts,
    "comedones": _comedones,
    "ridges": _ridges,
    "waxy": _waxy,
    "scale": _scale,
    "strawberry": _strawberry,
    "dots": _dots,
    "scar": _scar,
    "lacunae": _lacunae,
}
