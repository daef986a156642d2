"""Tuning over sites is scikit-learn's search over the pooled folds, whatever is tuned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import balanced_accuracy_score, log_loss
from sklearn.model_selection import PredefinedSplit
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.estimator_checks import parametrize_with_checks

from common import wire
from common.errors import ContributionError
from common.learners import TunedHead, federate, is_collective, make_learner, tells_of_parts
from common.learners.base import CollectiveLearner, SiteData, State
from common.learners.checked import check_arrays
from common.learners.federate import fit_sites
from common.learners.tuning.scores import Tuning
from common.learners.tuning.settings import TunedSettings
from common.model import Model, ModelDescription, load_model, save_model
from common.split import Split
from tests.common.ensemble_cases import (
    CLASSES,
    DIMENSION,
    PROBLEM,
    Parts,
    images,
    learn,
    logistic,
    parts,
    pool,
    ridge,
)

FOLDS = 3
PROBE = images(77, 200).x
RIDGES = f"learner=ridge space=alpha_per_image=0.1|1;calibrate=none folds={FOLDS}"
REFERENCE = {"logistic": logistic, "ridge": ridge}


def _fold(data: Parts) -> NDArray[np.intp]:
    return np.concatenate([own.fold for own in data[Split.TRAIN].values() if own.fold is not None])


def _tuning(fitted: Any, settings: str) -> Tuning:
    kind = make_learner("tuned", PROBLEM, settings).settings
    assert isinstance(kind, TunedSettings)
    return Tuning.of(fitted.state, kind)


@pytest.mark.parametrize("metric", ["balanced_accuracy", "log_loss"])
@pytest.mark.parametrize("learner", ["logistic", "ridge"])
@pytest.mark.parametrize("at_once", [32, 3])
def test_every_score_and_the_winner_are_scikit_learns_over_the_pooled_folds(
    learner: str, metric: str, at_once: int
) -> None:
    data, alphas = parts(folds=FOLDS), [3.0, 0.001, 0.05]
    x, y = pool(data[Split.TRAIN])
    wanted = np.zeros((3, FOLDS))
    for row, alpha in enumerate(alphas):
        for column, (rest, held) in enumerate(PredefinedSplit(_fold(data)).split()):
            fitted = REFERENCE[learner](len(rest), alpha).fit(x[rest], y[rest])
            p = fitted.predict_proba(x[held])
            if metric == "log_loss":
                wanted[row, column] = -log_loss(y[held], p, labels=range(4))
            else:
                wanted[row, column] = balanced_accuracy_score(y[held], p.argmax(axis=1))
    tried = "|".join(map(str, alphas))
    settings = (
        f"learner={learner} space=alpha_per_image={tried};calibrate=none folds={FOLDS} "
        f"metric={metric} at_once={at_once}"
    )
    found = learn("tuned", settings, data)
    tuning = _tuning(found, settings)
    tolerance = 1e-12 if metric == "balanced_accuracy" else 1e-6
    np.testing.assert_allclose(tuning.scores, wanted, rtol=0, atol=tolerance)
    best = int(wanted.mean(axis=1).argmax())
    assert tuning.chosen == best
    assert found.head.best_settings_ == f"alpha_per_image={alphas[best]} calibrate=none"
    refit = REFERENCE[learner](len(y), alphas[best]).fit(x, y)
    p = found.head.predict_proba(PROBE)
    np.testing.assert_allclose(p, refit.predict_proba(PROBE.astype(np.float64)), atol=1e-6)
    # The same bits as of the plain learner with these settings.
    plain = learn(learner, f"alpha_per_image={alphas[best]} calibrate=none", data)
    assert p.tobytes() == plain.head.predict_proba(PROBE).tobytes()
    assert sum(stage.startswith("score:") for stage in found.stages) == (1 if at_once > 3 else 3)
    assert not is_collective("tuned", settings)


def test_over_one_site_a_tuned_forest_is_scikit_learns_of_the_best_settings() -> None:
    own = images(5, 200, folds=FOLDS)
    leaves, scores = [1, 4, 30], []
    assert own.fold is not None
    for leaf in leaves:
        each = []
        for rest, held in PredefinedSplit(own.fold).split():
            forest = RandomForestClassifier(7, min_samples_leaf=leaf, random_state=0)
            weight = compute_sample_weight("balanced", own.y[rest])
            forest.fit(own.x[rest], own.y[rest], weight)
            each.append(balanced_accuracy_score(own.y[held], forest.predict(own.x[held])))
        scores.append(each)
    settings = f"learner=forest space=trees=7;min_leaf=1|4|30 folds={FOLDS}"
    found = learn("tuned", settings, {Split.TRAIN: {"only": own}})
    tuning = _tuning(found, settings)
    np.testing.assert_allclose(tuning.scores, scores, atol=1e-12)
    best = leaves[int(np.mean(scores, axis=1).argmax())]
    forest = RandomForestClassifier(7, min_samples_leaf=best, random_state=0)
    forest.fit(own.x, own.y, compute_sample_weight("balanced", own.y))
    p = found.head.predict_proba(PROBE)
    np.testing.assert_allclose(p, forest.predict_proba(PROBE), atol=1e-12)
    assert f"chose trees=7 min_leaf={best} by folds" in found.notes[-1]
    assert is_collective("tuned", settings)


@pytest.mark.parametrize(
    ("learner", "space", "collective", "apart"),
    [
        ("xgboost", "rounds=3|4;at_once=2;max_depth=2;method=cyclic|bagging", True, True),
        ("soft-vote", "members=logistic:pca=3,lda|ridge,ncm;weights=2,1", False, False),
        ("soft-vote", "members=ridge|forest:trees=3", True, True),
        ("stack", "members=ncm,ridge|lda,svm", False, False),
        ("balanced-bagging", "base=lda|ridge;bags=2|3", False, True),
        ("local-vote", "base=lda|ridge:pca=2", True, True),
        ("svm", "kernel=rff|none;components=8;calibrate=vector", False, False),
    ],
)
def test_the_winner_is_that_learner_fitted_alone_and_lives_on_disk(
    learner: str, space: str, collective: bool, apart: bool, tmp_path: Path
) -> None:
    data = parts(folds=FOLDS)
    settings = f"learner={learner} folds={FOLDS} space={space}"
    if "cyclic" in space:
        sites, held = data[Split.TRAIN], data[Split.VALIDATION]
        found: Any = fit_sites(make_learner("tuned", PROBLEM, settings), sites, held)
        head: Any = make_learner("tuned", PROBLEM, settings).head(found)
        alone = fit_sites(make_learner(learner, PROBLEM, head.best_settings_), sites, held)
        wanted: Any = make_learner(learner, PROBLEM, head.best_settings_).head(alone)
    else:
        fitted = learn("tuned", settings, data)
        head, found = fitted.head, fitted.state
        wanted = learn(learner, head.best_settings_, data).head
    expected = wanted.predict_proba(PROBE)
    assert head.predict_proba(PROBE).tobytes() == expected.tobytes()
    assert head.predict(PROBE).tolist() == wanted.predict(PROBE).tolist()
    made = make_learner("tuned", PROBLEM, settings)
    assert isinstance(made, CollectiveLearner) == collective
    assert tells_of_parts(made) == apart
    about = ModelDescription(
        *("tuned", settings, None, CLASSES, (), DIMENSION, "tiny", "f" * 64, 1, ("a",), {})
    )
    save_model(tmp_path, Model(about, found.arrays))
    assert load_model(tmp_path).head().predict_proba(PROBE).tobytes() == expected.tobytes()


def test_a_booster_in_turn_is_tuned_as_it_boosts_alone() -> None:
    """Members in turn and members side by side do not wait for each other's sites."""
    sites = parts(folds=FOLDS)[Split.TRAIN]
    settings = "rounds=3 at_once=1 max_depth=2 method=cyclic"
    alone = fit_sites(make_learner("xgboost", PROBLEM, settings), sites)
    members = "xgboost:rounds=3:at_once=1:max_depth=2:method=cyclic,ridge:calibrate=none"
    voted = fit_sites(make_learner("soft-vote", PROBLEM, f"members={members}"), sites)
    for name, array in alone.arrays.items():
        np.testing.assert_array_equal(voted.arrays[f"0:{name}"], array)
    ridges = fit_sites(make_learner("ridge", PROBLEM, "calibrate=none"), sites)
    np.testing.assert_array_equal(voted.arrays["1:coef"], ridges.arrays["coef"])


def test_images_without_folds_or_with_others_are_refused() -> None:
    learner = make_learner("tuned", PROBLEM, RIDGES)
    with pytest.raises(ContributionError, match="but the images have none"):
        learner.contribute(images(1, 50), learner.start())
    with pytest.raises(ContributionError, match="other folds than the learner's 3"):
        learner.contribute(images(1, 50, folds=9), learner.start())
    one = images(1, 50)
    lonely = SiteData(one.x, one.y, np.zeros(50, dtype=np.intp))
    with pytest.raises(
        ContributionError, match="without one of the folds: no site has a training image; use fewer"
    ):
        fit_sites(learner, {"a": lonely})


def test_a_model_that_is_no_candidates_is_refused() -> None:
    settings = "learner=svm folds=3 space=kernel=none|rff;components=8;calibrate=none"
    found = learn("tuned", settings, parts(folds=FOLDS)).state
    learner = make_learner("tuned", PROBLEM, settings)
    for chosen in (2, 1 - int(found.arrays["candidate"][0])):
        wrong = {**found.arrays, "candidate": np.array([chosen])}
        check_arrays(wrong, learner.state_spec("fitted"))
        with pytest.raises(ContributionError):
            learner.head(State("fitted", wrong, True))


def test_all_stages_are_described_and_fit_into_a_message() -> None:
    many = "learner=soft-vote folds=8 space=members=logistic,lda,ridge,svm|ncm,lda,logistic,svm"
    for settings in (RIDGES, many, "learner=forest space=trees=1|2|3"):
        learner = make_learner("tuned", PROBLEM, settings)
        for stage in learner.stages:
            assert learner.contribution_spec(stage)
            assert learner.part(stage) in Split
    data = {split: {n: replace(own, fold=own.fold) for n, own in sites.items()}
            for split, sites in parts(folds=8).items()}  # fmt: skip
    stages = learn("tuned", many, data).stages
    assert max(map(len, stages)) <= wire.records.MAX_NAME


def test_in_python_folds_are_dealt_by_class() -> None:
    sites = {name: (own.x, own.y) for name, own in parts()[Split.TRAIN].items()}
    head = federate(TunedHead("forest", "trees=3;min_leaf=1|9", folds=3), sites)
    assert head.best_settings_ in ("trees=3 min_leaf=1", "trees=3 min_leaf=9")
    assert head.predict_proba(PROBE).shape == (200, 4)


@parametrize_with_checks([TunedHead("ridge", "alpha_per_image=0.1|1", folds=2)])  # type: ignore[untyped-decorator]
def test_the_head_keeps_scikit_learns_contract(estimator: Any, check: Any) -> None:
    check(estimator)
