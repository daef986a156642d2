"""The soft vote is scikit-learn's of the pooled fits, whatever the members."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import VotingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from common.errors import ContributionError
from common.learners import LEARNERS, RidgeHead, SoftVoteHead, make_learner
from common.learners.base import (
    ArraySpec,
    CollectiveLearner,
    Contribution,
    Problem,
    SiteData,
    State,
)
from common.learners.ensemble.together import take
from common.learners.federate import federate
from common.learners.settings import LearnerSettings
from common.split import Split
from tests.common.ensemble_cases import (
    CLASSES,
    PROBLEM,
    Softmax,
    images,
    learn,
    logistic,
    parts,
    pool,
    ridge,
)

PROBE = images(77, 300)


def _lda() -> Any:
    lda = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.2)
    return Softmax(make_pipeline(StandardScaler(), lda))


@pytest.mark.parametrize("weights", ["", "3,1,0.5"])
def test_a_vote_is_scikit_learns_of_the_pooled_fits(weights: str) -> None:
    data = parts()
    x, y = pool(data[Split.TRAIN])
    settings = (
        "members=logistic:tolerance=1e-9,ridge:alpha_per_image=0.1:calibrate=none,lda:shrinkage=0.2"
    )
    fitted = learn("soft-vote", f"{settings} weights={weights}" if weights else settings, data)
    reference = VotingClassifier(
        [("logistic", logistic(len(y))), ("ridge", ridge(len(y))), ("lda", _lda())],
        voting="soft",
        weights=[3, 1, 0.5] if weights else None,
    ).fit(x, y)
    found = fitted.head.predict_proba(PROBE.x)
    np.testing.assert_allclose(found, reference.predict_proba(PROBE.x), atol=1e-6)
    assert fitted.head.classes_.tolist() == list(CLASSES)
    # Each member's own probabilities are another matter.
    assert np.abs(found - fitted.head.heads_[1].predict_proba(PROBE.x)).max() > 0.05


MEMBERS = (
    "logistic",
    "logistic:solver=lbfgs:tolerance=1e-4",
    "ridge:search=grid:0.01:10:3",
    "svm:kernel=rff:components=12:calibrate=vector",
    "svm:search=random:0.01:1:2:search_seed=4",
    "lda",
    "ncm:calibrate=none:pca=3",
)


def test_a_member_is_what_it_is_alone_and_rounds_are_those_of_the_slowest() -> None:
    data = parts(folds=3)
    together = learn("soft-vote", f"members={','.join(MEMBERS)} folds=3", data)
    rounds = {Split.TRAIN: [0], Split.VALIDATION: [0]}
    for number, text in enumerate(MEMBERS):
        name, _, own = text.partition(":")
        settings = own.replace(":", " ").replace("grid ", "grid:").replace("random ", "random:")
        for values in ("0.01 10 3", "0.01 1 2"):
            settings = settings.replace(values, values.replace(" ", ":"))
        alone = learn(name, f"{settings} folds=3" if "search=" in own else settings, data)
        member = take(together.state.arrays, f"{number}:")
        assert member.keys() == alone.state.arrays.keys()
        for key, array in alone.state.arrays.items():
            assert member[key].tobytes() == array.tobytes(), (text, key)
        calibrating = sum("temperature" in stage for stage in alone.stages)
        rounds[Split.VALIDATION].append(calibrating)
        rounds[Split.TRAIN].append(len(alone.stages) - calibrating)
    assert len(together.stages) == max(rounds[Split.TRAIN]) + max(rounds[Split.VALIDATION])
    assert together.stages[0] == "moments:0,1,2,3,4,5,6"
    # What a member has chosen is told, since a vote has no one choice.
    chosen = [note for note in together.notes if "by folds" in note]
    assert sorted(note.partition(": chose")[0] for note in chosen) == [
        "member 2 (ridge)",
        "member 4 (svm)",
    ]


def test_the_stages_of_members_describe_all_that_a_round_asks_and_tells() -> None:
    learner = make_learner("soft-vote", PROBLEM, "members=logistic,ridge,lda")
    asked = ("newton:0+gram:1,2", ["newton:0", "gram:1", "gram:2"])
    assert set(asked[1]) <= set(learner.stages)
    for kind in ("state_spec", "contribution_spec"):
        whole = getattr(learner, kind)(asked[0])
        alone = {n: s for stage in asked[1] for n, s in getattr(learner, kind)(stage).items()}
        assert whole == alone
    searching = make_learner("soft-vote", PROBLEM, "members=ncm,ridge:search=grid:1:2:2 folds=3")
    # A guarded site finds the whole by this name.
    assert searching.contribution_spec("validate:1")["1:hits"].part_of == "1:held"


@pytest.mark.parametrize(
    "stage",
    [
        *("", "moments", "moments:", "moments:3", "moments:0,0", "moments:00", "moments:٠"),
        *("gram:0", "newton:1", "temperature:0", "moments:0+moments:1", "moments:0+gram:0"),
        *("gram:1+temperature:2", "fitted:0", "moments:0 ", "moments:-1", "+", "moments:0+"),
    ],
)
def test_a_stage_that_no_round_can_have_is_refused(stage: str) -> None:
    learner = make_learner("soft-vote", PROBLEM, "members=logistic,ridge,ncm")
    for ask in (learner.state_spec, learner.contribution_spec, learner.part):
        with pytest.raises(ContributionError, match="has no stage"):
            ask(stage)


def test_a_site_that_lies_to_one_member_is_refused_before_any_takes_a_step() -> None:
    learner = make_learner("soft-vote", PROBLEM, "members=logistic,ridge")
    own = parts()[Split.TRAIN]["graz"]
    answer = learner.contribute(own, learner.start())
    learner.verify("moments:0,1", answer)
    squares = answer.arrays["1:x_square_sum"]
    wrong = Contribution(answer.count, {**answer.arrays, "1:x_square_sum": 0.1 * squares})
    with pytest.raises(ContributionError, match="x_square_sum"):
        learner.verify("moments:0,1", wrong)


def test_a_class_without_training_images_is_never_named() -> None:
    data = parts()
    without = {
        part: {name: SiteData(one.x[one.y != 2], one.y[one.y != 2]) for name, one in sites.items()}
        for part, sites in data.items()
    }
    head = learn("soft-vote", "members=logistic,ncm", without).head
    assert head.classes_.tolist() == ["bcc", "df", "nv"]
    p = head.predict_proba(PROBE.x)
    assert p.shape == (300, 3)
    np.testing.assert_allclose(p.sum(axis=1), 1.0)


def test_labels_may_be_numbers_in_python_and_sites_add_up() -> None:
    x, y = pool(parts()[Split.TRAIN])
    labels = np.array([30, 10, 20, 0])[y]
    sites = {"a": (x[:100], labels[:100]), "b": (x[100:], labels[100:])}
    head = federate(SoftVoteHead("ridge,lda"), sites)
    alone = SoftVoteHead("ridge,lda").fit(x, labels)
    assert head.classes_.tolist() == [0, 10, 20, 30]
    np.testing.assert_allclose(head.predict_proba(x), alone.predict_proba(x), atol=1e-9)
    ridge_p = RidgeHead().fit(x, labels).predict_proba(x)
    np.testing.assert_allclose(head.heads_[0].predict_proba(x), ridge_p, atol=1e-9)


class _Settings(LearnerSettings):
    """None of its own."""


class _ApartHead:
    """Names classes by the mean over sites of their shares; the features do not matter."""

    settings_type: ClassVar[type[LearnerSettings]] = _Settings
    n_features_in_ = PROBLEM.dimension

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {}

    def set_params(self, **params: Any) -> _ApartHead:
        return self

    def set_fitted(self, arrays: Mapping[str, Any], classes: Any) -> _ApartHead:
        present = np.flatnonzero(arrays["class_count"])
        self.classes_, self.share_ = classes[present], arrays["share"][present]
        return self

    def predict_proba(self, x: Any) -> Any:
        return np.tile(self.share_, (len(x), 1))


class _Apart:
    """A learner whose second round's answers do not add up."""

    stages = ("count", "own")
    rounds = most_rounds = 2

    def __init__(self, problem: Problem, settings: _Settings) -> None:
        self.problem, self.settings = problem, settings

    def warm_start(self, arrays: Mapping[str, Any]) -> None:
        raise NotImplementedError

    def head(self, state: State) -> _ApartHead:
        return _ApartHead().set_fitted(state.arrays, np.array(self.problem.classes))

    def apart(self, stage: str) -> bool:
        return stage == "own"

    def start(self) -> State:
        return State("count", {})

    def part(self, stage: str) -> Split:
        return Split.TRAIN

    def verify(self, stage: str, contribution: Contribution) -> None:
        pass

    def _count(self) -> ArraySpec:
        return ArraySpec((len(self.problem.classes),), "int64", minimum=0)

    def state_spec(self, stage: str) -> Mapping[str, ArraySpec]:
        share = ArraySpec((len(self.problem.classes),))
        if stage == "count":
            return {}
        return {"class_count": self._count(), **({"share": share} if stage == "fitted" else {})}

    def contribution_spec(self, stage: str) -> Mapping[str, ArraySpec]:
        return {"class_count": self._count()}

    def contribute(self, data: SiteData, state: State) -> Contribution:
        count = np.bincount(data.y, minlength=len(self.problem.classes))
        return Contribution(len(data), {"class_count": count})

    def update(self, state: State, total: Contribution) -> State:
        assert state.stage == "count"
        return State("own", {"class_count": total.arrays["class_count"]})

    def merge(self, state: State, found: Mapping[str, Contribution]) -> State:
        assert list(found) == ["graz", "lyon", "oslo"]
        shares = [part.arrays["class_count"] / part.count for part in found.values()]
        arrays = {**state.arrays, "share": np.mean(shares, axis=0)}
        return State("fitted", arrays, done=True, notes=("merged",))


def test_a_member_whose_answers_do_not_add_up_is_merged_and_the_others_are_added(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(LEARNERS, "apart", (_ApartHead, _Apart))
    data = parts()
    mixed = make_learner("soft-vote", PROBLEM, "members=logistic,apart")
    assert isinstance(mixed, CollectiveLearner)
    assert [mixed.apart(stage) for stage in ("moments:0+count:1", "newton:0+own:1")] == [
        False,
        True,
    ]
    assert not isinstance(make_learner("soft-vote", PROBLEM, "members=logistic"), CollectiveLearner)
    fitted = learn("soft-vote", "members=logistic,apart", data)
    assert "newton:0+own:1" in fitted.stages
    assert "member 1 (apart): merged" in fitted.notes
    alone = learn("logistic", "", data)
    for key, array in alone.state.arrays.items():
        assert fitted.state.arrays[f"0:{key}"].tobytes() == array.tobytes()
    sites = data[Split.TRAIN].values()
    share = np.mean([np.bincount(one.y, minlength=4) / len(one) for one in sites], axis=0)
    p = fitted.head.predict_proba(PROBE.x)
    np.testing.assert_allclose(p, (alone.head.predict_proba(PROBE.x) + share) / 2, atol=1e-12)
