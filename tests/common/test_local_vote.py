"""Sites' own heads vote: by hand, calibrated on all sites' validation images, strictly checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from common.errors import ContributionError, SettingsError
from common.learners import RidgeHead, make_learner
from common.learners.base import CollectiveLearner, Contribution, SiteData, State
from common.learners.checked import check_arrays
from common.split import Split
from tests.common.ensemble_cases import (
    CLASSES,
    PROBLEM,
    Parts,
    images,
    learn,
    logistic,
    parts,
    pool,
    ridge,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

RIDGE = "base=ridge:alpha_per_image=0.1"
PROBE = images(77, 300)


def _keep(data: SiteData, labels: list[int]) -> SiteData:
    rows = np.isin(data.y, labels)
    return SiteData(data.x[rows], data.y[rows])


def _two_sites() -> Parts:
    """One site knows bcc, df and mel, the other mel and nv."""
    sites = {"a": _keep(images(1, 150), [0, 1, 2]), "b": _keep(images(2, 110), [2, 3])}
    held = {"a": images(3, 40), "b": images(4, 50)}
    return {Split.TRAIN: sites, Split.VALIDATION: held}


def test_the_votes_of_two_sites_are_those_counted_by_hand() -> None:
    data = _two_sites()
    fitted = learn("local-vote", f"{RIDGE} calibrate=none", data)
    assert fitted.stages == ("local",)
    a, b = data[Split.TRAIN]["a"], data[Split.TRAIN]["b"]
    x = PROBE.x.astype(np.float64)
    of_a = ridge(len(a)).fit(a.x.astype(np.float64), a.y).predict_proba(x)
    of_b = ridge(len(b)).fit(b.x.astype(np.float64), b.y).predict_proba(x)
    votes = np.column_stack(
        [
            of_a[:, 0],
            of_a[:, 1],
            (len(a) * of_a[:, 2] + len(b) * of_b[:, 0]) / (len(a) + len(b)),
            of_b[:, 1],
        ]
    )
    wanted = votes / votes.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(fitted.head.predict_proba(PROBE.x), wanted, atol=1e-9)
    assert fitted.head.classes_.tolist() == list(CLASSES)
    # The smaller site's own class is named, which a plain weighted mean would seldom do.
    assert (fitted.head.predict(PROBE.x) == "nv").sum() > 30


def test_one_site_is_its_own_head() -> None:
    own = images(1, 150)
    data: Parts = {Split.TRAIN: {"a": own}, Split.VALIDATION: {"a": images(2, 90)}}
    found = learn("local-vote", RIDGE, data)
    alone = learn("ridge", "alpha_per_image=0.1 calibrate=temperature", data)
    wanted = alone.head.predict_proba(PROBE.x)
    np.testing.assert_allclose(found.head.predict_proba(PROBE.x), wanted, atol=1e-12)
    assert len(found.stages) == len(alone.stages) - 1


@pytest.mark.parametrize("lack", [True, False])
def test_a_temperature_is_the_best_of_its_model_on_all_sites_validation_images(
    lack: bool,
) -> None:
    data = parts(lack=lack)
    fitted = learn("local-vote", RIDGE, data)
    x, y = pool(data[Split.VALIDATION])
    for row, own in enumerate(data[Split.TRAIN].values()):
        model = make_pipeline(
            StandardScaler(), RidgeClassifier(0.1 * len(own), class_weight="balanced")
        ).fit(own.x.astype(np.float64), own.y)
        known = np.isin(y, model.classes_)
        scores = model.decision_function(x[known])
        truth = np.searchsorted(model.classes_, y[known])

        def loss(logarithm: float, scores: Any = scores, truth: NDArray[np.intp] = truth) -> float:
            log_p = log_softmax(np.exp(logarithm) * scores, axis=1)
            return -float(log_p[np.arange(len(truth)), truth].sum())

        best = minimize_scalar(loss, bounds=(-5, 5), method="bounded", options={"xatol": 1e-9})
        found = fitted.state.arrays["site_inverse_temperature"][row]
        np.testing.assert_allclose(found, np.exp(best.x), rtol=1e-5)
    temperatures = fitted.state.arrays["site_inverse_temperature"][:, 0]
    assert len(set(temperatures.tolist())) == 3


def test_without_a_validation_image_models_vote_as_they_are_and_the_run_says_so() -> None:
    data = parts()
    none = {name: _keep(one, []) for name, one in data[Split.VALIDATION].items()}
    fitted = learn("local-vote", RIDGE, {**data, Split.VALIDATION: none})
    assert (fitted.state.arrays["site_inverse_temperature"] == 1.0).all()
    assert fitted.notes[0] == "model 1 of 3: temperature: no validation image, so it is left at 1"
    assert len(fitted.notes) == 3


def test_a_model_that_is_done_says_so_once_while_others_go_on() -> None:
    data = _two_sites()
    held = {name: _keep(one, [0, 1]) for name, one in data[Split.VALIDATION].items()}
    fitted = learn("local-vote", RIDGE, {**data, Split.VALIDATION: held})
    assert fitted.stages.count("temperature:2") > 2
    assert fitted.notes == ("model 2 of 2: temperature: no validation image, so it is left at 1",)
    temperatures = fitted.state.arrays["site_inverse_temperature"]
    assert temperatures[1].tolist() == [1.0] * 4
    assert temperatures[0, 0] != 1.0


def test_a_site_of_one_class_or_none_has_no_vote() -> None:
    data = _two_sites()
    more = {**data[Split.TRAIN], "c": _keep(images(5, 80), [3]), "d": _keep(images(5, 80), [])}
    held = {**data[Split.VALIDATION], "c": _keep(images(6, 9), []), "d": _keep(images(6, 9), [])}
    fitted = learn("local-vote", RIDGE, {Split.TRAIN: more, Split.VALIDATION: held})
    plain = learn("local-vote", RIDGE, data)
    for name, array in plain.state.arrays.items():
        assert fitted.state.arrays[name].tobytes() == array.tobytes()
    assert fitted.notes == tuple(
        f"{site}: has training images of fewer than two classes, so it has no vote"
        for site in ("c", "d")
    )
    only = {Split.TRAIN: {"c": more["c"]}, Split.VALIDATION: {"c": held["c"]}}
    with pytest.raises(ContributionError, match="no site has training images of two classes"):
        learn("local-vote", RIDGE, only)


def test_each_site_chooses_for_itself() -> None:
    data = parts(folds=3)
    settings = "base=ridge:search=grid:0.01:100:5 folds=3 calibrate=none"
    fitted = learn("local-vote", settings, data)
    for row, (site, own) in enumerate(data[Split.TRAIN].items()):
        one: Parts = {Split.TRAIN: {site: own}, Split.VALIDATION: {}}
        search = "search=grid:0.01:100:5 folds=3 calibrate=none"
        alone = learn("ridge", search, one).state.arrays["coef"]
        assert fitted.state.arrays["site_coef"][row].tobytes() == alone.tobytes()


def _local() -> tuple[Any, Contribution, Mapping[str, Any]]:
    learner = make_learner("local-vote", PROBLEM, RIDGE)
    assert isinstance(learner, CollectiveLearner)
    assert [learner.apart(stage) for stage in learner.stages] == [True, False]
    answer = learner.contribute(parts()[Split.TRAIN]["graz"], learner.start())
    return learner, answer, learner.contribution_spec("local")


@pytest.mark.parametrize(
    ("name", "change", "match"),
    [
        ("coef", lambda a: a[:, :-1], "coef: shape"),
        ("coef", lambda a: a.astype(np.float32), "coef: dtype"),
        ("coef", lambda a: a * np.nan, "coef: holds NaN"),
        ("coef", lambda a: a + 1e31, "coef: holds a number above 1e[+]30"),
        ("mean", lambda a: a - 1e31, "mean: holds a number above"),
        ("scale", lambda a: 0 * a, "scale: below"),
        ("scale", lambda a: 0 * a + 1e-31, "scale: below 1e-30"),
        ("intercept", lambda a: a[:2], "intercept: shape"),
        ("inverse_temperature", lambda a: 2 * a, "inverse_temperature: is not 1"),
        ("class_count", lambda a: a + 1, "class_count: sums to 154, not to 150"),
        ("class_count", lambda a: a - a.max(), "class_count: below 0"),
    ],
)
def test_a_model_that_no_site_can_have_fitted_is_refused(
    name: str, change: Any, match: str
) -> None:
    learner, answer, spec = _local()

    def check(arrays: Mapping[str, Any]) -> None:
        check_arrays(arrays, spec, answer.count)
        learner.verify("local", Contribution(answer.count, arrays))

    check(answer.arrays)
    with pytest.raises(ContributionError, match=match):
        check({**answer.arrays, name: change(answer.arrays[name])})


def test_the_largest_model_that_is_let_in_gives_probabilities() -> None:
    learner, answer, spec = _local()
    arrays = {
        name: np.full_like(array, 1e30) if array.dtype.kind == "f" else array
        for name, array in answer.arrays.items()
    }
    arrays["scale"], arrays["mean"] = np.full(6, 1e-30), -arrays["mean"]
    arrays["inverse_temperature"] = np.ones(4)
    arrays["coef"][1::2] *= -1.0
    check_arrays(arrays, spec, answer.count)
    hostile = Contribution(answer.count, arrays)
    learner.verify("local", hostile)
    after = make_learner("local-vote", PROBLEM, f"{RIDGE} calibrate=none")
    assert isinstance(after, CollectiveLearner)
    state = after.merge(after.start(), {"graz": answer, "other": hostile})
    p = after.head(state).predict_proba(PROBE.x)
    assert np.isfinite(p).all()
    np.testing.assert_allclose(p.sum(axis=1), 1.0)


def test_sums_and_states_of_another_number_of_models_are_refused() -> None:
    """Other sites' sums would not add up to them."""
    learner, answer, _ = _local()
    state = learner.merge(learner.start(), {"a": answer, "b": answer})
    assert state.stage == "temperature:2"
    own = parts()[Split.VALIDATION]["graz"]
    sums = learner.contribute(own, State(state.stage, state.arrays))
    spec = learner.contribution_spec(state.stage)
    check_arrays(sums.arrays, spec, sums.count)
    learner.verify(state.stage, sums)
    for name, array in sums.arrays.items():
        with pytest.raises(ContributionError, match=f"{name}: shape"):
            check_arrays({**sums.arrays, name: array[:1]}, spec, sums.count)
    for name, array in state.arrays.items():
        with pytest.raises(ContributionError, match=f"{name}: shape"):
            check_arrays({**state.arrays, name: array[:1]}, learner.state_spec(state.stage))
    # Of a model on disk, any number is right, but the same everywhere.
    done = make_learner("local-vote", PROBLEM, f"{RIDGE} calibrate=none")
    assert isinstance(done, CollectiveLearner)
    model = done.merge(done.start(), {"a": answer, "b": answer})
    torn = {**model.arrays, "site_mean": model.arrays["site_mean"][:1]}
    check_arrays(torn, done.state_spec("fitted"))
    with pytest.raises(ContributionError, match=r"of \[1, 2\] sites"):
        done.head(State("fitted", torn, done=True))


@pytest.mark.parametrize(
    "stage", ["temperature", "temperature:0", "temperature:01", "temperature:10001", "local:1", ""]
)
def test_a_stage_that_no_round_can_have_is_refused(stage: str) -> None:
    learner = make_learner("local-vote", PROBLEM, RIDGE)
    for ask in (learner.state_spec, learner.contribution_spec):
        with pytest.raises(ContributionError, match="has no stage"):
            ask(stage)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ("base=ridge:calibrate=temperature", "calibrate is the vote's"),
        ("base=soft-vote", "member 'soft-vote' cannot be one; choose one of: ncm, lda"),
        ("base=ridge,svm", "member 'ridge,svm' cannot be one"),
        ("calibrate=vector", "calibrate"),
    ],
)
def test_a_base_that_cannot_vote_is_refused(settings: str, match: str) -> None:
    with pytest.raises(SettingsError, match=match):
        make_learner("local-vote", PROBLEM, settings)


def test_the_base_is_a_head_of_scikit_learns_kind() -> None:
    own = images(1, 150)
    x = own.x.astype(np.float64)
    fitted = RidgeHead(alpha_per_image=0.1).fit(x, own.y)
    np.testing.assert_allclose(
        fitted.predict_proba(x), ridge(len(own)).fit(x, own.y).predict_proba(x), atol=1e-9
    )
    assert logistic(len(own)).fit(x, own.y).predict_proba(x).shape == (150, 4)
