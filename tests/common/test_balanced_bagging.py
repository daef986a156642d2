"""Bags are balanced, their heads the pooled fits, and no difference of bags is over few images."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from common.errors import ContributionError, SettingsError
from common.learners import BalancedBaggingHead, make_learner
from common.learners.base import CollectiveLearner, Contribution, SiteData, State
from common.learners.checked import check_arrays
from common.learners.ensemble.balanced_bagging import draw_bag
from common.split import Split
from tests.common.ensemble_cases import (
    CLASSES,
    PROBLEM,
    Parts,
    images,
    learn,
    parts,
    pool,
    ridge,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

RIDGE = "base=ridge:alpha_per_image=0.1:calibrate=none bags=4 bag_seed=3"
PROBE = images(77, 300)


def _share(data: Parts) -> NDArray[np.float64]:
    count = np.bincount(pool(data[Split.TRAIN])[1], minlength=4)
    share: NDArray[np.float64] = count[count > 0].min() / np.maximum(count, 1)
    return share


def test_bags_are_the_pooled_fits_of_what_the_sites_draw() -> None:
    data = parts()
    fitted = learn("balanced-bagging", RIDGE, data)
    assert fitted.stages == ("class_counts", "moments:0,1,2,3", "gram:0,1,2,3")
    votes, share = [], _share(data)
    for bag in range(4):
        drawn = {}
        for name, own in data[Split.TRAIN].items():
            rows = draw_bag(own, share, 3, bag)
            drawn[name] = SiteData(own.x[rows], own.y[rows])
        x, y = pool(drawn)
        votes.append(ridge(len(y)).fit(x, y).predict_proba(PROBE.x.astype(np.float64)))
    wanted = np.mean(votes, axis=0)
    np.testing.assert_allclose(fitted.head.predict_proba(PROBE.x), wanted, atol=1e-9)
    assert np.abs(votes[0] - votes[1]).max() > 1e-3
    assert not isinstance(make_learner("balanced-bagging", PROBLEM, RIDGE), CollectiveLearner)


def test_one_site_draws_what_random_undersampling_does() -> None:
    """As many of each class as of the rarest, none twice, others in each bag."""
    own = images(1, 200)
    rarest = int(np.bincount(own.y).min())
    share = rarest / np.bincount(own.y)
    bags = [draw_bag(own, share, 0, bag) for bag in range(6)]
    for rows in bags:
        assert np.bincount(own.y[rows]).tolist() == [rarest] * 4
        assert len(set(rows.tolist())) == len(rows)
    assert len({rows.tobytes() for rows in bags}) == 6
    assert bags[0].tolist() == draw_bag(own, share, 0, 0).tolist()
    assert bags[0].tolist() != draw_bag(own, share, 1, 0).tolist()
    # In many bags, every image has its turn.
    seen = Counter(int(row) for bag in range(150) for row in draw_bag(own, share, 0, bag))
    assert len(seen) == 200
    common = [seen[row] for row in np.flatnonzero(own.y == 3).tolist()]
    assert np.mean(common) == pytest.approx(150 * share[3], rel=1e-9)
    assert min(common) > 5


def test_a_bag_is_balanced_over_all_sites_though_none_is() -> None:
    data = parts()
    share, rarest = _share(data), np.bincount(pool(data[Split.TRAIN])[1]).min()
    for bag in range(5):
        drawn = sum(
            np.bincount(own.y[draw_bag(own, share, 0, bag)], minlength=4)
            for own in data[Split.TRAIN].values()
        )
        # Each site rounds.
        assert (np.abs(np.asarray(drawn) - rarest) <= 1.5).all()


@pytest.mark.parametrize("folds", [0, 3])
def test_under_a_policy_no_combination_of_bags_is_over_fewer_images(folds: int) -> None:
    """Images that are in the same bags cannot be told apart by sums over bags."""
    own = replace(images(1, 240, folds=folds), minimum=5)
    share = np.bincount(own.y).min() / np.bincount(own.y)
    member = np.zeros((400, len(own)), dtype=np.bool_)
    for draw in range(400):
        member[draw, draw_bag(own, share, draw % 20, draw)] = True
    cells = Counter(zip(own.y.tolist(), (own.fold if folds else 0 * own.y).tolist(), strict=True))  # type: ignore[union-attr]
    alike = Counter(column.tobytes() for column in member.T)
    never = np.zeros(400, dtype=np.bool_).tobytes()
    assert min(alike.values()) >= 5
    # What is too small by itself is left out, and nothing else.
    assert alike.get(never, 0) == sum(n for n in cells.values() if n < 5)
    assert len(alike) > 10


def test_without_a_policy_every_image_is_drawn_by_itself() -> None:
    own = images(1, 100)
    share = np.bincount(own.y).min() / np.bincount(own.y)
    member = np.zeros((200, 100), dtype=np.bool_)
    for draw in range(200):
        member[draw, draw_bag(own, share, 0, draw)] = True
    rarest = np.bincount(own.y).argmin()
    alike = Counter(column.tobytes() for column in member.T[own.y != rarest])
    assert max(alike.values()) == 1


def test_a_class_below_the_minimum_is_left_out_of_every_bag() -> None:
    own = replace(images(1, 100), minimum=12)
    few = [label for label, n in enumerate(np.bincount(own.y)) if n < 12]
    assert few
    rows = draw_bag(own, np.ones(4), 0, 0)
    assert set(own.y[rows].tolist()) == set(range(4)) - set(few)
    assert len(draw_bag(replace(own, minimum=101), np.ones(4), 0, 0)) == 0


def test_each_fold_of_a_bag_is_balanced() -> None:
    own = images(1, 400, folds=3)
    assert own.fold is not None
    share = np.bincount(own.y).min() / np.bincount(own.y)
    rows = draw_bag(own, share, 0, 0)
    for label in range(4):
        for fold in range(3):
            whole = int(((own.y == label) & (own.fold == fold)).sum())
            drawn = int(((own.y[rows] == label) & (own.fold[rows] == fold)).sum())
            assert abs(drawn - share[label] * whole) <= 0.5


@pytest.mark.parametrize("base", ["ridge:search=grid:0.01:10:3", "logistic:search=grid:0.01:1:2"])
def test_bags_choose_by_folds_and_say_what(base: str) -> None:
    fitted = learn("balanced-bagging", f"base={base} bags=3 folds=3", parts(folds=3))
    chosen = [note for note in fitted.notes if "chose" in note]
    assert len(chosen) == 3


def test_bags_calibrate_on_all_validation_images() -> None:
    fitted = learn("balanced-bagging", "base=ncm bags=2", parts())
    learner = make_learner("balanced-bagging", PROBLEM, "base=ncm bags=2")
    calibrating = [stage for stage in fitted.stages if stage.startswith("temperature")]
    assert calibrating
    assert {learner.part(stage) for stage in calibrating} == {Split.VALIDATION}
    held = parts()[Split.VALIDATION]["graz"]
    arrays = {
        name: np.zeros([n or 0 for n in spec.shape], spec.dtype) + (name.endswith(":scale"))
        for name, spec in learner.state_spec("temperature:0").items()
    }
    sums = learner.contribute(held, State("temperature:0", arrays))
    assert sums.arrays["0:images"].tolist() == [len(held)]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"1:images": np.array([10_000])}, "bag 1: holds more images than there are"),
        ({"1:images": np.array([5])}, "class_count: sums to"),
        ({"0:class_count": np.array([1, 1, 1, 1])}, "class_count: sums to 4, not to"),
        ({"1:x_square_sum": np.zeros(6)}, "x_square_sum: smaller"),
        ({"0:images": np.array([-1])}, "0:images: below 0"),
    ],
)
def test_a_bag_that_no_site_can_have_drawn_is_refused(change: dict[str, Any], match: str) -> None:
    learner = make_learner("balanced-bagging", PROBLEM, "base=ridge bags=2")
    own = parts()[Split.TRAIN]["graz"]
    begun = learner.update(learner.start(), learner.contribute(own, learner.start()))
    assert begun.stage == "moments:0,1"
    answer = learner.contribute(own, begun)

    def check(arrays: Any) -> None:
        check_arrays(arrays, learner.contribution_spec(begun.stage), answer.count)
        learner.verify(begun.stage, Contribution(answer.count, arrays))

    assert answer.count == len(own)
    assert int(answer.arrays["0:images"][0]) < len(own)
    check(answer.arrays)
    with pytest.raises(ContributionError, match=match):
        check({**answer.arrays, **change})


def test_a_site_of_one_class_takes_its_part() -> None:
    data = parts()
    nevi = images(9, 80)
    only = SiteData(nevi.x[nevi.y == 3], nevi.y[nevi.y == 3])
    more: Parts = {**data, Split.TRAIN: {**data[Split.TRAIN], "wien": only}}
    head = learn("balanced-bagging", RIDGE, more).head
    assert head.classes_.tolist() == list(CLASSES)
    rows = draw_bag(only, _share(more), 3, 0)
    assert 0 < len(rows) < len(only) / 2


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ("bags=0", "bags"),
        ("bags=33", "bags"),
        ("bag_seed=-1", "bag_seed"),
        ("base=balanced-bagging", "cannot be one"),
        ("base=x", "cannot be one"),
        ("base=ridge:alpha_per_image=0", "member ridge settings: alpha_per_image"),
    ],
)
def test_a_wrong_setting_is_named(settings: str, match: str) -> None:
    with pytest.raises(SettingsError, match=f"^learner settings: .*{match}"):
        make_learner("balanced-bagging", PROBLEM, settings)


def test_rare_classes_are_found_more_often_than_by_the_plain_head() -> None:
    data = parts()
    x, y = pool(data[Split.TRAIN])
    names = np.array(CLASSES)[y]
    bagged = BalancedBaggingHead("logistic:class_weight=none", bags=5).fit(x, names)
    plain = make_learner("logistic", PROBLEM, "class_weight=none")
    assert plain.settings.folds == 0
    one = learn("logistic", "class_weight=none", data).head
    rare = PROBE.y == 0

    def found(head: Any) -> float:
        return float((head.predict(PROBE.x[rare]) == CLASSES[0]).mean())

    assert found(bagged) > found(one) + 0.1
