"""Features averaged over an image's mirror image and its crops."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AveragedViews(nn.Module):
    """The mean of a network's features over views of each image.

    Parameters
    ----------
    network : Module
        Maps ``(n, 3, height, width)`` to ``(n, dimension)``.
    crop : tuple of int or None
        Height and width of five crops: the corners and the centre; None for the whole image.
    flip : bool
        Whether each view counts with its mirror image.
    """

    def __init__(self, network: nn.Module, crop: tuple[int, int] | None, *, flip: bool) -> None:
        super().__init__()
        self.network, self.crop, self.flip = network, crop, flip

    def forward(self, x: Tensor) -> Tensor:
        """Map images ``(n, 3, height, width)`` to the mean features ``(n, dimension)``."""
        views = [x] if self.crop is None else five_crops(x, *self.crop)
        if self.flip:
            views = [one for view in views for one in (view, view.flip(3))]
        # One view a pass keeps the activations in the processor's cache.
        features = [
            self.network(view.contiguous(memory_format=torch.channels_last)) for view in views
        ]
        return torch.stack(features).mean(0)


def five_crops(x: Tensor, height: int, width: int) -> list[Tensor]:
    """Cut images ``(n, 3, h, w)``: the four corners from the left above on, then the centre."""
    bottom, right = x.shape[2] - height, x.shape[3] - width
    corners = ((0, 0), (0, right), (bottom, 0), (bottom, right))
    places = (*corners, (round(bottom / 2), round(right / 2)))
    return [x[:, :, top : top + height, left : left + width] for top, left in places]
