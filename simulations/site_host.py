"""The Ray actor that holds simulated sites and answers for them with the ClientApp."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import ray
from flwr.app import Context, Message, RecordDict

from client.app import keep_trainers, make_app
from client.node import learner_folds, run_disclosure
from client.site import Site, open_site
from client.training.keep import Keep
from common.backbones import get_backbone
from common.cohort import Cohort, load_cohort
from common.errors import CohortError
from common.evaluation import class_probabilities
from common.feature_cache import STATES, FeatureCache, default_cache
from common.finetuning.order import Order
from common.imbalance import Resampled, read_treatment
from common.learners.base import Arrays
from common.metadata import read_fusion
from common.metrics import seed_key
from common.model import Model
from common.settings import RunSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class SimulatedSite:
    """A site of a simulation.

    Attributes
    ----------
    node_id : int
        Its Flower node.
    name : str
        Its name.
    rows : ndarray of intp
        Its images, as positions in the cohort.
    """

    node_id: int
    name: str
    rows: NDArray[np.intp]


@dataclass(frozen=True)
class SitePredictions:
    """What a simulation may see and a deployment never does.

    Attributes
    ----------
    name : str
        The site.
    rows : ndarray of intp, shape (n,)
        Its images, as positions in the cohort.
    probabilities : ndarray of float64, shape (n, classes)
        The model's.
    x : ndarray of float32, shape (n, dimension)
        Features, for the pooled oracle.
    kept : ndarray of bool, shape (n,)
        Images that the site's disclosure policy let it sum over.
    treated : Resampled or None
        What it learns from instead of its training images, where there is a treatment.
    """

    name: str
    rows: NDArray[np.intp]
    probabilities: NDArray[np.float64]
    x: NDArray[np.float32]
    kept: NDArray[np.bool_]
    treated: Resampled | None = None


class SiteHost:
    """Holds some sites; answers their messages one at a time.

    Parameters
    ----------
    settings : RunSettings
        The run; `cohort` and `cache` are paths of this host's machine.
    digest : str
        `table_digest` of the cohort that the rows refer to.
    """

    def __init__(self, settings: RunSettings, digest: str) -> None:
        self._settings = settings
        self._digest = digest
        self._sites: dict[int, Site] = {}
        self._done: dict[int, int] = {}
        self._trainer = keep_trainers(self._site_of, settings)
        self._app = make_app(self._site_of, self._trainer)

    def open(self, sites: list[SimulatedSite]) -> list[str]:
        """Open sites, computing the features that this machine's cache lacks.

        Returns
        -------
        list of str
            Lines for the operator: unreadable images that were left out, with the reasons, and
            what a treatment of imbalance did otherwise than asked.

        Raises
        ------
        DermafedError
            If a site cannot be opened.
        """
        settings = self._settings
        cohort = load_cohort(Path(settings.cohort))
        if table_digest(cohort) != self._digest:
            raise CohortError(f"{cohort.root}: another table than the one that was planned with")
        backbone = get_backbone(settings.backbone)
        cache = FeatureCache(Path(settings.cache or default_cache()), backbone)
        for site in sites:

            def progress(done: int, _total: int, node_id: int = site.node_id) -> None:
                self._done[node_id] = done

            self._sites[site.node_id] = open_site(
                site.name,
                cohort,
                site.rows,
                backbone,
                cache,
                split_seed=settings.split_seed,
                folds=learner_folds(settings),
                disclosure=run_disclosure(settings),
                resample_key=seed_key(settings.seed),
                treatment=read_treatment(settings.imbalance),
                fusion=read_fusion(settings.metadata),
                skip_unreadable=settings.skip_unreadable,
                threads=1,
                progress=progress,
            )
        return [line for site in self._sites.values() for line in _lines(site)]

    def machine(self) -> str:
        """Tell which node of the cluster this host runs on."""
        return str(ray.get_runtime_context().get_node_id())

    @ray.method(concurrency_group="watch")
    def images_done(self) -> int:
        """Count the images whose features are there, while `open` runs."""
        return sum(self._done.values())

    def answer(self, message: Message) -> Message:
        """Answer a message with the ClientApp, as the node that it is for."""
        return self._app(message, self._context(message.metadata.dst_node_id))

    def _context(self, node_id: int) -> Context:
        return Context(
            run_id=1,
            node_id=node_id,
            node_config={},
            state=RecordDict(),
            run_config=self._settings.run_config(),
        )

    def _site_of(self, context: Context) -> Site:
        return self._sites[context.node_id]

    def predict(self, model: Model) -> list[SitePredictions]:
        """Apply the model to every image of every site here."""
        head, classes = model.head(), model.description.classes
        return [
            SitePredictions(
                s.name,
                s.rows,
                class_probabilities(head, classes, s.x),
                s.x,
                s.kept,
                s.treated,
            )
            for s in self._sites.values()
        ]

    def predict_network(
        self, order: Order, counted: Mapping[str, int], arrays: Arrays
    ) -> list[SitePredictions]:
        """Apply fine-tuned weights to the test images of every site here, as the site judges them.

        Parameters
        ----------
        order : Order
            The best round; each site's own state is added here.
        counted : mapping of str to int
            The round whose state each site predicts with; 0 where it is missing.
        arrays : mapping of str to ndarray of float32
            The network's, those included that do not travel.
        """
        found = []
        for node_id, site in self._sites.items():
            trainer = self._trainer(self._context(node_id))
            travel = trainer.travel(order.round)
            sent = {name: arrays[name] for name in (*travel.weights, *travel.start)}
            rows = np.flatnonzero(site.member(order.part))
            own = replace(order, state_round=counted.get(site.name, 0))
            p = trainer.predict(own, sent, rows)
            found.append(
                SitePredictions(site.name, site.rows[rows], p, site.x[rows], site.kept[rows])
            )
        return found

    def drop_states(self, run: str) -> None:
        """Remove what the sites here kept between the rounds of a run."""
        states = Path(self._settings.cache or default_cache()) / STATES
        for site in self._sites.values():
            Keep(states, run, site.name).drop()
        # Another host's sites may still be there.
        with suppress(OSError):
            (states / run).rmdir()


def _lines(site: Site) -> list[str]:
    notes = () if site.treated is None else site.treated.notes
    return [
        *(f"left out: {problem}" for problem in site.unreadable),
        *(f"site {site.name}: {note}" for note in notes),
    ]


def table_digest(cohort: Cohort) -> str:
    """Identify a cohort's table: images, labels, sites and lesions, in order."""
    digest = blake2b(digest_size=16)
    columns = (cohort.image_id, cohort.y, cohort.site, cohort.group)
    for column in (*columns, cohort.age, cohort.sex, cohort.localisation):
        digest.update("\n".join(map(str, column.tolist())).encode())
    return digest.hexdigest()


def start_hosts(count: int, settings: RunSettings, digest: str) -> list[Any]:
    """Start hosts, a core each, spread over the cluster."""
    as_actor: Any = ray.remote(num_cpus=1, concurrency_groups={"watch": 1})  # type: ignore[call-overload]
    spread = as_actor(SiteHost).options(scheduling_strategy="SPREAD")
    return [spread.remote(settings, digest) for _ in range(count)]
