"""Heads that learn from augmented views beside their images: which rows they see, and when."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from imblearn.over_sampling import SMOTE
from sklearn.linear_model import RidgeClassifier
from sklearn.preprocessing import StandardScaler

from simulations.studies.fit import Fit
from simulations.studies.lab import Lab, make_bench
from simulations.studies.models import run_fit
from simulations.studies.open_lab import lab_identities
from tests.simulations.studies.study_lab import SITES

if TYPE_CHECKING:
    from numpy.typing import NDArray


@pytest.fixture(scope="module")
def viewed(lab: Lab) -> Lab:
    rng = np.random.default_rng(6)
    noise = rng.normal(0.0, 0.8, (3, *lab.x.shape)).astype(np.float32)
    return replace(lab, views={lab.backbone_name: lab.x + noise})


def seen(lab: Lab, train: NDArray[np.bool_], views: int) -> tuple[Any, Any]:
    x = np.concatenate([lab.x[train], *lab.views["tiny"][:views, train]])
    return x, np.tile(lab.cohort.y[train], 1 + views)


def predicts(x: Any, y: Any, test: Any) -> Any:
    scaler = StandardScaler().fit(x.astype(float))
    ridge = RidgeClassifier(alpha=float(len(y)), class_weight="balanced")
    return ridge.fit(scaler.transform(x.astype(float)), y).predict(scaler.transform(test))


@pytest.mark.parametrize("views", [1, 3])
def test_heads_learn_from_training_images_and_their_views_and_predict_images(
    views: int, viewed: Lab
) -> None:
    fit = Fit("ridge", ("federated", "pooled"), "-", 1, views=views)
    bench = make_bench(viewed, fit)
    result = run_fit(bench, Path())
    x, y = seen(viewed, bench.split == "train", views)
    wanted = predicts(x, y, viewed.x[result.rows].astype(float))
    np.testing.assert_array_equal(result.predicted["federated"], wanted)
    np.testing.assert_array_equal(result.predicted["pooled"], wanted)
    without = run_fit(make_bench(viewed, replace(fit, views=0)), Path())
    assert (without.probabilities["federated"] != result.probabilities["federated"]).any()


def test_imbalance_is_treated_at_each_site_after_its_views_are_drawn(viewed: Lab) -> None:
    fit = Fit("ridge", ("federated", "pooled"), "-", 1, views=2, imbalance="smote seed=2")
    bench = make_bench(viewed, fit)
    result = run_fit(bench, Path())
    parts = [
        SMOTE(random_state=2).fit_resample(
            *seen(viewed, (bench.split == "train") & (viewed.cohort.site == site), 2)
        )
        for site in SITES
    ]
    x, y = (np.concatenate([part[n] for part in parts]) for n in (0, 1))
    wanted = predicts(x, y, viewed.x[result.rows].astype(float))
    np.testing.assert_array_equal(result.predicted["federated"], wanted)
    assert result.about["differ"] == 0


def test_folds_of_views_are_those_of_their_images(viewed: Lab) -> None:
    """Otherwise a search would choose by images that it has seen turned around."""
    learner = "ridge search=grid:0.01:100:3 folds=3"
    fit = Fit(learner, ("federated", "pooled"), "-", 1, views=2)
    assert run_fit(make_bench(viewed, fit), Path()).about["differ"] == 0


def test_a_result_belongs_to_its_views(viewed: Lab) -> None:
    fits = [Fit("ridge", ("federated",), "-", 1, views=views) for views in (0, 1, 2)]
    known = lab_identities(viewed, fits)
    assert len(set(known.values())) == 3
    changed = viewed.views["tiny"].copy()
    changed[1, 0, 0] += 1
    other = lab_identities(replace(viewed, views={"tiny": changed}), fits)
    assert [known[fit] == other[fit] for fit in fits] == [True, True, False]
