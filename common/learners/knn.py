"""K-nearest neighbours: every training image's features leave its site, and are the model.

There is no other exact way: what is near a new image can be any single one. It is therefore no
learner for hospitals, but one to compare with in the lab, where all images are on one machine
anyway. A site with a policy refuses it whatever the minimum, since a statistic over one image is
below every minimum; a run has to say ``ships_features=yes``. Over any partition it is
scikit-learn's ``KNeighborsClassifier`` on the pooled features.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator
from sklearn.utils.validation import check_is_fitted, validate_data

from common.errors import ContributionError, SettingsError
from common.learners.base import Arrays, ArraySpec, Contribution, Problem, SiteData, State
from common.learners.checked import check_arrays
from common.learners.class_counts import ClassCounts
from common.learners.one_site_fit import OneSiteFit
from common.learners.settings import LearnerSettings, check_settings
from common.split import Split

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from sklearn.neighbors import KNeighborsClassifier

COUNT, SHIP, FITTED = "class_counts", "ship", "fitted"
_MOST_IMAGES = 2**24


class KnnSettings(LearnerSettings):
    """Settings of k-nearest neighbours.

    Attributes
    ----------
    neighbours : int
        That vote on an image; all images where there are fewer.
    vote : str
        ``uniform``, or ``distance`` for votes that weigh inversely to their distance.
    ships_features : bool
        Has to be yes: that the features of single images leave their sites is to be said.
    folds : int
        0: nothing is chosen by folds.
    ledger : bool
        False: it keeps no ledger.
    """

    neighbours: int = Field(5, ge=1, le=10_000)
    vote: Literal["uniform", "distance"] = "uniform"
    ships_features: bool = False
    folds: int = Field(0, ge=0, le=0)
    ledger: Literal[False] = False

    @model_validator(mode="after")
    def _it_is_said(self) -> Self:
        if not self.ships_features:
            raise ValueError(
                "knn ships the features of every single training image to the coordinator, and "
                "they are in the model; say ships_features=yes if they may leave"
            )
        return self


class KnnHead(OneSiteFit):
    """K-nearest neighbours as an estimator.

    Parameters
    ----------
    neighbours, vote, ships_features
        As in `KnnSettings`.

    Attributes
    ----------
    classes_ : ndarray, shape (k,)
        Classes that had training images.
    neighbours_ : KNeighborsClassifier
        Scikit-learn's, of all sites' features.
    """

    settings_type = KnnSettings
    classes_: NDArray[Any]
    neighbours_: KNeighborsClassifier
    n_features_in_: int

    def __init__(
        self, neighbours: int = 5, vote: str = "uniform", ships_features: bool = False
    ) -> None:
        self.neighbours = neighbours
        self.vote = vote
        self.ships_features = ships_features

    def set_fitted(self, arrays: Arrays, classes: NDArray[Any]) -> Self:
        """Take over a learner's last arrays and the names of all classes."""
        # It takes long to import, and a coordinator does not need it.
        from sklearn.neighbors import KNeighborsClassifier

        settings = check_settings(KnnSettings, self.get_params())
        x, y = arrays["x"], arrays["y"]
        self.classes_ = classes[np.flatnonzero(arrays["class_count"])]
        self.n_features_in_ = x.shape[1]
        few = min(settings.neighbours, len(x))
        found = KNeighborsClassifier(few, weights=settings.vote, algorithm="brute", n_jobs=1)
        self.neighbours_ = found.fit(x, y)
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Give shares of the vote for features of shape (n, dimension): float64, shape (n, k)."""
        check_is_fitted(self, "neighbours_")
        x = validate_data(self, X, dtype=np.float32, reset=False)
        p: NDArray[np.float64] = self.neighbours_.predict_proba(x)
        return p

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Name the class with most votes, shape (n,)."""
        best = self.predict_proba(X).argmax(axis=1)
        predicted: NDArray[Any] = self.classes_[best]
        return predicted


class KnnLearner:
    """A round of class counts, and one in which each site sends its features and labels.

    Parameters
    ----------
    problem : Problem
        Classes and dimension.
    settings : KnnSettings
        Of the vote.
    """

    stages = (COUNT, SHIP)
    rounds = most_rounds = len(stages)

    def __init__(self, problem: Problem, settings: KnnSettings) -> None:
        self.problem, self.settings = problem, settings
        self._counts = ClassCounts(problem)

    def warm_start(self, arrays: Arrays) -> None:  # noqa: ARG002
        """Refuse: there is nothing to start from."""
        raise SettingsError("warm start: is for logistic and svm; knn fits nothing")

    def start(self) -> State:
        """Give the state before the first round."""
        return State(COUNT, {})

    def apart(self, stage: str) -> bool:
        """Tell whether the answers to a stage are merged, not added."""
        return stage == SHIP

    def part(self, stage: str) -> Split:  # noqa: ARG002
        """Tell which part of the split a stage is about."""
        return Split.TRAIN

    def state_spec(self, stage: str) -> Mapping[str, ArraySpec]:
        """Tell which arrays a state of this stage carries."""
        if stage == COUNT:
            return {}
        count = {"class_count": ArraySpec((len(self.problem.classes),), "int64", minimum=0)}
        return {**count, **self._spec()} if stage == FITTED else count

    def contribution_spec(self, stage: str) -> Mapping[str, ArraySpec]:
        """Tell which arrays an answer to this stage carries."""
        if stage == COUNT:
            return self._counts.spec()
        if stage == SHIP:
            return self._spec()
        raise ContributionError(f"the learner has no stage {stage!r}")

    def verify(self, stage: str, contribution: Contribution) -> None:
        """Refuse other than one row of features and one label for each image."""
        if stage != SHIP:
            return
        x, y = contribution.arrays["x"], contribution.arrays["y"]
        if not len(x) == len(y) == contribution.count:
            raise ContributionError(
                f"x, y: {len(x)} rows and {len(y)} labels of {contribution.count} images"
            )
        if len(y) and int(y.max()) >= len(self.problem.classes):
            raise ContributionError(f"y: beyond the {len(self.problem.classes)} classes")

    def contribute(self, data: SiteData, state: State) -> Contribution:
        """Count a site's images, or give their features and labels.

        Raises
        ------
        ContributionError
            At a site with a policy.
        """
        if data.minimum > 1:
            raise ContributionError(
                "knn ships features of single images, and a site with a policy tells nothing over "
                f"fewer than {data.minimum}"
            )
        if state.stage == COUNT:
            return Contribution(len(data), self._counts.sums(data))
        x: NDArray[Any] = np.asarray(data.x, dtype=np.float32)
        arrays: dict[str, NDArray[Any]] = {"x": x, "y": data.y.astype(np.int64)}
        return Contribution(len(data), arrays)

    def update(self, state: State, total: Contribution) -> State:
        """Go on from the class counts."""
        del state
        count = total.arrays["class_count"]
        if np.count_nonzero(count) < 2:
            raise ContributionError("fewer than two classes have training images")
        return State(SHIP, {"class_count": count})

    def merge(self, state: State, parts: Mapping[str, Contribution]) -> State:
        """Put the sites' images under each other, in the order of the sites' names."""
        told = [parts[site].arrays for site in sorted(parts)]
        arrays = {name: np.concatenate([one[name] for one in told]) for name in ("x", "y")}
        count = np.bincount(arrays["y"], minlength=len(self.problem.classes))
        if not np.array_equal(count, state.arrays["class_count"]):
            raise ContributionError("y: other labels than the sites have counted")
        arrays["class_count"] = state.arrays["class_count"]
        check_arrays(arrays, self.state_spec(FITTED))
        return State(FITTED, arrays, done=True)

    def head(self, state: State) -> KnnHead:
        """Make the classifier over the classes that have training images."""
        head = KnnHead(**self.settings.model_dump(exclude={"folds", "ledger"}))
        return head.set_fitted(state.arrays, np.array(self.problem.classes))

    def _spec(self) -> Mapping[str, ArraySpec]:
        dimension = self.problem.dimension
        return {
            "x": ArraySpec((None, dimension), "float32", most=_MOST_IMAGES * dimension),
            "y": ArraySpec((None,), "int64", minimum=0, most=_MOST_IMAGES),
        }


def make_knn(problem: Problem, settings: KnnSettings) -> KnnLearner:
    """Make the learner."""
    return KnnLearner(problem, settings)
