"""A network's probabilities of images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from client.training.feed import normalised
from client.training.pixels import Pixels
from common.features import Progress, no_progress
from common.finetuning.network import FineTunedNetwork

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CHUNK = 8


def predict_images(
    network: FineTunedNetwork,
    pixels: Pixels,
    rows: NDArray[np.intp],
    *,
    flip_average: bool,
    device: str = "cpu",
    progress: Progress = no_progress,
) -> NDArray[np.float64]:
    """Give probabilities of some images.

    In float32 whatever the training, so that a network that still has the exact head predicts as
    the head does on frozen features.

    Parameters
    ----------
    network : FineTunedNetwork
        In evaluation mode.
    pixels : Pixels
        The images.
    rows : ndarray of intp, shape (n,)
        Which of them.
    flip_average : bool
        Average logits with those of the mirror image.
    device : str
        Where the network is.
    progress : callable
        Called with (images done, images in all).

    Returns
    -------
    ndarray of float64, shape (n, classes)

    Raises
    ------
    ImageError
        If an image cannot be read.
    """
    found = [np.zeros((0, network.classifier.out_features))]
    for start in range(0, len(rows), _CHUNK):
        part = torch.from_numpy(pixels.take(rows[start : start + _CHUNK])).permute(0, 3, 1, 2)
        x = normalised(part, pixels, device)
        with torch.inference_mode():
            logits = network(x)
            if flip_average:
                logits = (logits + network(x.flip(3))) / 2
            found.append(logits.double().softmax(1).cpu().numpy())
        progress(min(start + _CHUNK, len(rows)), len(rows))
    return np.concatenate(found)
