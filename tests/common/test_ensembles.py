"""What all ensembles share: how members are told, scikit-learn's contract, models on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

from common.errors import ContributionError, SettingsError
from common.learners import (
    LEARNERS,
    LINEAR,
    BalancedBaggingHead,
    LocalVoteHead,
    SoftVoteHead,
    StackHead,
    is_collective,
    learner_of,
    make_learner,
    read_settings,
)
from common.learners.base import Problem, SiteData
from common.learners.ensemble.ensemble_head import EnsembleHead
from common.learners.ensemble.members import format_member, parse_member
from common.learners.ensemble.stack import StackSettings
from common.model import Model, ModelDescription, load_model, save_model
from common.split import Split
from tests.common.ensemble_cases import CLASSES, DIMENSION, PROBLEM, images, learn, parts

ENSEMBLES = [name for name, (head, _) in LEARNERS.items() if issubclass(head, EnsembleHead)]
HEADS = [
    SoftVoteHead("ridge,lda"),
    StackHead("ridge,lda"),
    LocalVoteHead("ridge"),
    BalancedBaggingHead("ridge", bags=2),
]
CASES = [
    ("soft-vote", ""),
    ("soft-vote", "members=ncm,svm:kernel=rff:components=9,ridge:search=grid:1:9:2 folds=3"),
    ("stack", ""),
    ("stack", "members=ridge:search=grid:1:9:2,svm:calibrate=vector folds=3"),
    ("local-vote", "base=lda:pca=3"),
    ("local-vote", "base=ridge:kernel=rff:components=9:search=grid:1:9:2 folds=3"),
    ("balanced-bagging", "base=ncm bags=2"),
    ("balanced-bagging", "base=ridge:search=grid:1:9:2 bags=2 folds=3"),
]
PROBE = images(77, 60).x


def _not_applicable(head: EnsembleHead) -> dict[str, str]:
    if "class_weight" not in head.get_params():
        return {}
    reason = "a weight is balanced or none: a mapping of classes is no setting of a federation"
    return {"check_class_weight_classifiers": reason}


@parametrize_with_checks(HEADS, expected_failed_checks=_not_applicable)  # type: ignore[untyped-decorator]
def test_an_ensemble_keeps_scikit_learns_contract(estimator: Any, check: Any) -> None:
    check(estimator)


def test_all_ensembles_are_tried_here() -> None:
    assert {name for name, _ in CASES} == set(ENSEMBLES)
    assert {type(head) for head in HEADS} == {LEARNERS[name][0] for name in ENSEMBLES}
    assert not set(ENSEMBLES) & set(LINEAR)


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_a_model_read_again_predicts_bit_for_bit(name: str, settings: str, tmp_path: Path) -> None:
    fitted = learn(name, settings, parts(folds=3))
    about = ModelDescription(
        learner=name,
        learner_settings=settings,
        chosen=None,
        classes=CLASSES,
        classes_without_training_images=(),
        dimension=DIMENSION,
        backbone="tiny",
        backbone_fingerprint="f" * 64,
        split_seed=1,
        sites=("a",),
        versions={},
    )
    save_model(tmp_path, Model(about, fitted.state.arrays))
    again = load_model(tmp_path).head()
    expected = fitted.head.predict_proba(PROBE)
    assert again.predict_proba(PROBE).tobytes() == expected.tobytes()
    best = np.array(CLASSES)[expected.argmax(axis=1)]
    assert again.predict(PROBE).tolist() == best.tolist()
    # A copy fits without folds, and has no search.
    x, y = parts()[Split.TRAIN]["graz"].x, parts()[Split.TRAIN]["graz"].y
    assert clone(fitted.head).fit(x, y).predict_proba(PROBE).shape == (60, 4)


@pytest.mark.parametrize("name", ENSEMBLES)
def test_only_a_vote_of_models_shows_sites_to_the_coordinator(name: str) -> None:
    assert is_collective(name) == (name == "local-vote")


@pytest.mark.parametrize("name", ["soft-vote", "stack"])
def test_a_forest_among_the_members_shows_sites_to_the_coordinator(name: str) -> None:
    settings = "members=logistic,forest:trees=5:class_weight=none"
    assert is_collective(name, settings)
    fitted = learn(name, settings, parts())
    assert "newton:0+grow:1" in fitted.stages
    forest = learn("forest", "trees=5 class_weight=none", parts())
    said = fitted.head.heads_[1].predict_proba(PROBE)
    np.testing.assert_array_equal(said, forest.head.predict_proba(PROBE))
    alone = learn("logistic", "", parts()).state.arrays["coef"]
    assert fitted.state.arrays["0:coef"].tobytes() == alone.tobytes()
    p = fitted.head.predict_proba(PROBE)
    np.testing.assert_allclose(p.sum(axis=1), 1.0)


@pytest.mark.parametrize("name", ENSEMBLES)
def test_what_an_ensemble_cannot_do_is_said(name: str) -> None:
    learner = make_learner(name, PROBLEM)
    with pytest.raises(SettingsError, match="an ensemble starts anew"):
        learner.warm_start({})
    with pytest.raises(SettingsError, match="ledger"):
        make_learner(name, PROBLEM, "ledger=true")
    with pytest.raises(SettingsError, match="folds: no member searches"):
        make_learner(name, PROBLEM, "folds=3")
    with pytest.raises(NotFittedError):
        LEARNERS[name][0]().predict(PROBE)


@pytest.mark.parametrize("name", ENSEMBLES)
@pytest.mark.parametrize("labels", [[0, 0, 0, 0, 0, 0], []])
def test_fewer_than_two_classes_are_refused(name: str, labels: list[int]) -> None:
    y = np.array(labels, dtype=np.intp)
    data = SiteData(np.random.default_rng(0).normal(size=(len(y), DIMENSION)), y)
    with pytest.raises(ContributionError, match=r"two classes|no site has a training"):
        learn(name, "", {Split.TRAIN: {"a": data}, Split.VALIDATION: {"a": data}})


@pytest.mark.parametrize("head", HEADS, ids=str)
def test_in_python_nothing_is_held_out_to_calibrate_on(head: EnsembleHead) -> None:
    learner = learner_of(head, Problem(CLASSES, DIMENSION))
    assert not [stage for stage in learner.stages if "temperature" in stage]


@pytest.mark.parametrize(
    ("text", "name", "values"),
    [
        ("ridge", "ridge", {}),
        ("svm:kernel=rff:components=9", "svm", {"kernel": "rff", "components": "9"}),
        (
            "ridge:search=grid:1e-3:10:12:pca=4",
            "ridge",
            {"search": "grid:1e-3:10:12", "pca": "4"},
        ),
    ],
)
def test_a_member_is_read_and_written(text: str, name: str, values: dict[str, str]) -> None:
    assert parse_member(text) == (name, values)
    assert format_member(name, values) == text


@pytest.mark.parametrize(
    ("members", "match"),
    [
        ("ridge,,lda", "member '' cannot be one"),
        ("ridge,x", "member 'x' cannot be one; choose one of: ncm, lda, ridge"),
        ("soft-vote", "member 'soft-vote' cannot be one"),
        ("local-vote", "member 'local-vote' cannot be one"),
        ("ridge:pca", "member 'ridge:pca' is not name:key=value"),
        ("ridge:", "member 'ridge:' is not"),
        ("ridge:pca=", "is not name:key=value"),
        ("ridge:pca=2:pca=3", "is not name:key=value"),
        ("ridge:pca=-1", "member ridge settings: pca: "),
        ("ridge:colour=red", "member ridge settings: colour: unknown; known: "),
        ("ridge:folds=3", "member ridge: folds is the ensemble's, not a member's"),
        ("ridge:ledger=true", "member ridge: ledger is the ensemble's"),
        ("ridge:search=grid:1:2:3", "member ridge searches; give folds=K"),
        ("ridge:pca=7", "pca=7, but features have 6 dimensions"),
        (",".join(["ridge"] * 33), "33 members; give 1 to 32"),
    ],
)
@pytest.mark.parametrize("name", ["soft-vote", "stack"])
def test_a_wrong_member_is_named(name: str, members: str, match: str) -> None:
    with pytest.raises(SettingsError, match=f"^learner settings: .*{match}"):
        make_learner(name, PROBLEM, f"members={members}")


def test_members_that_search_have_the_folds_of_the_ensemble_and_others_none() -> None:
    settings = read_settings("stack", "members=ridge:search=grid:1:9:2,lda folds=4")
    assert isinstance(settings, StackSettings)
    members = settings.members_made()
    assert [member.settings.folds for member in members] == [4, 0]


@pytest.mark.parametrize("weights", ["1,2", "1,2,x", "1,2,0", "1,2,-1", "1,2,inf", "1,2,nan", ","])
def test_wrong_weights_are_refused(weights: str) -> None:
    with pytest.raises(SettingsError, match="weights"):
        make_learner("soft-vote", PROBLEM, f"weights={weights}")


def test_the_longest_stage_has_room_in_a_message() -> None:
    names = ",".join(["ridge", "logistic", "lda", "svm"] * 8)
    learner = make_learner("soft-vote", PROBLEM, f"members={names}")
    stages = learn("soft-vote", f"members={names}", parts()).stages
    # `common.wire` reads 200 characters.
    assert max(map(len, stages)) <= 200
    assert max(map(len, learner.stages)) < 20
