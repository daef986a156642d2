"""Any numbers of images of a class: resampling never fails, and gives what it promises."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from common.imbalance import KINDS, read_treatment, resample
from common.learners.base import SiteData
from tests.common.imbalanced_images import NAMES, draw

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
