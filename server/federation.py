"""The main job of a coordinator: join, learn, evaluate, and write what came of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from flwr.serverapp import Grid

from common.backbones import get_backbone
from common.errors import SettingsError
from common.imbalance import read_treatment
from common.imbalance.check import check_imbalance
from common.learners import is_collective, make_learner
from common.learners.base import Problem, State
from common.learners.search import Selection
from common.metadata import read_fusion
from common.metadata.check import check_metadata
from common.model import Model, ModelDescription, load_model, save_model
from common.settings import RunSettings
from common.shipping import check_shipping
from common.site_info import SiteInfo
from common.versions import package_versions
from server.collective_strategy import CollectiveStrategy
from server.deployment.registry import invited
from server.events import EVENTS_FILE
from server.journal import Journal, identity_of
from server.ledger import Ledger
from server.link import RoundPolicy
from server.result import describe_run, pooled_and_by_site, selection_of, timed, write_result
from server.sum_strategy import SumStrategy


def run_federation(
    grid: Grid,
    settings: RunSettings,
    out: Path,
    report: Callable[[str], None],
    work: Path | None = None,
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
    work : Path or None
        Folder of the unfinished run: where it holds checkpoints of a run of the same settings,
        that run goes on. It stays. None to keep nothing.

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
    policy = RoundPolicy(settings.quorum, settings.deadline, settings.window, settings.retries)
    backbone = get_backbone(settings.backbone)
    # Sites read them, too, when they join, but could only refuse without saying why.
    sees_sites = is_collective(settings.learner, settings.learner_settings)
    strategy = (CollectiveStrategy if sees_sites else SumStrategy)(grid, policy, report)
    if sees_sites:
        report(f"{settings.learner}: the coordinator sees what each site has made, not only sums")
    check_imbalance(settings)
    check_shipping(settings)
    fusion = check_metadata(settings)
    seconds: dict[str, float] = {}
    with ExitStack() as stack:
        journal = None
        if work is not None:
            journal = stack.enter_context(Journal(work, identity_of(settings)))
            strategy.report = report = journal.events.noting(report)
            for note in journal.notes:
                report(note)
        with timed(seconds, "join"):
            sites = strategy.join(
                settings.sites,
                backbone.fingerprint,
                settings.split_seed,
                settings.withdrawn,
                invited(settings),
            )
        for info in sites.values():
            report(
                f"{info.site}: {info.images} images, {info.lesions} lesions, {info.train} to learn"
            )
            if info.withheld:
                report(f"{info.site}: withholds {', '.join(info.withheld)}")
        task = next(iter(sites.values()))
        classes = task.classes
        problem = fusion.problem(classes, backbone.dimension)
        learner = make_learner(settings.learner, problem, settings.learner_settings)
        if settings.warm_start:
            learner.warm_start(warm_model(settings, problem).arrays)
        ledger = Ledger(out, settings, problem, sites) if learner.settings.ledger else None
        with timed(seconds, "learn"):
            keep = None if ledger is None else ledger.keep
            state, members = strategy.fit(learner, sites, keep, journal)
        if ledger is not None:
            ledger.keep_only([info.site for info in members.values()])
        with timed(seconds, "evaluate"):
            results = strategy.evaluate(state, members, settings.draws)

    model = head_model(settings, classes, state, members)
    save_model(out, model)
    if work is not None:
        shutil.copyfile(work / EVENTS_FILE, out / EVENTS_FILE)
    told = {info.site: asdict(info) for info in members.values()}
    result = {
        **describe_run(settings, strategy, told, seconds, selection_of(state, learner.settings)),
        "test": pooled_and_by_site(results, task),
    }
    write_result(out, result)
    return result


def head_model(
    settings: RunSettings, classes: tuple[str, ...], state: State, sites: dict[int, SiteInfo]
) -> Model:
    """Describe a fitted head as a model."""
    backbone = get_backbone(settings.backbone)
    fusion = read_fusion(settings.metadata)
    absent = np.flatnonzero(state.arrays["class_count"] == 0)
    selection = Selection.of(state)
    return Model(
        ModelDescription(
            learner=settings.learner,
            learner_settings=settings.learner_settings,
            chosen=None if selection is None else selection.value,
            classes=classes,
            classes_without_training_images=tuple(classes[i] for i in absent),
            dimension=fusion.problem(classes, backbone.dimension).dimension,
            backbone=backbone.name,
            backbone_fingerprint=backbone.fingerprint,
            split_seed=settings.split_seed,
            sites=tuple(info.site for info in sites.values()),
            versions=package_versions(),
            imbalance=read_treatment(settings.imbalance).text,
            metadata=fusion.text,
        ),
        state.arrays,
    )


def warm_model(settings: RunSettings, problem: Problem) -> Model:
    """Read the model that a learner starts from.

    Raises
    ------
    SettingsError
        If it is of other classes, another backbone or other metadata.
    """
    model = load_model(Path(settings.warm_start))
    about = model.description
    backbone = get_backbone(settings.backbone)
    if (about.classes, about.backbone_fingerprint) != (problem.classes, backbone.fingerprint):
        raise SettingsError(
            f"run setting warm-start: {settings.warm_start} is of other classes or another backbone"
        )
    if about.problem != problem:
        raise SettingsError(
            f"run setting warm-start: {settings.warm_start} is of metadata {about.metadata!r}, the "
            f"run of {settings.metadata!r}"
        )
    return model
