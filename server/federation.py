"""The main job of a coordinator: join, learn, evaluate, and write what came of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from flwr.serverapp import Grid

from common.backbones import get_backbone
from common.errors import RoundError, SettingsError
from common.evaluated import metrics_of_sums
from common.learners import make_learner, read_settings
from common.learners.base import Contribution, Problem, State
from common.learners.search import Selection
from common.learners.total import Total
from common.model import Model, ModelDescription, load_model, save_model
from common.settings import RunSettings
from common.site_info import SiteInfo
from common.versions import package_versions
from server.ledger import Ledger
from server.sum_strategy import RoundPolicy, SumStrategy

RESULT_FILE = "result.json"


def run_federation(
    grid: Grid, settings: RunSettings, out: Path, report: Callable[[str], None]
) -> dict[str, Any]:
    """Run a federation and write ``model.safetensors``, ``model.json`` and ``result.json``.

    Parameters
    ----------
    grid : Grid
        Flower's way to the nodes, deployed or simulated.
    settings : RunSettings
        The run.
    out : Path
        An empty folder.
    report : callable
        Called with a line of text for each thing that an operator should know.

    Returns
    -------
    dict
        What ``result.json`` holds.

    Raises
    ------
    RoundError
        If a round ends below the quorum.
    ContributionError
        If the sums cannot make a model.
    """
    policy = RoundPolicy(settings.quorum, settings.deadline, settings.window)
    strategy = SumStrategy(grid, policy, report)
    backbone = get_backbone(settings.backbone)
    # Sites read them, too, when they join, but could only refuse without saying why.
    read_settings(settings.learner, settings.learner_settings)
    seconds: dict[str, float] = {}
    with timed(seconds, "join"):
        without = [name.strip() for name in settings.without.split(",") if name.strip()]
        sites = strategy.join(settings.sites, backbone.fingerprint, settings.split_seed, without)
    for info in sites.values():
        report(f"{info.site}: {info.images} images, {info.lesions} lesions, {info.train} to learn")
        if info.withheld:
            report(f"{info.site}: withholds {', '.join(info.withheld)}")
    task = next(iter(sites.values()))
    classes = task.classes
    problem = Problem(classes, backbone.dimension)
    learner = make_learner(settings.learner, problem, settings.learner_settings)
    if settings.warm_start:
        learner.warm_start(warm_model(settings, problem).arrays)
    ledger = Ledger(out, settings, problem, sites) if learner.settings.ledger else None
    with timed(seconds, "learn"):
        state, members = strategy.fit(learner, sites, None if ledger is None else ledger.keep)
    if ledger is not None:
        ledger.keep_only([info.site for info in members.values()])
    with timed(seconds, "evaluate"):
        results = strategy.evaluate(state, members, settings.draws)

    model = head_model(settings, classes, state, members)
    save_model(out, model)
    result = {
        "config": settings.model_dump(exclude={"out", "overwrite", "cache"}),
        "rounds": strategy.traffic.rounds,
        "stages": strategy.traffic.stages,
        "bytes_up": strategy.traffic.bytes_up,
        "bytes_down": strategy.traffic.bytes_down,
        "seconds": seconds,
        "partition": {
            "sites": len(members),
            "images": {info.site: info.images for info in members.values()},
            "lesions": {info.site: info.lesions for info in members.values()},
            "left_out": strategy.left_out,
            "withheld": {info.site: list(info.withheld) for info in members.values()},
        },
        "selection": selection_of(state),
        "test": pooled_and_by_site(results, task),
        "versions": package_versions(),
    }
    write_result(out, result)
    return result


def write_result(folder: Path, result: dict[str, Any]) -> None:
    """Write ``result.json``; a number that is not finite is an error, not a result."""
    text = json.dumps(result, indent=2, allow_nan=False)
    (folder / RESULT_FILE).write_text(text + "\n", encoding="utf-8")


def head_model(
    settings: RunSettings, classes: tuple[str, ...], state: State, sites: dict[int, SiteInfo]
) -> Model:
    """Describe a fitted head as a model."""
    backbone = get_backbone(settings.backbone)
    absent = np.flatnonzero(state.arrays["class_count"] == 0)
    selection = Selection.of(state)
    return Model(
        ModelDescription(
            learner=settings.learner,
            learner_settings=settings.learner_settings,
            chosen=None if selection is None else selection.value,
            classes=classes,
            classes_without_training_images=tuple(classes[i] for i in absent),
            dimension=backbone.dimension,
            backbone=backbone.name,
            backbone_fingerprint=backbone.fingerprint,
            split_seed=settings.split_seed,
            sites=tuple(info.site for info in sites.values()),
            versions=package_versions(),
        ),
        state.arrays,
    )


def pooled_and_by_site(results: dict[str, Contribution], task: SiteInfo) -> dict[str, Any]:
    """Derive the metrics of evaluation sums, of all sites together and of each.

    Raises
    ------
    RoundError
        If there are none.
    """
    if not results:
        raise RoundError("evaluation: no site answered")
    pooled = Total()
    for sums in results.values():
        pooled.add(sums)

    def metrics(sums: Contribution) -> dict[str, Any]:
        return metrics_of_sums(sums, task.classes, task.malignant)

    return {
        "pooled": metrics(pooled.value()),
        "sites": {name: metrics(sums) for name, sums in results.items()},
    }


def selection_of(state: State) -> dict[str, Any] | None:
    """Give the results of a search as ``result.json`` holds them, None where there was none."""
    selection = Selection.of(state)
    if selection is None:
        return None
    return {
        "values": selection.values.tolist(),
        "balanced_accuracy": selection.mean.tolist(),
        "standard_error": selection.standard_error.tolist(),
        "folds": [[None if np.isnan(x) else x for x in row] for row in selection.scores.tolist()],
        "chosen": selection.value,
    }


def warm_model(settings: RunSettings, problem: Problem) -> Model:
    """Read the model that a learner starts from.

    Raises
    ------
    SettingsError
        If it is of other classes or another backbone.
    """
    model = load_model(Path(settings.warm_start))
    about = model.description
    backbone = get_backbone(settings.backbone)
    if (about.classes, about.backbone_fingerprint) != (problem.classes, backbone.fingerprint):
        raise SettingsError(
            f"run setting warm-start: {settings.warm_start} is of other classes or another backbone"
        )
    return model


@contextmanager
def timed(seconds: dict[str, float], phase: str) -> Iterator[None]:
    """Measure the body's wall-clock time."""
    start = time.perf_counter()
    yield
    seconds[phase] = round(time.perf_counter() - start, 3)
