"""The columns of a study, each against scikit-learn's own fit of the images it may learn from."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.preprocessing import StandardScaler

import simulations.studies.models
import simulations.vote_oracle
from common.errors import SettingsError, StudyError
from common.learners import adaptation
from common.split import Split
from simulations.studies.fit import Fit
from simulations.studies.lab import Bench, Lab, make_bench
from simulations.studies.models import run_fit
from simulations.studies.options import StudyOptions
from simulations.studies.work import Work, federate_sites
from tests.simulations.studies.study_lab import CLASSES, SITES, make_cohort, options, with_features

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEARNERS = (
    "ridge",
    "ncm",
    "lda",
    "logistic pca=4",
    "svm pca=4",
    "logistic kernel=rff components=9",
)


def bench_of(lab: Lab, learner: str, *models: str, **changes: Any) -> Bench:
    return make_bench(lab, Fit(learner, models, "-", 1, **changes))


def sklearn_predicts(
    learner: str, x: NDArray[Any], y: NDArray[np.intp], test: NDArray[Any]
) -> NDArray[np.intp]:
    """Fit scikit-learn's pipeline with the defaults of our learners."""
    scaler = StandardScaler().fit(x.astype(float))
    z, z_test = scaler.transform(x.astype(float)), scaler.transform(test.astype(float))
    if learner == "ridge":
        head: Any = RidgeClassifier(alpha=float(len(y)), class_weight="balanced")
    else:
        pca = PCA(4, svd_solver="full").fit(z)
        z, z_test = pca.transform(z), pca.transform(z_test)
        c = 1.0 / (0.1 * len(y))
        head = LogisticRegression(C=c, class_weight="balanced", tol=1e-10, max_iter=10_000)
    predicted: NDArray[np.intp] = head.fit(z, y).predict(z_test)
    return predicted


@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize("partition", ["site", "dirichlet:0.3:5"])
def test_a_federation_predicts_what_the_pooled_fit_does_on_every_image(
    learner: str, partition: str, lab: Lab
) -> None:
    result = run_fit(bench_of(lab, learner, "federated", "pooled", partition=partition), Path())
    np.testing.assert_array_equal(result.predicted["federated"], result.predicted["pooled"])
    np.testing.assert_allclose(
        result.probabilities["federated"], result.probabilities["pooled"], atol=1e-6
    )
    assert result.about["differ"] == 0
    assert 0 <= result.about["auc_error"] < 0.02


@pytest.mark.parametrize("learner", ["ridge", "logistic pca=4"])
@pytest.mark.parametrize("left_out", SITES)
def test_without_a_site_it_is_scikit_learns_fit_of_the_other_sites(
    learner: str, left_out: str, lab: Lab
) -> None:
    others = tuple(site for site in SITES if site != left_out)
    bench = bench_of(lab, learner, "federated", trains=others, tests=(left_out,))
    result = run_fit(bench, Path())
    train = (bench.split == "train") & (lab.cohort.site != left_out)
    test = (bench.split == "test") & (lab.cohort.site == left_out)
    np.testing.assert_array_equal(result.rows, np.flatnonzero(test))
    wanted = sklearn_predicts(learner, lab.x[train], lab.cohort.y[train], lab.x[test])
    np.testing.assert_array_equal(result.predicted["federated"], wanted)
    assert set(result.client.tolist()) == {left_out}


def test_a_difference_between_federated_and_pooled_is_counted(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = simulations.vote_oracle.pooled_oracle

    def wrong(*arguments: Any) -> Any:
        oracle: Any = right(*arguments)
        predicted = oracle.predicted.copy()
        # The first test images stand behind the training images.
        at = np.flatnonzero(~arguments[3])[:3]
        predicted[at] = (predicted[at] + 1) % len(CLASSES)
        return replace(oracle, predicted=predicted)

    monkeypatch.setattr(simulations.studies.models, "pooled_oracle", wrong)
    assert run_fit(bench_of(lab, "ridge", "federated", "pooled"), Path()).about["differ"] == 3


@pytest.mark.parametrize("learner", ["ridge", "logistic pca=4"])
def test_the_features_of_the_site_left_out_cannot_change_the_federated_model(
    learner: str, lab: Lab
) -> None:
    left_out, others = SITES[0], SITES[1:]
    own = np.flatnonzero(lab.cohort.site == left_out)
    noise = np.random.default_rng(5).normal(size=(len(own), lab.x.shape[1]))
    changed = with_features(lab, own, 100 + 50 * noise)

    def arrays(on: Lab, trains: tuple[str, ...]) -> dict[str, NDArray[Any]]:
        bench = bench_of(on, learner, "federated", trains=trains, tests=(left_out,))
        return dict(Work(bench, Path()).federated().arrays)

    before, after = arrays(lab, others), arrays(changed, others)
    assert all(np.array_equal(before[name], after[name]) for name in before)
    # They do change it where the site takes part.
    assert not np.array_equal(arrays(lab, SITES)["mean"], arrays(changed, SITES)["mean"])


@pytest.mark.parametrize("learner", ["ridge", "logistic pca=4"])
def test_test_images_cannot_change_any_model(learner: str, lab: Lab) -> None:
    bench = bench_of(lab, learner, "federated")
    test = np.flatnonzero(bench.split == "test")
    # The values change, their sites and labels do not.
    changed = bench_of(with_features(lab, test, lab.x[test] * 7 + 3), learner, "federated")
    for sites in (SITES, SITES[:1]):
        before, after = (federate_sites(one, sites)[0].arrays for one in (bench, changed))
        assert all(np.array_equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("learner", ["ridge", "logistic pca=4"])
def test_a_local_model_is_scikit_learns_fit_of_that_sites_own_training_images(
    learner: str, lab: Lab
) -> None:
    bench = bench_of(lab, learner, "local")
    result = run_fit(bench, Path())
    for site in SITES:
        own = lab.cohort.site == site
        train, test = (own & (bench.split == part) for part in ("train", "test"))
        wanted = sklearn_predicts(learner, lab.x[train], lab.cohort.y[train], lab.x[test])
        at = result.client == site
        np.testing.assert_array_equal(result.predicted["local"][at], wanted)
    # The last site has never seen a melanoma, so it cannot call one so.
    blind = result.probabilities["local"][result.client == SITES[2], CLASSES.index("mel")]
    assert (blind == 0).all()
    assert result.about["costs"]["local"]["federations"] == len(SITES)


def test_an_infinitely_strong_prior_leaves_the_federated_predictions(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adaptation, "STRENGTHS", (np.inf,))
    result = run_fit(bench_of(lab, "ridge", "federated", "personalised"), Path())
    np.testing.assert_allclose(
        result.probabilities["personalised"], result.probabilities["federated"], rtol=1e-12
    )


def test_a_personal_model_depends_on_its_own_site_beside_the_federated_head(lab: Lab) -> None:
    """What the other sites' images are changes nothing once the federated head is fixed."""
    first = bench_of(lab, "ridge", "federated", "personalised")
    model = Work(first, Path()).federated()
    away = np.flatnonzero(lab.cohort.site != SITES[0])
    changed = with_features(lab, away, lab.x[away] + 9)

    def personal(bench: Bench) -> NDArray[Any]:
        work = Work(bench, Path(), model=model)
        own = bench.client[work.test] == SITES[0]
        p: NDArray[Any] = simulations.studies.models._personalised(work).probabilities[own]
        return p

    kept = personal(first)
    np.testing.assert_array_equal(kept, personal(bench_of(changed, "ridge", "personalised")))
    own = np.flatnonzero((lab.cohort.site == SITES[0]) & (first.split != "test"))
    turned = with_features(lab, own, -lab.x[own])
    assert not np.allclose(kept, personal(bench_of(turned, "ridge", "personalised")))


def one_class_at(site: str, lab: Lab, label: int) -> Lab:
    y = np.where(lab.cohort.site == site, label, lab.cohort.y)
    return replace(lab, cohort=replace(lab.cohort, y=y))


def test_a_site_of_one_class_predicts_that_class_and_says_so_for_certain(lab: Lab) -> None:
    changed = one_class_at(SITES[2], lab, 2)
    local = run_fit(bench_of(changed, "ridge", "local"), Path())
    at = local.client == SITES[2]
    np.testing.assert_array_equal(local.probabilities["local"][at], [[0.0, 0.0, 1.0]] * at.sum())
    # As a federation of its own, in the cross-site matrix, it says the same everywhere.
    alone = run_fit(bench_of(changed, "ridge", "federated", trains=(SITES[2],)), Path())
    assert (alone.probabilities["federated"] == [0.0, 0.0, 1.0]).all()
    assert alone.about["differ"] is None
    assert alone.about["auc_error"] is None


def test_a_site_without_training_images_is_named_with_what_to_do(lab: Lab) -> None:
    bench = bench_of(lab, "ridge", "local")
    usable = bench.usable & ~((bench.client == SITES[1]) & (bench.split == "train"))
    empty = replace(bench, usable=usable)
    with pytest.raises(StudyError, match=r"site sydney: no training image .*seed 1.*fewer sites"):
        run_fit(empty, Path())
    alone = replace(empty, trains=(SITES[1],), fit=replace(empty.fit, models=("federated",)))
    with pytest.raises(StudyError, match="site sydney"):
        run_fit(alone, Path())


def test_a_site_without_validation_images_keeps_the_federated_head(lab: Lab) -> None:
    bench = bench_of(lab, "ridge", "federated", "personalised")
    usable = bench.usable & ~((bench.client == SITES[1]) & (bench.split == "validation"))
    result = run_fit(replace(bench, usable=usable), Path())
    at = result.client == SITES[1]
    np.testing.assert_allclose(
        result.probabilities["personalised"][at], result.probabilities["federated"][at]
    )
    assert not np.allclose(
        result.probabilities["personalised"][~at], result.probabilities["federated"][~at]
    )


@pytest.mark.parametrize(
    ("rows", "columns", "wanted"),
    [
        # As many as centring leaves.
        (5, 6, 4),
        (2, 6, 1),
        # More images than features: the projection takes as many as are asked for.
        (7, 6, 6),
        (40, 6, 6),
    ],
)
def test_components_are_counted_as_what_the_images_span(
    rows: int, columns: int, wanted: int
) -> None:
    x = np.random.default_rng(rows).normal(3, 2, (rows, columns))
    assert simulations.studies.work._directions(x) == wanted


def test_repeated_and_dependent_images_span_no_more_directions() -> None:
    x = np.random.default_rng(0).normal(size=(8, 30))
    repeated = np.concatenate([x, x, x[:3]])
    standardised = (repeated - repeated.mean(axis=0)) / repeated.std(axis=0)
    rank = np.linalg.matrix_rank(standardised)
    assert rank == 7
    assert simulations.studies.work._directions(repeated) == rank
    constant = np.column_stack([repeated[:, :2], np.full((19, 28), 4.0)])
    assert simulations.studies.work._directions(constant) == 2
    assert simulations.studies.work._directions(np.ones((4, 9))) == 1


def test_a_small_site_takes_the_components_that_it_has_and_the_federation_all() -> None:
    cohort = make_cohort(images=90, seed=2)
    x = np.random.default_rng(3).normal(size=(len(cohort), 6)) + cohort.y[:, None]
    lab = Lab(cohort, "tiny", x.astype(np.float32), {})
    bench = bench_of(lab, "logistic pca=6", "federated", "local", images_per_site=5)
    few = bench.rows(Split.TRAIN, SITES[:1])
    assert 2 <= len(few) <= 5
    assert len(federate_sites(bench, SITES)[0].arrays["components"]) == 6
    small = federate_sites(bench, SITES[:1])[0].arrays["components"]
    z = StandardScaler().fit_transform(lab.x[few].astype(float))
    assert len(small) == np.linalg.matrix_rank(z, tol=1e-5) == len(few) - 1


def test_a_setting_that_is_read_leniently_is_understood_alike_everywhere(lab: Lab) -> None:
    """Pydantic takes 4.0 for a whole number; so must what lowers it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = federate_sites(bench_of(lab, "logistic pca=4.0", "federated"), SITES)[0]
    assert len(model.arrays["components"]) == 4


def test_more_components_than_features_are_refused_before_any_work(tmp_path: Path) -> None:
    asked: StudyOptions = options(tmp_path, learners=("logistic pca=7",))
    with pytest.raises(SettingsError, match=r"pca=7, but features have 6"):
        asked.check()
    options(tmp_path, learners=("logistic pca=6",)).check()
