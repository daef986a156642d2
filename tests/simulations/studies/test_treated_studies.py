"""A study over sites that treat imbalance: the same treatment in every column that learns heads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from imblearn.over_sampling import SMOTE
from imblearn.under_sampling import RandomUnderSampler
from sklearn.linear_model import RidgeClassifier
from sklearn.preprocessing import StandardScaler

from common.errors import SettingsError, StudyError
from common.split import Split
from simulations.studies.fit import BASELINE, Fit
from simulations.studies.lab import Bench, Lab, make_bench
from simulations.studies.models import run_fit
from tests.simulations.studies.study_lab import SITES, options

SAMPLERS: dict[str, Any] = {
    "smote seed=2": lambda: SMOTE(random_state=2),
    "undersample seed=2": lambda: RandomUnderSampler(random_state=2),
}


def bench_of(lab: Lab, learner: str, *models: str, **changes: Any) -> Bench:
    return make_bench(lab, Fit(learner, models, "-", 1, **changes))


def treated(bench: Bench, sampler: Any, *sites: str) -> tuple[Any, Any]:
    """Let imbalanced-learn treat the training images of each site."""
    train, cohort = bench.split == "train", bench.lab.cohort
    parts = [
        sampler().fit_resample(bench.x[own], cohort.y[own])
        for own in (train & (cohort.site == site) for site in sites)
    ]
    return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])


def predicts(x: Any, y: Any, test: Any) -> Any:
    scaler = StandardScaler().fit(x.astype(float))
    ridge = RidgeClassifier(alpha=float(len(y)), class_weight="balanced")
    return ridge.fit(scaler.transform(x.astype(float)), y).predict(scaler.transform(test))


@pytest.mark.parametrize("text", SAMPLERS)
def test_federated_and_pooled_learn_from_what_each_site_has_treated_alone(
    text: str, lab: Lab
) -> None:
    bench = bench_of(lab, "ridge", "federated", "pooled", imbalance=text)
    result = run_fit(bench, Path())
    wanted = predicts(*treated(bench, SAMPLERS[text], *SITES), lab.x[result.rows].astype(float))
    np.testing.assert_array_equal(result.predicted["federated"], wanted)
    np.testing.assert_array_equal(result.predicted["pooled"], wanted)
    assert result.about["differ"] == 0
    untreated = run_fit(bench_of(lab, "ridge", "federated"), Path())
    assert (untreated.probabilities["federated"] != result.probabilities["federated"]).any()


def test_a_site_alone_learns_from_its_own_treated_images(lab: Lab) -> None:
    text = "smote seed=2"
    bench = bench_of(lab, "ridge", "local", imbalance=text)
    result = run_fit(bench, Path())
    for site in SITES:
        own = result.client == site
        x, y = treated(bench, SAMPLERS[text], site)
        wanted = predicts(x, y, lab.x[result.rows[own]].astype(float))
        np.testing.assert_array_equal(result.predicted["local"][own], wanted)


@pytest.mark.parametrize("text", ["smote", "undersample ratio=0.9", "oversample"])
def test_principal_components_are_as_many_as_images_span(text: str, lab: Lab) -> None:
    few = {"images_per_site": 6, "imbalance": text}
    bench = bench_of(lab, "ridge pca=6", "federated", "pooled", trains=SITES[:1], **few)
    train = bench.rows(Split.TRAIN, SITES[:1])
    assert 2 < len(train) <= 6
    assert len(set(lab.cohort.y[train].tolist())) > 1
    assert run_fit(bench, Path()).about["differ"] == 0


def test_what_sites_did_otherwise_is_in_the_fit_and_counted_in_the_study(
    run_here: Any, tmp_path: Path
) -> None:
    outcome = run_here("cross-site", tmp_path / "study", imbalance="smote neighbours=5")
    # The last site of the made-up cohort has no melanoma.
    note = "imbalance smote: site vienna: no image of mel: none is made"
    (found,) = [line for line in outcome["notes"] if line.startswith(note)]
    assert found.startswith(f"{note} (in ")
    assert outcome["settings"]["imbalance"] == "smote neighbours=5"


def test_a_treatment_is_part_of_what_a_fit_is_known_by_and_baselines_have_none() -> None:
    fits = [Fit("ridge", ("federated",), "-", 1), Fit(BASELINE, ("majority",), "-", 1)]
    plain = options(Path("out")).treated(fits)
    assert plain == fits
    ours = options(Path("out"), imbalance="smote neighbours=5").treated(fits)
    assert ours[0].imbalance == "smote"
    assert ours[0].key("") != fits[0].key("")
    assert ours[1] == fits[1]
    assert options(Path("out"), imbalance="smote").treated(fits) == ours


def test_a_wrong_treatment_is_refused_and_so_is_any_where_networks_are_tuned() -> None:
    with pytest.raises(SettingsError, match="'smoot' is unknown"):
        options(Path("out"), imbalance="smoot").check()
    chosen = options(Path("out"), imbalance="smote", learners=("fedavg",), backbone="staged")
    with pytest.raises(StudyError, match=r"--imbalance is for heads"):
        chosen.check(tunes=True)
