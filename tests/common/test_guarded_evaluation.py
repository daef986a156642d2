"""What a guarded site's evaluation shows, image by image, and what it leaves open."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score

from common.disclosure import GUARDED, Disclosure
from common.errors import ContributionError
from common.evaluated import metrics_of_confusion, metrics_of_sums
from common.evaluation import (
    HISTOGRAMS,
    check_evaluation,
    coarsen,
    evaluation_spec,
    evaluation_sums,
)
from common.learners.base import Contribution
from common.learners.checked import check_arrays
from common.metrics import lesion_weights
from common.metrics.lesion_weights import MOST_COPIES
from common.metrics.score_bins import score_bin
from tests.common.metric_cases import CLASSES, MALIGNANT, make_case

ILL = np.isin(CLASSES, MALIGNANT)
DRAWN = ("drawn_confusion", *(f"drawn_{name}" for name in HISTOGRAMS))


def _kept(
    seed: int, images: int, minimum: int, sure: float = 1.5
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Draw a site's images and leave its small classes out."""
    case = make_case(seed, images, sure=sure, draws=0)
    kept = Disclosure(minimum).keep(case.y)
    return case.y[kept], case.probabilities[kept]


def _probe(y: NDArray[np.intp], p: NDArray[np.float64], minimum: int) -> Contribution:
    """Evaluate with a resample for each image, which holds it alone."""
    alone = np.vstack([np.ones(len(y)), np.eye(len(y))]).astype(np.uint8)
    return evaluation_sums(y, p, Disclosure(minimum), malignant=ILL, weights=alone)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    images=st.integers(1, 200),
    minimum=st.integers(2, 9),
    sure=st.sampled_from([0.1, 1.5, 20.0]),
)
def test_what_changes_for_one_image_changes_alike_for_enough_others(
    seed: int, images: int, minimum: int, sure: float
) -> None:
    y, p = _kept(seed, images, minimum, sure)
    sums = _probe(y, p, minimum)
    check_evaluation(sums)
    for name in DRAWN:
        of_image = sums.arrays[name]
        # How many images each bin or cell is over, in any resample there can be.
        members = of_image.sum(axis=0)
        assert not ((members > 0) & (members < minimum)).any(), name
        base = name.removeprefix("drawn_")
        data = sums.arrays[base]
        np.testing.assert_array_equal(members, data if base == "confusion" else coarsen(data))
        bins = data[data > 0]
        assert not (bins < minimum).any(), base


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), images=st.integers(1, 120), minimum=st.integers(2, 9))
def test_images_of_withheld_cells_are_in_no_matrix_and_no_confidence(
    seed: int, images: int, minimum: int
) -> None:
    y, p = _kept(seed, images, minimum)
    sums = _probe(y, p, minimum).arrays
    hidden = sums["withheld"][y, p.argmax(axis=1)] == 1
    for name in ("drawn_confusion", "drawn_confidence"):
        counted = sums[name].sum(axis=(1, 2))
        np.testing.assert_array_equal(counted, ~hidden)
    assert not sums["drawn_confusion"][:, sums["withheld"] == 1].any()
    # What totals leave is the withheld images of a class together: none, or enough.
    left = sums["scores"][:, 1].sum(axis=1) - sums["confusion"].sum(axis=1)
    assert not ((left > 0) & (left < minimum)).any()
    wrong, right = sums["confidence"].sum(axis=1)
    assert (right, wrong + right) == (np.trace(sums["confusion"]), sums["confusion"].sum())


def _open(sums: Contribution) -> set[str]:
    """Name the metrics that have no value."""
    metrics = metrics_of_sums(sums, CLASSES, MALIGNANT)["metrics"]
    for value, low, high in metrics.values():
        assert value is not None or (low is None and high is None)
    return {name for name, (value, _, _) in metrics.items() if value is None}


def _with_matrix(*rows: list[int]) -> Contribution:
    """Evaluate images of such a confusion matrix, guarded, with resamples."""
    counts = np.array(rows)
    y, predicted = np.repeat(np.indices((4, 4)).reshape(2, 16), counts.ravel(), axis=1)
    p = np.random.default_rng(0).dirichlet(np.ones(4), len(y)) * 0.2 + 0.8 * np.eye(4)[predicted]
    weights = lesion_weights([str(i) for i in range(len(y))], 40, b"guarded evaluation")
    return evaluation_sums(y, p, GUARDED, malignant=ILL, weights=weights)


ALWAYS = {"malignant_sensitivity", "malignant_specificity", "calibration_error", "area_under_risk"}


def test_nothing_is_left_open_where_no_cell_is_withheld() -> None:
    sums = _with_matrix([30, 9, 0, 8], [0, 10, 0, 0], [0, 0, 20, 7], [6, 0, 0, 50])
    assert _open(sums) == set()


def test_metrics_that_a_withheld_error_can_change_have_no_value() -> None:
    # Two akiec called bcc, and three nv called mel with the six called akiec.
    sums = _with_matrix([30, 2, 7, 8], [0, 10, 0, 0], [0, 0, 20, 7], [6, 0, 3, 50])
    hidden = {tuple(cell) for cell in np.argwhere(sums.arrays["withheld"]).tolist()}
    assert hidden == {(0, 1), (0, 2), (3, 0), (3, 2)}
    called = {f"{name}:{CLASSES[c]}" for name in ("specificity", "f1") for c in (0, 1, 2)}
    assert _open(sums) == {*ALWAYS, *called, "macro_specificity", "macro_f1"}
    metrics = metrics_of_sums(sums, CLASSES, MALIGNANT)["metrics"]
    # The rows' totals are known all the same.
    assert metrics["sensitivity:nv"][0] == pytest.approx(50 / 59)
    assert metrics["accuracy"][0] == pytest.approx(110 / 143)
    assert metrics["specificity:nv"][0] == pytest.approx(1 - 15 / 84)


def test_metrics_that_a_withheld_hit_can_change_have_no_value() -> None:
    sums = _with_matrix([3, 9, 0, 8], [0, 10, 0, 0], [0, 0, 20, 7], [6, 0, 0, 50])
    assert np.argwhere(sums.arrays["withheld"]).tolist() == [[0, 0], [0, 3]]
    called = {f"{name}:{CLASSES[c]}" for name in ("specificity", "f1") for c in (0, 3)}
    means = {"macro_specificity", "macro_f1", "accuracy", "balanced_accuracy"}
    assert _open(sums) == {*ALWAYS, *called, *means, "sensitivity:akiec"}


def test_a_metric_is_open_in_the_total_where_one_site_leaves_it_open() -> None:
    plain = _with_matrix([30, 9, 0, 8], [0, 10, 0, 0], [0, 0, 20, 7], [6, 0, 0, 50])
    hides = _with_matrix([30, 9, 0, 8], [0, 10, 0, 0], [0, 0, 20, 7], [3, 0, 0, 50])
    total = {name: plain.arrays[name] + hides.arrays[name] for name in plain.arrays}
    both = Contribution(plain.count + hides.count, total)
    assert _open(both) == _open(hides) != set()


def test_metrics_with_a_value_are_those_of_the_predictions_under_guard() -> None:
    for seed in range(6):
        y, p = _kept(seed, 1000, 5)
        weights = lesion_weights([str(i) for i in range(len(y))], 0, b"")
        guarded, exact = (
            metrics_of_sums(
                evaluation_sums(y, p, policy, malignant=ILL, weights=weights), CLASSES, MALIGNANT
            )["metrics"]
            for policy in (GUARDED, Disclosure())
        )
        for name, (value, _, _) in guarded.items():
            if value is None:
                continue
            # Scores moved to the mean of five or more neighbours: areas and squares move a little.
            of_scores = "auc" in name or name in (
                *("brier_score", "calibration_error", "area_under_risk"),
            )
            if not name.startswith("sensitivity_at_95"):
                slack = 0.02 if of_scores else 1e-12
                assert value == pytest.approx(exact[name][0], abs=slack), name


# Predictions of unlike classes, by chance one with a few images


def _drawn(seed: int, n: int, sharpness: float) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    y = rng.choice(4, size=n, p=rng.dirichlet(np.full(4, 0.7))).astype(np.intp)
    scores = rng.normal(size=(n, 4)) + np.eye(4)[y]
    return y, softmax(sharpness * scores, axis=1)


@settings(deadline=None, max_examples=150)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 250),
    sharpness=st.sampled_from([0.05, 1.0, 20.0]),
    sites=st.integers(1, 3),
    minimum=st.integers(1, 8),
)
def test_bounds_from_what_sites_show_contain_the_truth(
    seed: int, n: int, sharpness: float, sites: int, minimum: int
) -> None:
    y, probabilities = _drawn(seed, n, sharpness)
    policy, shown, rows = Disclosure(minimum), [], []
    for of_site in np.array_split(np.arange(n), sites):
        kept = of_site[policy.keep(y[of_site])]
        sums = evaluation_sums(y[kept], probabilities[kept], policy)
        check_arrays(sums.arrays, evaluation_spec(4), len(kept))
        check_evaluation(sums)
        bins = sums.arrays["scores"]
        assert not ((bins > 0) & (bins < minimum)).any()
        shown.append(sums.arrays)
        rows.append(kept)
    confusion, withheld, bins = (
        np.sum([arrays[name] for arrays in shown], axis=0)
        for name in ("confusion", "withheld", "scores")
    )
    support = bins[:, 1].sum(axis=1)
    metrics = metrics_of_confusion(confusion, None, tuple("abcd"), support, withheld)

    y, predicted = y[np.concatenate(rows)], probabilities[np.concatenate(rows)].argmax(axis=1)
    np.testing.assert_array_equal(support, np.bincount(y, minlength=4))
    assert metrics["n"] == len(y)
    assert metrics["images_withheld"] == len(y) - confusion.sum()
    if not len(y):
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "y_pred contains classes not in y_true")
        warnings.filterwarnings("ignore", "A single label was found")
        balanced = balanced_accuracy_score(y, predicted)
    truths = {"accuracy": accuracy_score(y, predicted), "balanced_accuracy": balanced}
    for name, truth in truths.items():
        low, high = metrics[f"{name}_bounds"]
        assert -1e-12 <= low - 1e-12 <= truth <= high + 1e-12 <= 1 + 2e-12
        if np.diag(withheld).any():
            assert low < high
            assert metrics[name] is None
        else:
            assert metrics[name] == low == high == pytest.approx(truth, abs=1e-12)


def test_a_class_with_too_few_images_does_not_leave_the_site() -> None:
    y = np.array([0] * 5 + [1] * 4, dtype=np.intp)
    with pytest.raises(ContributionError, match="a class has fewer than 5 images; leave it out"):
        evaluation_sums(y, np.full((9, 2), 0.5), GUARDED)
    assert evaluation_sums(y[:5], np.full((5, 2), 0.5), GUARDED).count == 5


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 3.0])
def test_histograms_bound_predictions_as_the_policy_says(sharpness: float) -> None:
    y, probabilities = _drawn(5, 400, sharpness)
    sums = evaluation_sums(y, probabilities)
    own, right = sums.arrays["scores"][:, 1], np.diag(sums.arrays["confusion"])
    quarter, middle = score_bin(np.array([1 / 4, 1 / 2])).tolist()
    assert (own[:, middle + 1 :].sum(axis=1) <= right).all()
    assert (right <= own[:, quarter:].sum(axis=1)).all()
    # Of two classes, all that is predicted.
    two = softmax(np.log(probabilities[:, :2]), axis=1)
    sums = evaluation_sums(y % 2, two)
    above = sums.arrays["scores"][..., middle:].sum(axis=2)
    (into_first, first), (into_second, second) = above
    expected = [[first, into_second], [into_first, second]]
    np.testing.assert_array_equal(sums.arrays["confusion"], expected)


# Why the key is a secret: the coordinator knows a lesion's id, and asks whether it is there.


def _correlation(drawn: NDArray[np.int64], weight: NDArray[np.uint8]) -> float:
    """Take the highest correlation of any cell's draws with those of a lesion."""
    cells = drawn.reshape(len(drawn), -1)
    cells = cells[:, cells.std(axis=0) > 0]
    return max(float(np.corrcoef(cell, weight)[0, 1]) for cell in cells.T)


def test_who_knows_the_key_can_tell_whether_a_lesion_is_there_and_nobody_else() -> None:
    draws, secret = 2000, b"a site's own key"
    y, p = _kept(3, 150, 5)
    present = [f"HAM_{i:07d}" for i in range(len(y))]
    absent = [f"HAM_{i:07d}" for i in range(9000, 9000 + len(y))]
    weights = lesion_weights(present, draws, secret)
    sums = evaluation_sums(y, p, GUARDED, weights=weights).arrays
    shown = sums["withheld"][y, p.argmax(axis=1)] == 0
    assert shown.sum() > 60

    def guess(names: list[str], key: bytes) -> NDArray[np.float64]:
        known = lesion_weights(names, draws, key)[1:]
        return np.array([_correlation(sums["drawn_confusion"], one) for one in known.T])

    # With the key, every lesion of a cell that is shown is told from those that are not there.
    there, not_there = guess(present, secret)[shown], guess(absent, secret)
    assert there.min() > not_there.max()
    # Without it, lesions that are there look as those that are not do: a coin is as good.
    for key in (b"", b"dermafed:0", b"a site's own ke", b"a site's own key "):
        there, not_there = guess(present, key)[shown], guess(absent, key)
        found = np.concatenate([there, not_there])
        is_there = np.arange(len(found)) < len(there)
        assert abs(roc_auc_score(is_there, found) - 0.5) < 0.12
        # The highest of a dozen cells' correlations, each of deviation draws^-1/2.
        assert found.max() < 5.0 / np.sqrt(draws)


def test_no_resample_counts_an_image_more_often_than_is_checked() -> None:
    assert lesion_weights([str(i) for i in range(3000)], 500, b"key").max() <= MOST_COPIES
