"""Every learner on the real features of HAM10000, over its four sites: cost, worth, exactness.

Needs the cohort's folder; its features are computed once and kept in the cache. Sites and the
coordinator run one after the other in one process: `seconds` is all of their work, without start-up
and network. The reference is scikit-learn's fit of the pooled features in the same process, on as
many threads as it takes; ours uses one.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import typer
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.preprocessing import StandardScaler

from benchmarks.machine import write
from common import wire
from common.backbones import get_backbone
from common.cohort import load_cohort
from common.evaluation import class_probabilities
from common.feature_cache import FeatureCache, default_cache
from common.features import extract
from common.learners import make_learner
from common.learners.base import Problem, SiteData
from common.learners.composed import FITTED
from common.learners.linear_head import linear
from common.learners.search import Selection
from common.learners.total import Total
from common.model import Model, ModelDescription
from common.split import Split, fold_groups, split_groups
from simulations.oracle import fit_oracle, relative_error
from simulations.predictions import exact_metrics

FOLDS, SEARCH = 5, "grid:0.01:100:12"
# Of scikit-learn's solver for an L1 penalty; it needs most of them.
PASSES = 20_000
LEARNERS = (
    ("ncm", ""),
    ("ncm", "priors=empirical"),
    ("lda", ""),
    ("lda", "shrinkage=0.5"),
    ("ridge", ""),
    ("ridge", "pca=256"),
    ("ridge", "ledger=true"),
    ("ridge", "pca=128 kernel=rff components=1024 alpha_per_image=1e-3"),
    ("ridge", "pca=128 kernel=nystroem components=512 alpha_per_image=1e-3"),
    ("logistic", "pca=128"),
    ("logistic", "pca=256"),
    ("logistic", ""),
    ("logistic", "pca=32 l1_ratio=1 class_weight=none"),
    ("logistic", "pca=32 l1_ratio=0.5 class_weight=none"),
    ("svm", "pca=128"),
    ("svm", ""),
    ("svm", "pca=128 kernel=rff components=1024 alpha_per_image=1e-3"),
    ("ridge", f"folds={FOLDS} search={SEARCH}"),
    ("lda", f"folds={FOLDS} search=grid:0.01:1:12"),
    ("logistic", f"pca=64 folds={FOLDS} search=grid:0.01:10:6"),
    ("svm", f"pca=64 folds={FOLDS} search=random:0.01:10:6"),
)


class _Data:
    """HAM10000's features, labels, sites and split."""

    def __init__(self, folder: Path, split_seed: int) -> None:
        cohort, backbone = load_cohort(folder), get_backbone("efficientnet_lite0")
        found = extract(cohort.path, backbone, FeatureCache(default_cache(), backbone))
        kept = found.kept
        self.x, self.y, self.site = found.x, cohort.y[kept], cohort.site[kept]
        self.split = split_groups(split_seed, cohort.group[kept])
        self.fold = fold_groups(split_seed, cohort.group[kept], FOLDS)
        self.classes, self.sites, self.backbone = cohort.classes, cohort.sites, backbone
        self.seed = split_seed

    def part(self, split: Split, site: str) -> SiteData:
        """Give a site's images of one part."""
        member = (self.split == split.value) & (self.site == site)
        return SiteData(self.x[member], self.y[member], self.fold[member])

    @property
    def train(self) -> Any:  # noqa: ANN401
        """Which images train."""
        return self.split == Split.TRAIN.value


def federate(data: _Data, name: str, settings: str) -> tuple[dict[str, Any], Model]:
    """Run one learner over the sites, through the messages that would travel."""
    problem = Problem(data.classes, data.backbone.dimension)
    parts = {(split, site): data.part(split, site) for split in Split for site in data.sites}
    start = time.perf_counter()
    learner = make_learner(name, problem, settings)
    state, rounds, up, down = learner.start(), 0, 0, 0
    stages: dict[str, int] = {}
    while not state.done:
        total, stage = Total(), state.stage
        question = wire.encode_state(state)
        for site in data.sites:
            answer = wire.encode_contribution(
                learner.contribute(parts[learner.part(stage), site], state)
            )
            sums = wire.decode_contribution(
                answer, learner.contribution_spec(stage), len(parts[learner.part(stage), site])
            )
            learner.verify(stage, sums)
            total.add(sums)
            up, down = up + wire.count_bytes(answer), down + wire.count_bytes(question)
        state, rounds = learner.update(state, total.value()), rounds + 1
        stages[stage] = stages.get(stage, 0) + 1
    seconds = time.perf_counter() - start
    selection = Selection.of(state)
    about = ModelDescription(
        learner=name,
        learner_settings=settings,
        chosen=None if selection is None else selection.value,
        classes=data.classes,
        classes_without_training_images=(),
        dimension=problem.dimension,
        backbone=data.backbone.name,
        backbone_fingerprint=data.backbone.fingerprint,
        split_seed=data.seed,
        sites=data.sites,
        versions={},
    )
    row = {"rounds": rounds, "stages": stages, "up": up, "down": down, "seconds": seconds}
    if selection is not None:
        row["chosen"] = selection.value
        row["mean"] = float(selection.mean[selection.chosen])
        row["standard_error"] = float(selection.standard_error[selection.chosen])
    return row, Model(about, {k: v for k, v in state.arrays.items() if k in _kept(learner)})


def _kept(learner: Any) -> Any:  # noqa: ANN401
    return learner.state_spec(FITTED)


def measure(data: _Data, name: str, settings: str) -> dict[str, Any]:
    """Compare one learner with scikit-learn's pooled fit."""
    row, model = federate(data, name, settings)
    head = model.head()
    probabilities = class_probabilities(head, data.classes, data.x)
    test = data.split == Split.TEST.value
    metrics = exact_metrics(data.y[test], probabilities[test], data.classes)
    start = time.perf_counter()
    oracle = fit_oracle(model, data.x, data.y, data.train, passes=PASSES)
    pooled = time.perf_counter() - start
    error = None
    if oracle.coef is not None:
        error = relative_error(linear(head).standardised_coef(), oracle.coef)
    return {
        "learner": name,
        "settings": settings,
        **row,
        "balanced_accuracy": metrics["balanced_accuracy"],
        "macro_auc": metrics["macro_auc"],
        "coefficient_error": error,
        "predictions_that_differ": int((oracle.predicted != probabilities.argmax(axis=1)).sum()),
        "pooled_seconds": pooled,
        "pooled_converged": oracle.converged,
    }


def grid_search(data: _Data, repeats: int) -> dict[str, Any]:
    """Compare the search over ridge penalties with scikit-learn's own over the same folds."""
    row: dict[str, Any] = {}
    ours, theirs, search = [], [], None
    values = np.geomspace(100.0, 0.01, 12)
    for _ in range(repeats):
        settings = f"folds={FOLDS} search={SEARCH} calibrate=none"
        row, _model = federate(data, "ridge", settings)
        ours.append(row["seconds"])
        start = time.perf_counter()
        x, y = data.x[data.train].astype(np.float64), data.y[data.train]
        z = StandardScaler().fit_transform(x)
        counts = np.bincount(y)
        search = GridSearchCV(
            RidgeClassifier(),
            {"alpha": values * len(y)},
            scoring="balanced_accuracy",
            cv=PredefinedSplit(data.fold[data.train]),
        )
        search.fit(z, y, sample_weight=len(y) / (len(counts) * counts[y]))
        theirs.append(time.perf_counter() - start)
    if search is None:
        raise ValueError("repeats must be at least 1")
    best = int(search.best_index_)
    return {
        "folds": FOLDS,
        "search": SEARCH,
        "stages": row["stages"],
        "dermafed_seconds": float(np.median(ours)),
        "scikit_learn_seconds": float(np.median(theirs)),
        "ratio": float(np.median(ours) / np.median(theirs)),
        "chosen": row["chosen"],
        "scikit_learn_chosen": float(values[best]),
        "mean": row["mean"],
        "scikit_learn_mean": float(search.cv_results_["mean_test_score"][best]),
    }


def markdown(rows: list[dict[str, Any]]) -> str:
    """Write the table."""
    names = ["learner", "settings", "rounds", "up MB", "down MB", "seconds", "pooled seconds"]
    names += ["BA", "AUC", "error", "differ"]
    lines = ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]
    for row in rows:
        error = row["coefficient_error"]
        cells = [
            row["learner"],
            row["settings"] or "defaults",
            str(row["rounds"]),
            f"{row['up'] / 1e6:.1f}",
            f"{row['down'] / 1e6:.1f}",
            f"{row['seconds']:.1f}",
            f"{row['pooled_seconds']:.1f}",
            f"{row['balanced_accuracy']:.3f}",
            f"{row['macro_auc']:.3f}",
            _error(error, converged=row["pooled_converged"]),
            str(row["predictions_that_differ"]),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _error(error: float | None, *, converged: bool) -> str:
    if error is None:
        return "-"
    return f"{error:.0e}" + ("" if converged else " (pooled stopped short)")


def main(cohort: Path, split_seed: int = 1, repeats: int = 3, only: str = "") -> None:
    """Measure all on the cohort in COHORT; with ONLY, the learners of this name."""
    data, rows = _Data(cohort, split_seed), []
    for name, settings in LEARNERS:
        if only in ("", name):
            rows.append(measure(data, name, settings))
            print(markdown(rows[-1:]).splitlines()[-1], flush=True)
    if only:
        return
    result = {"cohort": "HAM10000", "split_seed": split_seed, "learners": rows}
    write("learners", {**result, "ridge_search": grid_search(data, repeats)})
    print("\n" + markdown(rows))


if __name__ == "__main__":
    command_line = typer.Typer(pretty_exceptions_show_locals=False, add_completion=False)
    command_line.command()(main)
    command_line()
