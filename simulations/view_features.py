"""Features of augmented views: what fine-tuning draws anew each time, kept for frozen networks.

Views are drawn as `client.training.augmentation` draws them, each by its number and its image's
content alone, so that a view is the same in every study, and its feature is found in the cache.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from client.training.augmentation import Augmentation, AugmentationSettings
from common.feature_cache import FeatureCache
from common.features import Progress, extract, no_progress
from common.transform import Transform
from simulations.changed_pixels import counted_from, with_transform

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from common.backbones import Backbone


@dataclass(frozen=True)
class ViewTransform(Transform):
    """A transform whose pixels are augmented.

    Attributes
    ----------
    strengths : AugmentationSettings
        How far a view may go.
    view : int
        Number of the view.
    """

    strengths: AugmentationSettings
    view: int

    @property
    def key(self) -> str:
        """Text that changes whenever the pixels or their scale would."""
        strengths = ",".join(f"{k}={v!r}" for k, v in dataclasses.asdict(self.strengths).items())
        return f"{super().key},view={self.view},{strengths}"

    def pixels(self, data: bytes, source: Path) -> NDArray[np.uint8]:
        """Decode, crop and resize one image, and draw the view.

        Parameters
        ----------
        data : bytes
            The file's content.
        source : Path
            Where it came from, for the error message.

        Returns
        -------
        ndarray of uint8, shape (height, size, 3)
            RGB pixels.

        Raises
        ------
        ImageError
            If the bytes are not a complete image.
        """
        import torch

        plain = super().pixels(data, source)
        digest = blake2b(f"{self.view}:".encode() + data, digest_size=8).digest()
        image = torch.from_numpy(plain.copy()).permute(2, 0, 1)[None]
        view = Augmentation(self.strengths)(image, [int.from_bytes(digest, "big")])
        return np.ascontiguousarray(view[0].permute(1, 2, 0).numpy())


def view_features(
    paths: Sequence[Path],
    views: int,
    strengths: AugmentationSettings,
    backbone: Backbone,
    cache_folder: Path,
    progress: Progress = no_progress,
) -> NDArray[np.float32]:
    """Give the features of augmented views of images.

    Parameters
    ----------
    paths : sequence of Path, length n
        Image files, all readable.
    views : int
        Of each image.
    strengths : AugmentationSettings
        How far a view may go.
    backbone : Backbone
        The frozen network.
    cache_folder : Path
        Where features are looked up and kept.
    progress : callable
        Called with (views done, views in all).

    Returns
    -------
    ndarray of float32, shape (views, n, dimension)
        The first few are the same whatever the number.

    Raises
    ------
    ImageError, CacheError, WeightsError
        As `common.features.extract`.
    """
    x = np.empty((views, len(paths), backbone.dimension), dtype=np.float32)
    for view in range(views):
        network = with_transform(backbone, ViewTransform, strengths=strengths, view=view)
        count = counted_from(view * len(paths), views * len(paths), progress)
        x[view] = extract(paths, network, FeatureCache(cache_folder, network), progress=count).x
    return x
