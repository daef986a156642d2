"""A cohort that is made up in memory, and studies of it within this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from common.backbones import Backbone
from common.cohort import Cohort
from common.transform import Transform
from simulations.studies.lab import Lab
from simulations.studies.open_lab import Display
from simulations.studies.options import StudyOptions

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

CLASSES, MALIGNANT = ("bcc", "mel", "nv"), ("bcc", "mel")
SITES = ("graz", "sydney", "vienna")
DIMENSION = 6
TINY = Backbone(
    name="tiny",
    dimension=DIMENSION,
    weights_sha256="0" * 64,
    licence="CC0-1.0",
    module="none",
    transform=Transform(size=8, mean=0.5, std=0.5),
)
# Its trunk is `load_trunk` of this module.
STAGED = replace(TINY, name="staged", dimension=8, module=__name__, channels=(4, 8))


def load_trunk(kept: int) -> nn.Sequential:
    """Make two small stages of drawn weights, each with a norm, in evaluation mode."""
    import torch
    from torch import nn

    with torch.random.fork_rng():
        torch.manual_seed(0)
        stages = []
        for a, b in ((3, 4), (4, 8)):
            norm = nn.BatchNorm2d(b)
            # So that features differ by about one, as a head wants them.
            nn.init.constant_(norm.weight, 6.0)
            stages.append(nn.Sequential(nn.Conv2d(a, b, 3, padding=1), norm, nn.ReLU()))
    return nn.Sequential(*stages[:kept]).eval()


def make_cohort(images: int = 360, seed: int = 0) -> Cohort:
    """Make up a table: lesions of one to three images, every tenth seen at two sites.

    The last site has no melanoma.
    """
    rng = np.random.default_rng(seed)
    number = np.repeat(np.arange(images), rng.integers(1, 4, images))[:images]
    order = rng.permutation(images)
    y = rng.choice(3, images, p=[0.3, 0.3, 0.4])[number]
    home = rng.choice(3, images, p=[0.4, 0.35, 0.25])[number]
    y[(home == 2) & (y == 1)] = 2
    site = np.where((number % 10 == 0) & (rng.random(images) < 0.5), (home + 1) % 2, home)
    lesion = np.array([f"HAM_{one:04d}" for one in number])
    # Two ids of one lesion, joined.
    group = np.where(lesion == "HAM_0007", "HAM_0003", lesion)
    y[number == 7] = y[number == 3][0]
    return Cohort(
        name="made up",
        root=Path("cohort"),
        classes=CLASSES,
        malignant=MALIGNANT,
        image_id=np.array([f"ISIC_{row:04d}" for row in range(images)]),
        path=tuple(Path() for _ in range(images)),
        mask=(None,) * images,
        y=y[order].astype(np.intp),
        site=np.array(SITES)[site[order]],
        lesion=lesion[order],
        group=group[order],
        age=rng.choice([25.0, 40.0, 55.0, 70.0, 80.0, np.nan], images)[number][order],
        sex=rng.choice(["female", "male", "unknown"], images)[number][order],
        localisation=rng.choice(["back", "face", "foot"], images)[number][order],
        label_source=rng.choice(["histo", "consensus"], images)[number][order],
        sites_known=True,
        lesions_known=True,
    )


def make_lab(cohort: Cohort, seed: int = 1) -> Lab:
    """Make features up: overlapping classes, shifted from site to site, alike within a lesion."""
    rng = np.random.default_rng(seed)
    centres = 1.2 * rng.normal(size=(3, DIMENSION))
    shift = 0.5 * rng.normal(size=(3, DIMENSION))
    names, lesion = np.unique(cohort.lesion, return_inverse=True)
    own = rng.normal(size=(len(names), DIMENSION))[lesion.reshape(-1)]
    noise = rng.normal(size=(len(cohort), DIMENSION))
    site = np.searchsorted(SITES, cohort.site)
    x = centres[cohort.y] + shift[site] + own + 0.5 * noise
    return Lab(cohort, "tiny", x.astype(np.float32), {})


def make_picture_lab(folder: Path, images: int = 180, seed: int = 0) -> Lab:
    """Write small pictures, noise with a texture of the class and a tint of the site."""
    import torch

    cohort = make_cohort(images, seed)
    rng = np.random.default_rng(seed)
    y, site = cohort.y[:, None, None, None], np.searchsorted(SITES, cohort.site)
    down, across, _ = np.indices((8, 8, 1))
    texture = 45.0 * np.where(y == 0, down % 2, np.where(y == 1, across % 2, (down + across) % 2))
    tint = rng.uniform(70, 100, (len(SITES), 1, 1, 3))[site]
    noisy = tint + texture + rng.normal(0, 25, (images, 8, 8, 3))
    pixels = noisy.clip(0, 255).astype(np.uint8)
    folder.mkdir(parents=True)
    paths = tuple(folder / f"{name}.png" for name in cohort.image_id.tolist())
    for path, one in zip(paths, pixels, strict=True):
        Image.fromarray(one).save(path)
    x = torch.from_numpy(pixels / np.float32(127.5) - np.float32(1)).permute(0, 3, 1, 2)
    with torch.inference_mode():
        features = load_trunk(2)(x).mean((2, 3)).numpy()
    return Lab(replace(cohort, path=paths), STAGED.name, features, {})


def with_features(lab: Lab, rows: NDArray[Any], x: NDArray[Any]) -> Lab:
    """Give the lab with other features of some images."""
    changed = lab.x.copy()
    changed[rows] = x
    return replace(lab, x=changed)


@dataclass
class Shown:
    """A display that remembers."""

    notes: list[str] = field(default_factory=list)

    def display(self) -> Display:
        def nothing(done: int, total: int, running: Sequence[str] = ()) -> None:
            return None

        return Display(lambda _: nothing, lambda _: nothing, self.notes.append)


def one_by_one(
    function: Callable[..., Any],
    shared: Any,
    pieces: Sequence[Any],
    name: Callable[[Any], str],
    at_once: int,
    watch: Callable[..., None],
) -> Iterator[tuple[Any, Any]]:
    """Stand in for `run_pieces`, without Ray's start-up; the order is turned, as Ray's may be."""
    for piece in reversed(pieces):
        yield piece, function(shared, piece)


def options(out: Path, **changes: Any) -> StudyOptions:
    chosen: dict[str, Any] = {
        "learners": ("ridge",),
        "split_seeds": (1,),
        "draws": 20,
        "backbone": "tiny",
        **changes,
    }
    return StudyOptions(cohort=Path("cohort"), out=out, cache=Path("cache"), **chosen)
