"""Federation in one process: arrays by site, errors that name the site."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from common.errors import ContributionError
from common.learners import (
    LdaHead,
    LogisticHead,
    NearestMeanHead,
    RidgeHead,
    SvmHead,
    federate,
    make_learner,
)
from common.learners.base import Problem, SiteData
from common.learners.federate import check_site, fit_sites
from common.learners.linear_head import LinearHead, linear

HEADS = [NearestMeanHead, LdaHead, RidgeHead, LogisticHead, SvmHead]
Arrays = tuple[NDArray[Any], NDArray[Any]]


def _pooled(n: int = 60) -> Arrays:
    rng = np.random.default_rng(0)
    y = np.array(["mel", "nv", "bcc"])[np.arange(n) % 3]
    return rng.normal(size=(n, 4)) + (np.arange(n) % 3)[:, None] * [1.0, 0.5, 0.0, 0.0], y


def _sites() -> dict[str, Arrays]:
    x, y = _pooled()
    return {"b": (x[:10], y[:10]), "a": (x[10:35], y[10:35]), "c": (x[35:], y[35:])}


def test_the_example_in_ten_lines() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(200, 8))
    y = np.where(x[:, 0] + 0.3 * rng.normal(size=200) > 0, "mel", "nv")
    sites = {"graz": (x[:150], y[:150]), "wien": (x[150:], y[150:])}
    head = federate(RidgeHead(alpha_per_image=0.5), sites)
    pooled = make_pipeline(StandardScaler(), RidgeClassifier(100.0, class_weight="balanced"))
    pooled.fit(x, y)
    assert head.predict(x).tolist() == pooled.predict(x).tolist()
    np.testing.assert_allclose(head.decision_function(x), pooled.decision_function(x), atol=1e-10)


@pytest.mark.parametrize("kind", HEADS)
def test_it_is_the_fit_of_all_sites_images_at_once(kind: type[LinearHead]) -> None:
    x, y = _pooled()
    given = kind()
    head = federate(given, _sites())
    assert head is given
    assert head.classes_.tolist() == ["bcc", "mel", "nv"]
    alone = kind().fit(x, y)
    np.testing.assert_allclose(head.scores(x), alone.scores(x), atol=1e-6)
    assert head.inverse_temperature_.tolist() == [1.0] * 3
    assert set(head.predict(x)) <= set(y)


@pytest.mark.parametrize("labels", [[3, -1, 7], [True, False, True], ["é", "a b", "z"]])
def test_labels_may_be_what_can_be_ordered(labels: list[Any]) -> None:
    x, _ = _pooled()
    y = np.array(labels)[np.arange(60) % 3]
    head = federate(RidgeHead(), {"a": (x[:20], y[:20]), "b": (x[20:], y[20:])})
    assert head.classes_.dtype == y.dtype
    assert head.classes_.tolist() == sorted(set(labels))
    assert head.predict(x).tolist() == RidgeHead().fit(x, y).predict(x).tolist()


def test_lists_are_arrays_and_the_order_of_sites_is_that_of_names() -> None:
    sites = _sites()
    lists = {name: (x.tolist(), y.tolist()) for name, (x, y) in reversed(sites.items())}
    one, other = federate(LdaHead(), sites), federate(LdaHead(), lists)
    assert one.coef_.tobytes() == other.coef_.tobytes()


@pytest.mark.parametrize("labels", [[], np.array([], dtype=np.int64), np.array([], dtype=str)])
@pytest.mark.parametrize("integers", [True, False])
def test_a_site_without_images_changes_nothing(labels: Any, integers: bool) -> None:
    x, text = _pooled()
    y = np.arange(60) % 3 if integers else text
    alone = federate(RidgeHead(), {"a": (x, y)})
    head = federate(RidgeHead(), {"a": (x, y), "empty": (np.zeros((0, 4)), labels)})
    np.testing.assert_allclose(head.coef_, alone.coef_, rtol=1e-12)
    assert head.classes_.tolist() == alone.classes_.tolist()
    assert head.predict(x).dtype.kind == y.dtype.kind


def _nan(x: NDArray[Any], y: NDArray[Any]) -> Arrays:
    x = x.copy()
    x[:3, 1], x[4, 0] = np.nan, np.inf
    return x, y


WRONG: dict[str, tuple[Callable[[NDArray[Any], NDArray[Any]], Arrays], str]] = {
    "not finite": (_nan, "4 of 25 images have features that are NaN or infinite"),
    "other dimension": (lambda x, y: (x[:, :3], y), "3 dimensions, the others' 4"),
    "lengths": (lambda x, y: (x, y[:-1]), r"shape \(25, 4\) and labels of shape \(24,\) do not"),
    "labels in a column": (lambda x, y: (x, y[:, None]), "do not belong together"),
    "one image alone": (lambda x, y: (x[0], y[0]), "do not belong together"),
    "images": (lambda x, y: (x[:, :, None], y), "do not belong together"),
    "no images in a list": (lambda x, y: (np.array([]), y[:0]), "do not belong together"),
    "text": (lambda x, y: (x.astype(str), y), "features are <U32, not numbers"),
    "objects": (lambda x, y: (x.astype(object), y), "features are object, not numbers"),
    "truths": (lambda x, y: (x > 0, y), "features are bool, not numbers"),
    "complex numbers": (lambda x, y: (x + 1j, y), "features are complex128, not numbers"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_site_whose_arrays_are_wrong_is_named(case: str) -> None:
    change, match = WRONG[case]
    sites = _sites()
    sites["a"] = change(*sites["a"])
    with pytest.raises(ContributionError, match=f"^site a: .*{match}") as caught:
        federate(RidgeHead(), sites)
    # No value of an image is told.
    assert str(caught.value).isprintable()
    assert not any(f"{value:.3f}" in str(caught.value) for value in _pooled()[0].ravel())


@pytest.mark.parametrize("label", [-1, 2])
def test_a_label_outside_the_classes_is_refused(label: int) -> None:
    problem = Problem(("a", "b"), 2)
    good = SiteData(np.eye(2), np.array([0, 1]))
    bad = SiteData(np.eye(2), np.array([0, label]))
    check_site("x", good, problem)
    with pytest.raises(ContributionError, match="^site x: a label is none of 2 classes"):
        check_site("x", bad, problem)
    with pytest.raises(ContributionError, match="^site x: a label"):
        fit_sites(make_learner("ridge", problem), {"a": good, "x": bad})


def test_no_site_no_image_and_one_class_are_refused() -> None:
    x, _ = _pooled()
    with pytest.raises(ContributionError, match="no site to learn from"):
        federate(RidgeHead(), {})
    with pytest.raises(ContributionError, match="no site to learn from"):
        fit_sites(make_learner("ridge", Problem(("a", "b"), 2)), {})
    with pytest.raises(ContributionError, match="no site has a training image"):
        federate(RidgeHead(), {"a": (x[:0], [])})
    with pytest.raises(ContributionError, match="fewer than two classes"):
        federate(RidgeHead(), {"a": (x, ["nv"] * 60), "b": (x, ["nv"] * 60)})


def test_it_needs_neither_flower_nor_torch_nor_images() -> None:
    code = """
import sys
import numpy as np
from common.learners import RidgeHead, federate
x = np.random.default_rng(0).normal(size=(20, 3))
federate(RidgeHead(), {"a": (x, np.arange(20) % 2)}).predict(x)
print(sorted({"flwr", "ray", "torch", "PIL"} & sys.modules.keys()))
"""
    project = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_learner_that_calibrates_asks_for_held_out_images() -> None:
    rng = np.random.default_rng(4)
    y = np.arange(60) % 3
    data = SiteData(rng.normal(size=(60, 4)) + np.eye(3, 4)[y] * 2, y)
    held = SiteData(rng.normal(size=(60, 4)) + np.eye(3, 4)[y] * 2, y)
    learner = make_learner("ridge", Problem(("a", "b", "c"), 4), "calibrate=temperature")
    with pytest.raises(ContributionError, match="no held-out images: give some"):
        fit_sites(learner, {"s": data})
    head = linear(learner.head(fit_sites(learner, {"s": data}, {"s": held})))
    found = minimize_scalar(
        lambda theta: log_loss(y, softmax(theta * head.scores(held.x), axis=1)),
        bounds=(0.01, 100),
        method="bounded",
        options={"xatol": 1e-10},
    ).x
    assert head.inverse_temperature_[0] == pytest.approx(found, rel=1e-5)


@pytest.mark.parametrize(
    ("labels", "match"),
    [
        ([None] * 4, "site b: labels"),
        ([0.0, 1.0, np.nan, 1.0], "site b: labels"),
        (["x", "y", "x", "y"], "text and others' are numbers"),
    ],
)
def test_labels_that_cannot_be_compared_are_refused(labels: list[object], match: str) -> None:
    x = np.arange(8.0).reshape(4, 2)
    sites: Any = {"a": (x, [0, 1, 0, 1]), "b": (x, labels)}
    with pytest.raises(ContributionError, match=match):
        federate(RidgeHead(), sites)
    with pytest.raises(ContributionError, match="site b: is no table of numbers"):
        federate(RidgeHead(), {"b": ([[1.0], [1.0, 2.0]], [0, 1])})


def test_folds_must_be_one_for_each_image() -> None:
    data = SiteData(np.ones((3, 2)), np.zeros(3, dtype=np.intp), np.array([0, -1, 0]))
    with pytest.raises(ContributionError, match="site s: its folds"):
        check_site("s", data, Problem(("a", "b"), 2))
