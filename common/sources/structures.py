"""The dermoscopic structures: each paints itself into a drawing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from common.sources.canvas import SIDE, Drawing, noise, plane, step

if TYPE_CHECKING:
    from numpy.random import Generator

_WHITE, _CREAM, _YELLOW = (0.93, 0.90, 0.88), (0.95, 0.90, 0.72), (0.82, 0.62, 0.30)
_BLUE_GREY, _BLUE_BLACK, _SLATE = (0.50, 0.55, 0.66), (0.16, 0.16, 0.24), (0.34, 0.37, 0.47)
_CRUST, _PURPLE = (0.50, 0.22, 0.12), (0.34, 0.08, 0.20)


def _network(d: Drawing, rng: Generator) -> None:
    """Honeycomb of pigment: three plane waves, bent."""
    pitch, bend = rng.uniform(0.048, 0.09), np.float32(rng.uniform(0.015, 0.055))
    x, y = d.x + bend * noise(rng, 9), d.y + bend * noise(rng, 9)
    waves = np.zeros_like(x)
    for turn in rng.uniform(0, np.pi) + np.arange(3) * (np.pi / 3):
        across = np.float32(np.cos(turn)) * x + np.float32(np.sin(turn)) * y
        waves += np.cos(np.float32(2 * np.pi / pitch) * across)
    lines = step(-waves, 0.2, 1.6) - 0.55
    strength = rng.uniform(0.35, 0.9) * np.clip(0.8 + 0.6 * noise(rng, 4), 0.0, 1.6)
    fade = step(d.depth, 0.15, 0.4) * (1.0 - rng.uniform(0, 0.7) * step(d.depth, 0.6, 0.4))
    d.melanin *= np.exp(strength * 1.4 * lines * fade)


def _globules(d: Drawing, rng: Generator) -> None:
    count, size = int(rng.integers(15, 70)), rng.uniform(1.6, 3.6)
    d.melanin += rng.uniform(0.4, 1.0) * d.blobs(rng, count, (size * 0.7, size * 1.3), 0.08)


def _blotch(d: Drawing, rng: Generator) -> None:
    spot = step(noise(rng, 3) + d.depth, rng.uniform(0.6, 1.3), 0.5)
    d.melanin += rng.uniform(0.4, 1.3) * spot


def _streaks(d: Drawing, rng: Generator) -> None:
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
    drawn = plane(sheet, 0.9)
    d.inside = np.maximum(d.inside, drawn * step(d.depth, -0.25, 0.2))
    d.melanin += rng.uniform(0.4, 1.0) * drawn


def _veil(d: Drawing, rng: Generator) -> None:
    spot = step(noise(rng, 3) + 1.2 * d.depth, rng.uniform(0.5, 1.1), 0.9)
    d.cover.append((_BLUE_GREY, rng.uniform(0.35, 0.85) * spot * (0.85 + 0.15 * noise(rng, 24))))


def _regression(d: Drawing, rng: Generator) -> None:
    """Lay a scar-like pale area with grey pepper."""
    spot = step(noise(rng, 3), rng.uniform(0.2, 0.7), 0.6)
    d.cover.append((_WHITE, rng.uniform(0.25, 0.55) * spot))
    d.cover.append((_SLATE, 0.7 * spot * d.blobs(rng, 160, (0.8, 1.6), 0.05, 0.6)))


def _tree(d: Drawing, rng: Generator) -> None:
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
    drawn = plane(sheet, 0.7)
    d.inside = np.maximum(d.inside, drawn * step(d.depth, -0.2, 0.2))
    d.blood = d.blood + rng.uniform(0.7, 1.5) * drawn


def _nests(d: Drawing, rng: Generator) -> None:
    tint = _SLATE if rng.random() < 0.7 else _BLUE_BLACK
    d.cover.append((tint, 0.9 * d.blobs(rng, int(rng.integers(2, 12)), (5, 17), 0.05, 1.8)))


def _crust(d: Drawing, rng: Generator) -> None:
    """Ulceration: an orange-red to brown area with a sharp edge."""
    spot = step(noise(rng, 5) + 1.5 * d.depth, rng.uniform(1.2, 1.7), 0.35)
    d.cover.append((_CRUST, rng.uniform(0.5, 0.9) * spot))


def _cysts(d: Drawing, rng: Generator) -> None:
    d.cover.append((_CREAM, 0.85 * d.blobs(rng, int(rng.integers(6, 30)), (1.5, 4.0), 0.1, 1.2)))


def _comedones(d: Drawing, rng: Generator) -> None:
    d.melanin += 1.3 * d.blobs(rng, int(rng.integers(6, 28)), (2.0, 5.5), 0.08, 1.0)


def _ridges(d: Drawing, rng: Generator) -> None:
    """Fissures and ridges: bent parallel bands, as on a brain."""
    field = noise(rng, int(rng.integers(8, 16)))
    d.melanin *= 1.0 + rng.uniform(0.4, 0.9) * np.cos(field * np.float32(rng.uniform(3, 6)))


def _waxy(d: Drawing, rng: Generator) -> None:
    d.cover.append((_YELLOW, rng.uniform(0.15, 0.45) * np.clip(0.8 + 0.4 * noise(rng, 5), 0, 1)))


def _scale(d: Drawing, rng: Generator) -> None:
    rough = noise(rng, 11) + 0.6 * noise(rng, 40)
    tint = _WHITE if rng.random() < 0.6 else _CREAM
    d.cover.append((tint, rng.uniform(0.45, 0.85) * step(rough, rng.uniform(0.5, 1.1), 0.9)))


def _strawberry(d: Drawing, rng: Generator) -> None:
    """Draw a red pseudo-network around pale follicles."""
    size = rng.uniform(2.2, 4.0)
    holes = d.blobs(rng, int(rng.integers(40, 110)), (size * 0.7, size * 1.2), 0.02, 1.0)
    d.blood = d.blood + rng.uniform(0.2, 0.4) * (1.0 - holes)
    d.cover.append((_CREAM, 0.6 * holes))


def _dots(d: Drawing, rng: Generator) -> None:
    d.blood = d.blood + 1.1 * d.blobs(rng, int(rng.integers(25, 90)), (1.2, 2.6), 0.05, 0.7)


def _scar(d: Drawing, rng: Generator) -> None:
    spot = step(d.depth + 0.25 * noise(rng, 6), rng.uniform(0.5, 0.75), 0.35)
    d.cover.append((_WHITE, rng.uniform(0.35, 0.75) * spot * (0.9 + 0.15 * noise(rng, 28))))


def _lacunae(d: Drawing, rng: Generator) -> None:
    pools = d.blobs(rng, int(rng.integers(12, 32)), (7, 18), 0.05, 1.5)
    d.blood = d.blood + rng.uniform(0.5, 1.2) * pools
    d.cover.append((_PURPLE, rng.uniform(0.15, 0.9) * pools * step(noise(rng, 5), 0.0, 0.8)))


# fmt: off
STRUCTURES: Mapping[str, Callable[[Drawing, Generator], None]] = {
    "network": _network, "globules": _globules, "blotch": _blotch, "streaks": _streaks,
    "veil": _veil, "regression": _regression, "tree": _tree, "nests": _nests, "crust": _crust,
    "cysts": _cysts, "comedones": _comedones, "ridges": _ridges, "waxy": _waxy,
    "scale": _scale, "strawberry": _strawberry, "dots": _dots, "scar": _scar,
    "lacunae": _lacunae,
}
# fmt: on
