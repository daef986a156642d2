"""The models of a study's columns: one function and one line in `MODELS` for each."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from sklearn.metrics import roc_auc_score

from common.errors import SettingsError
from common.evaluation import class_probabilities
from common.learners.adaptation import adapt
from common.learners.base import SiteData
from common.learners.linear_head import linear
from common.model import Model
from common.split import Split
from simulations.baselines import majority, site_shortcut
from simulations.studies.fit import FitResult
from simulations.studies.lab import Bench
from simulations.studies.tuned_models import TUNED_MODELS
from simulations.studies.work import (
    Cost,
    Prediction,
    Work,
    federate_sites,
    learning_data,
    only_class,
    treated_at,
)
from simulations.vote_oracle import pooled_oracle

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _predict(bench: Bench, model: Model, rows: NDArray[np.intp]) -> NDArray[np.float64]:
    return class_probabilities(model.head(), bench.lab.cohort.classes, bench.x[rows])


def _federated(work: Work) -> Prediction:
    bench, test = work.bench, work.test
    only = only_class(bench, bench.trains[0]) if len(bench.trains) == 1 else None
    if only is None:
        model = work.federated()
        start = time.perf_counter()
        p = _predict(bench, model, test)
        took = Cost(milliseconds=1e3 * (time.perf_counter() - start) / max(len(test), 1))
    else:
        p, took = np.tile(np.eye(len(bench.lab.cohort.classes))[only], (len(test), 1)), Cost()
    return Prediction(p, p.argmax(axis=1), work.cost + took)


def _pooled(work: Work) -> Prediction:
    """Fit scikit-learn on all training images at once, at the federation's temperature."""
    model, bench, test = work.federated(), work.bench, work.test
    start = time.perf_counter()
    train = learning_data(bench, bench.trains)
    # The last head of a stack learns from what is held out.
    held = bench.rows(Split.VALIDATION, bench.trains)
    x = np.concatenate([train.x, bench.x[test], bench.x[held]])
    y = np.concatenate([train.y, bench.lab.cohort.y[test], bench.lab.cohort.y[held]])
    part = np.repeat([0, 1, 2], [len(train), len(test), len(held)])
    oracle = pooled_oracle(model, x, y, part == 0, part == 2)
    if oracle is None:
        raise SettingsError(
            f"learner {bench.fit.learner!r} has no pooled oracle, and this study compares with one"
        )
    cost = Cost(seconds=time.perf_counter() - start)
    tested = part == 1
    return Prediction(oracle.probabilities[tested], oracle.predicted[tested], cost)


def _local(work: Work) -> Prediction:
    """Predict each site's test images by what its own training images alone teach."""
    bench, test = work.bench, work.test
    p, cost = np.zeros((len(test), len(bench.lab.cohort.classes))), Cost()
    for name in bench.tests:
        own = bench.client[test] == name
        only = only_class(bench, name)
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
            adapt(linear(model.head()), classes, *parts), classes, bench.x[test[own]]
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
    **TUNED_MODELS,
}


def run_fit(bench: Bench, scratch: Path) -> FitResult:
    """Fit and predict with every model that a fit names.

    Parameters
    ----------
    bench : Bench
        The fit's share of the lab.
    scratch : Path
        Folder from which runs that were stopped go on.

    Raises
    ------
    DermafedError
        If a model cannot be fitted.
    """
    work = Work(bench, scratch)
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
            "imbalance": _treated(bench),
            "validation": {
                n: one.validation for n, one in found.items() if one.validation is not None
            },
        },
    )


def _treated(bench: Bench) -> list[str]:
    """Name what sites did otherwise than their treatment of imbalance says."""
    if not bench.fit.imbalance:
        return []
    return [
        f"imbalance {bench.fit.imbalance}: site {site}: {note}"
        for site in bench.trains
        for note in treated_at(bench, site).notes
    ]


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
