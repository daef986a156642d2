"""Folds of a site: whole lesions, and each class in every fold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from common.folds import NO_FOLDS, Dealing, stratified_folds
from common.split import fold_groups

# Lesions of one class each, of one to four images.
COHORTS = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4)), min_size=1, max_size=40)


def _images(lesions: list[tuple[int, int]]) -> tuple[Any, Any]:
    size = [images for _, images in lesions]
    groups = np.repeat([f"L{number:03d}" for number in range(len(lesions))], size)
    return groups, np.repeat([label for label, _ in lesions], size).astype(np.intp)


@settings(deadline=None, max_examples=100)
@given(lesions=COHORTS, folds=st.integers(2, 6), seed=st.integers(0, 9), data=st.data())
def test_no_lesion_is_in_two_folds_and_classes_are_spread_evenly(
    lesions: list[tuple[int, int]], folds: int, seed: int, data: st.DataObject
) -> None:
    groups, y = _images(lesions)
    fold = stratified_folds(seed, groups, y, folds)
    assert fold.dtype == np.intp
    assert len(set(zip(groups.tolist(), fold.tolist(), strict=True))) == len(lesions)
    for label in np.unique(y):
        held = np.bincount(fold[y == label], minlength=folds)
        assert len(held) == folds
        largest = max(images for of, images in lesions if of == label)
        assert held.max() - held.min() <= largest
    order = np.array(data.draw(st.permutations(range(len(y)))))
    assert stratified_folds(seed, groups[order], y[order], folds).tolist() == fold[order].tolist()


def test_class_shares_are_no_further_apart_than_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    lesions = [
        (int(rng.choice(4, p=[0.6, 0.3, 0.07, 0.03])), int(n)) for n in rng.integers(1, 4, 300)
    ]
    groups, y = _images(lesions)

    def spread(fold: Any) -> float:
        counts = np.array([np.bincount(y[fold == one], minlength=4) for one in range(5)])
        return float((counts / np.bincount(y)).std(axis=0).max())

    theirs = np.zeros(len(y), dtype=np.intp)
    dealt = StratifiedGroupKFold(5, shuffle=True, random_state=0).split(y[:, None], y, groups)
    for one, (_, rows) in enumerate(dealt):
        theirs[rows] = one
    ours = spread(stratified_folds(1, groups, y, 5))
    assert ours <= spread(theirs) + 1e-12
    assert ours < spread(fold_groups(1, groups, 5)) / 3


def test_a_lesion_of_two_classes_stays_whole_and_seeds_differ() -> None:
    groups = np.array(["a", "a", "a", *(f"b{i}" for i in range(30))])
    y = np.array([0, 1, 1, *([0, 1] * 15)], dtype=np.intp)
    fold = stratified_folds(0, groups, y, 3)
    assert len(set(fold[:3].tolist())) == 1
    assert fold.tolist() != stratified_folds(1, groups, y, 3).tolist()
    assert stratified_folds(0, groups[:0], y[:0], 3).shape == (0,)


@pytest.mark.parametrize("stratified", [True, False])
def test_a_dealing_is_by_its_kind_within_each_part(stratified: bool) -> None:
    groups, y = _images([(one % 3, 1 + one % 2) for one in range(60)])
    split = np.array(["train", "test", "train", "validation"] * 30)[: len(y)]
    fold = Dealing(3, stratified).deal(2, groups, y, split)
    assert fold is not None
    train = split == "train"
    if stratified:
        wanted = stratified_folds(2, groups[train], y[train], 3)
        assert fold[train].tolist() == wanted.tolist()
    else:
        assert fold.tolist() == fold_groups(2, groups, 3).tolist()
    assert NO_FOLDS.deal(2, groups, y, split) is None
