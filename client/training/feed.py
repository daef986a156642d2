"""From a site's pixels to what enters the stages that are trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from client.training.augmentation import Augmentation
from client.training.pixels import Pixels
from common.errors import OutputError
from common.finetuning.network import FineTunedNetwork

if TYPE_CHECKING:
    from numpy.typing import NDArray


class PixelFeed:
    """Decodes, augments, normalises, and runs the frozen stages.

    Parameters
    ----------
    pixels : Pixels
        The site's images.
    members : ndarray of intp, shape (n,)
        Which of them are meant by rows.
    augmentation : Augmentation
        Makes views.
    network : FineTunedNetwork
        Its lower stages are frozen.
    depth : int
        Stages that are trained.
    precision : torch.dtype
        Of the frozen stages' products.
    device : str
        ``cpu`` or ``cuda``.
    """

    def __init__(
        self,
        pixels: Pixels,
        members: NDArray[np.intp],
        augmentation: Augmentation,
        network: FineTunedNetwork,
        depth: int,
        *,
        precision: torch.dtype,
        device: str,
    ) -> None:
        self._pixels, self._members, self._augmentation = pixels, members, augmentation
        self._network, self._depth = network, depth
        self._precision, self.device = precision, device

    def train(self, rows: NDArray[np.intp], seeds: NDArray[np.int64]) -> Tensor:
        """Give views of images, one a seed, as they enter the trained stages."""
        return self._lower(self._augmentation(self._images(rows), seeds.tolist()))

    def plain(self, rows: NDArray[np.intp]) -> Tensor:
        """Give images as they are, as they enter the trained stages."""
        return self._lower(self._images(rows))

    def _images(self, rows: NDArray[np.intp]) -> Tensor:
        return torch.from_numpy(self._pixels.take(self._members[rows])).permute(0, 3, 1, 2)

    def _lower(self, images: Tensor) -> Tensor:
        x = normalised(images, self._pixels, self.device)
        with (
            torch.no_grad(),
            torch.autocast(self.device, self._precision, self._precision != torch.float32),
        ):
            maps = self._network.lower(x, self._depth)
        # Behind all stages only the mean over places is used.
        return maps.float() if self._depth else maps.float().mean((2, 3), keepdim=True)


class KeptFeed:
    """Keeps what a `PixelFeed` gives for each view, on disk, so that frozen stages run once a view.

    Parameters
    ----------
    feed : PixelFeed
        Gives what is not there yet.
    path : Path
        File of the maps; what is there is marked in a file beside it.
    images, views : int
        Training images, and views of each. The seed of image i's view v is ``i * views + v``.
    """

    def __init__(self, feed: PixelFeed, path: Path, images: int, views: int) -> None:
        self._feed, self._path, self._length = feed, path, images * views
        self._maps: NDArray[np.float32] | None = None
        self._there: NDArray[np.bool_] | None = None

    def train(self, rows: NDArray[np.intp], seeds: NDArray[np.int64]) -> Tensor:
        """Give views of images, one a seed, as they enter the trained stages."""
        if self._maps is None or self._there is None:
            first = self._feed.train(rows[:1], seeds[:1])
            self._maps, self._there = self._open(tuple(first.shape[1:]))
        missing = np.flatnonzero(~self._there[seeds])
        if len(missing):
            made = self._feed.train(rows[missing], seeds[missing])
            self._maps[seeds[missing]] = made.cpu().numpy()
            # Marked only when they are there, so that a kill leaves none that is not.
            self._maps.flush()  # type: ignore[attr-defined]
            self._there[seeds[missing]] = True
        maps = torch.from_numpy(self._maps[seeds]).to(self._feed.device)
        return maps.contiguous(memory_format=torch.channels_last)

    def plain(self, rows: NDArray[np.intp]) -> Tensor:
        """Give images as they are, as they enter the trained stages."""
        return self._feed.plain(rows)

    def _open(self, shape: tuple[int, ...]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        marks = self._path.with_suffix(".there.npy")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            mode = "r+" if self._path.is_file() and marks.is_file() else "w+"
            whole = (self._length, *shape)
            maps = np.lib.format.open_memmap(self._path, mode, np.dtype(np.float32), whole)
            there = np.lib.format.open_memmap(marks, mode, np.dtype(np.bool_), (self._length,))
        except (OSError, ValueError) as error:
            raise OutputError(f"{self._path}: cannot keep activations: {error}") from error
        if maps.shape != whole or there.shape != (self._length,):
            raise OutputError(f"{self._path}: of another training; delete this file")
        return maps, there


def normalised(images: Tensor, pixels: Pixels, device: str) -> Tensor:
    """Scale uint8 images ``(n, 3, h, w)`` as the backbone wants them."""
    x = pixels.transform.normalise(images.to(device).float().div_(255))
    return x.contiguous(memory_format=torch.channels_last)
