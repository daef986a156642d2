"""Deployed sites of a small cached cohort, and a coordinator that drives a run of messages."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict

from client.deployment.answering import Answering
from client.deployment.audit import AUDIT_FILE
from client.deployment.settings import Bounds, Membership, SiteFile
from common import wire
from common.learners import LEARNERS, make_learner
from common.learners.base import Problem, State
from common.learners.total import Total
from common.wire.bundle import code_hash

if TYPE_CHECKING:
    from flwr.app.user_config import UserConfigValue

BUNDLE = b"PK\x03\x04 an app bundle, as the coordinator sends it"
MEMBERSHIP = Membership(
    address="coordinator.example:9092",
    authority="a certificate",
    bundle=hashlib.sha256(BUNDLE).hexdigest(),
    code=code_hash(),
)
TINY_BOUNDS = Bounds(learners=tuple(LEARNERS), backbones=("tiny",))


def site_file(root: Path, name: str = "dias", **changes: Any) -> SiteFile:
    """A site that has joined, over a cohort of `write_cached_cohort`."""
    values = {"bounds": TINY_BOUNDS, "membership": MEMBERSHIP, "cache": root / "cache", **changes}
    return SiteFile(site=name, cohort=root, **values)


def question(kind: str, content: RecordDict | None = None, run: int = 1) -> Message:
    """A message as it reaches a site."""
    message = Message(RecordDict() if content is None else content, 4, kind, group_id="3")
    message.metadata.__dict__.update({"_message_id": "question", "_run_id": run})
    return message


def context(settings: Mapping[str, UserConfigValue], run: int = 1) -> Context:
    """A run's context, with nothing of the node."""
    config = {"backbone": "tiny", **settings}
    return Context(run_id=run, node_id=4, node_config={}, state=RecordDict(), run_config=config)


class Deployed:
    """A deployed site, with what has left it."""

    def __init__(self, site: SiteFile, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.site, self.folder = site, folder
        self.answering = Answering(site, folder)
        self.replies: list[Message] = []

    def ask(
        self,
        kind: str,
        content: RecordDict | None = None,
        *,
        run: int = 1,
        bundle: bytes = BUNDLE,
        **settings: UserConfigValue,
    ) -> Message:
        """Ask as a coordinator would; settings' names have underscores."""
        config = {name.replace("_", "-"): value for name, value in settings.items()}
        reply = self.answering.answer(question(kind, content, run), context(config, run), bundle)
        self.replies.append(reply)
        return reply

    @property
    def trail(self) -> Path:
        """The file of the trail."""
        return self.folder / AUDIT_FILE

    def lines(self) -> list[dict[str, Any]]:
        """The trail, as any reader of JSON lines has it."""
        return [json.loads(line) for line in self.trail.read_text(encoding="utf-8").splitlines()]


@dataclass(frozen=True)
class Asked:
    """What a coordinator asked of all sites in one round: the stage and the state sent."""

    stage: str
    kind: str
    state: State


def federate(sites: list[Deployed], learner: str) -> list[Asked]:
    """Drive a whole run of messages over sites, at the learner's default settings."""
    infos = [wire.decode_site_info(_content(one.ask(wire.JOIN, learner=learner))) for one in sites]
    made = make_learner(learner, Problem(infos[0].classes, 8), "")
    state, asked = made.start(), []
    while not state.done:
        total, part = Total(), made.part(state.stage).value
        for info, site in zip(infos, sites, strict=True):
            reply = site.ask(wire.CONTRIBUTE, wire.encode_state(state), learner=learner)
            spec, registered = made.contribution_spec(state.stage), getattr(info, part)
            total.add(wire.decode_contribution(_content(reply), spec, registered))
        asked.append(Asked(state.stage, wire.CONTRIBUTE, state))
        state = made.update(state, total.value())
    for site in sites:
        _content(site.ask(wire.EVALUATE, wire.encode_state(state), learner=learner))
    return [*asked, Asked("evaluation", wire.EVALUATE, state)]


def arrays_of(reply: Message) -> dict[str, Array]:
    """The arrays of a reply."""
    record = reply.content["arrays"]
    assert isinstance(record, ArrayRecord)
    return dict(record)


def values_of(reply: Message) -> dict[str, Any]:
    """The values of a reply beside its arrays."""
    record = reply.content["config"]
    assert isinstance(record, ConfigRecord)
    return dict(record)


def reason_of(reply: Message) -> str:
    """Why a message was refused; it must carry nothing else."""
    assert not reply.has_content()
    assert reply.error.code == wire.SITE_ERROR_CODE
    return str(reply.error.reason)


def _content(reply: Message) -> RecordDict:
    assert reply.has_content(), reply.error.reason
    return reply.content
