"""All metrics at once, from images, from the sums of sites, and averaged over splits."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import (
    balanced_accuracy_score,
    brier_score_loss,
    f1_score,
    recall_score,
    roc_auc_score,
    roc_curve,
)

from common.metrics import (
    CATALOGUE,
    Histogram,
    Measured,
    Statistics,
    average,
    describe,
    image_statistics,
    measure,
    measure_sums,
)
from common.metrics.score_bins import SCORE_BINS, bin_values, score_bin
from tests.common.metric_cases import CLASSES, MALIGNANT, Case, make_case

ILL = np.isin(CLASSES, MALIGNANT)
K = len(CLASSES)


def _measure(case: Case, rows: NDArray[np.intp] | None = None) -> Measured:
    own = np.arange(len(case.y)) if rows is None else rows
    return measure(
        case.y[own],
        case.predicted[own],
        case.probabilities[own],
        CLASSES,
        MALIGNANT,
        case.weights[:, own],
    )


def _sensitivity_at_95(
    own: NDArray[np.bool_], score: NDArray[np.float64], weight: NDArray[np.uint8]
) -> float:
    false, true, _ = roc_curve(own, score, sample_weight=weight, drop_intermediate=False)
    return float(true[false <= 0.05 + 1e-12].max())


def test_each_resample_has_scikit_learns_metrics() -> None:
    # More resamples than are measured at a time.
    case = make_case(14, images=200, draws=70)
    values = _measure(case).values()
    ill = case.probabilities[:, ILL].sum(axis=1)
    for row, weight in enumerate(case.weights):
        truth = {"sample_weight": weight}
        expected = {
            "balanced_accuracy": balanced_accuracy_score(case.y, case.predicted, **truth),
            "accuracy": recall_score(case.y, case.predicted, average="micro", **truth),
            "macro_f1": f1_score(case.y, case.predicted, average="macro", **truth),
            "macro_auc": np.mean(
                [roc_auc_score(case.y == c, case.probabilities[:, c], **truth) for c in range(K)]
            ),
            "macro_specificity": np.mean(
                [recall_score(case.y != c, case.predicted != c, **truth) for c in range(K)]
            ),
            "malignant_auc": roc_auc_score(ILL[case.y], ill, **truth),
            "malignant_sensitivity": recall_score(ILL[case.y], ILL[case.predicted], **truth),
            "malignant_specificity": recall_score(~ILL[case.y], ~ILL[case.predicted], **truth),
            "brier_score": brier_score_loss(
                case.y, case.probabilities, labels=range(K), scale_by_half=False, **truth
            ),
            "sensitivity_at_95:mel": _sensitivity_at_95(
                case.y == 2, case.probabilities[:, 2], weight
            ),
            "auc:mel": roc_auc_score(case.y == 2, case.probabilities[:, 2], **truth),
        }
        found = {name: values[name][row] for name in expected}
        assert found == pytest.approx(expected)


def test_every_metric_is_described_and_every_described_one_is_measured() -> None:
    values = _measure(make_case(15)).values()
    assert {name.partition(":")[0] for name in values} == set(CATALOGUE)
    for name in values:
        base, _, label = name.partition(":")
        told = describe(name)
        assert told.title == CATALOGUE[base].title + (f" of {label}" if label else "")
        assert told.higher_is_better == (
            base not in ("calibration_error", "brier_score", "area_under_risk")
        )
    with pytest.raises(KeyError):
        describe("luck")


def test_a_class_without_images_has_no_metric_and_no_part_in_the_means() -> None:
    case = make_case(16, without=(1,))
    found = _measure(case)
    values = found.values()
    assert found.support[1] == 0
    assert not [name for name in values if name.endswith(":bcc")]
    present = [name for name in values if name.startswith("sensitivity:")]
    mean = np.mean([values[name] for name in present], axis=0)
    np.testing.assert_allclose(values["balanced_accuracy"], mean)
    assert values["balanced_accuracy"][0] == pytest.approx(
        recall_score(case.y, case.predicted, average="macro", labels=[0, 2, 3])
    )


def test_a_class_that_a_resample_has_lost_leaves_it_without_means_of_it() -> None:
    y = np.array([0, 0, 2, 3], np.intp)
    probabilities = np.eye(K)[y]
    weights = np.array([[1, 1, 1, 1], [2, 1, 0, 1]], np.uint8)
    values = measure(y, y, probabilities, CLASSES, MALIGNANT, weights).values()
    np.testing.assert_array_equal(values["sensitivity:mel"], [1.0, np.nan])
    np.testing.assert_array_equal(values["auc:mel"], [1.0, np.nan])
    for name in ("balanced_accuracy", "macro_f1", "macro_auc"):
        np.testing.assert_array_equal(values[name], [1.0, np.nan])
    for name in ("accuracy", "sensitivity:akiec", "malignant_auc"):
        np.testing.assert_array_equal(values[name], [1.0, 1.0])


def test_images_of_one_class_have_a_sensitivity_and_no_ranking() -> None:
    y = np.full(5, 3, np.intp)
    predicted = np.array([3, 3, 3, 1, 1], np.intp)
    probabilities = np.full((5, K), 0.25)
    once = np.ones((1, 5), np.uint8)
    values = measure(y, predicted, probabilities, CLASSES, MALIGNANT, once).values()
    assert values["balanced_accuracy"] == values["sensitivity:nv"] == pytest.approx(0.6)
    undefined = ("auc:nv", "macro_auc", "malignant_auc", "malignant_sensitivity", "specificity:nv")
    for name in undefined:
        assert np.isnan(values[name]).all(), name


def test_no_images_have_metrics_without_a_value() -> None:
    found = measure(
        np.zeros(0, np.intp),
        np.zeros(0, np.intp),
        np.zeros((0, K)),
        CLASSES,
        MALIGNANT,
        np.ones((3, 0), np.uint8),
    )
    assert found.support.tolist() == [0] * K
    values = found.values()
    assert "balanced_accuracy" not in values
    assert set(values) == set(found.overall)
    for one in values.values():
        assert one.shape == (3,)
        assert np.isnan(one).all()


def test_a_cohort_that_tells_no_malignant_classes_has_no_metrics_of_them() -> None:
    case = make_case(17)
    values = measure(case.y, case.predicted, case.probabilities, CLASSES, (), case.weights).values()
    assert not [name for name in values if name.startswith("malignant")]
    assert values["accuracy"] == pytest.approx(_measure(case).values()["accuracy"])


def test_the_confusion_matrix_and_the_support_are_those_of_the_data() -> None:
    case = make_case(18)
    found = _measure(case)
    assert found.confusion.dtype == np.int64
    assert found.confusion.sum() == len(case.y)
    np.testing.assert_array_equal(found.confusion.sum(axis=1), np.bincount(case.y, minlength=K))
    np.testing.assert_array_equal(found.support, found.confusion.sum(axis=1))


def _binned(case: Case, rows: NDArray[np.intp]) -> Statistics:
    """Count a site's images in bins that all sites share, in plain numpy."""
    y, predicted, p = case.y[rows], case.predicted[rows], case.probabilities[rows]
    weights = case.weights[:, rows].astype(np.float64)

    def histogram(score: NDArray[np.float64], kind: NDArray[np.bool_]) -> Histogram:
        counts = np.zeros((len(weights), 2, SCORE_BINS))
        bins = score_bin(score)
        for row, weight in enumerate(weights):
            np.add.at(counts[row], (kind.astype(np.intp), bins), weight)
        return Histogram(bin_values(), counts)

    confusion = np.zeros((len(weights), K, K))
    for row, weight in enumerate(weights):
        np.add.at(confusion[row], (y, predicted), weight)
    return Statistics(
        confusion,
        tuple(histogram(p[:, c], y == c) for c in range(K)),
        histogram(p[:, ILL].sum(axis=1), ILL[y]),
        histogram(p[np.arange(len(y)), predicted], y == predicted),
    )


def _added(parts: list[Statistics]) -> Statistics:
    def add(histograms: list[Histogram]) -> Histogram:
        return Histogram(histograms[0].values, np.sum([one.counts for one in histograms], axis=0))

    malignant = [one.malignant for one in parts if one.malignant is not None]
    assert len(malignant) == len(parts)
    return Statistics(
        np.sum([one.confusion for one in parts], axis=0),
        tuple(add([one.scores[c] for one in parts]) for c in range(K)),
        add(malignant),
        add([one.confidence for one in parts]),
    )


@pytest.mark.parametrize("sure", [1.0, 30.0])
def test_the_sums_of_sites_have_the_metrics_of_the_pooled_images(sure: float) -> None:
    case = make_case(19, images=500, draws=5, sure=sure)
    site = np.random.default_rng(0).integers(0, 4, 500)
    parts = [_binned(case, np.flatnonzero(site == i)) for i in range(5)]
    support = np.bincount(case.y, minlength=K)
    found = measure_sums(_added(parts), CLASSES, MALIGNANT, support).values()
    pooled = _measure(case).values()
    assert set(found) == set(pooled)
    # Counts are exact; what depends on the scores is exact but for the bins' width.
    for name, exact in pooled.items():
        if name.split(":")[0] in ("sensitivity", "specificity", "f1", "accuracy", "macro_f1"):
            np.testing.assert_allclose(found[name], exact, rtol=1e-12)
        elif "sensitivity_at" in name:
            # One threshold may move by one bin.
            np.testing.assert_allclose(found[name], exact, atol=0.06)
        else:
            np.testing.assert_allclose(found[name], exact, atol=0.002)


def test_exact_sums_of_sites_have_exactly_the_pooled_metrics() -> None:
    # Scores in eighths, so that all sites have the same few values: the bins are the values.
    case = make_case(20, images=400, steps=8)
    values = np.arange(9) / 8

    def spread_out(one: Histogram) -> Histogram:
        counts = np.zeros((*one.counts.shape[:2], 9))
        counts[:, :, np.rint(one.values * 8).astype(np.intp)] = one.counts
        return Histogram(values, counts)

    parts = []
    for rows in np.array_split(np.random.default_rng(1).permutation(400), 3):
        sums = image_statistics(
            case.y[rows],
            case.predicted[rows],
            np.round(case.probabilities[rows] * 8) / 8,
            np.array([True, False, False, False]),
            case.weights[:, rows],
        )
        assert sums.malignant is not None
        parts.append(
            Statistics(
                sums.confusion,
                tuple(spread_out(one) for one in sums.scores),
                spread_out(sums.malignant),
                spread_out(sums.confidence),
            )
        )
    support = np.bincount(case.y, minlength=K)
    found = measure_sums(_added(parts), CLASSES, ("akiec",), support).values()
    pooled = measure(
        case.y, case.predicted, case.probabilities, CLASSES, ("akiec",), case.weights
    ).values()
    for name, exact in pooled.items():
        np.testing.assert_allclose(found[name], exact, rtol=1e-12, err_msg=name)


def test_splits_are_averaged_resample_by_resample_and_class_by_class() -> None:
    case = make_case(21, images=300, draws=4)
    parts = np.array_split(np.random.default_rng(2).permutation(300), 2)
    # The second split has no image of class 0.
    parts[1] = parts[1][case.y[parts[1]] != 0]
    a, b = (_measure(case, rows) for rows in parts)
    found = average([a, b])
    values, of_a, of_b = found.values(), a.values(), b.values()
    for name in ("accuracy", "brier_score", "malignant_auc", "sensitivity:mel", "auc:nv"):
        np.testing.assert_allclose(values[name], (of_a[name] + of_b[name]) / 2)
    np.testing.assert_array_equal(values["sensitivity:akiec"], of_a["sensitivity:akiec"])
    classes = [
        (of_a[f"sensitivity:{name}"] + of_b[f"sensitivity:{name}"]) / 2 for name in CLASSES[1:]
    ]
    mean = np.mean([of_a["sensitivity:akiec"], *classes], axis=0)
    np.testing.assert_allclose(values["balanced_accuracy"], mean)
    np.testing.assert_array_equal(found.support, a.support + b.support)
    np.testing.assert_array_equal(found.confusion, a.confusion + b.confusion)
    np.testing.assert_array_equal(found.curves["images"], a.curves["images"] + b.curves["images"])
    np.testing.assert_allclose(found.curves["risk"], (a.curves["risk"] + b.curves["risk"]) / 2)


def test_the_average_of_one_is_itself() -> None:
    one = _measure(make_case(22, without=(0,)))
    again = average([one])
    for name, values in one.values().items():
        np.testing.assert_array_equal(again.values()[name], values)
    for name, curve in one.curves.items():
        np.testing.assert_array_equal(again.curves[name], curve)
