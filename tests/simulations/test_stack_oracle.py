"""The oracle of a stack is fitted by scikit-learn, and a federated stack says what it says."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from common.learners import make_learner
from common.learners.federate import fit_sites
from common.model import Model, ModelDescription
from common.split import Split
from simulations.vote_oracle import pooled_oracle
from tests.common.ensemble_cases import CLASSES, DIMENSION, PROBLEM, images, parts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from common.learners.base import SiteData

MEMBERS = "members=logistic:pca=3,ncm,svm:calibrate=temperature"
PROBE = images(77, 200).x


def _pool(sites: list[SiteData]) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    return np.concatenate([one.x for one in sites]), np.concatenate([one.y for one in sites])


@pytest.mark.parametrize("rest", ["", " class_weight=none alpha_per_image=0.01"])
@pytest.mark.parametrize("unheard", [False, True])
def test_a_federated_stack_is_its_oracle(rest: str, unheard: bool) -> None:
    data = {split: dict(sites) for split, sites in parts().items()}
    if unheard:
        # No validation image of a class, which is then never named.
        for name, own in data[Split.VALIDATION].items():
            some = own.y != 1
            data[Split.VALIDATION][name] = replace(own, x=own.x[some], y=own.y[some])
    settings = MEMBERS + rest
    learner = make_learner("stack", PROBLEM, settings)
    state = fit_sites(learner, data[Split.TRAIN], data[Split.VALIDATION])
    about = ModelDescription(
        *("stack", settings, None, CLASSES, (), DIMENSION, "tiny", "f" * 64, 1, ("a",), {})
    )
    held_x, held_y = _pool(list(data[Split.VALIDATION].values()))
    train_x, train_y = _pool(list(data[Split.TRAIN].values()))
    x = np.concatenate([train_x, PROBE, held_x])
    y = np.concatenate([train_y, np.zeros(len(PROBE), dtype=np.intp), held_y])
    part = np.repeat([0, 1, 2], [len(train_x), len(PROBE), len(held_x)])
    model = Model(about, state.arrays)
    oracle = pooled_oracle(model, x, y, part == 0, part == 2)
    assert oracle is not None
    assert oracle.converged
    found = np.zeros((len(PROBE), len(CLASSES)))
    head = model.head()
    found[:, np.searchsorted(CLASSES, head.classes_)] = head.predict_proba(PROBE)
    np.testing.assert_allclose(oracle.probabilities[part == 1], found, atol=2e-5)
    assert (oracle.probabilities[:, 1] == 0).all() == unheard
    # Of members that search, the model does not tell what they chose.
    searched = replace(about, learner_settings="members=lda,ridge:search=grid:1:10:2 folds=2")
    assert pooled_oracle(Model(searched, state.arrays), x, y, part == 0, part == 2) is None
