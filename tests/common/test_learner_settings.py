"""What a learner's settings may be, as text and as values."""

from __future__ import annotations

from typing import Any

import pytest

from common.errors import SettingsError
from common.learners import LEARNERS, LINEAR, make_learner, read_settings
from common.learners.base import Problem
from common.learners.settings import FrontSettings, HeadSettings, parse_assignments

PROBLEM = Problem(("a", "b"), 4)
WITH_ALPHA = [name for name in LINEAR if name in ("ridge", "logistic", "svm")]
SEARCH = "search=grid:1e-3:1:4"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("  ", {}),
        ("a=1", {"a": "1"}),
        ("a=1  b=x:y:2\tc=-3\n", {"a": "1", "b": "x:y:2", "c": "-3"}),
        ("a=b=c", {"a": "b=c"}),
    ],
)
def test_assignments_are_read(text: str, expected: dict[str, str]) -> None:
    assert parse_assignments(text) == expected


@pytest.mark.parametrize("item", ["a", "=", "=1", "a=", "a = 1"])
def test_what_is_no_assignment_is_refused(item: str) -> None:
    first = item.split()[0]
    with pytest.raises(SettingsError, match=f"learner settings: {first!r} is not key=value"):
        parse_assignments(f"b=2 {item}")


def test_a_key_that_comes_twice_is_refused() -> None:
    with pytest.raises(SettingsError, match="learner settings: pca is given twice"):
        parse_assignments("pca=2 folds=3 pca=2")


@pytest.mark.parametrize("name", LEARNERS)
def test_every_setting_is_documented(name: str) -> None:
    kind: Any = LEARNERS[name][0].settings_type
    text = "".join(
        base.__doc__ or "" for base in kind.__mro__ if base.__module__ != "pydantic.main"
    )
    for field in kind.model_fields:
        assert f"\n    {field} : " in text


@pytest.mark.parametrize("name", LEARNERS)
def test_an_estimator_has_its_learners_settings_and_defaults(name: str) -> None:
    head, _ = LEARNERS[name]
    kind = head.settings_type
    parameters = head().get_params()
    # Nothing is held out within a plain fit.
    beside = HeadSettings.model_fields.keys() - FrontSettings.model_fields.keys()
    assert {"calibrate", "folds", "search", "search_seed"} <= beside
    # A fit that tunes has folds of its own.
    beside = {"ledger"} if kind.stratified else beside
    assert parameters.keys() == kind.model_fields.keys() - beside
    for field, value in parameters.items():
        assert value == kind.model_fields[field].default


@pytest.mark.parametrize("name", LEARNERS)
def test_an_unknown_key_is_refused_with_those_that_there_are(name: str) -> None:
    known = ", ".join(LEARNERS[name][0].settings_type.model_fields)
    with pytest.raises(SettingsError) as caught:
        make_learner(name, PROBLEM, "colour=red")
    assert str(caught.value) == f"learner settings: colour: unknown; known: {known}"


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("pca", "-1"), ("pca", "two"), ("pca", "1.5"), ("pca", "5"), ("kernel", "poly")),
        *(("components", "0"), ("components", "16385"), ("gamma", "-1"), ("gamma", "nan")),
        *(("gamma", "inf"), ("kernel_seed", "-1"), ("calibrate", "platt"), ("folds", "-1")),
        *(("folds", "101"), ("search_seed", "-1")),
    ],
)
def test_a_setting_of_all_out_of_bounds_is_named(name: str, key: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^learner settings: .*{key}"):
        make_learner(name, PROBLEM, f"{key}={value}")


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        *((n, "alpha_per_image", v) for n in WITH_ALPHA for v in ("0", "-1", "nan", "inf", "x")),
        *((n, "class_weight", "inverse") for n in WITH_ALPHA),
        *((n, "tolerance", v) for n in ("logistic", "svm") for v in ("0", "0.2", "nan")),
        *((n, "solver", "sgd") for n in ("logistic", "svm")),
        *(("logistic", "l1_ratio", v) for v in ("-0.1", "1.1", "nan")),
        *(("lda", "shrinkage", v) for v in ("-0.1", "1.1", "nan", "auto")),
        *((n, "priors", "equal") for n in ("lda", "ncm")),
    ],
)
def test_a_setting_of_its_own_out_of_bounds_is_named(name: str, key: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^learner settings: {key}: "):
        make_learner(name, PROBLEM, f"{key}={value}")


@pytest.mark.parametrize(
    ("name", "settings", "match"),
    [
        *((n, "kernel=nystroem", "kernel=nystroem needs pca=K") for n in LINEAR),
        *((n, "folds=5", "folds and search belong together") for n in LINEAR),
        *((n, SEARCH, "folds and search belong together") for n in LINEAR),
        *((n, f"folds=1 {SEARCH}", "folds must be at least 2") for n in LINEAR),
        *((n, "folds=2 search=grid:1", "search 'grid:1'") for n in LINEAR),
        ("ncm", f"folds=3 {SEARCH}", "search: ncm has nothing to choose"),
        ("lda", "folds=3 search=grid:1e-3:2:4", "search: shrinkage goes from 0 to 1"),
        ("lda", f"folds=3 priors=uniform {SEARCH}", "search of the shrinkage needs empirical"),
        ("logistic", "solver=lbfgs l1_ratio=0.5", "solver=lbfgs has no l1_ratio"),
        ("logistic", f"solver=lbfgs folds=3 {SEARCH}", "solver=lbfgs has no search"),
        ("svm", f"solver=lbfgs folds=3 {SEARCH}", "solver=lbfgs has no search"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(name: str, settings: str, match: str) -> None:
    with pytest.raises(SettingsError, match=match) as caught:
        make_learner(name, PROBLEM, settings)
    assert str(caught.value).isprintable()


def test_every_wrong_setting_is_named_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings("ridge", "pca=-1 gamma=x colour=red folds=0")
    assert all(f"{name}: " in str(caught.value) for name in ("pca", "gamma", "colour"))
    assert "folds: " not in str(caught.value)


def test_an_unknown_learner_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(SettingsError, match=r"learner 'jungle' is unknown; .*ridge") as caught:
        make_learner("jungle", PROBLEM)
    assert all(name in str(caught.value) for name in LEARNERS)
