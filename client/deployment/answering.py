"""What a deployed site answers: its own installed ClientApp, behind its pin, bounds and trail."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from client.app import make_app, trainer_of_node
from client.deployment.audit import Answer, AuditTrail, Sent
from client.deployment.bounds import check_bounds, refuse_unknown
from client.deployment.membership import OTHER_CODE
from client.deployment.settings import Bounds, SiteFile
from client.node import site_of_node
from common import wire
from common.errors import BoundsError, BundleError, DeploymentError, DermafedError
from common.settings import RunSettings
from common.split import Split
from common.wire.bundle import bundle_hash, code_hash
from common.wire.records import config_of

_LOG = logging.getLogger(__name__)

Kept = TypeVar("Kept")


class Answering:
    """Answers messages.

    The last run's site stays in memory with its features, and what it fine-tunes with its network,
    so that a round opens neither anew.

    Parameters
    ----------
    site : SiteFile
        The site; it must have joined.
    folder : Path
        Where its trail is.

    Raises
    ------
    DeploymentError
        If the site has not joined.
    AuditError
        If its trail is broken.
    BoundsError
        If its bounds name what there is not.
    """

    def __init__(self, site: SiteFile, folder: Path) -> None:
        if site.membership is None:
            raise DeploymentError(f"{folder}: has not joined; run dermafed site join INVITATION")
        refuse_unknown(site.bounds)
        self._site, self._pin = site, site.membership.bundle
        # What runs is what is installed, which may have changed since the site joined.
        self._right_code = code_hash() == site.membership.code
        self.trail = AuditTrail(folder)
        self._opened = opened = keep_last(site_of_node)
        self._app: ClientApp = make_app(opened, keep_last(lambda c: trainer_of_node(c, opened)))

    def answer(self, message: Message, context: Context, bundle: bytes) -> Message:
        """Answer a message, or refuse it; the trail has it before it is given.

        Parameters
        ----------
        message : Message
            What is asked.
        context : Context
            Of the run; the node's configuration is replaced by the site's own.
        bundle : bytes
            What the coordinator wants run; it is compared with the pin and never unpacked.

        Raises
        ------
        AuditError
            If the trail cannot be written: then nothing may leave.
        """
        context.node_config = self._site.node_config()
        try:
            self._check(message, context, bundle)
            reply = self._app(message, context)
        except DermafedError as error:
            reply = _refuse(message, error)
        # Flower's own refusals, such as of a message of an unknown kind, name nothing of the site,
        # but what they are is not known here.
        except Exception as error:  # noqa: BLE001
            reply = _refuse(message, error, "InternalError")
        images = self._images(message, context, reply)
        self.trail.add(describe(message, context, reply, self._site.bounds, images))
        return reply

    def _images(self, message: Message, context: Context, reply: Message) -> int | None:
        """Count the images that an answer is over."""
        if not reply.has_content():
            return None
        if message.metadata.message_type == wire.FINETUNE:
            # Weights come without a count: sites are told those of all of them.
            return int(self._opened(context).member(Split.TRAIN).sum())
        name = "images" if message.metadata.message_type == wire.JOIN else "count"
        return int(str(config_of(reply.content)[name]))

    def _check(self, message: Message, context: Context, bundle: bytes) -> None:
        found = bundle_hash(bundle)
        if found != self._pin:
            raise BundleError(f"the bundle is {found}, this site has pinned {self._pin}")
        if not self._right_code:
            raise BundleError(f"dermafed was installed anew since this site joined; {OTHER_CODE}")
        bounds, run = self._site.bounds, str(message.metadata.run_id)
        check_bounds(bounds, RunSettings.from_run_config(context.run_config))
        if self.trail.messages(run) >= bounds.most_messages:
            raise BoundsError(f"run {run}: {bounds.most_messages} messages were answered")
        runs = self.trail.runs
        if bounds.most_runs and run not in runs and len(runs) >= bounds.most_runs:
            raise BoundsError(f"run {run}: {bounds.most_runs} runs were answered")


def keep_last(open_: Callable[[Context], Kept]) -> Callable[[Context], Kept]:
    """Keep what was opened last, for as long as the run and its settings are the same."""
    kept: dict[str, Kept] = {}

    def opened(context: Context) -> Kept:
        settings = RunSettings.from_run_config(context.run_config)
        key = f"{context.run_id} {settings.model_dump_json()}"
        if key not in kept:
            # Before the next is opened: there may be no room for both.
            kept.clear()
            kept[key] = open_(context)
        return kept[key]

    return opened


def describe(
    message: Message, context: Context, reply: Message, bounds: Bounds, images: int | None
) -> Answer:
    """Describe an answer for the trail; texts of the coordinator are cut short."""
    run = context.run_config
    return Answer(
        run=str(message.metadata.run_id),
        kind=_text(message.metadata.message_type),
        round=_text(message.metadata.group_id),
        learner=_text(run.get("learner", "")),
        backbone=_text(run.get("backbone", "")),
        strategy=_text(run.get("strategy", "")),
        imbalance=_text(run.get("imbalance", "")),
        metadata=_text(run.get("metadata", "")),
        minimum_count=bounds.minimum_count,
        images=images,
        sent=tuple(_sent(reply.content)) if reply.has_content() else (),
        refused="" if reply.has_content() else _text(reply.error.reason),
    )


def _sent(content: RecordDict) -> list[Sent]:
    found: list[Sent] = []
    for record in content.values():
        if isinstance(record, ArrayRecord):
            found += [
                Sent(name, tuple(array.shape), array.dtype, len(array.data))
                for name, array in record.items()
            ]
        elif isinstance(record, MetricRecord | ConfigRecord):
            found += [
                Sent(name, (len(value),) if isinstance(value, list) else (), "text", _size(value))
                for name, value in record.items()
            ]
    return found


def _size(value: object) -> int:
    if isinstance(value, list):
        return sum(map(_size, value))
    return len(value if isinstance(value, bytes) else str(value).encode())


def _refuse(message: Message, error: Exception, category: str = "") -> Message:
    identifier = secrets.token_hex(4)
    category = category or type(error).__name__
    _LOG.error("%s %s: %s", identifier, category, error, exc_info=error)
    return wire.error_reply(category, identifier, message)


def _text(value: object) -> str:
    return "".join(char if char.isprintable() else " " for char in str(value)[:200])
