"""``dermafed predict``: classify new images with a run's model."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from common.backbones import get_backbone
from common.console import messages, progress_bar, say
from common.errors import ImageError, RunFolderError
from common.evaluation import class_probabilities
from common.feature_cache import FeatureCache, default_cache
from common.features import extract
from common.image_folders import list_images, without_ending
from common.model import load_model
from common.options import CacheFolder, Overwrite, SkipUnreadable
from common.whole_file import check_output, whole_file


def predict(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    images: Annotated[list[Path], typer.Argument(help="Image files or folders of them.")],
    out: Annotated[Path, typer.Option(help="The CSV file to write.")],
    cache: CacheFolder = None,
    skip_unreadable: SkipUnreadable = False,
    overwrite: Overwrite = False,
) -> None:
    """Classify new images. For research; not a medical device.

    The file has image_id, y_pred and a probability for each class.

    Example:

      dermafed predict runs/ham new-images/ --out predictions.csv
    """
    check_output(out, overwrite=overwrite)
    model = load_model(run)
    about = model.description
    backbone = get_backbone(about.backbone)
    if backbone.fingerprint != about.backbone_fingerprint:
        raise RunFolderError(
            f"{run}: trained on another release of backbone {about.backbone}; "
            f"use the dermafed release {about.versions.get('dermafed', 'of that run')}"
        )
    paths = _paths(images)
    console = messages()
    store = FeatureCache(cache or default_cache(), backbone)
    with progress_bar(console, "features") as bar:
        found = extract(paths, backbone, store, skip_unreadable=skip_unreadable, progress=bar)
    for problem in found.unreadable:
        say(console, f"left out: {problem}")
    probabilities = class_probabilities(model.head(), about.classes, found.x)
    kept = [path for path, keep in zip(paths, found.kept, strict=True) if keep]
    _write(out, kept, about.classes, probabilities)
    say(console, f"{len(kept)} images: {out}")


def _paths(images: list[Path]) -> list[Path]:
    paths: list[Path] = []
    for path in images:
        if path.is_dir():
            inside = sorted(list_images(path))
            if not inside:
                raise ImageError(f"{path}: no image is in this folder")
            paths.extend(inside)
        elif path.is_file():
            paths.append(path)
        else:
            raise ImageError(f"{path}: no such file or folder")
    return paths


def _write(
    out: Path, paths: list[Path], classes: tuple[str, ...], probabilities: NDArray[np.float64]
) -> None:
    with whole_file(out) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["image_id", "y_pred", *(f"p_{name}" for name in classes)])
        for path, values in zip(paths, probabilities, strict=True):
            name = classes[int(values.argmax())]
            writer.writerow([without_ending(path.name), name, *map(repr, values.tolist())])
