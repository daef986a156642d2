"""The models of a study's columns: one function and one line in `MODELS` for each."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from client.node import learner_folds
from client.site import Site, make_site
from common.errors import StudyError
from common.evaluation import class_probabilities
from common.learners import read_settings
from common.learners.adaptation import adapt
from common.learners.base import SiteData
from common.learners.settings import parse_assignments
from common.model import Model, load_model
from common.settings import RunSettings
from common.split import Split
from simulations.baselines import majority, site_shortcut
from simulations.local_grid import LocalGrid
from simulations.oracle import fit_oracle
from simulations.run_app import run_app
from simulations.studies.fit import FitResult
from simulations.studies.lab import Bench

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Flower's own node is number 1.
_FIRST_NODE_ID = 2
# Variance along a direction that is rounding of zero, as a share of the largest.
_FLAT = 1e-11


@dataclass(frozen=True)
class Cost:
    """What a model took.

    Attributes
    ----------
    federations, rounds, bytes_up, bytes_down : int
        Over all federations that it needed.
    seconds : float
        Of one core.
    """

    federations: int = 0
    rounds: int = 0
    bytes_up: int = 0
    bytes_down: int = 0
    seconds: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        """Add up."""
        mine, theirs = vars(self), vars(other)
        return Cost(**{name: mine[name] + theirs[name] for name in mine})


@dataclass(frozen=True)
class Prediction:
    """A model's answers on a bench's test images.

    Attributes
    ----------
    probabilities : ndarray of float64, shape (n, k)
        Of each class.
    predicted : ndarray of intp, shape (n,)
        The model's own choice, which rounding may part from the largest probability.
    cost : Cost
        What it took.
    """

    probabilities: NDArray[np.float64]
    predicted: NDArray[np.intp]
    cost: Cost = field(default_factory=Cost)


@dataclass
class Work:
    """A bench with what several of its models share: the federated model is fitted once."""

    bench: Bench
    model: Model | None = None
    cost: Cost = field(default_factory=Cost)
    result: dict[str, Any] = field(default_factory=dict)

    @property
    def test(self) -> NDArray[np.intp]:
        """The test images, as positions in the cohort."""
        return self.bench.rows(Split.TEST, self.bench.tests)

    def federated(self) -> Model:
        """Give the model learned over the bench's sites."""
        if self.model is None:
            self.model, self.cost, self.result = federate_sites(self.bench, self.bench.trains)
        return self.model


def federate_sites(bench: Bench, sites: tuple[str, ...]) -> tuple[Model, Cost, dict[str, Any]]:
    """Run the ServerApp and the ClientApp over some sites of a bench.

    Raises
    ------
    DermafedError
        As the federation.
    """
    start = time.perf_counter()
    settings = _settings(bench, sites)
    nodes = {
        node: _site(bench, name, settings) for node, name in enumerate(sites, start=_FIRST_NODE_ID)
    }
    with tempfile.TemporaryDirectory(prefix="dermafed-") as name:
        folder = Path(name)
        result = run_app(LocalGrid(nodes, settings), settings, folder)
        model = load_model(folder)
    seconds = time.perf_counter() - start
    cost = Cost(1, result["rounds"], result["bytes_up"], result["bytes_down"], seconds)
    return model, cost, result


def _settings(bench: Bench, sites: tuple[str, ...]) -> RunSettings:
    """Give the run's settings; few images have fewer principal components than are asked for."""
    learner, _, text = bench.fit.learner.partition(" ")
    assignments, asked = parse_assignments(text), read_settings(learner, text).pca
    if asked:
        train = bench.x[bench.rows(Split.TRAIN, sites)].astype(np.float64)
        assignments["pca"] = str(min(asked, _directions(train)))
    return RunSettings(
        learner=learner,
        learner_settings=" ".join(f"{key}={value}" for key, value in assignments.items()),
        backbone=bench.lab.backbone_name,
        split_seed=bench.fit.split_seed,
        # Intervals are made of the predictions, which the lab may see.
        draws=0,
    )


def _directions(x: NDArray[np.float64]) -> int:
    """Count the directions that images span, up to rounding; at least 1."""
    if len(x) > x.shape[1]:
        return int(x.shape[1])
    z = StandardScaler().fit_transform(x)
    variance = np.linalg.eigvalsh(z @ z.T)
    return max(1, min(len(x) - 1, int((variance > _FLAT * variance[-1]).sum())))


def _site(bench: Bench, name: str, settings: RunSettings) -> Site:
    rows = bench.site_rows(name)
    return make_site(
        name,
        bench.lab.cohort,
        rows,
        bench.x[rows],
        bench.lab.backbone,
        split_seed=settings.split_seed,
        folds=learner_folds(settings),
    )


def _predict(bench: Bench, model: Model, rows: NDArray[np.intp]) -> NDArray[np.float64]:
    return class_probabilities(model.head(), bench.lab.cohort.classes, bench.x[rows])


def _only_class(bench: Bench, site: str) -> int | None:
    """Name the class of all of a site's training images; None where there are several."""
    seen = np.unique(bench.lab.cohort.y[bench.rows(Split.TRAIN, (site,))])
    if len(seen) == 0:
        raise StudyError(
            f"site {site}: no training image with split seed {bench.fit.split_seed} in partition "
            f"{bench.fit.partition}, so no model of it alone; give fewer sites or more images"
        )
    return int(seen[0]) if len(seen) == 1 else None


def _federated(work: Work) -> Prediction:
    bench, test = work.bench, work.test
    only = _only_class(bench, bench.trains[0]) if len(bench.trains) == 1 else None
    if only is None:
        p = _predict(bench, work.federated(), test)
    else:
        p = np.tile(np.eye(len(bench.lab.cohort.classes))[only], (len(test), 1))
    return Prediction(p, p.argmax(axis=1), work.cost)


def _pooled(work: Work) -> Prediction:
    """Fit scikit-learn on all training images at once, at the federation's temperature."""
    model, bench, test = work.federated(), work.bench, work.test
    start = time.perf_counter()
    train = bench.rows(Split.TRAIN, bench.trains)
    rows = np.concatenate([train, test])
    is_train = np.arange(len(rows)) < len(train)
    oracle = fit_oracle(model, bench.x[rows], bench.lab.cohort.y[rows], is_train)
    cost = Cost(seconds=time.perf_counter() - start)
    return Prediction(oracle.probabilities[~is_train], oracle.predicted[~is_train], cost)


def _local(work: Work) -> Prediction:
    """Predict each site's test images by what its own training images alone teach."""
    bench, test = work.bench, work.test
    p, cost = np.zeros((len(test), len(bench.lab.cohort.classes))), Cost()
    for name in bench.tests:
        own = bench.client[test] == name
        only = _only_class(bench, name)
        if only is not None:
            p[own, only] = 1.0
            continue
        model, one, _ = federate_sites(bench, (name,))
        p[own] = _predict(bench, model, test[own])
        cost += one
    return Prediction(p, p.argmax(axis=1), cost)


def _personalised(work: Work) -> Prediction:
    """Adapt the federated head at each site to its own training images."""
    bench, test, model = work.bench, work.test, work.federated()
    start = time.perf_counter()
    classes = bench.lab.cohort.classes
    p = np.zeros((len(test), len(classes)))
    for name in bench.tests:
        own = bench.client[test] == name
        parts = [_data(bench, part, name) for part in (Split.TRAIN, Split.VALIDATION)]
        p[own] = class_probabilities(
            adapt(model.head(), classes, *parts), classes, bench.x[test[own]]
        )
    cost = work.cost + Cost(seconds=time.perf_counter() - start)
    return Prediction(p, p.argmax(axis=1), cost)


def _data(bench: Bench, part: Split, site: str) -> SiteData:
    rows = bench.rows(part, (site,))
    return SiteData(bench.x[rows], bench.lab.cohort.y[rows])


def _majority(work: Work) -> Prediction:
    bench = work.bench
    p = majority(bench.lab.cohort, bench.rows(Split.TRAIN, bench.trains), work.test)
    return Prediction(p, p.argmax(axis=1))


def _shortcut(work: Work) -> Prediction:
    bench = work.bench
    p = site_shortcut(bench.lab.cohort, bench.rows(Split.TRAIN, bench.trains), work.test)
    return Prediction(p, p.argmax(axis=1))


MODELS: Mapping[str, Callable[[Work], Prediction]] = {
    "federated": _federated,
    "local": _local,
    "personalised": _personalised,
    "pooled": _pooled,
    "majority": _majority,
    "shortcut": _shortcut,
}


def run_fit(bench: Bench) -> FitResult:
    """Fit and predict with every model that a fit names.

    Raises
    ------
    DermafedError
        If a model cannot be fitted.
    """
    work = Work(bench)
    found = {name: MODELS[name](work) for name in bench.fit.models}
    both = [found[name].predicted for name in ("federated", "pooled") if name in found]
    differ = int((both[0] != both[1]).sum()) if len(both) > 1 else None
    return FitResult(
        rows=work.test,
        client=bench.client[work.test],
        probabilities={name: one.probabilities for name, one in found.items()},
        predicted={name: one.predicted for name, one in found.items()},
        about={
            "costs": {name: vars(one.cost) for name, one in found.items()},
            "differ": differ,
            "auc_error": _auc_error(work) if work.result else None,
        },
    )


def _auc_error(work: Work) -> float:
    """Tell how far a class's AUC from the sites' sums is from the exact one, at most."""
    bench, model = work.bench, work.federated()
    rows = bench.rows(Split.TEST, bench.trains)
    p, y = _predict(bench, model, rows), bench.lab.cohort.y[rows]
    told = work.result["test"]["pooled"]["metrics"]
    errors = [
        abs(told[f"auc:{name}"][0] - roc_auc_score(y == label, p[:, label]))
        for label, name in enumerate(bench.lab.cohort.classes)
        if 0 < (y == label).sum() < len(y)
    ]
    return float(max(errors, default=0.0))
