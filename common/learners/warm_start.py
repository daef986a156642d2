"""A fitted model's coefficients as the start of another fit, whose features are scaled anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from common.errors import SettingsError
from common.learners.front import affine_map

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from common.learners.base import Arrays


def carry_over(model: Arrays, fitted: Arrays) -> NDArray[np.float64]:
    """Write a model's scores in another front's features.

    Standardisation carries over exactly; of a projection, what the new components span.

    Parameters
    ----------
    model : mapping of str to ndarray
        A fitted model's arrays.
    fitted : mapping of str to ndarray
        The new front's.

    Returns
    -------
    ndarray of float64, shape (classes, width + 1)
        Coefficients, the intercept last.

    Raises
    ------
    SettingsError
        If either has a kernel map, or they are of other features or classes.
    """
    if {"rff_weight", "landmark"} & (model.keys() | fitted.keys()):
        raise SettingsError("warm start: a kernel map is drawn anew, so nothing carries over")
    if model["mean"].shape != fitted["mean"].shape:
        raise SettingsError("warm start: the model is of features of another dimension")
    if model["class_count"].shape != fitted["class_count"].shape:
        raise SettingsError("warm start: the model is of other classes")
    # Scores of raw features with a trailing 1, then of the new ones.
    raw = np.column_stack([model["coef"], model["intercept"]]) @ affine_map(model)
    spread = raw[:, :-1] * fitted["scale"]
    intercept = raw[:, -1] + raw[:, :-1] @ fitted["mean"]
    if "components" in fitted:
        spread = spread @ fitted["components"].T
    return np.column_stack([spread, intercept])
