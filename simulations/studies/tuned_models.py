"""The models of a study of fine-tuning: one function and one line in `TUNED_MODELS` for each."""

from __future__ import annotations

import gc
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from client.site import Site
from client.training.trainer import Trainer
from common.evaluation import class_probabilities
from common.finetuning.head import head_settings
from common.finetuning.model import NetworkModel, load_network
from common.finetuning.order import Order
from common.finetuning.strategies import CLASSIFIER
from common.model import Model, load_model
from common.settings import RunSettings
from common.split import Split
from simulations.local_grid import LocalGrid
from simulations.run_app import run_app
from simulations.studies.work import (
    FIRST_NODE_ID,
    Cost,
    Prediction,
    Work,
    only_class,
    site_of_rows,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from simulations.studies.lab import Bench

# Pooled images are those of one site, and one site's training depends on no strategy.
_PLAIN = "fedavg"
_POOLED = "pooled"
_LEARNER = "ridge"
_STATES, _CHECKPOINT, _RUN = "states", "checkpoint", "run"


@dataclass(frozen=True)
class Tuned:
    """A finished run of fine-tuning.

    Attributes
    ----------
    settings : RunSettings
        The run.
    head : Model
        What it began with.
    network : NetworkModel
        The best round's.
    result : dict
        What ``result.json`` holds.
    cost : Cost
        What it took.
    """

    settings: RunSettings
    head: Model
    network: NetworkModel
    result: dict[str, Any]
    cost: Cost

    @property
    def validation(self) -> float | None:
        """Balanced accuracy of the best round on its sites' validation images, if there are any."""
        entry = self.result["history"][self.result["best_round"]]
        score: float | None = entry["validation"]["pooled"]["balanced_accuracy"]
        return score

    def predict(self, bench: Bench, name: str, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """Predict images as a site does, with what it kept itself, or with nothing of its own."""
        site = site_of_rows(bench, name, rows, self.settings)
        trainer = Trainer(site, self.settings, Path(self.settings.cache) / _STATES)
        best, counted = self.result["best_round"], self.result["best_counted"]
        classes = (0,) * len(site.classes)
        order = Order(self.result["run"], best, counted.get(name, 0), 0, Split.TEST, classes)
        travel = trainer.travel(best)
        arrays = {n: self.network.arrays[n] for n in (*travel.weights, *travel.start)}
        return trainer.predict(order, arrays, np.arange(len(rows)))


def tune(work: Work, strategy: str, sites: Mapping[str, NDArray[np.intp]], folder: str) -> Tuned:
    """Run the ServerApp and the ClientApp over sites, going on where a run of the fit stopped.

    Parameters
    ----------
    work : Work
        The fit.
    strategy : str
        With its settings, as ``"fedprox mu=0.1"``.
    sites : mapping of str to ndarray of intp
        Images of each site, as positions in the cohort.
    folder : str
        A name that is the run's own in the fit.

    Raises
    ------
    DermafedError
        As the run.
    """
    bench = work.bench
    name, _, text = strategy.partition(" ")
    scratch = work.scratch / folder
    settings = RunSettings(
        strategy=name,
        strategy_settings=text,
        training=bench.fit.training or "",
        learner=_LEARNER,
        learner_settings=head_settings(_LEARNER),
        backbone=bench.backbone.name,
        split_seed=bench.fit.split_seed,
        seed=bench.fit.seed,
        cache=str(scratch),
        checkpoint=str(scratch / _CHECKPOINT),
        # Intervals are made of the predictions, which the lab may see.
        draws=0,
        # One process answers for all sites; no site is ever late.
        deadline=1e6,
    )
    start = time.perf_counter()
    nodes: dict[int, Site] = {
        node: site_of_rows(bench, site, rows, settings)
        for node, (site, rows) in enumerate(sites.items(), start=FIRST_NODE_ID)
    }
    run = scratch / _RUN
    # Of a run that was stopped after its end.
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir(parents=True)
    result = run_app(LocalGrid(nodes, settings), settings, run)
    # The ClientApp and what trains refer to each other, so that a site's pixels would stay.
    del nodes
    gc.collect()
    seconds = time.perf_counter() - start
    network = load_network(run)
    # Beside the backbone's own weights, as of a head.
    size = sum(a.nbytes for name, a in network.arrays.items() if name.startswith(CLASSIFIER))
    cost = Cost(1, result["rounds"], result["bytes_up"], result["bytes_down"], seconds, size)
    return Tuned(settings, load_model(run), network, result, cost)


def _federated(work: Work) -> Tuned:
    if work.tuned is None:
        bench = work.bench
        sites = {name: bench.site_rows(name) for name in bench.trains}
        work.tuned = tune(work, bench.fit.learner, sites, "federated")
    return work.tuned


def _fine_tuned(work: Work) -> Prediction:
    bench, tuned = work.bench, _federated(work)
    test = work.test
    p = np.zeros((len(test), len(bench.lab.cohort.classes)))
    for name in bench.tests:
        own = bench.client[test] == name
        p[own] = tuned.predict(bench, name, test[own])
    return Prediction(p, p.argmax(axis=1), tuned.cost, tuned.validation)


def _frozen_head(work: Work) -> Prediction:
    """Predict with the exact head that fine-tuning began with; its bytes are not apart."""
    bench, tuned = work.bench, _federated(work)
    classes = bench.lab.cohort.classes
    p = class_probabilities(tuned.head.head(), classes, bench.x[work.test])
    return Prediction(p, p.argmax(axis=1))


def _pooled(work: Work) -> Prediction:
    """Fine-tune in one place: a federation of one site, which holds all training images."""
    bench = work.bench
    rows = np.sort(np.concatenate([bench.site_rows(name) for name in bench.trains]))
    tuned = tune(work, _PLAIN, {_POOLED: rows}, "pooled")
    p = tuned.predict(bench, _POOLED, work.test)
    return Prediction(p, p.argmax(axis=1), tuned.cost, tuned.validation)


def _local(work: Work) -> Prediction:
    """Predict each site's test images by the network that it fine-tunes alone."""
    bench = work.bench
    test, cost = work.test, Cost()
    p = np.zeros((len(test), len(bench.lab.cohort.classes)))
    for number, name in enumerate(bench.tests):
        own = bench.client[test] == name
        only = only_class(bench, name)
        if only is not None:
            p[own, only] = 1.0
            continue
        tuned = tune(work, _PLAIN, {name: bench.site_rows(name)}, f"local-{number}")
        p[own] = tuned.predict(bench, name, test[own])
        cost += tuned.cost
    return Prediction(p, p.argmax(axis=1), cost)


TUNED_MODELS: Mapping[str, Callable[[Work], Prediction]] = {
    "fine-tuned": _fine_tuned,
    "frozen head": _frozen_head,
    "pooled network": _pooled,
    "local network": _local,
}
