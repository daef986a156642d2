"""Federation in one process: sites are NumPy arrays, no Flower, no Ray, no images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from common.errors import ContributionError
from common.learners.base import Learner, Problem, SiteData, State
from common.learners.total import Total

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from common.learners.linear_head import LinearHead

    Head = TypeVar("Head", bound=LinearHead)


def federate(head: Head, sites: Mapping[str, tuple[ArrayLike, ArrayLike]]) -> Head:
    """Fit a head over sites that each hold features and labels.

    Parameters
    ----------
    head : LinearHead
        An estimator such as ``LogisticHead()``; fitted in place.
    sites : mapping of str to (array of shape (n, dimension), array of shape (n,))
        Features and labels of each site.

    Returns
    -------
    LinearHead
        The head; it equals the one fitted on all sites' images at once.

    Raises
    ------
    ContributionError
        Naming the site whose arrays are not what they must be.
    """
    arrays = {name: (np.asarray(x), np.asarray(y)) for name, (x, y) in sites.items()}
    if not arrays:
        raise ContributionError("no site to learn from")
    # An empty list of labels is of NumPy's choice of type, which says nothing of the others.
    labels = [y.ravel() for _, y in arrays.values() if y.size]
    if not labels:
        raise ContributionError("no site has a training image")
    return learn_heads(head, arrays, np.unique(np.concatenate(labels)))


def learn_heads(
    head: Head, sites: Mapping[str, tuple[NDArray[Any], NDArray[Any]]], classes: NDArray[Any]
) -> Head:
    """Fit a head over sites, with the classes given in order."""
    from common.learners import learner_of

    dimension = next((x.shape[1] for x, _ in sites.values() if x.ndim == 2), 0)
    problem = Problem(tuple(map(str, classes)), dimension)
    data = {}
    for name, (x, y) in sites.items():
        index = np.searchsorted(classes, y).astype(np.intp)
        data[name] = SiteData(x, index)
        check_site(name, data[name], problem)
    learner = learner_of(head, problem)
    state = fit_sites(learner, data)
    return head.set_fitted(state.arrays, classes)


def fit_sites(learner: Learner, sites: Mapping[str, SiteData]) -> State:
    """Run a learner over sites in this process until it is done, in the order of their names.

    Raises
    ------
    ContributionError
        Naming the site whose data are not what they must be.
    """
    for name, data in sites.items():
        check_site(name, data, learner.problem)
    state = learner.start()
    while not state.done:
        total = Total()
        for name in sorted(sites):
            total.add(learner.contribute(sites[name], state))
        state = learner.update(state, total.value())
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
    if len(y) and not (int(y.min()) >= 0 and int(y.max()) < len(problem.classes)):
        raise ContributionError(f"site {name}: a label is none of {len(problem.classes)} classes")
