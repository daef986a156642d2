"""Cohorts of given pictures and invented looks, for tests of what is read from pixels."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from common.cohort import Cohort, load_cohort
from simulations.looks import BLURS, Look


@dataclass(frozen=True)
class Picture:
    """An image, the site that took it and where its lesion is."""

    site: str
    pixels: NDArray[np.uint8]
    mask: NDArray[np.uint8] | None = None


def write_pictures(folder: Path, pictures: Sequence[Picture]) -> Cohort:
    """Write pictures without loss, in the official layout, and load them."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    columns = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization", "dataset")
    with (folder / "HAM10000_metadata.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        for i, picture in enumerate(pictures):
            name = f"ISIC_{i:04d}"
            rest = ("nv", "histo", "50.0", "male", "back", picture.site)
            writer.writerow([f"HAM_{i:04d}", name, *rest])
            Image.fromarray(picture.pixels).save(folder / "images" / f"{name}.png")
            if picture.mask is not None:
                path = folder / "masks" / f"{name}_segmentation.png"
                Image.fromarray(picture.mask).save(path)
    return load_cohort(folder)


def widths(width: float) -> tuple[float, ...]:
    """Widths after each blur of a step that is itself blurred to the width."""
    return tuple(np.sqrt(width**2 + np.square(BLURS)).tolist())


ROSENDAHL = Look("rosendahl", 9, (60.0, 20.0, 10.0), (12.0, 9.0, 7.0), widths(1.2))
MODERN = Look("vidir_modern", 9, (55.0, 14.0, 3.0), (15.0, 10.0, 8.0), widths(2.0))
MOLEMAX = Look("vidir_molemax", 9, (50.0, 30.0, 20.0), (10.0, 6.0, 9.0), widths(1.6))
LOOKS = {look.site: look for look in (ROSENDAHL, MODERN, MOLEMAX)}
