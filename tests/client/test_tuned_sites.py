"""What a real site tells of log losses when it is asked to tune: counts of the most that one is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from flwr.app import ArrayRecord, Context, RecordDict

from client.app import app
from client.node import site_of_node
from common import wire
from common.learners import make_learner
from common.learners.base import Problem
from common.split import Split

if TYPE_CHECKING:
    from tests.client.conftest import Asker

SETTINGS = "learner=ridge space=alpha_per_image=0.01|1|100 folds=2 metric=log_loss"


@pytest.mark.parametrize("minimum", [1, 5])
def test_a_log_loss_leaves_a_site_that_has_a_policy_as_a_count_only(
    write_cached_cohort: Callable[..., Path], asker_of: Callable[..., Asker], minimum: int
) -> None:
    root = write_cached_cohort({"dias": 220})
    run: Any = {"learner": "tuned", "learner-settings": SETTINGS, "backbone": "tiny"}
    ask = asker_of(app)
    cache = str(root / "cache")
    ask.node_config = {
        "cohort": str(root),
        "site": "dias",
        "cache": cache,
        "minimum-count": minimum,
    }
    ask.run_config.update(run)
    site = site_of_node(Context(1, 4, ask.node_config, RecordDict(), run))
    learner = make_learner("tuned", Problem(site.classes, site.backbone.dimension), SETTINGS)
    state = learner.start()
    while not state.stage.startswith("score"):
        sums = learner.contribute(site.part(Split.TRAIN), state)
        state = learner.update(state, sums)

    reply = ask(wire.CONTRIBUTE, wire.encode_state(state))
    record = reply.content["arrays"]
    assert isinstance(record, ArrayRecord)
    told = {name: array.numpy() for name, array in record.items()}
    units = told["loss"] / np.log(20.0)
    images = told["held"].sum(axis=1)
    whole = np.abs(units - np.rint(units)) < 1e-9
    if minimum == 1:
        assert not whole.any()
        return
    assert whole.all()
    assert units.any()
    for count in (np.rint(units), images - np.rint(units)):
        assert ((count == 0) | (count >= minimum)).all()
