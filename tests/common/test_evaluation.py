"""Evaluation sums: what they count, over the data and over resamples, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

from common.disclosure import GUARDED
from common.errors import ContributionError
from common.evaluation import (
    COARSE_BINS,
    HISTOGRAMS,
    check_evaluation,
    class_probabilities,
    coarsen,
    evaluation_spec,
    evaluation_sums,
)
from common.learners.base import Contribution
from common.learners.checked import check_arrays
from common.learners.ridge import RidgeHead
from common.metrics import lesion_weights
from common.metrics.lesion_weights import MOST_COPIES
from common.metrics.score_bins import SCORE_BINS, score_bin
from tests.common.metric_cases import make_case

ILL = np.array([True, True, True, False])
DRAWS = 7


def _checked(sums: Contribution, draws: int = DRAWS) -> Contribution:
    check_arrays(sums.arrays, evaluation_spec(4, malignant=True, draws=draws), sums.count)
    check_evaluation(sums)
    return sums


# What is counted


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    images=st.integers(1, 120),
    sure=st.sampled_from([0.05, 1.0, 20.0]),
    sites=st.integers(1, 4),
)
def test_sums_over_any_sites_are_the_counts_of_the_pooled_images(
    seed: int, images: int, sure: float, sites: int
) -> None:
    case = make_case(seed, images, sure=sure, draws=DRAWS)
    y, p, weights = case.y, case.probabilities, case.weights
    site_of = np.random.default_rng(seed).integers(0, sites, images)
    total: dict[str, NDArray[Any]] = {}
    for site in range(sites):
        at = site_of == site
        part = _checked(evaluation_sums(y[at], p[at], malignant=ILL, weights=weights[:, at]))
        for name, array in part.arrays.items():
            total[name] = total[name] + array if name in total else array
    np.testing.assert_array_equal(
        total["confusion"], confusion_matrix(y, case.predicted, labels=range(4))
    )
    scores = {
        **{f"scores:{c}": (p[:, c], y == c) for c in range(4)},
        "malignant": (p[:, ILL].sum(axis=1), y < 3),
        "confidence": (p.max(axis=1), y == case.predicted),
    }
    for draw, weight in enumerate(weights):
        found = total["confusion"] if draw == 0 else total["drawn_confusion"][draw - 1]
        expected = np.bincount(4 * y + case.predicted, weight, 16).reshape(4, 4)
        np.testing.assert_array_equal(found, expected)
        for name, (score, own) in scores.items():
            base, _, label = name.partition(":")
            array = total[base] if draw == 0 else total[f"drawn_{base}"][draw - 1]
            array = array[int(label)] if label else array
            bins = SCORE_BINS if draw == 0 else COARSE_BINS
            place = score_bin(score) * bins // SCORE_BINS
            for kind in (0, 1):
                of_kind = own == bool(kind)
                counted = np.bincount(place[of_kind], weight[of_kind], bins)
                np.testing.assert_array_equal(array[kind], counted)


def test_coarse_bins_hold_the_fine_ones_that_images_of_theirs_are_drawn_into() -> None:
    counts = np.random.default_rng(0).integers(0, 9, (3, 2, SCORE_BINS))
    place = np.arange(SCORE_BINS) * COARSE_BINS // SCORE_BINS
    expected = np.zeros((3, 2, COARSE_BINS), dtype=np.int64)
    for bin_, coarse in enumerate(place):
        expected[..., coarse] += counts[..., bin_]
    np.testing.assert_array_equal(coarsen(counts), expected)


def test_scores_of_zero_and_one_have_bins() -> None:
    sums = evaluation_sums(np.array([0, 1]), np.array([[1.0, 0.0], [0.0, 1.0]]))
    bins = sums.arrays["scores"]
    assert bins[0, 1, -1] == bins[0, 0, 0] == 1
    assert bins[1, 1, -1] == bins[1, 0, 0] == 1
    assert sums.arrays["confidence"][1, -1] == 2


def test_a_cohort_that_does_not_tell_malignant_classes_has_no_histogram_of_them() -> None:
    case = make_case(3, draws=DRAWS)
    sums = evaluation_sums(case.y, case.probabilities, weights=case.weights)
    assert not {"malignant", "drawn_malignant"} & sums.arrays.keys()
    check_arrays(sums.arrays, evaluation_spec(4, draws=DRAWS), sums.count)
    check_evaluation(sums)


def test_without_a_resample_there_are_empty_ones() -> None:
    case = make_case(3)
    for weights in (None, lesion_weights(case.lesion, 0, b"key")):
        sums = evaluation_sums(case.y, case.probabilities, malignant=ILL, weights=weights)
        assert _checked(sums, draws=0).arrays["drawn_scores"].shape == (0, 4, 2, COARSE_BINS)


def test_an_exact_evaluation_withholds_nothing() -> None:
    case = make_case(3, 90, draws=DRAWS)
    sums = evaluation_sums(case.y, case.probabilities, malignant=ILL, weights=case.weights)
    assert not _checked(sums).arrays["withheld"].any()


# Sums that are not those of any images


# Where the guarded evaluation's probabilities of 0.1 and 0.7 are counted.
LOW, HIGH, ILL_HIGH = score_bin(np.array([0.1, 0.7, 0.9])).tolist()
Arrays = dict[str, NDArray[Any]]
Change = Callable[[Arrays], object]


def _guarded() -> Contribution:
    """Give an evaluation of which row 0 withholds 2 and 8 images, and class 3 has none."""
    counts = np.array([[30, 2, 0, 8], [0, 10, 0, 0], [0, 0, 20, 7], [0, 0, 0, 0]])
    y, predicted = np.repeat(np.indices((4, 4)).reshape(2, 16), counts.ravel(), axis=1)
    weights = lesion_weights([f"HAM_{i}" for i in range(len(y))], DRAWS, b"guarded")
    probabilities = 0.1 + 0.6 * np.eye(4)[predicted]
    sums = evaluation_sums(y, probabilities, GUARDED, malignant=ILL, weights=weights)
    np.testing.assert_array_equal(np.argwhere(sums.arrays["withheld"]), [[0, 1], [0, 3]])
    return sums


def _plus(name: str, by: int, *cells: tuple[int, ...]) -> Change:
    return lambda arrays: [arrays[name].__setitem__(c, arrays[name][c] + by) for c in cells]


def _both(first: Change, second: Change) -> Change:
    return lambda arrays: (first(arrays), second(arrays))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_plus("withheld", 1, (0, 1)), "withheld: holds values other than 0 and 1"),
        (_plus("withheld", 1, (2, 2)), "confusion: a withheld cell is not 0"),
        (_plus("confusion", 2, (0, 1)), "confusion: a withheld cell is not 0"),
        (_plus("withheld", -1, (0, 1), (0, 3)), "confusion: row 0 does not sum to its class's"),
        (_plus("confusion", -1, (2, 3)), "confusion: row 2 does not sum to its class's images"),
        (_plus("confusion", 1, (3, 3)), "confusion: row 3 does not sum to its class's images"),
        (_plus("confusion", 10, (0, 0)), "confusion: row 0 has no image left for withheld"),
        (_plus("withheld", 1, (2, 0)), "confusion: row 2 has no image left for withheld cells"),
        # Four times 2**62 is 0 in int64.
        (
            _plus("confusion", 2**62, *((1, column) for column in range(4))),
            "confusion: row 1 does not sum to its class's images",
        ),
        (
            _plus("scores", 2**62, *((1, 0, column) for column in range(4))),
            "scores: class 1 does not count each image once",
        ),
        # Each adds up to all that `check_arrays` asks for.
        (
            _both(_plus("scores", 1, (1, 0, 0)), _plus("scores", -1, (2, 0, LOW))),
            "scores: class 1 does not count each image once",
        ),
        (
            _both(
                _both(_plus("scores", 1, (1, 0, 0)), _plus("scores", -1, (1, 1, HIGH))),
                _plus("confusion", -1, (1, 1)),
            ),
            "scores: the classes' own images are not all images",
        ),
        (_plus("confidence", 1, (1, HIGH)), "confidence: does not count the images of the conf"),
        (_plus("confidence", 7, (0, HIGH)), "confidence: does not count the images of the conf"),
        (
            _both(_plus("confidence", 1, (1, HIGH)), _plus("confidence", -1, (0, HIGH))),
            "confidence: does not count the images of the confusion matrix",
        ),
        (
            _plus("confidence", 2**62, *((0, column) for column in range(4))),
            "confidence: does not count the images of the confusion matrix",
        ),
    ],
)
def test_sums_that_contradict_each_other_are_refused(change: Change, message: str) -> None:
    sums = _checked(_guarded())
    forged = {name: array.copy() for name, array in sums.arrays.items()}
    change(forged)
    assert all((array >= 0).all() for array in forged.values())
    with pytest.raises(ContributionError, match=message) as caught:
        check_evaluation(Contribution(sums.count, forged))
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 100


def test_sums_over_another_number_of_images_are_refused() -> None:
    sums, spec = _guarded(), evaluation_spec(4, malignant=True, draws=DRAWS)
    for count in (0, sums.count - 1, sums.count + 1):
        with pytest.raises(ContributionError, match="class 0 does not count each image once"):
            check_evaluation(Contribution(count, sums.arrays))
        with pytest.raises(ContributionError, match="scores: sums to "):
            check_arrays(sums.arrays, spec, count)


COARSE_LOW, COARSE_HIGH, COARSE_ILL = (
    bin_ * COARSE_BINS // SCORE_BINS for bin_ in (LOW, HIGH, ILL_HIGH)
)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        *(
            (_plus(f"drawn_{name}", 10**4, cell), f"drawn_{name}: counts images that {name} does")
            for name, cell in {
                "confusion": (2, 1, 1),
                "scores": (2, 1, 1, COARSE_HIGH),
                "malignant": (2, 1, COARSE_HIGH),
                "confidence": (2, 1, COARSE_HIGH),
            }.items()
        ),
        # Where there is no image, one is too many.
        (_plus("drawn_confusion", 1, (0, 3, 3)), "drawn_confusion: counts images that"),
        (_plus("drawn_confusion", 1, (0, 0, 1)), "drawn_confusion: counts images that"),
        (_plus("drawn_scores", 1, (0, 0, 0, 0)), "drawn_scores: counts images that"),
        (_plus("drawn_malignant", 1, (0, 1, 0)), "drawn_malignant: counts images that"),
        (_plus("drawn_confidence", 1, (0, 1, 0)), "drawn_confidence: counts images that"),
        (_plus("drawn_scores", 2**62, (0, 2, 0, COARSE_LOW)), "drawn_scores: counts images that"),
        # What the data may hold, but not the same resample's other sums.
        (_plus("drawn_confusion", 1, (2, 1, 1)), "drawn_confusion: does not count the images of"),
        (_plus("drawn_confusion", -1, (2, 2, 3)), "drawn_confusion: does not count the images of"),
        (_plus("drawn_confusion", 60, (2, 0, 0)), "drawn_confusion: does not count the images of"),
        (_plus("drawn_support", -1, (2, 1)), "drawn_confusion: does not count the images of"),
        (_plus("drawn_support", 900, (2, 0)), "drawn_support: counts images that the classes"),
    ],
)
def test_resamples_that_no_images_can_have_are_refused(change: Change, message: str) -> None:
    sums = _checked(_guarded())
    forged = {name: array.copy() for name, array in sums.arrays.items()}
    change(forged)
    assert all((array >= 0).all() for array in forged.values())
    with pytest.raises(ContributionError, match=message) as caught:
        check_evaluation(Contribution(sums.count, forged))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 100


@pytest.mark.parametrize("name", ["confusion", *HISTOGRAMS])
def test_resamples_of_another_number_or_below_zero_are_refused(name: str) -> None:
    sums = _guarded()
    spec = evaluation_spec(4, malignant=True, draws=DRAWS)
    array = sums.arrays[f"drawn_{name}"]
    for wrong, message in (
        (array[1:], rf"drawn_{name}: shape \(6, "),
        (array[..., 1:], rf"drawn_{name}: shape \(7, "),
        (np.concatenate([array, array]), rf"drawn_{name}: shape \(14, "),
        (array - array.max() - 1, f"drawn_{name}: below 0"),
        (array.astype(np.float64), f"drawn_{name}: dtype float64"),
    ):
        with pytest.raises(ContributionError, match=message) as caught:
            check_arrays({**sums.arrays, f"drawn_{name}": wrong}, spec, sums.count)
        assert str(caught.value).isprintable()


def test_the_most_copies_that_a_resample_can_hold_are_not_refused() -> None:
    case = make_case(1, 60, draws=3)
    weights = np.full_like(case.weights, MOST_COPIES)
    sums = evaluation_sums(case.y, case.probabilities, malignant=ILL, weights=weights)
    _checked(sums, draws=3)
    assert sums.arrays["drawn_confusion"].sum() == 3 * 60 * MOST_COPIES


def test_probabilities_cover_all_classes_in_the_order_asked_for() -> None:
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(30, 3)), rng.choice(["nv", "bcc"], 30)
    head = RidgeHead().fit(x, labels)
    found = class_probabilities(head, ("nv", "mel", "bcc"), x)
    np.testing.assert_array_equal(found[:, 1], 0.0)
    np.testing.assert_array_equal(found[:, [2, 0]], head.predict_proba(x))
    assert class_probabilities(head, ("nv", "mel", "bcc"), x[:0]).shape == (0, 3)
