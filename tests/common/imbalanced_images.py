"""Drawn images of classes that overlap, and ways to compare what became of them."""

from __future__ import annotations

import numpy as np

from common.learners.base import SiteData

NAMES = ("akiec", "bcc", "mel", "nv")
WIDTH = 6


def draw(counts: list[int], seed: int = 0, apart: float = 0.7) -> SiteData:
    """Draw images of classes that overlap, in any order."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.repeat(np.arange(len(counts)), counts)).astype(np.intp)
    x = rng.normal(size=(len(y), WIDTH)) + apart * y[:, None]
    return SiteData(x.astype(np.float32), y)


def count(data: SiteData) -> list[int]:
    return [int(images) for images in np.bincount(data.y, minlength=len(NAMES))]


def rows(data: SiteData) -> list[tuple[float, ...]]:
    """Images with their labels, in an order that does not depend on the data's."""
    return sorted((float(y), *map(float, x)) for x, y in zip(data.x, data.y, strict=True))
