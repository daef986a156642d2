"""Every learner keeps to its own specifications, and arrays that do not are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from common.errors import ContributionError
from common.learners import LINEAR, make_learner
from common.learners.base import ArraySpec, Contribution, Learner, Problem, SiteData, State
from common.learners.checked import check_arrays
from common.learners.federate import fit_sites
from common.learners.total import Total
from common.split import Split

SPEC = {
    "x": ArraySpec((2,), minimum=0.0),
    "count": ArraySpec((2, 2), "int64", minimum=0, times_counted=2),
}
RIGHT: dict[str, Any] = {"x": np.array([0.0, 1.0]), "count": np.array([[1, 2], [3, 0]])}
PROBLEM = Problem(("a", "b", "c", "none"), 5)
SEARCH = "folds=3 search=grid:1e-2:1:3"
FRONTS = ["", "pca=3", "kernel=rff components=7", "pca=3 kernel=nystroem components=6"]
CALIBRATIONS = ["calibrate=none", "calibrate=temperature", "calibrate=vector"]
OWN = {
    "ncm": ["priors=uniform", "priors=empirical", "ledger=true"],
    "lda": ["shrinkage=0.1", "shrinkage=0.1 priors=uniform", SEARCH, "shrinkage=0.1 ledger=true"],
    "ridge": ["class_weight=none", SEARCH, f"class_weight=none {SEARCH}", "ledger=true"],
    "logistic": ["class_weight=none", "l1_ratio=0.5", "solver=lbfgs", SEARCH],
    "svm": ["class_weight=none", "solver=lbfgs", SEARCH],
}
CASES = [
    (name, f"{own} {front} {calibrate}".strip())
    for name in LINEAR
    for own, front in [*((own, "pca=3") for own in OWN[name]), *(("", front) for front in FRONTS)]
    for calibrate in CALIBRATIONS
]


def _sites(part: Split) -> dict[str, SiteData]:
    """Give sites of very unequal size, one of them empty; one class has no image."""
    rng = np.random.default_rng(list(Split).index(part))
    y = np.concatenate([np.arange(3), rng.integers(0, 3, 117)])
    x = (rng.normal(size=(120, 5)) + 0.8 * np.eye(3, 5)[y]) * 10.0 ** np.arange(-2, 3)
    site_of, fold = rng.choice(4, 120, p=[0.7, 0.25, 0.05, 0.0]), rng.integers(0, 3, 120)
    members = [site_of == site for site in range(4)]
    return {str(i): SiteData(x[m].astype(np.float32), y[m], fold[m]) for i, m in enumerate(members)}


def _run(learner: Learner) -> tuple[State, list[str]]:
    state, stages = learner.start(), []
    while not state.done:
        stages.append(state.stage)
        check_arrays(state.arrays, learner.state_spec(state.stage))
        total = Total()
        for data in _sites(learner.part(state.stage)).values():
            sums = learner.contribute(data, state)
            assert sums.count == len(data)
            check_arrays(sums.arrays, learner.contribution_spec(state.stage), len(data))
            learner.verify(state.stage, sums)
            total.add(sums)
        value = total.value()
        check_arrays(value.arrays, learner.contribution_spec(state.stage), value.count)
        state = learner.update(state, value)
    check_arrays(state.arrays, learner.state_spec(state.stage))
    return state, stages


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_every_state_and_contribution_is_what_its_specification_says(
    name: str, settings: str
) -> None:
    learner = make_learner(name, PROBLEM, settings)
    state, stages = _run(learner)
    assert state.stage == "fitted"
    calibrated = [stage for stage in stages if learner.part(stage) is Split.VALIDATION]
    assert bool(calibrated) == ("calibrate=none" not in settings)
    # Rounds on training images come first.
    assert stages[len(stages) - len(calibrated) :] == calibrated
    assert (state.arrays["inverse_temperature"] > 0).all()

    head = learner.head(state)
    assert head.classes_.tolist() == ["a", "b", "c"]
    probe = np.random.default_rng(0).normal(size=(200, 5)) * 10.0 ** np.arange(-1, 4)
    assert set(head.predict(probe)) <= {"a", "b", "c"}
    probabilities = head.predict_proba(probe)
    assert probabilities.shape == (200, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)


@pytest.mark.parametrize(("name", "settings"), CASES[::3])
def test_a_state_and_its_stages_outlive_their_learner(name: str, settings: str) -> None:
    """Every round of a site's, and of a coordinator's, may be in a process of its own."""

    class Anew:
        problem = PROBLEM

        def __getattr__(self, what: str) -> Any:
            return getattr(make_learner(name, PROBLEM, settings), what)

    anew: Any = Anew()
    state, expected = (
        fit_sites(anew, _sites(Split.TRAIN)),
        _run(make_learner(name, PROBLEM, settings)),
    )
    for array, other in zip(state.arrays.values(), expected[0].arrays.values(), strict=True):
        np.testing.assert_allclose(array, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("calibrate", CALIBRATIONS)
@pytest.mark.parametrize("stage", ["pixels", "", "Moments", "selection"])
def test_a_learner_refuses_a_stage_that_it_does_not_have(
    name: str, calibrate: str, stage: str
) -> None:
    learner = make_learner(name, PROBLEM, calibrate)
    sums = Contribution(0, {})
    for ask in (
        lambda: learner.state_spec(stage),
        lambda: learner.contribution_spec(stage),
        lambda: learner.verify(stage, sums),
    ):
        with pytest.raises(ContributionError, match=f"no stage {stage!r}"):
            ask()


@pytest.mark.parametrize("name", LINEAR)
def test_a_stage_of_other_settings_is_refused(name: str) -> None:
    learner = make_learner(name, PROBLEM, "calibrate=none")
    for stage in ("temperature", "validate", "path", "class_gram"):
        with pytest.raises(ContributionError, match="no stage"):
            learner.state_spec(stage)
    with pytest.raises(ContributionError, match="no stage 'fitted'"):
        learner.contribution_spec("fitted")


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("labels", [[0, 0, 0], [3]])
def test_fewer_than_two_classes_are_refused(name: str, labels: list[int]) -> None:
    y = np.array(labels, dtype=np.intp)
    x = np.random.default_rng(0).normal(size=(len(y), 5))
    with pytest.raises(ContributionError, match="fewer than two classes"):
        fit_sites(make_learner(name, PROBLEM), {"a": SiteData(x, y)})


@pytest.mark.parametrize("name", LINEAR)
def test_no_training_image_is_refused(name: str) -> None:
    empty = SiteData(np.zeros((0, 5)), np.zeros(0, dtype=np.intp))
    with pytest.raises(ContributionError, match="no site has a training image"):
        fit_sites(make_learner(name, PROBLEM), {"a": empty, "b": empty})


@pytest.mark.parametrize("name", [name for name in LINEAR if name != "ncm"])
def test_a_learner_that_selects_needs_folds(name: str) -> None:
    data = SiteData(np.eye(6, 5), np.arange(6) % 2)
    with pytest.raises(ContributionError, match="chooses by folds, but the images have none"):
        fit_sites(make_learner(name, PROBLEM, SEARCH), {"a": data})


def test_right_arrays_pass() -> None:
    check_arrays(RIGHT, SPEC, 3)
    check_arrays(RIGHT, SPEC)
    check_arrays({}, {})


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"x": np.zeros(3)}, r"x: shape \(3,\), expected \(2,\)"),
        ({"x": np.zeros((2, 1))}, "x: shape"),
        ({"x": np.float64(1.0)}, "x: shape"),
        ({"x": np.zeros(2, np.float32)}, "x: dtype float32, expected float64"),
        ({"x": np.zeros(2, np.int64)}, "x: dtype"),
        ({"x": np.array([None, None])}, "x: dtype"),
        ({"x": np.array([0.0, np.nan])}, "x: holds NaN or infinity"),
        ({"x": np.array([np.inf, 0.0])}, "x: holds NaN or infinity"),
        ({"x": np.array([-1e-300, 0.0])}, "x: below 0"),
        ({"count": np.array([[-1, 2], [5, 0]])}, "count: below 0"),
        ({"count": np.array([[1, 2], [2, 0]])}, "count: sums to 5, not to 6 for 3 images"),
        ({"count": np.zeros((2, 2))}, "count: dtype"),
        ({"count": np.zeros((2, 2), dtype=np.bool_)}, "count: dtype"),
        ({"y": np.zeros(2)}, r"missing \[\], not asked for \['y'\]"),
    ],
)
def test_a_wrong_array_is_refused_by_name(changed: dict[str, Any], match: str) -> None:
    with pytest.raises(ContributionError, match=match):
        check_arrays({**RIGHT, **changed}, SPEC, 3)


def test_counts_that_would_wrap_around_are_refused() -> None:
    # 2^64 + 6 is 6 in 64 bits.
    huge = np.array([[2**62, 2**62], [2**62, 2**62 + 6]])
    with pytest.raises(ContributionError, match="count: sums to 18446744073709551622, not to 6"):
        check_arrays({**RIGHT, "count": huge}, SPEC, 3)


def test_a_missing_array_is_refused_by_name() -> None:
    with pytest.raises(ContributionError, match=r"missing \['count'\]"):
        check_arrays({"x": RIGHT["x"]}, SPEC, 3)
