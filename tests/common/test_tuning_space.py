"""What is tried: texts, ranges of a grid, draws."""

from __future__ import annotations

import math

import numpy as np
import pytest

from common.errors import SettingsError
from common.learners import make_learner, read_settings
from common.learners.base import Problem
from common.learners.ensemble.members import learners_of
from common.learners.tuning.settings import TunedSettings
from common.learners.tuning.space import Range, draws, grid, parse_space

PROBLEM = Problem(("a", "b"), 4)


def test_a_grid_is_every_combination() -> None:
    space = parse_space("trees=5|10;min_leaf=1..20..4;class_weight=none")
    assert space["min_leaf"] == Range(1.0, 20.0, 4)
    found = grid(space, ["trees", "min_leaf"])
    # 20^(1/3) = 2.714, 20^(2/3) = 7.368, as whole numbers.
    leaves = ["1", "3", "7", "20"]
    assert found == [
        {"trees": trees, "min_leaf": leaf, "class_weight": "none"}
        for trees in ("5", "10")
        for leaf in leaves
    ]
    assert grid(parse_space("a=0.01..1..3"), []) == [{"a": "0.01"}, {"a": "0.1"}, {"a": "1"}]
    # Whole numbers that round to the same one are tried once.
    assert grid(parse_space("a=1..3..9"), ["a"]) == [{"a": "1"}, {"a": "2"}, {"a": "3"}]


def test_values_may_hold_the_signs_of_an_ensembles_members() -> None:
    space = parse_space("members=logistic:pca=16,lda|lda,ridge;weights=2,1")
    assert space == {"members": ("logistic:pca=16,lda", "lda,ridge"), "weights": ("2,1",)}


def test_draws_are_logarithmic_within_their_range_and_by_the_seed() -> None:
    space = parse_space("a=0.001..10;b=1..100;c=x|y|z")
    found = draws(space, ["b"], 1000, 3)
    assert found == draws(space, ["b"], 1000, 3)
    assert found[:5] != draws(space, ["b"], 5, 4)
    values = np.array([float(one["a"]) for one in found])
    assert values.min() >= 0.001
    assert values.max() <= 10
    # A logarithm of the middle, within five standard errors of a uniform distribution's mean.
    error = math.log(1e4) / math.sqrt(12 * 1000)
    assert abs(np.log(values).mean() - math.log(0.1)) < 5 * error
    assert all(one["b"].isdecimal() and 1 <= int(one["b"]) <= 100 for one in found)
    assert {one["c"] for one in found} == {"x", "y", "z"}
    assert len({tuple(one.items()) for one in found}) == 1000


def test_fewer_are_drawn_where_there_are_no_more() -> None:
    found = draws(parse_space("a=1..3;b=x"), ["a"], 10, 0)
    assert sorted(one["a"] for one in found) == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ("space=pca", "space 'pca' is not name=values"),
        ("space=pca=1;pca=2", "space 'pca=2' is not name=values, as trees=50|100, each once"),
        ("space=pca=1|", "a value is missing"),
        ("space=pca=1..x", "is no range LOW..HIGH"),
        ("space=pca=1..2..3..4", "is no range LOW..HIGH"),
        ("space=pca=2..1..3", "needs 0 < LOW <= HIGH"),
        ("space=pca=0..1..3", "needs 0 < LOW <= HIGH"),
        ("space=pca=1..2..0", "COUNT from 1"),
        ("space=pca=1..nan..3", "needs 0 < LOW"),
        ("space=pca=1..3", "space pca: a grid wants a count, as 1..3..4"),
        ("space=pca=1..3..3 search=random", "space pca: a random search draws"),
        ("space=colour=red", "logistic settings: colour: unknown; known: "),
        ("space=pca=-1|2", "logistic settings: pca: "),
        ("space=pca=5", "pca=5, but features have 4 dimensions"),
        ("space=alpha_per_image=0.1..1..101", "101 combinations; 100 at most"),
        ("space=folds=3", "space folds: is not tuned, but tunes"),
        ("space=search=grid:1:2:3", "space search: is not tuned"),
        ("space=ledger=true", "space ledger: is not tuned"),
        ("learner=tuned", "learner 'tuned' cannot be tuned; choose one of: ncm, lda"),
        ("learner=x", "learner 'x' cannot be tuned"),
        ("learner=soft-vote space=members=tuned", "member 'tuned' cannot be one"),
        ("folds=1", "folds: "),
        ("folds=11", "folds: "),
        ("at_once=33", "at_once: "),
        ("metric=accuracy", "metric: "),
        ("ledger=true", "ledger: "),
        ("learner=local-vote space=base=lda|ridge;calibrate=x", "calibrate: "),
    ],
)
def test_what_cannot_be_tried_is_named(settings: str, match: str) -> None:
    with pytest.raises(SettingsError, match=match) as caught:
        make_learner("tuned", PROBLEM, settings)
    assert str(caught.value).startswith("learner settings: ")


def test_a_site_is_asked_for_all_that_a_search_is_made_of() -> None:
    space = "members=logistic,forest|lda,ridge"
    settings = read_settings("tuned", f"learner=soft-vote space={space}")
    assert learners_of(settings) == ("soft-vote", "logistic", "forest", "lda", "ridge")
    assert learners_of(read_settings("tuned", "learner=forest space=trees=2")) == ("forest",)


def test_without_held_out_images_no_candidate_is_calibrated() -> None:
    settings = read_settings("tuned", "learner=svm space=pca=1|2;calibrate=vector|none")
    assert isinstance(settings, TunedSettings)
    assert settings.uncalibrated().space == "pca=1|2;calibrate=none"
    plain = read_settings("tuned", "learner=forest space=trees=2")
    assert plain.uncalibrated() == plain
