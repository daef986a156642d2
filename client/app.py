"""The ClientApp: answers a coordinator with sums over the site's private images."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from client.node import site_of_node, state_folder
from client.site import Site
from common import wire
from common.errors import DermafedError
from common.evaluation import class_probabilities, evaluation_sums
from common.feature_cache import STATES, default_cache
from common.imbalance import read_treatment
from common.imbalance.check import refuse_apart
from common.learners import make_learner, tells_of_parts
from common.learners.base import Contribution, Learner
from common.learners.composed import FITTED
from common.metadata import read_fusion
from common.metadata.check import refuse_parts
from common.settings import RunSettings
from common.split import Split

if TYPE_CHECKING:
    from client.training.trainer import Trainer

_LOG = logging.getLogger(__name__)

OpenSite = Callable[[Context], Site]
OpenTrainer = Callable[[Context], "Trainer"]


def make_app(open_site: OpenSite, open_trainer: OpenTrainer) -> ClientApp:
    """Make the ClientApp around a way to open the node's site.

    Parameters
    ----------
    open_site : callable
        Gives the site of a Flower context. A deployed node opens it anew for each message, from
        its feature cache; a simulation keeps it in memory.
    open_trainer : callable
        Gives what trains for that site.
    """
    app = ClientApp()

    @app.query("join")
    @guarded
    def join(message: Message, context: Context) -> Message:
        return Message(wire.encode_site_info(open_site(context).info()), reply_to=message)

    @app.train("contribute")
    @guarded
    def contribute(message: Message, context: Context) -> Message:
        site = open_site(context)
        learner = _learner(site, context)
        stage = wire.decode_stage(message.content)
        learner.contribution_spec(stage)
        state = wire.decode_state(message.content, learner.state_spec(stage))
        data = site.part(learner.part(stage))
        sums = site.disclosure.apply(
            learner.contribute(data, state), learner.contribution_spec(stage)
        )
        return _reply(sums, message)

    @app.evaluate("sums")
    @guarded
    def evaluate(message: Message, context: Context) -> Message:
        site = open_site(context)
        learner = _learner(site, context)
        state = wire.decode_state(message.content, learner.state_spec(FITTED))
        data, draws = site.part(Split.TEST), _settings(context).draws
        sums = evaluation_sums(
            data.y,
            class_probabilities(learner.head(state), site.classes, data.x),
            site.disclosure,
            malignant=np.isin(site.classes, site.malignant) if site.malignant else None,
            weights=site.resamples(draws, state.arrays),
        )
        return _reply(sums, message)

    _add_training(app, open_trainer)
    return app


def _add_training(app: ClientApp, open_trainer: OpenTrainer) -> None:
    @app.train("finetune")
    @guarded
    def finetune(message: Message, context: Context) -> Message:
        trainer = open_trainer(context)
        order = wire.decode_order(message.content, len(trainer.site.classes))
        travel = trainer.travel(order.round)
        arrays = wire.unpack_arrays(
            message.content, {**travel.weights, **travel.start, **travel.companions}
        )
        return Message(wire.encode_update(trainer.finetune(order, arrays)), reply_to=message)

    @app.evaluate("network")
    @guarded
    def judge(message: Message, context: Context) -> Message:
        trainer = open_trainer(context)
        order = wire.decode_order(message.content, len(trainer.site.classes))
        travel = trainer.travel(order.round)
        arrays = wire.unpack_arrays(message.content, {**travel.weights, **travel.start})
        return _reply(trainer.judge(order, arrays), message)


def guarded(answer: Callable[[Message, Context], Message]) -> Callable[..., Message]:
    """Answer failures with a category and an identifier; details stay in the site's own log."""

    def handler(message: Message, context: Context) -> Message:
        try:
            return answer(message, context)
        except DermafedError as error:
            return _refuse(message, type(error).__name__, error)
        # Whatever fails, its text may name a patient's file: only a category leaves.
        except Exception as error:  # noqa: BLE001
            return _refuse(message, "InternalError", error)

    return handler


def keep_trainers(open_site: OpenSite, settings: RunSettings) -> OpenTrainer:
    """Make a way to open the trainers of simulated nodes, which are kept between messages.

    Parameters
    ----------
    open_site : callable
        Gives the site of a Flower context.
    settings : RunSettings
        The run; what sites keep between rounds lies in its cache folder.
    """
    trainers: dict[int, Trainer] = {}

    def open_trainer(context: Context) -> Trainer:
        from client.training.trainer import Trainer

        if context.node_id not in trainers:
            states = Path(settings.cache or default_cache()) / STATES
            trainers[context.node_id] = Trainer(open_site(context), settings, states)
        return trainers[context.node_id]

    return open_trainer


def trainer_of_node(context: Context, open_site: OpenSite = site_of_node) -> Trainer:
    """Make what trains for a node's site, which keeps its state beside the feature cache."""
    # Rounds of sums import no torch.
    from client.training.keep import forget_old_runs
    from client.training.trainer import Trainer

    states = state_folder(context)
    forget_old_runs(states, time.time())
    return Trainer(open_site(context), _settings(context), states)


def _settings(context: Context) -> RunSettings:
    return RunSettings.from_run_config(context.run_config)


def _learner(site: Site, context: Context) -> Learner:
    settings = _settings(context)
    fusion = read_fusion(settings.metadata)
    problem = fusion.problem(site.classes, site.backbone.dimension)
    learner = make_learner(settings.learner, problem, settings.learner_settings)
    apart, guarded = tells_of_parts(learner), not site.disclosure.exact
    refuse_apart(read_treatment(settings.imbalance), apart=apart, guarded=guarded)
    refuse_parts(fusion, apart=apart, guarded=guarded)
    return learner


def _reply(contribution: Contribution, message: Message) -> Message:
    return Message(wire.encode_contribution(contribution), reply_to=message)


def _refuse(message: Message, category: str, error: Exception) -> Message:
    identifier = secrets.token_hex(4)
    _LOG.error("%s %s: %s", identifier, category, error, exc_info=error)
    return wire.error_reply(category, identifier, message)


app = make_app(site_of_node, trainer_of_node)
