"""The site's half of each strategy, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from client.training.rules.base import LocalRule
from client.training.rules.ditto import Ditto
from client.training.rules.fair import Fair
from client.training.rules.fedrep import Representation
from client.training.rules.moon import Moon
from client.training.rules.proximal import Proximal
from client.training.rules.scaffold import Scaffold
from client.training.rules.shared_moments import SharedMoments
from client.training.rules.sharpness import Sharpness
from common.finetuning.strategies import strategy_kind

if TYPE_CHECKING:
    from common.finetuning.strategies import StrategySettings

# Sites train as for FedAvg; what these add is at the coordinator, or in which arrays travel.
_PLAIN = (
    *("fedavg", "fedavgm", "fedadam", "fedyogi", "fedadagrad", "fednova"),
    *("trimmed-mean", "median", "krum", "fedper", "fedbn"),
)
# Each takes its strategy's own class of settings.
_RULES: Mapping[str, Callable[[Any], LocalRule]] = {
    **dict.fromkeys(_PLAIN, lambda _: LocalRule()),
    "fedprox": Proximal,
    "scaffold": lambda _: Scaffold(),
    "fedrep": Representation,
    "ditto": Ditto,
    "moon": Moon,
    "gradual-sam": Sharpness,
    "qfedavg": lambda _: Fair(),
    "shared-moments": lambda _: SharedMoments(),
}


def make_rule(name: str, settings: StrategySettings) -> LocalRule:
    """Make what a strategy changes in a site's training, for one round.

    Parameters
    ----------
    name : str
        Key of `common.finetuning.strategies.STRATEGIES`.
    settings : StrategySettings
        Of this strategy, as `read_strategy` gives them.

    Raises
    ------
    SettingsError
        If there is no strategy of this name.
    TypeError
        If the settings are another strategy's.
    """
    wanted = strategy_kind(name).settings
    if type(settings) is not wanted:
        raise TypeError(f"{name} takes {wanted.__name__}, not {type(settings).__name__}")
    return _RULES[name](settings)
