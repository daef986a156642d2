"""The pooled oracle: what scikit-learn fits on all sites' features at once.

It is what an exact federation must equal. It lives in the lab, since a coordinator never has
pooled data, and it shares no code with our learners. Two things are taken from the federation,
since they are drawn or chosen, not fitted: a kernel map's random numbers, and the value that a
search chose.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.linalg import block_diag
from scipy.special import softmax
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.kernel_approximation import Nystroem, RBFSampler
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.neighbors import NearestCentroid
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from common.errors import SettingsError
from common.learners import read_settings
from common.learners.base import Problem
from common.learners.linear_head import LinearHead, linear
from common.model import Model
from simulations.pooled_trees import POOLED_TREES, fit_pooled_trees

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TIGHT, _MANY = 1e-10, 100_000
# Scikit-learn's only solver for an L1 part passes over the images many times; a thousand passes
# take seconds on ten thousand images, and what it wants can be a hundred thousand.
PASSES = 1_000

_POWER_OF_DEVIATION = {"deviation": 1.0, "pareto": 0.5, "none": 0.0}


@dataclass(frozen=True)
class Oracle:
    """A pooled fit.

    Attributes
    ----------
    probabilities : ndarray of float64, shape (n, classes)
        For every image asked for, at the federation's temperature; 0 for a class without training
        images.
    predicted : ndarray of intp, shape (n,)
        Its own predictions; at the federation's temperatures where each class has its own.
    coef : ndarray of float64, shape (k, dimension), or None
        Of the standardised features, one row a class that has training images; None for a head
        that scikit-learn gives no coefficients.
    converged : bool
        Whether scikit-learn reached its tolerance; if not, a difference may be its own.
    """

    probabilities: NDArray[np.float64]
    predicted: NDArray[np.intp]
    coef: NDArray[np.float64] | None
    converged: bool


class _Task(NamedTuple):
    """What an oracle is fitted on."""

    z: NDArray[np.float64]
    y: NDArray[np.intp]
    settings: Any
    classes: int
    passes: int

    @property
    def balanced(self) -> NDArray[np.float64]:
        """Weight of each image."""
        counts = np.bincount(self.y)
        return len(self.y) / (np.count_nonzero(counts) * counts[self.y])

    @property
    def class_weight(self) -> str | None:
        return "balanced" if self.settings.class_weight == "balanced" else None

    @property
    def c(self) -> float:
        """Scikit-learn's inverse penalty."""
        return float(1.0 / (self.settings.alpha_per_image * len(self.y)))


class _Known:
    """A covariance estimator that has its covariance already."""

    def __init__(self, covariance: NDArray[np.float64]) -> None:
        self.covariance_ = covariance

    def fit(self, _x: object) -> _Known:
        """Do nothing."""
        return self


def _ridge(task: _Task) -> Any:  # noqa: ANN401
    alpha = task.settings.alpha_per_image * len(task.y)
    return RidgeClassifier(alpha=alpha, class_weight=task.class_weight).fit(task.z, task.y)


def _ncm(task: _Task) -> Any:  # noqa: ANN401
    with warnings.catch_warnings():
        # A feature that is the same in all images has no spread; it changes nothing here.
        warnings.filterwarnings("ignore", "self.within_class_std_dev_", UserWarning)
        nearest = NearestCentroid(priors=task.settings.priors).fit(task.z, task.y)
    if task.settings.priors == "uniform":
        # With equal priors its predictions do not scale by this, but its decisions do.
        nearest.within_class_std_dev_ = np.ones(task.z.shape[1])
    return nearest


def _lda(task: _Task) -> Any:  # noqa: ANN401
    classes = np.unique(task.y)
    uniform = task.settings.priors == "uniform"
    priors = np.full(len(classes), 1.0 / len(classes)) if uniform else None
    if task.settings.shrinkage != "ledoit-wolf":
        lda = LinearDiscriminantAnalysis(
            solver="lsqr", shrinkage=task.settings.shrinkage, priors=priors
        )
        return _both_rows(lda.fit(task.z, task.y))
    means = np.array([task.z[task.y == label].mean(axis=0) for label in classes])
    root = np.sqrt(task.balanced) if uniform else np.ones(len(task.y))
    centred = (task.z - means[np.searchsorted(classes, task.y)]) * root[:, None]
    known = _Known(LedoitWolf(assume_centered=True, store_precision=False).fit(centred).covariance_)
    lda = LinearDiscriminantAnalysis(solver="lsqr", covariance_estimator=known, priors=priors)
    return _both_rows(lda.fit(task.z, task.y))


def _both_rows(lda: Any) -> Any:  # noqa: ANN401
    """Undo what scikit-learn does for two classes: it keeps the difference of their rows alone."""
    if len(lda.classes_) == 2:
        lda.coef_ = np.linalg.lstsq(lda.covariance_, lda.means_.T, rcond=None)[0].T
        lda.intercept_ = np.log(lda.priors_) - 0.5 * (lda.means_ * lda.coef_).sum(axis=1)
    return lda


def _logistic(task: _Task) -> Any:  # noqa: ANN401
    ratio = task.settings.l1_ratio
    weight = task.balanced if task.class_weight else np.ones(len(task.y))
    # Saga's step length takes no account of weights above 1; only their product with C matters.
    most = float(weight.max())
    solver = "saga" if ratio else ("newton-cholesky" if task.z.shape[1] <= 300 else "lbfgs")
    logistic = LogisticRegression(
        C=task.c * most,
        l1_ratio=ratio,
        solver=solver,
        tol=_TIGHT,
        max_iter=task.passes if ratio else _MANY,
    )
    return logistic.fit(task.z, task.y, weight / most)


def _svm(task: _Task) -> Any:  # noqa: ANN401
    svm = LinearSVC(C=task.c, dual=False, tol=_TIGHT, max_iter=_MANY)
    return svm.fit(task.z, task.y, task.balanced if task.class_weight else None)


_ORACLES: Mapping[str, Callable[[_Task], Any]] = {
    "lda": _lda,
    "logistic": _logistic,
    "ncm": _ncm,
    "ridge": _ridge,
    "svm": _svm,
}


def has_oracle(learner: str) -> bool:
    """Tell whether a learner has a counterpart of scikit-learn's here."""
    return learner in _ORACLES or learner in POOLED_TREES


def fit_oracle(
    model: Model,
    x: NDArray[Any],
    y: NDArray[np.intp],
    train: NDArray[np.bool_],
    passes: int = PASSES,
) -> Oracle:
    """Fit scikit-learn's counterpart of a model on pooled features, in float64.

    Parameters
    ----------
    model : Model
        The federation's.
    x : ndarray, shape (n, dimension)
        Features of all images.
    y : ndarray of intp, shape (n,)
        Labels.
    train : ndarray of bool, shape (n,)
        Which images to fit on.
    passes : int
        Passes over the images, at most, of the solver for an L1 penalty.

    Raises
    ------
    SettingsError
        If the learner has no oracle.
    """
    about = model.description
    if about.learner in POOLED_TREES:
        return _of_trees(model, x, y, train)
    if about.learner not in _ORACLES:
        raise SettingsError(f"learner {about.learner!r} has no pooled oracle; write one here")
    settings: Any = read_settings(about.learner, about.learner_settings)
    if about.chosen is not None:
        searched = "shrinkage" if about.learner == "lda" else "alpha_per_image"
        settings = settings.model_copy(update={searched: about.chosen})
    head = linear(model.head())
    z, projection = _front(settings, head, x.astype(np.float64), train, about.problem)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        task = _Task(z[train], y[train], settings, len(about.classes), passes)
        fitted = _ORACLES[about.learner](task)
    converged = not any(issubclass(item.category, ConvergenceWarning) for item in caught)
    scores = fitted.decision_function(z)
    coef = getattr(fitted, "coef_", None)
    if scores.ndim == 1:
        scores = np.stack([-scores if head.symmetric_pair else 0 * scores, scores], axis=1)
        coef = None if coef is None else _pair(coef, symmetric=head.symmetric_pair)
    probabilities = np.zeros((len(x), len(about.classes)))
    probabilities[:, fitted.classes_] = softmax(scores * head.inverse_temperature_, axis=1)
    if coef is not None and projection is not None:
        coef = coef @ projection
    predicted = fitted.predict(z)
    if settings.calibrate == "vector":
        # A temperature a class moves the borders between classes; a single one does not.
        predicted = probabilities.argmax(axis=1)
    return Oracle(probabilities, predicted, coef, converged)


def _of_trees(
    model: Model, x: NDArray[Any], y: NDArray[np.intp], train: NDArray[np.bool_]
) -> Oracle:
    about = model.description
    settings = read_settings(about.learner, about.learner_settings)
    fitted = fit_pooled_trees(about.learner, settings, x[train], y[train])
    probabilities = np.zeros((len(x), len(about.classes)))
    probabilities[:, fitted.classes_] = fitted.predict_proba(x)
    return Oracle(probabilities, probabilities.argmax(axis=1), None, converged=True)


def _pair(coef: NDArray[np.float64], *, symmetric: bool) -> NDArray[np.float64]:
    """Write the one row of two classes as two."""
    row = coef.ravel()
    return np.stack([-row if symmetric else 0 * row, row])


def _front(
    settings: Any,  # noqa: ANN401
    head: LinearHead,
    x: NDArray[np.float64],
    train: NDArray[np.bool_],
    problem: Problem,
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Transform all images as scikit-learn does; with the matrix that undoes a projection."""
    scaler = StandardScaler().fit(x[train])
    scaler.scale_ = scaler.scale_ ** _POWER_OF_DEVIATION[settings.scale]
    z = scaler.transform(x)
    images, beside = z[:, : problem.images], z[:, problem.images :] * problem.metadata_scale
    z, projection = np.hstack([images, beside]), None
    if settings.pca:
        pca = PCA(settings.pca, svd_solver="covariance_eigh").fit(images[train])
        z = np.hstack([pca.transform(images), beside])
        projection = block_diag(pca.components_, np.eye(problem.metadata))
    if settings.kernel == "none":
        return z, projection
    if settings.kernel == "rff":
        sampler = RBFSampler(n_components=settings.components).fit(z[:1])
        sampler.random_weights_ = head.front_["rff_weight"]
        sampler.random_offset_ = head.front_["rff_offset"]
        return sampler.transform(z), None
    landmark = head.front_["landmark"]
    gamma = float(head.front_["kernel_gamma"][0])
    nystroem = Nystroem(gamma=gamma, n_components=len(landmark), random_state=0).fit(landmark)
    # It shuffles its landmarks, and its features with them.
    return nystroem.transform(z)[:, np.argsort(nystroem.component_indices_)], None


def relative_error(found: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    """Give the Frobenius norm of the difference over that of the reference."""
    return float(np.linalg.norm(found - reference) / np.linalg.norm(reference))
