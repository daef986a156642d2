"""Features from a trunk's maps: their means over places, of the last stage or of several."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Pooled(nn.Module):
    """The mean over places of what a trunk gives."""

    def __init__(self, trunk: nn.Sequential) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, x: Tensor) -> Tensor:
        """Map images ``(n, 3, h, w)``, normalised, to features ``(n, channels)``."""
        features: Tensor = self.trunk(x).mean((2, 3))
        return features


class PooledLevels(nn.Module):
    """Means and standard deviations over places of what a trunk's last stages give, end to end.

    Earlier stages respond to texture and colour, which the last one's mean has lost; the standard
    deviation tells an even lesion from a spotted one of the same mean.

    Parameters
    ----------
    trunk : Sequential
        Stages, each from ``(n, channels, h, w)`` to maps of its own.
    levels : int
        How many of the last stages count.
    """

    def __init__(self, trunk: nn.Sequential, levels: int) -> None:
        super().__init__()
        self.trunk, self.levels = trunk, levels

    def forward(self, x: Tensor) -> Tensor:
        """Map images ``(n, 3, h, w)``, normalised, to features ``(n, twice all channels)``.

        First the means of the stages in their order, then their standard deviations.
        """
        means, deviations = [], []
        first = len(self.trunk) - self.levels
        for number, stage in enumerate(self.trunk):
            x = stage(x)
            if number >= first:
                # Channels lie last in memory, so this is a view.
                places = x.permute(0, 2, 3, 1).flatten(1, 2)
                mean = places.mean(1, keepdim=True)
                means.append(mean.squeeze(1))
                # Deviations are squared after the mean is taken away: a difference of squares
                # would leave noise where a map is even.
                deviations.append((places - mean).square_().mean(1).sqrt_())
        return torch.cat([*means, *deviations], 1)
