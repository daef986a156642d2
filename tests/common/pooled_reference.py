"""What scikit-learn fits on all images at once, in float64, and the comparison with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.kernel_approximation import Nystroem, RBFSampler
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.neighbors import NearestCentroid
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils.class_weight import compute_sample_weight

from common.learners import LdaHead, LogisticHead, NearestMeanHead, RidgeHead, SvmHead
from tests.common.learner_cases import Pooled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from common.learners.linear_head import LinearHead

_TIGHT, _MANY = 1e-12, 100_000
# Rounding of closed forms; what the rounds of iterative heads may stop at.
CLOSED_FORM, ITERATIVE = 1e-8, 1e-5


@dataclass(frozen=True)
class Reference:
    """A pooled fit.

    ``coef`` is that of the standardised (or kernel-mapped) features. Both it and ``intercept``
    have one row for two classes.
    """

    estimator: Any
    transform: Callable[[Any], NDArray[np.float64]]
    coef: NDArray[np.float64]
    intercept: NDArray[np.float64]


def tolerance_of(head: LinearHead) -> float:
    return ITERATIVE if isinstance(head, LogisticHead | SvmHead) else CLOSED_FORM


def reference(head: Any, data: Pooled, drawn: LinearHead | None = None) -> Reference:
    """Fit a head's counterpart; `drawn` has the random numbers of a kernel map."""
    transform, projection = _front(head, data, drawn)
    z, weight = transform(data.x), _balanced(data.y)
    used = None
    if isinstance(head, NearestMeanHead):
        estimator = NearestCentroid(priors=head.priors).fit(z, data.y)
        coef, intercept = _nearest_lines(estimator, uniform=head.priors == "uniform")
        if len(estimator.classes_) == 2:
            coef, intercept = np.diff(coef, axis=0), np.diff(intercept)
        return Reference(estimator, transform, coef @ projection, intercept)
    if isinstance(head, LdaHead):
        estimator = _lda(head, z, data.y, weight)
    else:
        assert isinstance(head, RidgeHead | LogisticHead | SvmHead)
        alpha, used = head.alpha_per_image * len(z), weight
        if head.class_weight == "none":
            used = np.ones(len(z))
        if isinstance(head, RidgeHead):
            estimator = RidgeClassifier(alpha=alpha, solver="svd")
        elif isinstance(head, SvmHead):
            estimator = LinearSVC(C=1.0 / alpha, dual=False, tol=_TIGHT, max_iter=_MANY)
        elif head.l1_ratio == 0:
            estimator = LogisticRegression(
                C=1.0 / alpha, solver="newton-cholesky", tol=_TIGHT, max_iter=_MANY
            )
        else:
            # saga's step length knows nothing of weights: with any above 1 it may never settle.
            top = used.max()
            used, c = used / top, top / alpha
            estimator = LogisticRegression(
                C=c, l1_ratio=head.l1_ratio, solver="saga", tol=_TIGHT, max_iter=_MANY
            )
    fitting = {} if used is None else {"sample_weight": used}
    estimator.fit(z, data.y, **fitting)
    coef = np.atleast_2d(estimator.coef_)
    return Reference(estimator, transform, coef @ projection, np.atleast_1d(estimator.intercept_))


def compare(head: LinearHead, pooled: Reference, data: Pooled) -> tuple[float, float]:
    """Assert that a fitted head is the reference; give the errors of its coefficients."""
    tolerance = tolerance_of(head)
    present = pooled.estimator.classes_
    assert head.classes_.tolist() == [data.classes[c] for c in present]
    coef, intercept = _lines(head)
    expected, constant = pooled.coef, pooled.intercept
    if isinstance(head, LogisticHead) and len(intercept) > 1:
        # A softmax does not see what is added to all.
        intercept, constant = intercept - intercept.mean(), constant - constant.mean()
    size = max(float(np.linalg.norm(expected)), 1e-12)
    error = float(np.linalg.norm(coef - expected)) / size
    assert error <= tolerance, f"coefficients differ by {error:.1e}"
    shift = float(np.abs(intercept - constant).max()) / max(float(np.abs(constant).max()), 1.0)
    assert shift <= tolerance, f"intercepts differ by {shift:.1e}"

    for x in (data.x, data.probe):
        z = pooled.transform(x)
        scores = np.sort(head.scores(x), axis=1)
        tied = scores[:, -1] - scores[:, -2] < 1e-9
        agrees = head.predict(x) == np.array(data.classes)[pooled.estimator.predict(z)]
        assert (agrees | tied).all()
        assert tied.sum() <= 1
        if not isinstance(head, NearestMeanHead):
            decided = pooled.estimator.decision_function(z)
            found = head.decision_function(x)
            if isinstance(head, LogisticHead) and found.ndim == 2:
                decided = decided - decided.mean(axis=1)[:, None]
                found = found - found.mean(axis=1)[:, None]
            size = float(np.abs(decided).max())
            np.testing.assert_allclose(found, decided, rtol=0, atol=tolerance * size)
        if isinstance(head, LogisticHead | LdaHead):
            chance = pooled.estimator.predict_proba(z)
            np.testing.assert_allclose(head.predict_proba(x), chance, rtol=0, atol=tolerance)
    return error, shift


def _lines(head: LinearHead) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give coefficients and intercepts, of two classes in one row as scikit-learn does."""
    coef, intercept = head.standardised_coef(), head.intercept_
    if len(coef) > 2:
        return coef, intercept
    if isinstance(head, LogisticHead):
        assert not coef[0].any()
        assert intercept[0] == 0
    if not head.symmetric_pair:
        return np.diff(coef, axis=0), np.diff(intercept)
    np.testing.assert_allclose(coef[0], -coef[1], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(intercept[0], -intercept[1], rtol=1e-6, atol=1e-9)
    return coef[1:], intercept[1:]


def _balanced(y: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(compute_sample_weight("balanced", y))


def _nearest_lines(
    nearest: NearestCentroid, *, uniform: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Write ``-|(z - m) / s|^2 + 2 log prior`` as a line; with equal priors, s is not used."""
    means = nearest.centroids_
    if uniform:
        return 2.0 * means, -(means**2).sum(axis=1)
    spread = nearest.within_class_std_dev_
    return 2.0 * means / spread**2, 2.0 * np.log(nearest.class_prior_) - (
        (means / spread) ** 2
    ).sum(axis=1)


class _Known:
    """A covariance estimator that has its covariance already."""

    def __init__(self, covariance: NDArray[np.float64]) -> None:
        self.covariance_ = covariance

    def fit(self, _x: object) -> _Known:
        return self


def _lda(
    head: LdaHead, z: NDArray[np.float64], y: NDArray[Any], weight: NDArray[np.float64]
) -> LinearDiscriminantAnalysis:
    classes = np.unique(y)
    uniform = head.priors == "uniform"
    priors = np.full(len(classes), 1.0 / len(classes)) if uniform else None
    if head.shrinkage != "ledoit-wolf":
        return LinearDiscriminantAnalysis("lsqr", shrinkage=head.shrinkage, priors=priors)
    centred = z.copy()
    for label in classes:
        centred[y == label] -= z[y == label].mean(axis=0)
    if uniform:
        centred *= np.sqrt(weight)[:, None]
    known = _Known(LedoitWolf(assume_centered=True).fit(centred).covariance_)
    return LinearDiscriminantAnalysis("lsqr", covariance_estimator=known, priors=priors)


def _front(
    head: Any, data: Pooled, drawn: LinearHead | None
) -> tuple[Callable[[Any], NDArray[np.float64]], Any]:
    """Give the features' transform, and the matrix that takes coefficients back through it."""
    scaler = StandardScaler().fit(data.x.astype(np.float64))
    steps: list[Any] = [scaler]
    z = scaler.transform(data.x.astype(np.float64))
    projection = np.eye(z.shape[1])
    if head.pca:
        pca = PCA(head.pca, svd_solver="full").fit(z)
        steps.append(pca)
        z, projection = pca.transform(z), pca.components_
    if head.kernel != "none":
        assert drawn is not None
        projection = np.eye(head.components)
        gamma = head.gamma or 1.0 / float(z.var(axis=0).sum())
        steps.append(_kernel_map(head, drawn, gamma, z))

    def transform(x: Any) -> NDArray[np.float64]:
        mapped = x.astype(np.float64)
        for step in steps:
            mapped = step.transform(mapped)
        return np.asarray(mapped)

    return transform, projection


class _Unshuffled:
    """Nystroem's map in the order of its landmarks."""

    def __init__(self, landmark: NDArray[np.float64], gamma: float) -> None:
        nystroem = Nystroem(gamma=gamma, n_components=len(landmark), random_state=0)
        self.fitted = nystroem.fit(landmark)

    def transform(self, z: NDArray[np.float64]) -> Any:
        return self.fitted.transform(z)[:, np.argsort(self.fitted.component_indices_)]


def _kernel_map(head: Any, drawn: LinearHead, gamma: float, z: NDArray[np.float64]) -> Any:
    if head.kernel == "nystroem":
        return _Unshuffled(drawn.front_["landmark"], gamma)
    sampler = RBFSampler(n_components=head.components).fit(z[:1])
    sampler.random_weights_ = drawn.front_["rff_weight"]
    sampler.random_offset_ = drawn.front_["rff_offset"]
    return sampler
