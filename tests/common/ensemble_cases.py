"""What tests of ensembles share: images over sites in two parts, and checked rounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from common.learners import LEARNERS, make_learner
from common.learners.base import Problem, SiteData, State
from common.learners.checked import check_arrays
from common.learners.gathering import gather
from common.split import Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLASSES = ("bcc", "df", "mel", "nv")
DIMENSION = 6
PROBLEM = Problem(CLASSES, DIMENSION)
Parts = Mapping[Split, Mapping[str, SiteData]]


@dataclass(frozen=True)
class Fitted:
    """What a fit came to."""

    state: State
    head: Any
    stages: tuple[str, ...]
    notes: tuple[str, ...]


def images(seed: int, n: int, classes: int = 4, folds: int = 0) -> SiteData:
    """Draw images of uneven classes, with features of unlike scale."""
    rng = np.random.default_rng(seed)
    shares = np.array([0.1, 0.15, 0.25, 0.5])[:classes]
    y = rng.choice(classes, n, p=shares / shares.sum())
    y[: 2 * classes] = np.tile(np.arange(classes), 2)
    centres = 0.9 * np.random.default_rng(99).normal(size=(4, DIMENSION))
    x = (centres[y] + rng.normal(size=(n, DIMENSION))) * 10.0 ** np.arange(-2, 4)
    fold = rng.integers(0, folds, n) if folds else None
    return SiteData(x.astype(np.float32), y.astype(np.intp), fold)


def parts(*, lack: bool = True, folds: int = 0) -> Parts:
    """Give three sites of unequal size, of which one may lack a class."""
    found: dict[Split, dict[str, SiteData]] = {}
    for number, split in enumerate((Split.TRAIN, Split.VALIDATION)):
        sizes = {"graz": 150, "lyon": 90, "oslo": 60}
        sites = {}
        for place, (name, size) in enumerate(sizes.items()):
            data = images(10 * number + place, size, folds=folds)
            if lack and name == "oslo":
                keep = data.y != 1
                fold = None if data.fold is None else data.fold[keep]
                data = SiteData(data.x[keep], data.y[keep], fold)
            sites[name] = data
        found[split] = sites
    return found


def pool(sites: Mapping[str, SiteData]) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Put all sites' images together."""
    x = np.concatenate([data.x for data in sites.values()]).astype(np.float64)
    return x, np.concatenate([data.y for data in sites.values()])


def learn(name: str, settings: str, data: Parts) -> Fitted:
    """Run a learner as site and coordinator do: anew for each message, all that is sent checked."""
    state, stages, notes = make_learner(name, PROBLEM, settings).start(), [], list[str]()
    while not state.done:
        coordinator = make_learner(name, PROBLEM, settings)
        check_arrays(state.arrays, coordinator.state_spec(state.stage))
        answers = gather(coordinator, state.stage)
        spec = coordinator.contribution_spec(state.stage)
        for site, own in sorted(data[coordinator.part(state.stage)].items()):
            told = State(state.stage, state.arrays)
            answer = make_learner(name, PROBLEM, settings).contribute(own, told)
            assert answer.count == len(own)
            check_arrays(answer.arrays, spec, answer.count)
            coordinator.verify(state.stage, answer)
            answers.add(site, answer)
        stages.append(state.stage)
        # What a checkpoint keeps.
        state = answers.step(State(state.stage, state.arrays, state.done, state.memory))
        notes += state.notes
    learner = make_learner(name, PROBLEM, settings)
    assert state.stage == "fitted"
    check_arrays(state.arrays, learner.state_spec(state.stage))
    assert name in LEARNERS
    return Fitted(state, learner.head(state), tuple(stages), tuple(notes))


class Softmax(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Scikit-learn's classifier with the softmax of its scores for probabilities."""

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def fit(self, x: Any, y: Any) -> Self:
        self.fitted_ = self.estimator.fit(x, y)
        self.classes_ = self.fitted_.classes_
        return self

    def predict_proba(self, x: Any) -> NDArray[np.float64]:
        scores = self.fitted_.decision_function(x)
        if scores.ndim == 1:
            scores = np.stack([-scores, scores], axis=1)
        p: NDArray[np.float64] = softmax(scores, axis=1)
        return p


def logistic(n: int, alpha: float = 0.1) -> Any:
    c = 1.0 / (alpha * n)
    return make_pipeline(
        StandardScaler(),
        LogisticRegression(C=c, class_weight="balanced", tol=1e-12, max_iter=10_000),
    )


def ridge(n: int, alpha: float = 0.1) -> Any:
    return Softmax(
        make_pipeline(StandardScaler(), RidgeClassifier(alpha * n, class_weight="balanced"))
    )
