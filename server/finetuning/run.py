"""The main job of a fine-tuning coordinator: an exact head, rounds by plan, the best of them."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from flwr.serverapp import Grid

from common.backbones import get_backbone
from common.finetuning.balance import site_share
from common.finetuning.check import check_finetuning, check_site_count
from common.finetuning.model import NetworkDescription, NetworkModel, save_network
from common.finetuning.network import build_network, write_tensors
from common.finetuning.settings import TrainingSettings
from common.finetuning.strategies import strategy_kind, training_of
from common.learners import read_settings
from common.settings import RunSettings
from common.site_info import SiteInfo
from common.split import Split
from common.versions import package_versions
from server.checkpoint import CheckpointFolder
from server.deployment.registry import invited
from server.events import EVENTS_FILE, EventLog
from server.finetuning.loop import Loop, shortened
from server.finetuning.progress import Progress
from server.finetuning.rounds import TrainingRounds
from server.finetuning.sinks import open_sinks
from server.finetuning.start import HEAD_FOLDER, come_back, learn_head
from server.journal import identity_of
from server.link import Link, RoundPolicy, Traffic
from server.result import describe_run, pooled_and_by_site, timed, write_result
from server.sum_strategy import SumStrategy

_TOKEN_BYTES = 16


def run_finetuning(
    grid: Grid,
    settings: RunSettings,
    out: Path,
    report: Callable[[str], None],
    work: Path,
) -> dict[str, Any]:
    """Fine-tune across sites; write the network, the head, the events and ``result.json``.

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
    work : Path
        Folder of the unfinished run: where it holds checkpoints of a run of the same settings,
        that run goes on. It stays.

    Returns
    -------
    dict
        What ``result.json`` holds.

    Raises
    ------
    DermafedError
        If a setting is wrong, a round stays below the quorum, a folder cannot be written or a
        tracking server does not take the run.
    """
    # Before any site is asked, so that a wrong setting is told at once.
    plan = check_finetuning(settings)
    training = training_of(settings.strategy, settings.training)
    backbone = get_backbone(settings.backbone)
    read_settings(settings.learner, settings.learner_settings)
    policy = RoundPolicy(settings.quorum, settings.deadline, settings.window, settings.retries)
    link = SumStrategy(grid, policy, report)
    folder, identity = CheckpointFolder(work), identity_of(settings)
    checkpoint, notes = folder.latest(identity)
    for note in notes:
        report(note)
    progress = None if checkpoint is None else Progress.of(checkpoint)
    run = secrets.token_hex(_TOKEN_BYTES) if progress is None else progress.run
    sinks = open_sinks(settings, work.stem, run, None if progress is None else progress.round)
    seconds: dict[str, float] = {}
    with EventLog(work / EVENTS_FILE, sinks) as events:
        # Rounds are events themselves, and are not told twice.
        link.report = events.noting(report)
        if progress is not None:
            link.traffic = Traffic(**progress.traffic)
        with timed(seconds, "join"):
            sites = link.join(
                settings.sites,
                backbone.fingerprint,
                settings.split_seed,
                settings.withdrawn,
                invited(settings),
            )
        if progress is None:
            check_site_count(settings, len(sites))
            network = build_network(backbone, len(next(iter(sites.values())).classes))
            events.emit("start", run=run, sites=[info.site for info in sites.values()])
            start, sites = learn_head(link, settings, sites, work, link.report)
            progress = Progress(run, start, {}, {}, {})
            events.emit("head", test=shortened(start.frozen_head))
        else:
            sites = come_back(progress.start, sites, link)
            network = build_network(backbone, len(next(iter(sites.values())).classes))
            events.emit("resume", run=run, rounds_done=progress.round)
            link.report(f"going on after round {progress.round}")
        write_tensors(dict(network.state_dict(keep_vars=True)), progress.start.classifier)
        rounds = _rounds(link, sites, settings, training, progress, events)
        loop = Loop(
            settings,
            training,
            plan,
            network,
            rounds,
            progress,
            events,
            folder,
            identity,
            report,
        )
        with timed(seconds, "finetune"):
            loop.run()
        best = progress.best_round
        with timed(seconds, "test"):
            states = loop.states(progress.best_counted)
            answers = rounds.judge(best, Split.TEST, progress.best, states, settings.draws)
        if answers.left_out:
            events.emit("left_out", round=best, kind=Split.TEST.value, sites=answers.left_out)
        test = pooled_and_by_site(answers.of, next(iter(sites.values())))
        events.emit("end", best_round=best, test=shortened(test))
    save_network(out, _model(settings, progress, sites))
    for path in (work / EVENTS_FILE, *(work / HEAD_FOLDER).iterdir()):
        shutil.copyfile(path, out / path.name)
    start = progress.start
    spent = {**start.seconds, **seconds}
    result = {
        **describe_run(settings, link, start.sites, spent, start.selection),
        "strategy": settings.strategy,
        "frozen_head": start.frozen_head,
        "run": run,
        "history": progress.history,
        "best_round": best,
        "best_counted": progress.best_counted,
        "gradient_steps": progress.steps,
        "test": test,
    }
    result["partition"]["left_out"].update(answers.left_out)
    write_result(out, result)
    return result


def _rounds(
    link: Link,
    sites: dict[int, SiteInfo],
    settings: RunSettings,
    training: TrainingSettings,
    progress: Progress,
    events: EventLog,
) -> TrainingRounds:
    counts = {
        site: np.array(of_site, dtype=np.int64)
        for site, of_site in progress.start.class_counts.items()
    }
    total = np.sum(list(counts.values()), axis=0)
    power = training.sampling_power
    return TrainingRounds(
        link,
        sites,
        counts,
        {site: site_share(of_site, total, power) for site, of_site in counts.items()},
        progress.run,
        progress.start.classifier if strategy_kind(settings.strategy).personal_head else {},
        settings.retries,
        lambda kind, number, left_out: events.emit(
            "repeat", round=number, kind=kind, sites=left_out
        ),
    )


def _model(
    settings: RunSettings,
    progress: Progress,
    sites: dict[int, SiteInfo],
) -> NetworkModel:
    backbone, best = get_backbone(settings.backbone), progress.best_round
    depth = progress.history[best]["depth"]
    about = NetworkDescription(
        backbone=backbone.name,
        backbone_fingerprint=backbone.fingerprint,
        classes=next(iter(sites.values())).classes,
        strategy=settings.strategy,
        strategy_settings=settings.strategy_settings,
        training=settings.training,
        depth=depth,
        round=best,
        split_seed=settings.split_seed,
        sites=tuple(progress.start.sites),
        versions=package_versions(),
    )
    return NetworkModel(about, {**progress.start.classifier, **progress.best})
