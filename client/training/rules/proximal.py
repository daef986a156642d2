"""FedProx: sites stay near the global weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from client.training.rules.base import LocalRule
from client.training.rules.parts import pull

if TYPE_CHECKING:
    from client.training.rules.base import LocalRun
    from common.finetuning.strategies import ProximalSettings


class Proximal(LocalRule):
    r"""FedProx's site (Li et al., MLSys 2020, equation 2).

    It minimises :math:`F_k(w) + \frac{\mu}{2} \lVert w - w^t \rVert^2`, so that a gradient gains
    :math:`\mu (w - w^t)`. The norm is squared, as in the paper; the sum of unsquared norms, one an
    array, is another thing. Norms that are a site's own have no :math:`w^t`.

    Parameters
    ----------
    settings : ProximalSettings
        :math:`\mu`; 0 is FedAvg to the bit.
    """

    def __init__(self, settings: ProximalSettings) -> None:
        self._settings = settings

    def correct(self, run: LocalRun) -> None:
        """As `LocalRule.correct`."""
        pull(run, self._settings.mu)
