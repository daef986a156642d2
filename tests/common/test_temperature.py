"""Calibration over sites is the minimum of the pooled validation log loss."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from common.errors import ContributionError
from common.learners import LINEAR, make_learner
from common.learners.base import Problem, SiteData, State
from common.learners.checked import check_arrays
from common.learners.linear_head import LinearHead, linear
from common.learners.total import Total
from common.split import Split

CLASSES = ("a", "b", "c")


@dataclass(frozen=True)
class Cohort:
    """Images of the training and validation parts, over sites."""

    x: NDArray[np.float64]
    y: NDArray[np.intp]
    train: NDArray[np.bool_]
    classes: tuple[str, ...] = CLASSES
    sites: int = 3

    @property
    def validation(self) -> NDArray[np.bool_]:
        return ~self.train

    def of(self, site: int, part: Split) -> SiteData:
        member = (np.arange(len(self.y)) % self.sites == site) & (
            self.train if part is Split.TRAIN else self.validation
        )
        return SiteData(self.x[member], self.y[member])


def _cohort(
    seed: int = 0, n: int = 240, dimension: int = 5, distance: float = 1.0, classes: int = 3
) -> Cohort:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    x = rng.normal(size=(n, dimension)) + distance * np.eye(classes, dimension)[y]
    return Cohort(x, y, rng.random(n) < 0.6, CLASSES[:classes])


@dataclass(frozen=True)
class Fitted:
    head: LinearHead
    state: State
    rounds: int
    notes: tuple[str, ...]


def _fit(cohort: Cohort, name: str, settings: str) -> Fitted:
    """Run a learner as a coordinator does, each stage over the part that it names."""
    learner = make_learner(name, Problem(cohort.classes, cohort.x.shape[1]), settings)
    state, rounds, notes = learner.start(), 0, list[str]()
    while not state.done:
        total, stage = Total(), state.stage
        for site in range(cohort.sites):
            sums = learner.contribute(cohort.of(site, learner.part(stage)), state)
            check_arrays(sums.arrays, learner.contribution_spec(stage), sums.count)
            learner.verify(stage, sums)
            total.add(sums)
        state = learner.update(state, total.value())
        rounds += stage == "temperature"
        notes.extend(state.notes)
    return Fitted(linear(learner.head(state)), state, rounds, tuple(notes))


def _pooled_scores(cohort: Cohort, *, logistic: bool = False) -> tuple[Any, NDArray[np.float64]]:
    train = cohort.train
    estimator: Any = RidgeClassifier(1.0 * train.sum(), class_weight="balanced")
    if logistic:
        c = 1.0 / (0.1 * train.sum())
        estimator = LogisticRegression(C=c, class_weight="balanced", tol=1e-12, max_iter=10_000)
    pipeline = make_pipeline(StandardScaler(), estimator).fit(cohort.x[train], cohort.y[train])
    scores = pipeline.decision_function(cohort.x[cohort.validation])
    return pipeline, np.stack([-scores, scores], axis=1) if scores.ndim == 1 else scores


def _loss(theta: NDArray[np.float64], scores: NDArray[np.float64], y: NDArray[np.intp]) -> float:
    return -float(log_softmax(theta * scores, axis=1)[np.arange(len(y)), y].sum())


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_one_temperature_is_the_minimum_of_the_pooled_log_loss(seed: int, classes: int) -> None:
    cohort = _cohort(seed, classes=classes)
    fitted = _fit(cohort, "ridge", "calibrate=temperature")
    _, scores = _pooled_scores(cohort)
    y = cohort.y[cohort.validation]

    def loss(logarithm: float) -> float:
        return _loss(np.exp(np.array([logarithm])), scores, y)

    best = minimize_scalar(loss, bounds=(-5, 5), method="bounded", options={"xatol": 1e-9})
    # The minimum's place is known to the root of the loss's rounding, and its depth fully.
    np.testing.assert_allclose(fitted.head.inverse_temperature_, np.exp(best.x), rtol=1e-5)
    theta = fitted.head.inverse_temperature_
    assert _loss(theta, scores, y) <= best.fun * (1 + 1e-14)
    # The derivative, by hand: mean score under p less the own score.
    p = np.exp(log_softmax(theta * scores, axis=1))
    slope = ((p * scores).sum(axis=1) - scores[np.arange(len(y)), y]).sum()
    assert abs(slope) <= 1e-8 * np.abs(scores).sum()
    assert fitted.notes == ()
    assert fitted.rounds <= 6


@pytest.mark.parametrize("seed", range(4))
def test_one_a_class_is_the_minimum_of_the_pooled_log_loss(seed: int) -> None:
    cohort = _cohort(seed, n=400)
    fitted = _fit(cohort, "logistic", "calibrate=vector")
    _, scores = _pooled_scores(cohort, logistic=True)
    y = cohort.y[cohort.validation]
    best = minimize(_loss, np.ones(3), args=(scores, y), method="BFGS", options={"gtol": 1e-6})
    np.testing.assert_allclose(fitted.head.inverse_temperature_, best.x, rtol=1e-4)
    assert _loss(fitted.head.inverse_temperature_, scores, y) <= best.fun * (1 + 1e-12)
    assert len(set(fitted.head.inverse_temperature_.tolist())) == 3
    assert fitted.notes == ()


@pytest.mark.parametrize("seed", range(3))
def test_it_is_scikit_learns_temperature_scaling(seed: int) -> None:
    cohort = _cohort(seed)
    head = _fit(cohort, "ridge", "calibrate=temperature").head
    pooled, _ = _pooled_scores(cohort)
    calibrated = CalibratedClassifierCV(FrozenEstimator(pooled), method="temperature")
    calibrated.fit(cohort.x[cohort.validation], cohort.y[cohort.validation])
    # scikit-learn's own search ends at five digits.
    np.testing.assert_allclose(
        head.predict_proba(cohort.x), calibrated.predict_proba(cohort.x), atol=1e-4
    )


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("calibrate", ["temperature", "vector"])
def test_the_validation_log_loss_falls_and_one_temperature_moves_no_prediction(
    name: str, calibrate: str
) -> None:
    cohort = _cohort(3)
    before = _fit(cohort, name, "calibrate=none").head
    after = _fit(cohort, name, f"calibrate={calibrate}").head
    x, y = cohort.x[cohort.validation], np.array(cohort.classes)[cohort.y[cohort.validation]]
    losses = [log_loss(y, head.predict_proba(x)) for head in (before, after)]
    assert losses[1] < losses[0] - 1e-4
    np.testing.assert_array_equal(after.coef_, before.coef_)
    if calibrate == "temperature":
        assert after.predict(cohort.x).tolist() == before.predict(cohort.x).tolist()


@pytest.mark.parametrize("calibrate", ["temperature", "vector"])
def test_without_a_validation_image_it_stays_at_one_and_says_so(calibrate: str) -> None:
    cohort = _cohort()
    fitted = _fit(
        replace(cohort, train=np.ones(240, dtype=np.bool_)), "ridge", f"calibrate={calibrate}"
    )
    assert fitted.head.inverse_temperature_.tolist() == [1.0] * 3
    assert fitted.notes == ("temperature: no validation image, so it is left at 1",)
    assert fitted.rounds == 1


@pytest.mark.parametrize("calibrate", ["temperature", "vector"])
def test_classes_without_training_images_count_for_nothing(calibrate: str) -> None:
    cohort = _cohort(1)
    # Class c: validation images only.
    lacking = replace(cohort, train=cohort.train & (cohort.y != 2))
    without = replace(lacking, x=cohort.x[cohort.y != 2], y=cohort.y[cohort.y != 2])
    without = replace(without, train=lacking.train[cohort.y != 2], classes=CLASSES[:2])
    found = _fit(lacking, "lda", f"shrinkage=0.1 calibrate={calibrate}")
    expected = _fit(without, "lda", f"shrinkage=0.1 calibrate={calibrate}")
    np.testing.assert_allclose(
        found.head.inverse_temperature_, expected.head.inverse_temperature_, rtol=1e-6
    )
    # And nothing but them is no validation image at all.
    only = replace(lacking, train=cohort.y != 2)
    fitted = _fit(only, "lda", f"shrinkage=0.1 calibrate={calibrate}")
    assert fitted.head.inverse_temperature_.tolist() == [1.0, 1.0]
    assert fitted.notes == ("temperature: no validation image, so it is left at 1",)


@pytest.mark.parametrize("calibrate", ["temperature", "vector"])
@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("distance", [8.0, 100.0])
def test_images_that_the_scores_separate_end_with_a_note(
    name: str, calibrate: str, distance: float
) -> None:
    """Their log loss has no minimum; each site's sums are nevertheless such as images have."""
    cohort = replace(_cohort(2, distance=distance), sites=40)
    fitted = _fit(cohort, name, f"calibrate={calibrate}")
    assert fitted.notes == ("temperature: the scores separate the validation images",)
    assert (fitted.head.inverse_temperature_ > 0).all()
    probabilities = fitted.head.predict_proba(cohort.x[cohort.validation])
    truth = cohort.y[cohort.validation]
    assert probabilities[np.arange(len(truth)), truth].min() > 0.99


@pytest.mark.parametrize("calibrate", ["temperature", "vector"])
def test_scores_that_mislead_leave_it_at_one_with_a_note(calibrate: str) -> None:
    cohort = _cohort(4)
    y = np.where(cohort.train, cohort.y, (cohort.y + 1) % 3)
    fitted = _fit(replace(cohort, y=y), "ridge", f"calibrate={calibrate}")
    assert fitted.head.inverse_temperature_.tolist() == [1.0] * 3
    (note,) = fitted.notes
    assert "mislead" in note


@pytest.mark.parametrize("calibrate", ["temperature", "vector"])
def test_scores_that_are_all_equal_leave_it_at_one_with_a_note(calibrate: str) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(200) % 3
    cohort = Cohort(np.zeros((200, 2)), y, rng.random(200) < 0.5)
    fitted = _fit(cohort, "ncm", f"calibrate={calibrate}")
    assert fitted.head.inverse_temperature_.tolist() == [1.0] * 3
    assert fitted.notes == ("temperature: all scores are equal, so it is left at 1",)


def test_a_class_without_validation_images_costs_no_model() -> None:
    """Its own temperature may have no minimum; the search ends where it is flat."""
    rng = np.random.default_rng(35)
    y = np.arange(60) % 3
    x = rng.normal(size=(60, 3))
    x[:, 0] += y * rng.uniform(0, 3)
    held = np.arange(int(rng.integers(2, 80))) % 2
    x_held = rng.normal(size=(len(held), 3))
    x_held[:, 0] += held * 2
    train = np.arange(60 + len(held)) < 60
    cohort = Cohort(np.concatenate([x, x_held]), np.concatenate([y, held]), train, sites=1)
    fitted = _fit(cohort, "svm", "calibrate=vector")
    assert fitted.rounds < 40
    scores = fitted.head.scores(x_held)
    before = _loss(np.ones(1), scores, held)
    assert _loss(fitted.head.inverse_temperature_, scores, held) <= before


@pytest.mark.parametrize("scale", [1e-3, 1.0, 300.0])
@pytest.mark.parametrize("name", ["ncm", "ridge"])
def test_scores_of_any_size_take_few_rounds(name: str, scale: float) -> None:
    """In a thousand dimensions the nearest mean's scores lie a thousand apart."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 300)
    x = rng.normal(size=(300, 1000))
    # More or less signal makes scores more or less sure.
    x[:, :3] += scale * np.eye(3)[y]
    cohort = Cohort(x, y, rng.random(300) < 0.6)
    fitted = _fit(cohort, name, "calibrate=temperature")
    assert fitted.rounds <= 8


def test_a_curvature_that_no_images_have_is_refused() -> None:
    cohort = _cohort()
    learner = make_learner("ridge", Problem(CLASSES, 5), "calibrate=vector")
    state = _state_at_temperature(cohort)
    sums = learner.contribute(cohort.of(0, Split.VALIDATION), state)
    learner.verify("temperature", sums)
    curvature = sums.arrays["curvature"]
    lopsided = curvature.copy()
    lopsided[3, 0, 1] *= 1.001
    for forged, match in ((-curvature, "negative eigenvalue"), (lopsided, "not symmetric")):
        arrays = {**sums.arrays, "curvature": forged}
        with pytest.raises(ContributionError, match=f"^curvature: .*{match}"):
            learner.verify("temperature", replace(sums, arrays=arrays))


def _state_at_temperature(cohort: Cohort) -> State:
    learner = make_learner("ridge", Problem(CLASSES, 5), "calibrate=vector")
    state = learner.start()
    while state.stage != "temperature":
        total = Total()
        for site in range(cohort.sites):
            total.add(learner.contribute(cohort.of(site, Split.TRAIN), state))
        state = learner.update(state, total.value())
    return state
