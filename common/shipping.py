"""Whether a run may ask for a learner that ships features of single images."""

from __future__ import annotations

from common.errors import SettingsError
from common.learners import SHIPPING
from common.settings import RunSettings


def check_shipping(settings: RunSettings, *, real: bool = False) -> None:
    """Refuse such a learner anywhere but in a simulation without a policy.

    Parameters
    ----------
    settings : RunSettings
        The run.
    real : bool
        Whether it is a real site that is asked.

    Raises
    ------
    SettingsError
        Naming the learner.
    """
    if settings.learner not in SHIPPING:
        return
    if real:
        raise SettingsError(
            f"learner {settings.learner}: features of single images would leave; a real site "
            "answers it never, whatever it allows"
        )
    if settings.disclosure != "exact":
        raise SettingsError(
            f"learner {settings.learner}: features of single images would leave, and a statistic "
            "over one image is below every minimum; it is for --disclosure exact alone"
        )
