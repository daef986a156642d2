"""Resampling is imbalanced-learn's own on the same arrays; where it cannot be, that is named."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from imblearn.over_sampling import ADASYN, SMOTE, BorderlineSMOTE, RandomOverSampler
from imblearn.under_sampling import RandomUnderSampler

from common.imbalance import KINDS, read_treatment, resample
from common.learners.base import SiteData

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAMES = ("akiec", "bcc", "mel", "nv")
WIDTH = 6


def draw(counts: list[int], seed: int = 0, apart: float = 0.7) -> SiteData:
    """Draw images of classes that overlap, in any order."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.repeat(np.arange(len(counts)), counts)).astype(np.intp)
    x = rng.normal(size=(len(y), WIDTH)) + apart * y[:, None]
    return SiteData(x.astype(np.float32), y)


def count(data: SiteData) -> list[int]:
    return [int(images) for images in np.bincount(data.y, minlength=len(NAMES))]


def rows(data: SiteData) -> list[tuple[float, ...]]:
    """Images with their labels, in an order that does not depend on the data's."""
    return sorted((float(y), *map(float, x)) for x, y in zip(data.x, data.y, strict=True))


REFERENCES: dict[str, tuple[str, Callable[[int], Any]]] = {
    "oversample": ("oversample", lambda seed: RandomOverSampler(random_state=seed)),
    "undersample": ("undersample", lambda seed: RandomUnderSampler(random_state=seed)),
    "smote": ("smote", lambda seed: SMOTE(random_state=seed)),
    "three neighbours": (
        "smote neighbours=3",
        lambda seed: SMOTE(random_state=seed, k_neighbors=3),
    ),
    "borderline": ("borderline-smote", lambda seed: BorderlineSMOTE(random_state=seed)),
    "adasyn": ("adasyn", lambda seed: ADASYN(random_state=seed)),
}


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("seed", [0, 11])
def test_it_is_what_imbalanced_learn_makes_of_the_same_arrays_and_seed(
    name: str, seed: int
) -> None:
    data = draw([12, 30, 55, 80])
    text, make = REFERENCES[name]
    found = resample(data, read_treatment(f"{text} seed={seed}"), NAMES)
    x, y = make(seed).fit_resample(data.x, data.y)
    assert rows(found.data) == rows(SiteData(x, y))
    assert found.data.x.dtype == np.float32
    assert found.notes == ()
    assert found.real == len(data)
    other = resample(data, read_treatment(f"{text} seed={seed + 1}"), NAMES)
    assert rows(other.data) != rows(found.data)


@pytest.mark.parametrize(
    ("text", "make"),
    [
        ("oversample ratio=0.5", RandomOverSampler),
        ("smote ratio=0.5", SMOTE),
        ("undersample ratio=0.5", RandomUnderSampler),
    ],
)
def test_a_ratio_is_read_as_imbalanced_learn_reads_it(text: str, make: Any) -> None:
    data = draw([9, 31])
    found = resample(data, read_treatment(text), ("mel", "nv"))
    x, y = make(sampling_strategy=0.5, random_state=0).fit_resample(data.x, data.y)
    assert rows(found.data) == rows(SiteData(x, y))


@pytest.mark.parametrize("text", ["oversample", "smote", "adasyn", "borderline-smote"])
def test_the_images_themselves_stay_first_and_in_their_order(text: str) -> None:
    data = draw([3, 1, 20, 41])
    found = resample(data, read_treatment(text), NAMES).data
    np.testing.assert_array_equal(found.x[: len(data)], data.x)
    np.testing.assert_array_equal(found.y[: len(data)], data.y)


def test_undersampling_keeps_whole_images_in_their_order() -> None:
    data = draw([6, 10, 20, 41])
    found = resample(data, read_treatment("undersample"), NAMES).data
    at = [int(np.flatnonzero((data.x == x).all(axis=1))[0]) for x in found.x]
    assert at == sorted(set(at))
    np.testing.assert_array_equal(found.y, data.y[at])


# Fallbacks


def test_a_class_with_few_images_gets_fewer_neighbours_and_says_so() -> None:
    data = draw([2, 4, 40, 40])
    found = resample(data, read_treatment("smote"), NAMES)
    assert count(found.data) == [40, 40, 40, 40]
    assert found.notes == (
        "akiec: 2 images: 1 neighbour instead of 5",
        "bcc: 4 images: 3 neighbours instead of 5",
    )
    for label, neighbours in ((0, 1), (1, 3)):
        smote = SMOTE(sampling_strategy={label: 40}, k_neighbors=neighbours, random_state=0)
        x, y = smote.fit_resample(data.x, data.y)
        assert rows(SiteData(found.data.x[found.data.y == label], y[y == label])) == rows(
            SiteData(x[y == label], y[y == label])
        )


@pytest.mark.parametrize("text", ["smote", "borderline-smote", "adasyn"])
def test_one_image_is_repeated_and_none_stays_none(text: str) -> None:
    data = draw([1, 0, 30, 30])
    found = resample(data, read_treatment(text), NAMES)
    assert count(found.data) == [30, 0, 30, 30]
    assert len(np.unique(found.data.x[found.data.y == 0], axis=0)) == 1
    assert found.notes == (
        "no image of bcc: none is made",
        "akiec: 1 image has no neighbour: repeated 29 times",
    )


@pytest.mark.parametrize("text", ["borderline-smote", "adasyn"])
def test_a_class_far_from_all_others_is_left_to_smote_and_the_rest_is_not(text: str) -> None:
    data = draw([20, 30, 60, 60])
    x = data.x.copy()
    x[data.y == 0] += 1000
    data = SiteData(x, data.y)
    found = resample(data, read_treatment(text), NAMES)
    (note,) = found.notes
    assert re.fullmatch(rf"akiec: .*: smote instead( of {text})?", note)
    x_smote, y_smote = SMOTE(sampling_strategy={0: 60}, random_state=0).fit_resample(x, data.y)
    own, theirs = found.data.y == 0, y_smote == 0
    assert rows(SiteData(found.data.x[own], found.data.y[own])) == rows(
        SiteData(x_smote[theirs], y_smote[theirs])
    )
    make = {"adasyn": ADASYN, "borderline-smote": BorderlineSMOTE}[text]
    x_rest, y_rest = make(sampling_strategy={1: 60}, random_state=0).fit_resample(x, data.y)
    own, theirs = found.data.y == 1, y_rest == 1
    assert rows(SiteData(found.data.x[own], found.data.y[own])) == rows(
        SiteData(x_rest[theirs], y_rest[theirs])
    )


def test_what_imbalanced_learn_refuses_for_another_reason_is_no_fallback() -> None:
    data = draw([12, 30, 55, 80])
    data.x[3, 2] = np.nan
    for text in ("smote", "borderline-smote", "adasyn"):
        with pytest.raises(ValueError, match="NaN"):
            resample(data, read_treatment(text), NAMES)


@pytest.mark.parametrize("text", KINDS)
def test_a_site_with_one_class_or_no_image_is_left_as_it_is(text: str) -> None:
    for counts in ([0, 0, 9, 0], [0, 0, 0, 0]):
        data = draw(counts)
        found = resample(data, read_treatment(text), NAMES)
        assert rows(found.data) == rows(data)
        if text != "none":
            assert "fewer than two classes: left as they are" in found.notes


# Folds


@pytest.mark.parametrize("text", ["oversample", "smote", "borderline-smote", "adasyn"])
def test_no_image_is_made_of_two_folds(text: str) -> None:
    data = draw([12, 30, 55, 80])
    fold = np.random.default_rng(3).integers(0, 3, len(data))
    x = np.hstack([data.x, fold[:, None]]).astype(np.float32)
    found = resample(SiteData(x, data.y, fold), read_treatment(text), NAMES).data
    assert found.fold is not None
    assert len(found) > len(data)
    # The last feature of an image between two folds would lie between their numbers.
    np.testing.assert_array_equal(found.x[:, -1], found.fold)


def test_each_fold_is_treated_as_if_it_were_alone() -> None:
    data = draw([12, 30, 55, 80])
    fold = np.random.default_rng(3).integers(0, 3, len(data))
    treatment = read_treatment("smote seed=4")
    found = resample(SiteData(data.x, data.y, fold), treatment, NAMES)
    assert found.data.fold is not None
    for one in range(3):
        alone = resample(SiteData(data.x[fold == one], data.y[fold == one]), treatment, NAMES)
        inside = found.data.fold == one
        assert rows(SiteData(found.data.x[inside], found.data.y[inside])) == rows(alone.data)
        told = tuple(note for note in found.notes if note.startswith(f"fold {one}: "))
        assert told == tuple(f"fold {one}: {note}" for note in alone.notes)


# Guarded sites


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gap", [1, 4])
def test_no_class_gains_or_loses_fewer_images_than_the_minimum(kind: str, gap: int) -> None:
    data = draw([20, 20, 20 + gap, 20])
    found = resample(data, read_treatment(kind), NAMES, minimum=5)
    assert rows(found.data) == rows(data)
    if kind != "none":
        assert all("fewer than 5 images" in note for note in found.notes)
        assert found.notes


def test_repeated_images_are_at_least_the_minimum() -> None:
    data = draw([5, 12, 60, 60])
    drawn = 0
    for seed in range(40):
        found = resample(data, read_treatment("oversample ratio=0.2"), NAMES, seed=seed, minimum=5)
        added = found.data.x[len(data) :]
        # 7 draws of 5 images: hardly ever all of them.
        different = len({row.tobytes() for row in added})
        assert different == 0 or different >= 5
        assert bool(found.notes) == (different == 0)
        drawn += different > 0
    assert 0 < drawn < 40


@settings(deadline=None, max_examples=250)
@given(
    counts=st.lists(st.integers(0, 14), min_size=4, max_size=4),
    kind=st.sampled_from(KINDS),
    neighbours=st.integers(1, 7),
    ratio=st.sampled_from([0.3, 0.5, 1.0]),
    seed=st.integers(0, 2**32 - 1),
    folds=st.sampled_from([0, 2, 3]),
    alike=st.booleans(),
)
def test_whatever_the_numbers_it_never_fails_and_gives_what_it_promises(
    counts: list[int],
    kind: str,
    neighbours: int,
    ratio: float,
    seed: int,
    folds: int,
    alike: bool,
) -> None:
    assume(kind != "none")
    text = f"{kind} ratio={ratio} seed={seed}"
    if kind not in ("oversample", "undersample"):
        text += f" neighbours={neighbours}"
    data = draw(counts, seed=seed % 1000)
    # Images of the same features are their own neighbours.
    x = np.zeros_like(data.x) if alike else data.x
    fold = np.arange(len(data)) % folds if folds else None
    data = SiteData(x, data.y, fold)
    found = resample(data, read_treatment(text), NAMES)
    again = resample(data, read_treatment(text), NAMES)
    np.testing.assert_array_equal(found.data.x, again.data.x)
    assert np.isfinite(found.data.x).all()
    for one in range(folds or 1):
        before = data.y if fold is None else data.y[fold == one]
        after = found.data.y
        if found.data.fold is not None:
            after = after[found.data.fold == one]
        _check_numbers(
            np.bincount(before, minlength=4), np.bincount(after, minlength=4), kind, ratio
        )
    if kind == "undersample":
        assert len(found.data) <= len(data)
    else:
        np.testing.assert_array_equal(found.data.x[: len(data)], data.x)
        np.testing.assert_array_equal(found.data.y[: len(data)], data.y)
        for label in range(4):
            of_class = data.x[data.y == label]
            made = found.data.x[len(data) :][found.data.y[len(data) :] == label]
            if len(made):
                # Between two images, each feature is between theirs.
                assert (made >= of_class.min(axis=0) - 1e-5).all()
                assert (made <= of_class.max(axis=0) + 1e-5).all()


def _check_numbers(
    before: NDArray[np.intp], after: NDArray[np.intp], kind: str, ratio: float
) -> None:
    if np.count_nonzero(before) < 2:
        np.testing.assert_array_equal(after, before)
        return
    if kind == "undersample":
        most = int(before[before > 0].min() / ratio)
        np.testing.assert_array_equal(after, np.minimum(before, most))
        return
    wanted = np.where(before > 0, np.maximum(before, int(ratio * before.max())), 0)
    if kind != "adasyn":
        np.testing.assert_array_equal(after, wanted)
        return
    # It rounds how many it makes next to each image.
    assert (np.abs(after - wanted) <= 0.5 * before).all()
    assert ((after > before) == (wanted > before)).all()
