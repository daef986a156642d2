"""What sites tell when they judge candidates: checked, and rounded at a guarded site."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from common.disclosure import Disclosure
from common.errors import ContributionError
from common.learners import make_learner
from common.learners.base import Contribution, SiteData, State
from common.learners.checked import check_arrays
from common.learners.total import Total
from common.learners.tuning.scores import LOSS_UNIT, MOST_LOSS, sum_scores
from common.split import Split
from tests.common.ensemble_cases import PROBLEM, parts

if TYPE_CHECKING:
    from numpy.typing import NDArray

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


class _Says:
    """A model that gives each image's class the probability in its only feature."""

    def __init__(self, classes: NDArray[np.str_]) -> None:
        self.classes_ = classes

    def predict_proba(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.hstack([x, 1.0 - x])


def _losses(p: NDArray[np.float64], minimum: int, other: float = 0.5) -> NDArray[np.float64]:
    """Tell the loss of a fold of images with these probabilities, and of one of ten others."""
    x = np.concatenate([p, np.full(10, other)])[:, None]
    fold = np.repeat([0, 1], [len(p), 10])
    data = SiteData(x, np.zeros(len(x), dtype=np.intp), fold, minimum)
    classes = np.array(["mel", "nv"])
    heads: Any = [[_Says(classes), _Says(classes)]]
    return np.asarray(sum_scores(data, heads, classes, "log_loss")["loss"][0])


PROBABILITIES = st.integers(5, 60).flatmap(
    lambda n: arrays(np.float64, n, elements=st.floats(0.0, 1.0))
)


@given(p=PROBABILITIES, minimum=st.integers(2, 5))
def test_a_guarded_log_loss_is_a_count_that_tells_of_no_few_images(
    p: NDArray[np.float64], minimum: int
) -> None:
    told = _losses(p, minimum)[0]
    count = told / np.log(20.0)
    assert count == pytest.approx(round(count), abs=1e-9)
    most = len(p)
    assert round(count) == 0 or round(count) >= minimum
    assert most - round(count) == 0 or most - round(count) >= minimum
    # Whatever the hostile model: so many of its images can be anything, and nothing shows.
    capped = np.minimum(-np.log(np.maximum(p, 1e-300)), np.log(20.0)).sum()
    off = 0.5 + (minimum // 2 if most >= 2 * minimum else most / 2)
    assert abs(told - capped) <= off * np.log(20.0) + 1e-9


@pytest.mark.parametrize("odd", [0.0, 1e-9, 0.3, 0.999])
def test_one_image_among_those_that_a_model_is_made_for_does_not_show(odd: float) -> None:
    sure, lost = np.ones(30), np.zeros(30)
    sure[7] = lost[7] = odd
    assert _losses(sure, 5)[0] == 0.0
    assert _losses(lost, 5)[0] == pytest.approx(30 * np.log(20.0))
    if odd not in (0.0, 1.0):
        # As it does under no policy.
        assert _losses(sure, 1)[0] == pytest.approx(-np.log(odd), rel=1e-9)


def test_digits_below_the_unit_do_not_leave_a_guarded_site() -> None:
    p = np.concatenate([np.full(10, 1.0), np.full(10, 0.05)])
    hidden = p.copy()
    hidden[:10] -= 1e-3 * np.arange(10)
    assert _losses(p, 5)[0] == _losses(hidden, 5)[0] == pytest.approx(10 * LOSS_UNIT)


def test_a_guarded_sites_log_losses_are_checked_and_make_scores() -> None:
    learner, state, own = _scored(f"{RIDGES} metric=log_loss")
    told = learner.contribute(replace(own, minimum=5), state)
    check_arrays(told.arrays, learner.contribution_spec(state.stage), told.count)
    learner.verify(state.stage, told)
    exact = learner.contribute(own, state)
    np.testing.assert_array_equal(told.arrays["held"], exact.arrays["held"])
    near = abs(told.arrays["loss"] - exact.arrays["loss"])
    assert 0.0 < near.max() < 3 * LOSS_UNIT
