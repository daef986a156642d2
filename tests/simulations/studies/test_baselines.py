"""What looks at no image: counts by hand and scikit-learn over hand-made columns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from simulations.baselines import age_bands, majority, site_shortcut
from simulations.studies.fit import BASELINE, Fit
from simulations.studies.lab import Lab, make_bench
from simulations.studies.models import run_fit
from tests.simulations.studies.study_lab import CLASSES, SITES, make_cohort

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from common.cohort import Cohort


@pytest.fixture
def parts(made_cohort: Cohort) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    rows = np.arange(len(made_cohort))
    return rows[rows % 3 != 0], rows[rows % 3 == 0]


def test_the_bands_of_ages_meet_where_their_names_say() -> None:
    age = np.array([0.0, 29.9, 30.0, 44.0, 45.0, 59.5, 60.0, 74.0, 75.0, 130.0, np.nan])
    assert age_bands(age).tolist() == [
        *("below 30", "below 30", "30 to 44", "30 to 44", "45 to 59", "45 to 59"),
        *("60 to 74", "60 to 74", "75 and above", "75 and above", "unknown"),
    ]
    assert age_bands(np.array([])).tolist() == []


def test_the_majority_is_the_counted_shares_for_every_test_image(
    made_cohort: Cohort, parts: Any
) -> None:
    train, test = parts
    shares = [float(np.mean(made_cohort.y[train] == label)) for label in range(3)]
    p = majority(made_cohort, train, test)
    np.testing.assert_allclose(p, [shares] * len(test))
    assert len(set(shares)) == 3


def test_a_class_without_training_images_gets_no_share(made_cohort: Cohort, parts: Any) -> None:
    train, test = parts
    few = train[made_cohort.y[train] != 1]
    for model in (majority, site_shortcut):
        p = model(made_cohort, few, test)
        assert p.shape == (len(test), 3)
        assert (p[:, 1] == 0).all()
        np.testing.assert_allclose(p.sum(axis=1), 1.0)


def by_hand(cohort: Cohort, train: NDArray[np.intp], test: NDArray[np.intp]) -> NDArray[Any]:
    """Write each value's column of zeros and ones by hand; unseen values have none."""
    columns = []
    for values in (cohort.site, age_bands(cohort.age), cohort.sex, cohort.localisation):
        columns += [values == value for value in sorted(set(values[train].tolist()))]
    table = np.stack(columns, axis=1).astype(float)
    head = LogisticRegression(class_weight="balanced", tol=1e-8, max_iter=5_000)
    p: NDArray[Any] = head.fit(table[train], cohort.y[train]).predict_proba(table[test])
    return p


def test_the_shortcut_is_a_balanced_logistic_regression_of_site_age_sex_and_place(
    made_cohort: Cohort, parts: Any
) -> None:
    p = site_shortcut(made_cohort, *parts)
    np.testing.assert_allclose(p, by_hand(made_cohort, *parts), atol=5e-3)


def test_a_site_that_tells_all_is_taken_for_what_it_is(made_cohort: Cohort, parts: Any) -> None:
    """A cohort whose classes are its sites: the shortcut finds all, the majority none."""
    train, test = parts
    y = np.searchsorted(SITES, made_cohort.site).astype(np.intp)
    told = replace(made_cohort, y=y)
    assert (site_shortcut(told, train, test).argmax(axis=1) == y[test]).all()
    # Counted: the shares of the contingency table are all or nothing.
    table = np.array(
        [[np.sum((y == a) & (made_cohort.site == b)) for b in SITES] for a in range(3)]
    )
    assert np.count_nonzero(table) == 3
    # Alone, with nothing known of the patient, the site is enough.
    bare = replace(
        told,
        sex=np.full(len(y), "unknown"),
        localisation=np.full(len(y), "unknown"),
        age=np.full(len(y), np.nan),
    )
    assert (site_shortcut(bare, train, test).argmax(axis=1) == y[test]).all()


def test_a_site_never_seen_says_nothing(made_cohort: Cohort) -> None:
    seen = np.flatnonzero(made_cohort.site != SITES[2])
    test = np.flatnonzero(made_cohort.site == SITES[2])
    renamed = replace(
        made_cohort, site=np.where(made_cohort.site == SITES[2], "x", made_cohort.site)
    )
    p = site_shortcut(made_cohort, seen, test)
    np.testing.assert_array_equal(p, site_shortcut(renamed, seen, test))
    np.testing.assert_allclose(p, by_hand(made_cohort, seen, test), atol=5e-3)
    # Were it one of the sites that are known, it would say something.
    moved = replace(
        made_cohort, site=np.where(made_cohort.site == SITES[2], SITES[0], made_cohort.site)
    )
    assert not np.allclose(p, site_shortcut(moved, seen, test), atol=1e-3)


def test_images_are_not_looked_at(lab: Lab) -> None:
    fit = Fit(BASELINE, ("majority", "shortcut"), "-", 1)
    first = run_fit(make_bench(lab, fit), Path())
    other = run_fit(make_bench(replace(lab, x=np.zeros_like(lab.x)), fit), Path())
    for model in ("majority", "shortcut"):
        np.testing.assert_array_equal(first.probabilities[model], other.probabilities[model])
        np.testing.assert_array_equal(
            first.predicted[model], first.probabilities[model].argmax(axis=1)
        )
    assert first.about["costs"]["majority"]["bytes_up"] == 0
    assert first.about["differ"] is None


def test_baselines_of_a_site_left_out_learn_from_the_others_alone(lab: Lab) -> None:
    fit = Fit(BASELINE, ("majority",), "-", 1, trains=SITES[:2], tests=SITES[2:])
    result = run_fit(make_bench(lab, fit), Path())
    bench = make_bench(lab, fit)
    train = (bench.split == "train") & (lab.cohort.site != SITES[2])
    wanted = np.bincount(lab.cohort.y[train], minlength=3) / train.sum()
    np.testing.assert_allclose(result.probabilities["majority"], [wanted] * len(result.rows))


def test_no_test_image_gives_no_row() -> None:
    cohort = make_cohort(60)
    nobody = np.zeros(0, dtype=np.intp)
    for model in (majority, site_shortcut):
        assert model(cohort, np.arange(60), nobody).shape == (0, len(CLASSES))
