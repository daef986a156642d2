"""The oracle agrees with a federation of each learner, and tells one that is not exact."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from common.evaluation import class_probabilities
from common.learners import make_learner
from common.learners.base import Problem, SiteData
from common.learners.federate import fit_sites
from common.learners.linear_head import linear
from common.learners.search import Selection
from common.model import Model, ModelDescription
from simulations.oracle import fit_oracle, relative_error

if TYPE_CHECKING:
    from numpy.typing import NDArray

DIMENSION = 10


def _fit(
    learner: str, settings: str, classes: tuple[str, ...], drawn: tuple[int, ...]
) -> tuple[Model, NDArray[np.float64], NDArray[np.intp], NDArray[np.bool_]]:
    """A model of three sites, and the pooled images; only the classes `drawn` have images."""
    rng = np.random.default_rng(7)
    y = rng.choice(drawn, size=300)
    x = rng.normal(size=(len(classes), DIMENSION))[y] + rng.normal(size=(300, DIMENSION))
    train, fold = rng.random(300) < 0.7, rng.integers(3, size=300)
    site = rng.integers(3, size=300)
    sites: dict[str, SiteData] = {}
    held_out: dict[str, SiteData] = {}
    for number in range(3):
        for part, inside in ((sites, train), (held_out, ~train)):
            rows = inside & (site == number)
            part[f"site-{number}"] = SiteData(x[rows], y[rows], fold[rows])
    problem = Problem(classes, DIMENSION)
    state = fit_sites(make_learner(learner, problem, settings), sites, held_out)
    selection = Selection.of(state)
    description = ModelDescription(
        learner=learner,
        learner_settings=settings,
        chosen=None if selection is None else selection.value,
        classes=classes,
        classes_without_training_images=tuple(
            name for label, name in enumerate(classes) if label not in drawn
        ),
        dimension=DIMENSION,
        backbone="tiny",
        backbone_fingerprint="",
        split_seed=1,
        sites=tuple(sites),
        versions={},
    )
    return Model(description, state.arrays), x, y, train


LEARNERS = [
    ("ridge", ""),
    ("ridge", "alpha_per_image=0.01 class_weight=none"),
    ("ridge", "calibrate=vector"),
    ("ridge", "folds=3 search=grid:0.01:10:4"),
    ("ridge", "pca=4"),
    ("ridge", "kernel=rff components=30"),
    ("ridge", "pca=6 kernel=nystroem components=20"),
    ("logistic", "tolerance=1e-9"),
    ("logistic", "l1_ratio=0.5 alpha_per_image=0.02"),
    ("logistic", "folds=3 search=grid:0.01:10:4"),
    ("svm", "tolerance=1e-9"),
    ("svm", "calibrate=vector pca=4"),
    ("lda", ""),
    ("lda", "calibrate=vector pca=4"),
    ("lda", "shrinkage=0.3 priors=uniform"),
    ("lda", "folds=3 search=grid:0.01:1:4"),
    ("ncm", ""),
    ("ncm", "priors=empirical"),
]
TASKS = {
    "four classes": (("a", "b", "c", "d"), (0, 1, 2, 3)),
    "a class without images": (("a", "b", "c", "d"), (0, 1, 3)),
    "two classes": (("a", "b"), (0, 1)),
}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(("learner", "settings"), LEARNERS)
def test_the_oracle_agrees_with_an_exact_federation(learner: str, settings: str, task: str) -> None:
    classes, drawn = TASKS[task]
    model, x, y, train = _fit(learner, settings, classes, drawn)
    oracle = fit_oracle(model, x, y, train)
    found = class_probabilities(model.head(), classes, x)
    assert np.array_equal(oracle.predicted, found.argmax(axis=1))
    np.testing.assert_allclose(oracle.probabilities, found, atol=1e-4)
    absent = [label for label in range(len(classes)) if label not in drawn]
    assert not oracle.probabilities[:, absent].any()
    if learner == "ncm":
        assert oracle.coef is None
    elif "kernel" not in settings:
        assert oracle.coef is not None
        assert relative_error(linear(model.head()).standardised_coef(), oracle.coef) < 1e-4


@pytest.mark.parametrize("learner", ["ridge", "logistic", "svm", "lda", "ncm"])
def test_the_oracle_tells_a_model_of_other_images(learner: str) -> None:
    model, x, y, train = _fit(learner, "", *TASKS["four classes"])
    some = train & (np.arange(len(y)) % 3 > 0)
    oracle = fit_oracle(model, x, y, some)
    found = class_probabilities(model.head(), model.description.classes, x)
    assert np.abs(oracle.probabilities - found).max() > 1e-3
    if oracle.coef is not None:
        assert relative_error(linear(model.head()).standardised_coef(), oracle.coef) > 1e-3


def test_the_oracle_takes_the_value_that_a_search_chose() -> None:
    model, x, y, train = _fit("ridge", "folds=3 search=grid:0.01:10:4", *TASKS["four classes"])
    assert model.description.chosen is not None
    other = replace(model.description, chosen=3.0 * model.description.chosen)
    wrong: Any = fit_oracle(Model(other, model.arrays), x, y, train).coef
    assert relative_error(linear(model.head()).standardised_coef(), wrong) > 1e-3
