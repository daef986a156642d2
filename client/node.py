"""Which site a Flower node is: from its own configuration, or its place in a simulation."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from flwr.app import Context, UserConfig

from client.site import Site, open_site
from common.backbones import get_backbone
from common.cohort import Cohort, load_cohort
from common.cohort_sites import rows_of_site
from common.disclosure import EXACT, Disclosure
from common.errors import SettingsError
from common.feature_cache import STATES, FeatureCache, default_cache
from common.folds import Dealing
from common.imbalance.check import check_imbalance
from common.learners import read_settings
from common.limits import DEFAULT_MINIMUM
from common.metadata.check import check_metadata, refuse_of_lab
from common.metrics import seed_key
from common.partition import make_partition
from common.settings import RunSettings
from common.shipping import check_shipping

if TYPE_CHECKING:
    from numpy.typing import NDArray

    _Holding = tuple[str, Cohort, NDArray[np.intp]]

# What a real site may set for itself. A site that fixes its split seed cannot be asked for the
# sums of many splits, whose differences tell single images apart.
NODE_SETTINGS = ("cache", "cohort", "minimum-count", "resample-key", "site", "split-seed")

_LOG = logging.getLogger(__name__)
_KEY_LENGTH = 16
_OF_SIMULATION = ("partition-id", "num-partitions")


def site_of_node(context: Context) -> Site:
    """Open the site of a node.

    A real site's node configuration names ``cohort`` (its own folder) and ``site``, and a run can
    then name no other. A simulated node has Flower's ``partition-id`` and ``num-partitions``
    instead, and shares the run's cohort.

    Raises
    ------
    DermafedError
        If the configuration or the cohort is not what it must be.
    """
    settings = RunSettings.from_run_config(context.run_config)
    node = context.node_config
    simulated = "partition-id" in node and not {"cohort", "site"} & node.keys()
    name, cohort, rows = (_simulated_site if simulated else _real_site)(settings, node)
    check_shipping(settings, real=not simulated)
    treatment, fusion = check_imbalance(settings), check_metadata(settings)
    if not simulated:
        refuse_of_lab(fusion)
    backbone = get_backbone(settings.backbone)
    folder = _cache_folder(settings, node, simulated=simulated)
    site = open_site(
        name,
        cohort,
        rows,
        backbone,
        FeatureCache(folder, backbone),
        split_seed=settings.split_seed,
        folds=learner_folds(settings),
        disclosure=_disclosure(settings, node, simulated=simulated),
        resample_key=seed_key(settings.seed) if simulated else _own_key(node),
        treatment=treatment,
        fusion=fusion,
        skip_unreadable=settings.skip_unreadable,
    )
    # Here they stay: they hold counts.
    for note in () if site.treated is None else site.treated.notes:
        _LOG.info("%s: %s", treatment.text, note)
    return site


def state_folder(context: Context) -> Path:
    """Tell where a node keeps what must survive between rounds of fine-tuning."""
    settings = RunSettings.from_run_config(context.run_config)
    node = context.node_config
    simulated = "partition-id" in node and not {"cohort", "site"} & node.keys()
    return _cache_folder(settings, node, simulated=simulated) / STATES


def _cache_folder(settings: RunSettings, node: UserConfig, *, simulated: bool) -> Path:
    # A real site's cache is its own affair, as its cohort and what it withholds are.
    folder = node.get("cache") or (simulated and settings.cache) or default_cache()
    return Path(str(folder))


def learner_folds(settings: RunSettings) -> Dealing:
    """Tell by which folds the run's learner chooses."""
    learner = read_settings(settings.learner, settings.learner_settings)
    return Dealing(learner.folds, learner.stratified)


def run_disclosure(settings: RunSettings) -> Disclosure:
    """Give the policy that a run asks of its sites."""
    return EXACT if settings.disclosure == "exact" else Disclosure(settings.minimum_count)


def _disclosure(settings: RunSettings, node: UserConfig, *, simulated: bool) -> Disclosure:
    """Give the stricter of the run's policy and the site's own."""
    asked = run_disclosure(settings)
    if simulated:
        return asked
    own = node.get("minimum-count", DEFAULT_MINIMUM)
    if not isinstance(own, int) or isinstance(own, bool) or own < 1:
        raise SettingsError(
            f"node configuration minimum-count: {own!r} is not a whole number of 1 or more"
        )
    return Disclosure(max(own, asked.minimum))


def _own_key(node: UserConfig) -> bytes | None:
    """Give the key in the site's configuration, if there is one.

    Sites that agree on a key, which the coordinator must not know, resample a lesion that both
    have alike.
    """
    key = node.get("resample-key")
    if key is None:
        return None
    if not isinstance(key, str) or len(key) < _KEY_LENGTH:
        raise SettingsError(
            f"node configuration resample-key: give {_KEY_LENGTH} characters or more"
        )
    return key.encode()


def _simulated_site(settings: RunSettings, node: UserConfig) -> _Holding:
    if not settings.cohort:
        raise SettingsError("run setting cohort: give the cohort's folder, an absolute path")
    cohort = load_cohort(Path(settings.cohort))
    partition = make_partition(settings.partition, cohort, settings.seed)
    index, nodes = int(node["partition-id"]), int(node.get("num-partitions", 0))
    if nodes != len(partition.names):
        raise SettingsError(
            f"partition {settings.partition} has {len(partition.names)} sites, but {nodes} "
            f"nodes run; start with num-supernodes={len(partition.names)}"
        )
    if not 0 <= index < nodes:
        raise SettingsError(f"node configuration partition-id: {index} of {nodes} nodes")
    return partition.names[index], cohort, partition.rows[index]


def _real_site(settings: RunSettings, node: UserConfig) -> _Holding:
    # A mistyped minimum count would otherwise protect nothing.
    unknown = sorted(node.keys() - {*NODE_SETTINGS, *_OF_SIMULATION})
    if unknown:
        raise SettingsError(
            f"node configuration: {', '.join(unknown)} unknown; known: {', '.join(NODE_SETTINGS)}"
        )
    if "cohort" not in node or "site" not in node:
        raise SettingsError("node configuration: cohort and site must be given")
    if node.get("split-seed", settings.split_seed) != settings.split_seed:
        raise SettingsError(
            f"the run's split-seed is {settings.split_seed}, this site allows {node['split-seed']}"
        )
    name, cohort = str(node["site"]), load_cohort(Path(str(node["cohort"])))
    return name, cohort, rows_of_site(cohort, name)
