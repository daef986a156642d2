"""A reader's program: every number again from ``predictions.csv``, with scikit-learn alone."""

from __future__ import annotations

import csv
from functools import cached_property
from hashlib import shake_128
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import norm, poisson, skew
from sklearn import config_context
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    recall_score,
    roc_auc_score,
    roc_curve,
)

Array = np.ndarray[Any, np.dtype[Any]]
_BASELINES = ("majority", "shortcut")
_MEANS = {
    "balanced_accuracy": "sensitivity",
    "macro_specificity": "specificity",
    "macro_f1": "f1",
    "macro_auc": "auc",
}
_BINS = 15


class Rows:
    """Some rows of the table."""

    def __init__(self, table: dict[str, Array], classes: list[str], index: Array) -> None:
        self.table, self.classes, self.index = table, classes, index
        self.known: dict[str, float] = {}

    def column(self, name: str) -> Array:
        return self.table[name][self.index]

    def only(self, column: str, value: str) -> Rows:
        return Rows(self.table, self.classes, self.index[self.column(column) == value])

    def __len__(self) -> int:
        return len(self.index)

    @cached_property
    def y(self) -> Array:
        return self.column("y_true")

    @cached_property
    def predicted(self) -> Array:
        return self.column("y_pred")

    @cached_property
    def p(self) -> Array:
        return np.stack([self.column(f"p_{name}") for name in self.classes], axis=1)

    @cached_property
    def confidence(self) -> Array:
        column = [self.classes.index(name) for name in self.predicted]
        return self.p[np.arange(len(self)), column]

    @cached_property
    def seeds(self) -> list[Rows]:
        return [self.only("split_seed", seed) for seed in sorted(set(self.column("split_seed")))]


def read(run: Path, classes: list[str]) -> Rows:
    with (run / "predictions.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    table = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    table |= {f"p_{name}": table[f"p_{name}"].astype(float) for name in classes}
    return Rows(table, classes, np.arange(len(rows))).only("split", "test")


def cell_rows(table: Rows, learner: str, model: str, condition: str, by: str, group: str) -> Rows:
    found = table.only("learner", "baseline" if model in _BASELINES else learner)
    found = found.only("model", model).only("condition", condition)
    return found if by == "all" else found.only(by, group)


def metric(rows: Rows, name: str, malignant: list[str]) -> float:
    """Compute a metric, once: by split seed, then the mean over seeds that have a value."""
    if name not in rows.known:
        # What is checked by scikit-learn of every argument takes longer than all else.
        with config_context(assume_finite=True, skip_parameter_validation=True):
            rows.known[name] = _metric(rows, name, malignant)
    return rows.known[name]


def _metric(rows: Rows, name: str, malignant: list[str]) -> float:
    base, _, label = name.partition(":")
    if label:
        return _mean([_of_class(seed, base, label) for seed in rows.seeds])
    if base in _MEANS:
        present = [label for label in rows.classes if label in set(rows.y)]
        return float(np.mean([metric(rows, f"{_MEANS[base]}:{c}", malignant) for c in present]))
    return _mean([_overall(seed, base, malignant) for seed in rows.seeds])


def _mean(values: list[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def _of_class(rows: Rows, name: str, label: str) -> float:
    own, called = rows.y == label, rows.predicted == label
    score = rows.p[:, rows.classes.index(label)]
    if name == "specificity":
        return float("nan") if own.all() else float(recall_score(~own, ~called))
    if not own.any():
        return float("nan")
    if name == "sensitivity":
        return float(recall_score(own, called))
    if name == "f1":
        return float(f1_score(own, called))
    if own.all():
        return float("nan")
    if name == "auc":
        return float(roc_auc_score(own, score))
    assert name == "sensitivity_at_95"
    false_rate, true_rate, _ = roc_curve(own, score, drop_intermediate=False)
    return float(true_rate[false_rate <= 0.05 + 1e-12].max())


def _overall(rows: Rows, name: str, malignant: list[str]) -> float:
    right = rows.y == rows.predicted
    if name == "accuracy":
        return float(accuracy_score(rows.y, rows.predicted))
    if name == "brier_score":
        own = rows.y[:, None] == np.array(rows.classes)[None, :]
        return float(np.square(rows.p - own).sum(axis=1).mean())
    if name == "calibration_error":
        bins = _bins(rows)
        gaps = [abs((rows.confidence - right)[bins == b].sum()) for b in range(_BINS)]
        return float(sum(gaps) / len(rows))
    if name == "area_under_risk":
        counts, wrong = _surest_first(rows)
        covered = np.cumsum(counts)
        return float((counts * np.cumsum(wrong) / covered).sum() / covered[-1])
    ill, called = np.isin(rows.y, malignant), np.isin(rows.predicted, malignant)
    if name == "malignant_sensitivity":
        return float(recall_score(ill, called)) if ill.any() else float("nan")
    if name == "malignant_specificity":
        return float("nan") if ill.all() else float(recall_score(~ill, ~called))
    assert name == "malignant_auc"
    if ill.all() or not ill.any():
        return float("nan")
    score = rows.p[:, [rows.classes.index(label) for label in malignant]].sum(axis=1)
    return float(roc_auc_score(ill, score))


def _bins(rows: Rows) -> Array:
    edges = np.arange(1, _BINS) / _BINS
    return np.searchsorted(edges, rows.confidence, side="left")


def _surest_first(rows: Rows) -> tuple[Array, Array]:
    """Count images, and wrong ones, of each confidence that occurs, from the highest down."""
    levels = np.unique(rows.confidence)[::-1]
    wrong = rows.y != rows.predicted
    counts = np.array([(rows.confidence == level).sum() for level in levels])
    return counts, np.array([wrong[rows.confidence == level].sum() for level in levels])


def risk(rows: Rows, coverage: float) -> float:
    found = []
    for seed in rows.seeds:
        counts, wrong = _surest_first(seed)
        covered = np.cumsum(counts)
        at = int(np.argmax(covered >= coverage * covered[-1] - 1e-9))
        found.append(float(np.cumsum(wrong)[at] / covered[at]))
    return float(np.mean(found))


def reliability(rows: Rows, kind: str, index: int) -> float:
    found, images = [], 0
    for seed in rows.seeds:
        member = _bins(seed) == index
        images += int(member.sum())
        values = seed.confidence if kind == "confidence" else seed.y == seed.predicted
        found.append(float(values[member].mean()) if member.any() else float("nan"))
    return float(images) if kind == "images" else _mean(found)


def confusion(rows: Rows, truth: str, predicted: str) -> float:
    matrix = confusion_matrix(rows.y, rows.predicted, labels=rows.classes)
    return float(matrix[rows.classes.index(truth), rows.classes.index(predicted)])


def interval(rows: Rows, key: bytes, draws: int) -> tuple[float, float]:
    """Give the balanced accuracy's interval: the documented bootstrap, in plain loops."""
    limits = [round(float(poisson.cdf(count, 1.0)) * 2**32) for count in range(17)]

    def counts(cluster: str) -> list[int]:
        digest = shake_128(len(key).to_bytes(4, "big") + key + cluster.encode())
        stream = digest.digest(4 * draws)
        words = [int.from_bytes(stream[4 * i : 4 * i + 4], "big") for i in range(draws)]
        return [sum(word >= limit for limit in limits) for word in words]

    of_cluster = {name: counts(name) for name in set(rows.column("cluster"))}
    present = sorted(set(rows.y))
    values = []
    for draw in range(draws):
        means = []
        for label in present:
            recalls = []
            for seed in rows.seeds:
                weight = np.array([of_cluster[c][draw] for c in seed.column("cluster")])
                own = (seed.y == label) & (weight > 0)
                if own.any():
                    right = seed.predicted[own] == label
                    recalls.append(float(np.average(right, weights=weight[own])))
            means.append(_mean(recalls))
        if not np.isnan(means).any():
            values.append(float(np.mean(means)))
    # Efron 1987: percentiles at Phi(z / (1 - a z)), a being a sixth of the skewness.
    a, z = float(skew(values)) / 6.0, float(norm.ppf(0.975))
    shares = norm.cdf([-z / (1.0 + a * z), z / (1.0 - a * z)])
    low, high = np.quantile(values, shares)
    return float(low), float(high)
