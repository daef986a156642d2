"""The learners by name: one file and one line here for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from common.errors import SettingsError
from common.learners.base import CollectiveLearner, Head, Learner, Problem
from common.learners.boosting import make_boosting
from common.learners.boosting_head import BoostingHead
from common.learners.ensemble.balanced_bagging import (
    BalancedBaggingHead,
    BalancedBaggingLearner,
    make_balanced_bagging,
)
from common.learners.ensemble.local_vote import LocalVoteHead, make_local_vote
from common.learners.ensemble.soft_vote import SoftVoteHead, make_soft_vote
from common.learners.ensemble.stack import StackHead, make_stack
from common.learners.federate import federate
from common.learners.forest import ForestHead, make_forest
from common.learners.knn import KnnHead, make_knn
from common.learners.lda import LdaHead, make_lda
from common.learners.linear_head import LinearHead
from common.learners.logistic import LogisticHead, make_logistic
from common.learners.ncm import NearestMeanHead, make_ncm
from common.learners.ridge import RidgeHead, make_ridge
from common.learners.settings import (
    LearnerSettings,
    check_settings,
    parse_assignments,
)
from common.learners.svm import SvmHead, make_svm
from common.learners.tuning.head import TunedHead
from common.learners.tuning.learner import TunedLearner, make_tuned

__all__ = [
    "LEARNERS",
    "LINEAR",
    "SHIPPING",
    "BalancedBaggingHead",
    "BoostingHead",
    "ForestHead",
    "KnnHead",
    "LdaHead",
    "LocalVoteHead",
    "LogisticHead",
    "NearestMeanHead",
    "RidgeHead",
    "SoftVoteHead",
    "StackHead",
    "SvmHead",
    "TunedHead",
    "federate",
    "is_collective",
    "learner_of",
    "make_learner",
    "read_settings",
    "tells_of_parts",
]

# Ensembles are learners of learners: none is a member of another. Any but itself can be tuned.
LEARNERS: Mapping[str, tuple[type[Head], Callable[[Problem, Any], Learner]]] = {
    "ncm": (NearestMeanHead, make_ncm),
    "lda": (LdaHead, make_lda),
    "ridge": (RidgeHead, make_ridge),
    "logistic": (LogisticHead, make_logistic),
    "svm": (SvmHead, make_svm),
    "forest": (ForestHead, make_forest),
    "xgboost": (BoostingHead, make_boosting),
    "soft-vote": (SoftVoteHead, make_soft_vote),
    "stack": (StackHead, make_stack),
    "balanced-bagging": (BalancedBaggingHead, make_balanced_bagging),
    "local-vote": (LocalVoteHead, make_local_vote),
    "tuned": (TunedHead, make_tuned),
}

# Those that ship features of single images are apart: a list of all learners names them not, no
# ensemble and no search is made of them, and no site can allow them.
SHIPPING: Mapping[str, tuple[type[Head], Callable[[Problem, Any], Learner]]] = {
    "knn": (KnnHead, make_knn),
}
_EVERY = {**LEARNERS, **SHIPPING}

# Those whose heads are linear scores of transformed features.
LINEAR: tuple[str, ...] = tuple(
    name for name, (head, _) in LEARNERS.items() if issubclass(head, LinearHead)
)


def make_learner(name: str, problem: Problem, settings: str = "") -> Learner:
    """Make a learner.

    Parameters
    ----------
    name : str
        A key of `LEARNERS` or of `SHIPPING`.
    problem : Problem
        Classes and dimension.
    settings : str
        ``"key=value key=value"``; what is not named has its default.

    Raises
    ------
    SettingsError
        If the learner or a setting is unknown or out of bounds.
    """
    checked = read_settings(name, settings)
    return _EVERY[name][1](problem, checked)


def read_settings(name: str, settings: str) -> LearnerSettings:
    """Read a learner's settings from ``"key=value key=value"``.

    Raises
    ------
    SettingsError
        If the learner or a setting is unknown or out of bounds.
    """
    if name not in _EVERY:
        raise SettingsError(f"learner {name!r} is unknown; choose one of: {', '.join(LEARNERS)}")
    return check_settings(_EVERY[name][0].settings_type, parse_assignments(settings))


def is_collective(name: str, settings: str = "") -> bool:
    """Tell whether some of a learner's answers do not add up.

    Raises
    ------
    SettingsError
        If the learner or a setting is unknown or out of bounds.
    """
    # Of more dimensions than any setting asks for; nothing is fitted.
    anything = Problem(("a", "b"), 2**24, metadata=1)
    return isinstance(make_learner(name, anything, settings), CollectiveLearner)


def tells_of_parts(learner: Learner) -> bool:
    """Tell whether some answer is over parts of a site's images, as a leaf's or a bag's.

    Only where no image comes twice is a part of so many rows one of so many images.
    """
    if isinstance(learner, TunedLearner):
        return any(map(tells_of_parts, learner.learners))
    return isinstance(learner, CollectiveLearner | BalancedBaggingLearner)


def learner_of(head: Head, problem: Problem) -> Learner:
    """Make the learner that fits an estimator, with the estimator's parameters.

    Raises
    ------
    SettingsError
        If a parameter is out of bounds.
    """
    for kind, make in _EVERY.values():
        if isinstance(head, kind):
            # Nothing is held out within a plain fit, so there is nothing to calibrate on.
            settings = check_settings(kind.settings_type, head.get_params()).uncalibrated()
            return make(problem, settings)
    raise SettingsError(f"{type(head).__name__} is the head of no learner")
