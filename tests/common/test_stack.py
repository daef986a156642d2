"""The last head of a stack is scikit-learn's on the pooled log probabilities of held-out images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from common.errors import ContributionError
from common.learners import StackHead, make_learner
from common.learners.base import SiteData
from common.learners.federate import federate, held_out
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

MEMBERS = "members=logistic:tolerance=1e-10,ridge:alpha_per_image=0.1"
PROBE = images(77, 300)


def _said(members: list[Any], x: NDArray[Any]) -> NDArray[np.float64]:
    return np.hstack([np.log(one.predict_proba(x.astype(np.float64))) for one in members])


def _reference(data: Parts, alpha: float, weight: str | None) -> NDArray[np.float64]:
    x, y = pool(data[Split.TRAIN])
    held_x, held_y = pool(data[Split.VALIDATION])
    members = [logistic(len(y)).fit(x, y), ridge(len(y)).fit(x, y)]
    last = make_pipeline(
        StandardScaler(),
        LogisticRegression(
            C=1.0 / (alpha * len(held_y)), class_weight=weight, tol=1e-12, max_iter=10_000
        ),
    )
    last.fit(_said(members, held_x), held_y)
    p: NDArray[np.float64] = last.predict_proba(_said(members, PROBE.x))
    return p


@pytest.mark.parametrize(("alpha", "weight"), [(0.1, "balanced"), (0.01, "none")])
def test_a_stack_is_the_pooled_regression_on_the_pooled_log_probabilities(
    alpha: float, weight: str
) -> None:
    data = parts()
    fitted = learn("stack", f"{MEMBERS} alpha_per_image={alpha} class_weight={weight}", data)
    wanted = _reference(data, alpha, "balanced" if weight == "balanced" else None)
    np.testing.assert_allclose(fitted.head.predict_proba(PROBE.x), wanted, atol=1e-5)
    assert fitted.head.classes_.tolist() == list(CLASSES)
    assert fitted.notes == ()


def test_the_last_head_sees_no_training_image_and_members_no_other() -> None:
    learner = make_learner("stack", PROBLEM, MEMBERS)
    fitted = learn("stack", MEMBERS, parts())
    order = [learner.part(stage) for stage in fitted.stages]
    last = [stage.startswith("last-") for stage in fitted.stages]
    assert last == sorted(last)
    assert order == [Split.VALIDATION if late else Split.TRAIN for late in last]
    # So that other validation images move the last head alone.
    data = parts()
    other = {
        **data,
        Split.VALIDATION: {
            name: images(500 + index, len(one))
            for index, (name, one) in enumerate(data[Split.VALIDATION].items())
        },
    }
    again = learn("stack", MEMBERS, other)
    for name, array in fitted.state.arrays.items():
        same = array.tobytes() == again.state.arrays[name].tobytes()
        unlike = name in ("last-coef", "last-intercept", "last-mean", "last-scale")
        assert same != unlike or name in ("class_count", "last-class_count"), name


def test_members_calibrate_only_if_they_say_so() -> None:
    plain = learn("stack", "members=ridge,svm", parts())
    told = learn("stack", "members=ridge,svm:calibrate=temperature", parts())
    assert not [stage for stage in plain.stages if stage.startswith("temperature")]
    assert [stage for stage in told.stages if stage.startswith("temperature")]
    assert plain.state.arrays["1:inverse_temperature"].tolist() == [1.0] * 4
    assert told.state.arrays["1:inverse_temperature"].tolist() != [1.0] * 4


def _only(data: Parts, labels: list[int]) -> Parts:
    held = {
        name: SiteData(one.x[np.isin(one.y, labels)], one.y[np.isin(one.y, labels)])
        for name, one in data[Split.VALIDATION].items()
    }
    return {**data, Split.VALIDATION: held}


def test_a_class_without_validation_images_is_never_named_and_the_run_says_so() -> None:
    fitted = learn("stack", MEMBERS, _only(parts(), [0, 2, 3]))
    assert fitted.head.classes_.tolist() == ["bcc", "mel", "nv"]
    assert fitted.notes == ("stack: no validation image of df, so it is never named",)
    p = fitted.head.predict_proba(PROBE.x)
    assert p.shape == (300, 3)
    np.testing.assert_allclose(p.sum(axis=1), 1.0)
    # The members do know it.
    assert fitted.head.heads_[0].classes_.tolist() == list(CLASSES)


@pytest.mark.parametrize("labels", [[], [3]])
def test_too_few_validation_images_are_refused_with_what_to_do(labels: list[int]) -> None:
    with pytest.raises(ContributionError, match=f"stack: {len(labels)} classes .* soft-vote"):
        learn("stack", MEMBERS, _only(parts(), labels))


def test_in_python_a_third_of_each_class_is_held_out_at_each_site() -> None:
    y = np.array([0, 1, 0, 0, 1, 0, 0, 2])
    assert held_out(y).tolist() == [False, False, True, False, True, False, True, False]
    x, labels = pool(parts()[Split.TRAIN])
    sites = {"a": (x[:120], labels[:120]), "b": (x[120:], labels[120:])}
    head = federate(StackHead("ridge"), sites)
    rows = {name: held_out(own) for name, (_, own) in sites.items()}
    data: Parts = {
        Split.TRAIN: {n: SiteData(sx[~rows[n]], sy[~rows[n]]) for n, (sx, sy) in sites.items()},
        Split.VALIDATION: {n: SiteData(sx[rows[n]], sy[rows[n]]) for n, (sx, sy) in sites.items()},
    }
    wanted = learn("stack", "members=ridge", data).head.predict_proba(x)
    np.testing.assert_allclose(head.predict_proba(x), wanted, atol=1e-12)
