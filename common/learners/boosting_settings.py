"""Settings of gradient boosting."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from common.learners.settings import ClassWeight, LearnerSettings


class BoostingSettings(LearnerSettings):
    """Settings of gradient boosting.

    Attributes
    ----------
    method : str
        ``bagging`` or ``cyclic``.
    rounds : int
        Rounds of boosting in all.
    at_once : int
        Rounds of boosting between two messages.
    average : str
        Of bagging: ``images`` weighs each site's trees by its images; ``none`` adds them up, so
        that more sites take larger steps.
    eta : float
        Step size.
    max_depth : int
        Of a tree.
    min_child_weight : float
        Least curvature of the loss in a leaf, as XGBoost's.
    reg_lambda : float
        Penalty on what leaves say, as XGBoost's.
    subsample : float
        Share of the images that a tree is grown on.
    colsample : float
        Share of the features that a tree is grown on.
    class_weight : str
        ``balanced`` by the counts over all sites, or ``none``.
    patience : int
        Stop once so many messages in a row have not lowered the loss on the validation images,
        and keep the best; 0 to boost all rounds.
    boost_seed : int
        Seed of the shares.
    """

    method: Literal["bagging", "cyclic"] = "bagging"
    rounds: int = Field(50, ge=1, le=10_000)
    at_once: int = Field(5, ge=1, le=10_000)
    average: Literal["images", "none"] = "images"
    eta: float = Field(0.3, gt=0.0, le=1.0)
    max_depth: int = Field(6, ge=1, le=16)
    min_child_weight: float = Field(1.0, ge=0.0, allow_inf_nan=False)
    reg_lambda: float = Field(1.0, ge=0.0, allow_inf_nan=False)
    subsample: float = Field(1.0, gt=0.0, le=1.0)
    colsample: float = Field(1.0, gt=0.0, le=1.0)
    class_weight: ClassWeight = "balanced"
    patience: int = Field(0, ge=0)
    boost_seed: int = Field(0, ge=0, lt=2**31)
    folds: int = Field(0, ge=0, le=0)
    ledger: Literal[False] = False
