"""What a fine-tuning run begins with: the sites, their class counts and an exact head."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.backbones import get_backbone
from common.errors import RoundError, SettingsError
from common.finetuning.network import classifier_of
from common.learners import make_learner
from common.learners.base import Contribution, Problem
from common.model import save_model
from common.settings import RunSettings
from common.site_info import SiteInfo
from server.federation import head_model, warm_model
from server.link import Link
from server.result import pooled_and_by_site, selection_of, timed
from server.sum_strategy import SumStrategy

if TYPE_CHECKING:
    from numpy.typing import NDArray

HEAD_FOLDER = "head"


@dataclass(frozen=True)
class Start:
    """What all rounds of a run share.

    Attributes
    ----------
    classifier : dict of str to ndarray of float32
        The exact head, as the network's classifier.
    class_counts : dict of str to list of int
        Training images of each class at each site.
    sites : dict of str to dict
        How each site registered.
    frozen_head : dict
        Test metrics of the exact head, pooled and by site.
    selection : dict or None
        Results of the head's search.
    left_out : dict of str to str
        Sites that are not part of the run, with the reasons.
    traffic : dict
        What went over the wire until then.
    seconds : dict of str to float
        How long it took.
    """

    classifier: dict[str, NDArray[Any]]
    class_counts: dict[str, list[int]]
    sites: dict[str, dict[str, Any]]
    frozen_head: dict[str, Any]
    selection: dict[str, Any] | None
    left_out: dict[str, str]
    traffic: dict[str, Any]
    seconds: dict[str, float]


def learn_head(
    link: SumStrategy,
    settings: RunSettings,
    sites: dict[int, SiteInfo],
    work: Path,
    report: Callable[[str], None],
) -> tuple[Start, dict[int, SiteInfo]]:
    """Fit the exact head by sums, count classes, test the head, and write it to the work folder.

    Parameters
    ----------
    link : SumStrategy
        Asks the sites.
    settings : RunSettings
        The run.
    sites : dict of int to SiteInfo
        Those that joined.
    work : Path
        The unfinished run's folder.
    report : callable
        Called with a line of text for what an operator should know.

    Returns
    -------
    Start, dict of int to SiteInfo
        What the rounds begin with, and the sites that the head is made of.

    Raises
    ------
    RoundError
        If a round ends below the quorum.
    SettingsError
        If the head is no linear classifier, or keeps a ledger.
    """
    for info in sites.values():
        report(f"{info.site}: {info.images} images, {info.lesions} lesions, {info.train} to learn")
    task, backbone = next(iter(sites.values())), get_backbone(settings.backbone)
    problem = Problem(task.classes, backbone.dimension)
    learner = make_learner(settings.learner, problem, settings.learner_settings)
    if learner.settings.ledger:
        raise SettingsError(
            "learner settings: ledger keeps sums of a head that is then changed; leave it out"
        )
    if settings.warm_start:
        learner.warm_start(warm_model(settings, problem).arrays)
    counts: dict[str, list[int]] = {}
    seconds: dict[str, float] = {}

    def keep(site: str, _stage: str, sums: Contribution) -> None:
        if "class_count" in sums.arrays:
            counts[site] = sums.arrays["class_count"].tolist()

    with timed(seconds, "learn"):
        state, members = link.fit(learner, sites, keep)
    classifier = classifier_of(state.arrays)
    with timed(seconds, "evaluate"):
        results = link.evaluate(state, members, settings.draws)
    members = {node: info for node, info in members.items() if info.site in results}
    (work / HEAD_FOLDER).mkdir(parents=True, exist_ok=True)
    save_model(work / HEAD_FOLDER, head_model(settings, task.classes, state, members))
    start = Start(
        classifier,
        {info.site: counts[info.site] for info in members.values()},
        {info.site: asdict(info) for info in members.values()},
        pooled_and_by_site(results, task),
        selection_of(state, learner.settings),
        dict(link.left_out),
        asdict(link.traffic),
        seconds,
    )
    # As a checkpoint gives it back.
    return from_facts(to_facts(start), classifier), members


def to_facts(start: Start) -> dict[str, Any]:
    """Write everything but the classifier as JSON holds it."""
    facts = {name: value for name, value in vars(start).items() if name != "classifier"}
    plain: dict[str, Any] = json.loads(json.dumps(facts))
    return plain


def from_facts(facts: dict[str, Any], classifier: dict[str, NDArray[Any]]) -> Start:
    """Read what `to_facts` wrote."""
    return Start(classifier=classifier, **facts)


def come_back(start: Start, joined: dict[int, SiteInfo], link: Link) -> dict[int, SiteInfo]:
    """Find a run's sites again after the coordinator was away.

    Raises
    ------
    RoundError
        If too few of them are there, or one has other images than before.
    """
    members = {node: info for node, info in joined.items() if info.site in start.sites}
    for info in members.values():
        now = json.loads(json.dumps(asdict(info)))
        if now != start.sites[info.site]:
            before = start.sites[info.site]
            changed = sorted(name for name, value in now.items() if value != before[name])
            raise RoundError(
                f"{info.site}: its {', '.join(changed)} changed since the run began; start it again"
            )
    missing = sorted(start.sites.keys() - {info.site for info in members.values()})
    if len(members) < (link.policy.quorum or len(start.sites)) or not members:
        raise RoundError(f"the run began with sites that are missing: {', '.join(missing)}")
    for site in missing:
        link.report(f"{site} is missing; the run goes on without it")
    link.left_out = {**start.left_out, **dict.fromkeys(missing, "missing when the run went on")}
    return members
