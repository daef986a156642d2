"""Fitted heads are scikit-learn classifiers."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from common.errors import ContributionError, SettingsError
from common.learners import (
    LEARNERS,
    LINEAR,
    LdaHead,
    LogisticHead,
    NearestMeanHead,
    RidgeHead,
    SvmHead,
    federate,
    learner_of,
)
from common.learners.base import Problem, SiteData
from common.learners.federate import fit_sites
from common.learners.linear_head import LinearHead, linear
from tests.common.learner_cases import PARTITIONS, pooled

HEADS: list[LinearHead] = [
    NearestMeanHead(),
    LdaHead(),
    RidgeHead(),
    LogisticHead(),
    LogisticHead(solver="newton"),
    LogisticHead(solver="lbfgs"),
    SvmHead(),
    SvmHead(solver="lbfgs"),
]
# What a learner chooses or calibrates needs folds or held-out images, which `fit` does not have.
NOT_OF_AN_ESTIMATOR = {"calibrate", "folds", "search", "search_seed", "ledger"}

over_heads = pytest.mark.parametrize("head", HEADS, ids=str)


def _not_applicable(head: LinearHead) -> dict[str, str]:
    if "class_weight" not in head.get_params():
        return {}
    reason = "a weight is balanced or none: a mapping of classes is no setting of a federation"
    return {"check_class_weight_classifiers": reason}


@parametrize_with_checks(HEADS, expected_failed_checks=_not_applicable)  # type: ignore[untyped-decorator]
def test_the_head_keeps_scikit_learns_contract(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize("name", LINEAR)
def test_an_estimator_has_the_settings_of_its_learner(name: str) -> None:
    kind = LEARNERS[name][0]
    fields = kind.settings_type.model_fields
    wanted = {key: f.default for key, f in fields.items() if key not in NOT_OF_AN_ESTIMATOR}
    parameters = inspect.signature(kind).parameters
    assert {key: p.default for key, p in parameters.items()} == wanted
    assert kind().get_params() == wanted
    assert kind.settings_type().model_dump(exclude=NOT_OF_AN_ESTIMATOR) == wanted


@over_heads
def test_a_parameter_out_of_bounds_is_refused_when_fitting(head: LinearHead) -> None:
    x, y = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2
    with pytest.raises(SettingsError, match=r"pca=4, but features have 3"):
        clone(head).set_params(pca=4).fit(x, y)
    with pytest.raises(SettingsError, match=r"gamma: .*greater than or equal to 0"):
        clone(head).set_params(gamma=-1.0).fit(x, y)
    with pytest.raises(SettingsError, match="nystroem needs pca"):
        clone(head).set_params(kernel="nystroem").fit(x, y)


@over_heads
def test_fitting_is_the_federation_of_one_site(head: LinearHead) -> None:
    data = pooled(4, n=90, dimension=5, classes=3)
    names = np.array(data.classes)[data.y]
    fitted = clone(head).fit(data.x, names)
    split = data.sites(PARTITIONS["acquisition"](data))
    over_sites = federate(
        clone(head),
        {name: (site.x, np.array(data.classes)[site.y]) for name, site in split.items()},
    )
    assert over_sites.n_features_in_ == 5
    assert over_sites.classes_.tolist() == fitted.classes_.tolist() == list(data.classes)
    np.testing.assert_array_equal(over_sites.predict(data.probe), fitted.predict(data.probe))
    np.testing.assert_allclose(over_sites.coef_, fitted.coef_, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fitting_the_head_is_the_pooled_fit(classes: int, dtype: type) -> None:
    rng = np.random.default_rng(0)
    labels = np.array(["mel", "nv", "bcc", "df"])[rng.integers(0, classes, 200)]
    x: NDArray[Any] = rng.normal(size=(200, 7)).astype(dtype)
    head = RidgeHead(alpha_per_image=0.5).fit(x, labels)
    reference = make_pipeline(StandardScaler(), RidgeClassifier(100.0, class_weight="balanced"))
    reference.fit(x.astype(np.float64), labels)
    assert head.classes_.tolist() == reference.classes_.tolist()
    np.testing.assert_array_equal(head.predict(x), reference.predict(x.astype(np.float64)))
    np.testing.assert_allclose(
        head.decision_function(x), reference.decision_function(x.astype(np.float64)), atol=1e-10
    )


@over_heads
def test_probabilities_are_the_softmax_of_the_scores(head: LinearHead) -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(60, 3)), rng.integers(0, 3, 60)
    head = clone(head).fit(x, y)
    probabilities = head.predict_proba(x)
    np.testing.assert_allclose(probabilities, softmax(head.scores(x), axis=1))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    np.testing.assert_array_equal(head.classes_[probabilities.argmax(axis=1)], head.predict(x))


@over_heads
@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function", "scores"])
def test_a_head_that_is_not_fitted_says_so(head: LinearHead, method: str) -> None:
    with pytest.raises(NotFittedError):
        getattr(clone(head), method)(np.zeros((1, 2)))


def test_a_clone_keeps_the_penalty_and_not_the_fit() -> None:
    head = RidgeHead(alpha_per_image=3.0).fit(np.eye(4), [0, 1, 0, 1])
    copy = clone(head)
    assert copy.get_params() == {**RidgeHead().get_params(), "alpha_per_image": 3.0}
    assert not hasattr(copy, "coef_")


@over_heads
@pytest.mark.parametrize("labels", [[0, 0, 0], []])
def test_fewer_than_two_classes_are_refused(head: LinearHead, labels: list[int]) -> None:
    y = np.array(labels, dtype=np.intp)
    learner = learner_of(head, Problem(("a", "b"), 2))
    with pytest.raises(ContributionError, match=r"fewer than two classes|no site has a training"):
        fit_sites(learner, {"here": SiteData(np.ones((len(y), 2), dtype=np.float32), y)})


@over_heads
@pytest.mark.parametrize("present", [[0, 2], [0, 1, 3]])
def test_a_class_without_training_images_is_never_predicted(
    head: LinearHead, present: list[int]
) -> None:
    data = pooled(6, n=80, dimension=5, classes=4)
    x, y = data.x[np.isin(data.y, present)], data.y[np.isin(data.y, present)]
    learner = learner_of(head, data.problem)
    sites = {"a": SiteData(x[:9], y[:9]), "b": SiteData(x, y)}
    fitted = linear(learner.head(fit_sites(learner, sites)))
    assert fitted.classes_.tolist() == [data.classes[label] for label in present]
    probe = np.random.default_rng(0).normal(size=(500, 5)) * 1e3
    assert set(fitted.predict(probe)) <= set(fitted.classes_)
    probabilities = fitted.predict_proba(probe)
    assert probabilities.shape == (500, len(present))
    assert np.isfinite(probabilities).all()
    assert fitted.decision_function(probe).shape == ((500,) if len(present) == 2 else (500, 3))
