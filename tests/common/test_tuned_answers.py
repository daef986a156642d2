"""What sites tell when they judge candidates: checked, and rounded at a guarded site."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from common.disclosure import Disclosure
from common.errors import ContributionError
from common.learners import make_learner
from common.learners.base import Contribution, SiteData, State
from common.learners.checked import check_arrays
from common.learners.total import Total
from common.learners.tuning.scores import MOST_LOSS
from common.split import Split
from tests.common.ensemble_cases import PROBLEM, parts

FOLDS = 3


def _scored(settings: str) -> tuple[Any, State, SiteData]:
    """Go on to where the sites judge."""
    sites = parts(folds=FOLDS)[Split.TRAIN]
    learner = make_learner("tuned", PROBLEM, settings)
    state = learner.start()
    while not state.stage.startswith("score"):
        total = [learner.contribute(own, state) for own in sites.values()]
        summed = Total()
        for one in total:
            summed.add(one)
        state = learner.update(state, summed.value())
    return learner, state, sites["graz"]


RIDGES = f"learner=ridge space=alpha_per_image=0.1|1;calibrate=none folds={FOLDS}"


def _refuse(learner: Any, stage: str, answer: Contribution, match: str) -> None:
    with pytest.raises(ContributionError, match=match):
        check_arrays(answer.arrays, learner.contribution_spec(stage), answer.count)
        learner.verify(stage, answer)


def _changed(good: Contribution, name: str, change: Any) -> Contribution:
    arrays = {key: array.copy() for key, array in good.arrays.items()}
    change(arrays[name])
    return Contribution(good.count, arrays)


def test_hits_that_no_images_can_have_are_refused() -> None:
    learner, state, own = _scored(RIDGES)
    good = learner.contribute(own, state)
    check_arrays(good.arrays, learner.contribution_spec(state.stage), good.count)
    learner.verify(state.stage, good)
    most = good.arrays["held"][0, 0] + 1

    def more(hits: Any) -> None:
        hits[1, 0, 0] = most

    _refuse(learner, state.stage, _changed(good, "hits", more), "hits: more than held counts")
    lost = _changed(good, "held", lambda a: a.__iadd__(1))
    _refuse(learner, state.stage, lost, "held: sums to")
    below = _changed(good, "hits", lambda a: a.__isub__(100))
    _refuse(learner, state.stage, below, "hits: below 0")


@pytest.mark.parametrize(
    ("value", "match"),
    [(np.nan, "NaN or infinity"), (np.inf, "NaN"), (-1.0, "below"), (1e9, "more than that of")],
)
def test_a_loss_that_no_images_can_have_is_refused(value: float, match: str) -> None:
    learner, state, own = _scored(f"{RIDGES} metric=log_loss")
    good = learner.contribute(own, state)
    learner.verify(state.stage, good)
    assert good.arrays.keys() == {"held", "loss"}
    _refuse(learner, state.stage, _changed(good, "loss", lambda a: a.fill(value)), match)
    worst = MOST_LOSS * good.arrays["held"].sum(axis=1)
    learner.verify(
        state.stage, Contribution(good.count, {**good.arrays, "loss": np.tile(worst, (2, 1))})
    )


def test_more_images_without_a_fold_than_there_are_are_refused() -> None:
    learner = make_learner("tuned", PROBLEM, RIDGES)
    state = learner.start()
    good = learner.contribute(parts(folds=FOLDS)[Split.TRAIN]["graz"], state)
    learner.verify(state.stage, good)
    _refuse(
        learner,
        state.stage,
        _changed(good, "1:images", lambda a: a.fill(151)),
        "model 1: holds more images than there are",
    )


@pytest.mark.parametrize(
    "stage",
    [
        *("", "fold", "fold:0", "fold:0:", "fold:1:moments:0", "fold:0:moments:9", "score"),
        *("score:1", "score:0:x", "score:-1", "score:00", "refit:2:gram", "refit:0:hessian"),
        *("fold:0:moments:0,0", "moments", "fold:0:temperature:0", "refit:0:", "fold:٠:moments:0"),
    ],
)
def test_a_stage_that_there_is_not_is_refused(stage: str) -> None:
    with pytest.raises(ContributionError, match="no stage"):
        make_learner("tuned", PROBLEM, RIDGES).contribution_spec(stage)


def test_a_guarded_site_rounds_what_is_predicted_right() -> None:
    learner, state, own = _scored(RIDGES)
    exact = learner.contribute(own, state)
    spec = learner.contribution_spec(state.stage)
    told = Disclosure(5).apply(exact, spec)
    hits, held = (
        told.arrays["hits"],
        np.broadcast_to(exact.arrays["held"], told.arrays["hits"].shape),
    )
    kept = held >= 5
    assert not ((hits > 0) & (hits < 5) & (held >= 10))[kept].any()
    assert not ((held - hits > 0) & (held - hits < 5) & (held >= 10))[kept].any()
    assert (hits != exact.arrays["hits"]).any()
