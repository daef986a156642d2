"""``dermafed predict``: classify new images with a run's model."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console

from client.training.pixels import Pixels
from common.backbones import get_backbone
from common.console import messages, progress_bar, say
from common.errors import ImageError, RunFolderError, SettingsError
from common.evaluation import class_probabilities
from common.feature_cache import FeatureCache, default_cache
from common.features import extract
from common.image_folders import list_images, without_ending
from common.interruption import features_are_kept
from common.metadata import Fusion, encode, read_fusion
from common.metadata.table import read_codes
from common.model import load_model
from common.options import CacheFolder, Overwrite, SkipUnreadable
from common.whole_file import check_output, whole_file

# Beside it, the run's exact head is what the network started from.
NETWORK_FILE = "network.json"


@features_are_kept
def predict(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    images: Annotated[list[Path], typer.Argument(help="Image files or folders of them.")],
    out: Annotated[Path, typer.Option(help="The CSV file to write.")],
    metadata: Annotated[
        Path | None,
        typer.Option(
            help="CSV with image_id, age, sex and localisation, for a model that learned from them."
        ),
    ] = None,
    cache: CacheFolder = None,
    skip_unreadable: SkipUnreadable = False,
    overwrite: Overwrite = False,
) -> None:
    """Classify new images. For research; not a medical device.

    The file has image_id, y_pred and a probability for each class.

    Example:

      dermafed predict runs/ham new-images/ --out predictions.csv

      dermafed predict runs/fused new-images/ --metadata persons.csv --out predictions.csv
    """
    check_output(out, overwrite=overwrite)
    paths, console = _paths(images), messages()
    if (run / NETWORK_FILE).is_file():
        if metadata is not None:
            raise SettingsError(f"--metadata: {run} is a network, which sees images alone")
        found = _by_network(run, paths, console, skip_unreadable=skip_unreadable)
    else:
        store = cache or default_cache()
        found = _by_head(run, paths, metadata, store, console, skip_unreadable=skip_unreadable)
    _write(out, *found)
    say(console, f"{len(found[0])} images: {out}")


_Found = tuple[list[Path], tuple[str, ...], NDArray[np.float64]]


def _by_head(
    run: Path,
    paths: list[Path],
    metadata: Path | None,
    cache: Path,
    console: Console,
    *,
    skip_unreadable: bool,
) -> _Found:
    """Apply a head to frozen features, and metadata where it has learned from them."""
    model = load_model(run)
    about = model.description
    backbone = get_backbone(about.backbone)
    if backbone.fingerprint != about.backbone_fingerprint:
        raise RunFolderError(
            f"{run}: trained on another release of backbone {about.backbone}; "
            f"use the dermafed release {about.versions.get('dermafed', 'of that run')}"
        )
    fusion = read_fusion(about.metadata)
    codes = _codes(run, paths, metadata, fusion)
    store = FeatureCache(cache, backbone)
    with progress_bar(console, "features") as bar:
        found = extract(paths, backbone, store, skip_unreadable=skip_unreadable, progress=bar)
    for problem in found.unreadable:
        say(console, f"left out: {problem}")
    kept = [path for path, keep in zip(paths, found.kept, strict=True) if keep]
    x = found.x
    if codes is not None:
        x = fusion.join(x, encode(codes[found.kept], fusion.variables))
    return kept, about.classes, class_probabilities(model.head(), about.classes, x)


def _codes(
    run: Path, paths: list[Path], metadata: Path | None, fusion: Fusion
) -> NDArray[np.intp] | None:
    """Read the images' metadata before any work is done; None for a model of images alone."""
    if fusion.sites:
        raise RunFolderError(
            f"{run}: its model knows the lab's acquisition sites by name, so it is for no new image"
        )
    if not fusion.width:
        if metadata is not None:
            raise SettingsError(f"--metadata: {run} has learned from images alone; leave it out")
        return None
    if metadata is None:
        raise RunFolderError(
            f"{run}: its model has learned from {', '.join(fusion.variables)}, too; give "
            "--metadata with a CSV of image_id, age, sex and localisation"
        )
    return read_codes(metadata, [without_ending(path.name) for path in paths])


def _by_network(run: Path, paths: list[Path], console: Console, *, skip_unreadable: bool) -> _Found:
    """Run a fine-tuned network."""
    # Heads need no torch when features are cached.
    from client.training.predictions import predict_images
    from common.finetuning.model import load_network
    from common.finetuning.strategies import training_of

    model = load_network(run)
    about = model.description
    pixels = Pixels(paths, get_backbone(about.backbone).transform)
    kept = []
    for row in range(len(paths)):
        try:
            pixels.take(np.array([row]))
            kept.append(row)
        except ImageError as error:
            if not skip_unreadable:
                raise
            say(console, f"left out: {error}")
    with progress_bar(console, "predictions") as bar:
        probabilities = predict_images(
            model.network(),
            pixels,
            np.array(kept, dtype=np.intp),
            flip_average=training_of(about.strategy, about.training).flip_average,
            progress=bar,
        )
    return [paths[row] for row in kept], about.classes, probabilities


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
