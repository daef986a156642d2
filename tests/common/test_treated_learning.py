"""Learning over treated sites is scikit-learn's fit of what imbalanced-learn makes of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from imblearn.over_sampling import ADASYN, SMOTE, RandomOverSampler
from imblearn.pipeline import make_pipeline
from imblearn.under_sampling import RandomUnderSampler
from sklearn.base import clone
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.preprocessing import StandardScaler

from common.imbalance import read_treatment, resample
from common.learners import LdaHead, LogisticHead, RidgeHead, federate
from common.learners.base import SiteData
from common.learners.linear_head import LinearHead

NAMES = ("bcc", "mel", "nv")
CASES: dict[str, tuple[str, Callable[[], Any]]] = {
    "oversample": ("oversample seed=3", lambda: RandomOverSampler(random_state=3)),
    "undersample": ("undersample seed=3", lambda: RandomUnderSampler(random_state=3)),
    "smote": ("smote seed=3", lambda: SMOTE(random_state=3)),
    "adasyn": ("adasyn seed=3", lambda: ADASYN(random_state=3)),
}
HEADS: dict[str, tuple[LinearHead, Callable[[int], Any]]] = {
    "ridge": (
        RidgeHead(alpha_per_image=0.1, class_weight="none"),
        lambda images: RidgeClassifier(alpha=0.1 * images),
    ),
    "logistic": (
        LogisticHead(alpha_per_image=0.1, class_weight="none"),
        lambda images: LogisticRegression(C=10 / images, tol=1e-10, max_iter=10_000),
    ),
    "lda": (
        LdaHead(shrinkage=0.2),
        lambda _images: LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.2),
    ),
}


def draw(images: tuple[int, int, int], seed: int) -> SiteData:
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.repeat(np.arange(3), images)).astype(np.intp)
    x = rng.normal(size=(len(y), 8)) + 0.8 * rng.normal(size=(3, 8))[y] + seed
    return SiteData(x.astype(np.float32), y)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("case", CASES)
def test_one_site_is_imbalanced_learns_pipeline(head: str, case: str) -> None:
    data, new = draw((8, 30, 90), 1), draw((20, 20, 20), 1)
    text, sampler = CASES[case]
    ours, make = HEADS[head]
    found = resample(data, read_treatment(text), NAMES).data
    fitted = federate(clone(ours), {"graz": (found.x, found.y)})
    _, y = sampler().fit_resample(data.x, data.y)
    pipeline = make_pipeline(sampler(), StandardScaler(), make(len(y)))
    pipeline.fit(data.x.astype(np.float64), data.y)
    theirs = pipeline[-1]
    # The same draws of features in single and in double precision differ by rounding.
    np.testing.assert_allclose(fitted.standardised_coef(), theirs.coef_, rtol=0, atol=2e-5)
    np.testing.assert_array_equal(fitted.predict(new.x), pipeline.predict(new.x))
    untreated = federate(clone(ours), {"graz": (data.x, data.y)})
    assert np.abs(untreated.standardised_coef() - theirs.coef_).max() > 1e-2


def test_several_sites_are_one_fit_of_what_each_has_treated_alone() -> None:
    sites = {"graz": draw((8, 30, 90), 1), "lyon": draw((60, 0, 9), 2), "oslo": draw((1, 3, 40), 4)}
    treatment = read_treatment("smote seed=3")
    treated = {name: resample(data, treatment, NAMES).data for name, data in sites.items()}
    head = RidgeHead(alpha_per_image=0.1)
    fitted = federate(head, {name: (data.x, data.y) for name, data in treated.items()})

    def smote(data: SiteData, **more: Any) -> SiteData:
        return SiteData(*SMOTE(random_state=3, **more).fit_resample(data.x, data.y))

    # Of Oslo, one image of the first class is repeated and the second has two neighbours.
    oslo = sites["oslo"]
    second = smote(oslo, sampling_strategy={1: 40}, k_neighbors=2)
    one = np.flatnonzero(oslo.y == 0)
    parts = [
        smote(sites["graz"]),
        smote(sites["lyon"]),
        second,
        SiteData(np.repeat(oslo.x[one], 39, axis=0), np.repeat(oslo.y[one], 39)),
    ]
    x = np.concatenate([part.x for part in parts]).astype(np.float64)
    y = np.concatenate([part.y for part in parts])
    z = StandardScaler().fit_transform(x)
    ridge = RidgeClassifier(alpha=0.1 * len(y), class_weight="balanced").fit(z, y)
    np.testing.assert_allclose(fitted.standardised_coef(), ridge.coef_, rtol=0, atol=1e-9)


def test_repeating_every_image_alike_is_weighing_classes() -> None:
    """As docs/imbalance.md says: the same but for the mean and deviation of the features."""
    data = draw((10, 30, 90), 1)
    times = np.array([9, 3, 1])[data.y]
    x, y = np.repeat(data.x, times, axis=0), np.repeat(data.y, times)
    z, z_repeated = (
        StandardScaler().fit(x.astype(np.float64)).transform(part.astype(np.float64))
        for part in (data.x, x)
    )
    weighed = RidgeClassifier(alpha=0.1 * len(data), class_weight="balanced").fit(z, data.y)
    repeated = RidgeClassifier(alpha=0.1 * len(y)).fit(z_repeated, y)
    np.testing.assert_allclose(weighed.coef_, repeated.coef_, rtol=0, atol=1e-12)
    ours = federate(RidgeHead(alpha_per_image=0.1, class_weight="none"), {"graz": (x, y)})
    np.testing.assert_allclose(ours.standardised_coef(), repeated.coef_, rtol=0, atol=1e-9)
