"""Federation in one process: sites are NumPy arrays, no Flower, no Ray, no images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from common.errors import ContributionError
from common.learners.base import Head, Learner, Problem, SiteData, State
from common.learners.gathering import gather
from common.split import Split

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    AnyHead = TypeVar("AnyHead", bound=Head)


def federate(head: AnyHead, sites: Mapping[str, tuple[ArrayLike, ArrayLike]]) -> AnyHead:
    """Fit a head over sites that each hold features and labels.

    Parameters
    ----------
    head : Head
        An estimator such as ``LogisticHead()``; fitted in place.
    sites : mapping of str to (array of shape (n, dimension), array of shape (n,))
        Features and labels of each site.

    Returns
    -------
    Head
        The head; one by sums equals the one fitted on all sites' images at once.

    Raises
    ------
    ContributionError
        Naming the site whose arrays are not what they must be.
    """
    if not sites:
        raise ContributionError("no site to learn from")
    arrays = {name: _as_arrays(name, x, y) for name, (x, y) in sites.items()}
    if len({y.dtype.kind in "US" for _, y in arrays.values() if y.size}) > 1:
        raise ContributionError("some sites' labels are text and others' are numbers")
    # An empty list of labels is of NumPy's choice of type, which says nothing of the others.
    labels = [y.ravel() for _, y in arrays.values() if y.size]
    if not labels:
        raise ContributionError("no site has a training image")
    return learn_heads(head, arrays, np.unique(np.concatenate(labels)))


def _as_arrays(name: str, x: ArrayLike, y: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    try:
        features, labels = np.asarray(x), np.asarray(y)
    except ValueError as error:
        raise ContributionError(f"site {name}: is no table of numbers: {error}") from error
    number = labels.dtype.kind in "biu" or (
        labels.dtype.kind == "f" and bool(np.isfinite(labels).all())
    )
    if not (number or labels.dtype.kind in "US"):
        raise ContributionError(f"site {name}: labels must be text or numbers, none missing")
    return features, labels


def fit_alone(head: AnyHead, x: ArrayLike, y: ArrayLike) -> AnyHead:
    """Fit an estimator on features of shape (n, dimension) and labels of shape (n,), as one site.

    Raises
    ------
    ValueError
        If the data are not finite or hold fewer than two classes.
    SettingsError
        If a parameter is out of bounds.
    """
    features, labels = validate_data(head, x, y, dtype=[np.float64, np.float32])
    check_classification_targets(labels)
    classes = np.unique(labels)
    if len(classes) < 2:
        raise ValueError(f"Classifier can't train when only one class is present: {classes}")
    return learn_heads(head, {"all": (features, labels)}, classes)


def learn_heads(
    head: AnyHead, sites: Mapping[str, tuple[NDArray[Any], NDArray[Any]]], classes: NDArray[Any]
) -> AnyHead:
    """Fit a head over sites, with the classes given in order.

    A head that needs held-out images nevertheless, as that of stacking, gets the second image of
    each class of each site and every third from there; one that chooses by folds, each class dealt
    to them by turns. Nothing tells here which images show one lesion.
    """
    from common.learners import learner_of

    dimension = next((x.shape[1] for x, _ in sites.values() if x.ndim == 2), 0)
    problem = Problem(tuple(map(str, classes)), dimension)
    data = {}
    for name, (x, y) in sites.items():
        index = np.searchsorted(classes, y).astype(np.intp)
        data[name] = SiteData(x, index)
        check_site(name, data[name], problem)
    learner = learner_of(head, problem)
    held: dict[str, SiteData] | None = None
    if any(learner.part(stage) is Split.VALIDATION for stage in learner.stages):
        held = {name: _some(one, held_out(one.y)) for name, one in data.items()}
        data = {name: _some(one, ~held_out(one.y)) for name, one in data.items()}
    if learner.settings.folds:
        folds = learner.settings.folds
        data = {name: replace(one, fold=_by_turns(one.y, folds)) for name, one in data.items()}
    state = fit_sites(learner, data, held)
    return head.set_fitted(state.arrays, classes)


def held_out(y: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Tell which of a site's images are held out: of each class the second, fifth, eighth, ..."""
    held = np.zeros(len(y), dtype=np.bool_)
    for label in np.unique(y):
        held[np.flatnonzero(y == label)[1::3]] = True
    return held


def _by_turns(y: NDArray[np.intp], folds: int) -> NDArray[np.intp]:
    """Deal each class's images to folds, one after the other; no lesion is known here."""
    fold = np.zeros(len(y), dtype=np.intp)
    for label in np.unique(y):
        rows = np.flatnonzero(y == label)
        fold[rows] = (np.arange(len(rows)) + label) % folds
    return fold


def _some(data: SiteData, rows: NDArray[np.bool_]) -> SiteData:
    return SiteData(data.x[rows], data.y[rows])


def fit_sites(
    learner: Learner,
    sites: Mapping[str, SiteData],
    validation: Mapping[str, SiteData] | None = None,
) -> State:
    """Run a learner over sites in this process until it is done, in the order of their names.

    Parameters
    ----------
    learner : Learner
        What to fit.
    sites : mapping of str to SiteData
        Training images.
    validation : mapping of str to SiteData or None
        Held-out images, for a learner that calibrates.

    Raises
    ------
    ContributionError
        Naming the site whose data are not what they must be, or if the learner asks for held-out
        images and there are none.
    """
    for name, data in [*sites.items(), *(validation or {}).items()]:
        check_site(name, data, learner.problem)
    state = learner.start()
    while not state.done:
        part = sites
        if learner.part(state.stage) is Split.VALIDATION:
            if validation is None:
                raise ContributionError("no held-out images: give some, or set calibrate=none")
            part = validation
        answers = gather(learner, state.stage)
        for name in state.asked(part):
            answers.add(name, learner.contribute(part[name], state))
        state = answers.step(state)
    return state


def check_site(name: str, data: SiteData, problem: Problem) -> None:
    """Refuse data that no learner can sum.

    Raises
    ------
    ContributionError
        Naming the site and what is wrong.
    """
    x, y = data.x, data.y
    if x.ndim != 2 or y.ndim != 1 or len(x) != len(y):
        raise ContributionError(
            f"site {name}: features of shape {x.shape} and labels of shape {y.shape} do not "
            "belong together"
        )
    if x.dtype.kind not in "fiu":
        raise ContributionError(f"site {name}: features are {x.dtype}, not numbers")
    if x.shape[1] != problem.dimension:
        raise ContributionError(
            f"site {name}: features have {x.shape[1]} dimensions, the others' {problem.dimension}"
        )
    finite = np.isfinite(x).all(axis=1)
    if not finite.all():
        raise ContributionError(
            f"site {name}: {int((~finite).sum())} of {len(x)} images have features that are NaN "
            "or infinite"
        )
    if data.fold is not None and (data.fold.shape != y.shape or (data.fold < 0).any()):
        raise ContributionError(f"site {name}: its folds are not one number for each image")
    if len(y) and not (int(y.min()) >= 0 and int(y.max()) < len(problem.classes)):
        raise ContributionError(f"site {name}: a label is none of {len(problem.classes)} classes")
