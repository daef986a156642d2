"""Augmented views of images, with torchvision.transforms.v2; the same for every method.

Drawn are what ``RandomHorizontalFlip``, ``RandomVerticalFlip``, ``RandomAffine``, ``ColorJitter``
and ``ElasticTransform`` of torchvision.transforms.v2 draw, and its functions are applied, but:

- An image's own NumPy generator draws, instead of torch's global one: a view depends on its seed
  only, whatever else runs in the process.
- What lies outside the image is its reflection. ``RandomAffine`` fills with one colour, which on
  skin leaves straight edges between two tones, a sharper structure than many lesions have. The
  price is that a lesion near the edge may be seen twice.
- Colours change in one order: brightness, contrast, saturation, hue. The hue turns in YIQ, by one
  matrix, which takes a tenth of the time of ``adjust_hue`` in HSV.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from common.backbones.torchvision_compat import import_torchvision
from common.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    import torch

    from common.finetuning.settings import TrainingSettings

# v2.ElasticTransform's default: the standard deviation, in pixels, that smooths displacements.
ELASTIC_SIGMA = 5.0

# Rows Y, I, Q of FCC NTSC; Y is the grey of ITU-R BT.601, as in torchvision.
_YIQ_OF_RGB = np.array(
    [[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]]
)
_RGB_OF_YIQ = np.linalg.inv(_YIQ_OF_RGB)


@dataclass(frozen=True)
class AugmentationSettings:
    """Strengths of changes; `common.finetuning.settings` bounds them, 0 is none.

    Attributes
    ----------
    flips : bool
        Mirror left to right, and top to bottom, each for half of the views.
    rotation : float
        Largest turn, in degrees, each way.
    shift : float
        Largest shift, each way, as a share of the width and of the height.
    zoom : float
        The scale is drawn from ``1 - zoom`` to ``1 + zoom``.
    brightness, contrast, saturation : float
        Each factor is drawn from ``1 - value`` to ``1 + value``.
    hue : float
        Largest turn of the hue, each way, as a share of the circle.
    elastic : float
        ``alpha`` of v2.ElasticTransform.
    """

    flips: bool
    rotation: float
    shift: float
    zoom: float
    brightness: float
    contrast: float
    saturation: float
    hue: float
    elastic: float


def strengths_of(settings: TrainingSettings) -> AugmentationSettings:
    """Give the strengths that settings of training name."""
    names = set(AugmentationSettings.__annotations__)
    return AugmentationSettings(**settings.model_dump(include=names))


class Augmentation:
    """Draw and apply one view of each image.

    Parameters
    ----------
    settings : AugmentationSettings
        How far views may go.

    Raises
    ------
    ModuleNotFoundError
        If torchvision is not installed.
    """

    def __init__(self, settings: AugmentationSettings) -> None:
        _v2_functional()
        self.settings = settings

    def __call__(self, images: torch.Tensor, seeds: Sequence[int]) -> torch.Tensor:
        """Augment each image by its own seed.

        Parameters
        ----------
        images : uint8 tensor (n, 3, height, width)
            Left as they are.
        seeds : sequence of int, of length n
            Not negative. The same image and seed give the same view in any batch.

        Returns
        -------
        uint8 tensor (n, 3, height, width)

        Raises
        ------
        SettingsError
            If `elastic` is asked of images that are too small to smooth displacements over.
        TypeError
            If the images are not of uint8.
        """
        import torch

        if images.dtype != torch.uint8:
            raise TypeError(f"augmentation takes images of uint8, not of {images.dtype}")
        views = torch.empty_like(images)
        for view, image, seed in zip(views, images, seeds, strict=True):
            view.copy_(self._view(image, np.random.default_rng(seed)))
        return views

    def _view(self, image: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        # Every value is drawn, used or not: to switch one change off leaves the others as they are.
        draws = rng.uniform(-1.0, 1.0, size=10).tolist()
        changed = self._moved(image.float() / 255.0, draws[:6], rng)
        changed = self._recoloured(changed, draws[6:])
        return (changed * 255.0).round_().to(image.dtype)

    def _moved(
        self, image: torch.Tensor, draws: list[float], rng: np.random.Generator
    ) -> torch.Tensor:
        from torch.nn.functional import grid_sample

        functional, settings = _v2_functional(), self.settings
        if settings.flips and draws[0] < 0.0:
            image = functional.horizontal_flip(image)
        if settings.flips and draws[1] < 0.0:
            image = functional.vertical_flip(image)
        if not (settings.rotation or settings.shift or settings.zoom or settings.elastic):
            return image
        height, width = image.shape[-2:]
        grid = view_grid(
            (height, width),
            angle=settings.rotation * draws[2],
            shift=(settings.shift * draws[3], settings.shift * draws[4]),
            scale=1.0 + settings.zoom * draws[5],
        )
        if settings.elastic:
            grid = grid + displacement((height, width), settings.elastic, rng)
        return grid_sample(
            image[None], grid.to(image.device), "bilinear", "reflection", align_corners=False
        )[0]

    def _recoloured(self, image: torch.Tensor, draws: list[float]) -> torch.Tensor:
        functional, settings = _v2_functional(), self.settings
        if settings.brightness:
            image = functional.adjust_brightness(image, 1.0 + settings.brightness * draws[0])
        if settings.contrast:
            image = functional.adjust_contrast(image, 1.0 + settings.contrast * draws[1])
        if settings.saturation:
            image = functional.adjust_saturation(image, 1.0 + settings.saturation * draws[2])
        if settings.hue:
            image = turn_hue(image, settings.hue * draws[3])
        return image


def _v2_functional() -> ModuleType:
    import_torchvision()
    from torchvision.transforms.v2 import functional

    return cast("ModuleType", functional)


def view_grid(
    shape: tuple[int, int], *, angle: float, shift: tuple[float, float], scale: float
) -> torch.Tensor:
    """Tell where each pixel of a view lies in its image; the map is v2.functional.affine's.

    Parameters
    ----------
    shape : tuple of int
        Height and width, in pixels.
    angle : float
        Turn about the centre, in degrees, clockwise.
    shift : tuple of float
        To the right and downwards, as shares of the width and of the height.
    scale : float
        Above 1 enlarges.

    Returns
    -------
    float32 tensor (1, height, width, 2)
        Across and down; -1 and 1 are the image's edges.
    """
    import torch
    from torch.nn.functional import affine_grid

    height, width = shape
    cosine, sine = math.cos(math.radians(angle)) / scale, math.sin(math.radians(angle)) / scale
    # The inverse map, in units of half the width and half the height.
    across, down = sine * height / width, -sine * width / height
    right, below = 2.0 * shift[0], 2.0 * shift[1]
    inverse = [
        [cosine, across, -cosine * right - across * below],
        [down, cosine, -down * right - cosine * below],
    ]
    return affine_grid(torch.tensor([inverse]), [1, 3, height, width], align_corners=False)


def displacement(shape: tuple[int, int], alpha: float, rng: np.random.Generator) -> torch.Tensor:
    """Draw smooth displacements as v2.ElasticTransform does (Simard et al. 2003, section 2).

    Parameters
    ----------
    shape : tuple of int
        Height and width, in pixels.
    alpha : float
        Strength; the displacement is ``alpha / 2`` pixels times noise from -1 to 1, smoothed.
    rng : numpy.random.Generator
        Draws the noise.

    Returns
    -------
    float32 tensor (1, height, width, 2)
        Across and down, in units of half the width and half the height.

    Raises
    ------
    SettingsError
        If the image is smaller than half of what smooths.
    """
    import torch

    height, width = shape
    reach = int(4 * ELASTIC_SIGMA)
    if min(shape) <= reach:
        raise SettingsError(
            f"training setting elastic: images of {width}x{height} pixels are too small; it needs "
            f"more than {reach} each way, so set elastic=0"
        )
    functional = _v2_functional()
    noise = torch.from_numpy(2.0 * rng.random((2, height, width), dtype=np.float32) - 1.0)
    # One direction after the other is the same blur in a tenth of the time.
    for kernel in ([2 * reach + 1, 1], [1, 2 * reach + 1]):
        noise = functional.gaussian_blur(noise, kernel, [ELASTIC_SIGMA, ELASTIC_SIGMA])
    size = torch.tensor([width, height], dtype=torch.float32)
    return alpha * noise.permute(1, 2, 0)[None] / size


def turn_hue(image: torch.Tensor, turn: float) -> torch.Tensor:
    """Turn the hue in YIQ; the luma stays.

    Parameters
    ----------
    image : float32 tensor (3, height, width)
        Colours from 0 to 1.
    turn : float
        Share of the circle, from red towards yellow and green.

    Returns
    -------
    float32 tensor (3, height, width)
        From 0 to 1.
    """
    import torch

    cosine, sine = math.cos(2.0 * math.pi * turn), math.sin(2.0 * math.pi * turn)
    # From I to Q is from orange to purple, against the direction in which hue is counted.
    rotation = np.array([[1.0, 0.0, 0.0], [0.0, cosine, sine], [0.0, -sine, cosine]])
    matrix = torch.from_numpy((_RGB_OF_YIQ @ rotation @ _YIQ_OF_RGB).astype(np.float32))
    turned = matrix.to(image.device) @ image.reshape(3, -1)
    return turned.reshape(image.shape).clamp_(0.0, 1.0)
