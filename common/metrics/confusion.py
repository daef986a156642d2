"""Metrics of a confusion matrix; what has no image to be measured on is NaN, never zero."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from common.metrics.divide import divide

if TYPE_CHECKING:
    from numpy.typing import NDArray


def class_metrics(confusion: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Compute each class's sensitivity, specificity and F1, one class against the rest.

    Parameters
    ----------
    confusion : ndarray, shape (r, k, k)
        Rows the truth.

    Returns
    -------
    dict of str to ndarray of float64, shape (r, k)
        ``sensitivity`` (recall), ``specificity``, ``f1``. Of a class without images sensitivity
        and F1 are NaN; specificity, where all images are the class's own.
    """
    right = np.diagonal(confusion, axis1=1, axis2=2)
    own, called = confusion.sum(axis=2), confusion.sum(axis=1)
    others = own.sum(axis=1, keepdims=True) - own
    has = own > 0
    return {
        "sensitivity": divide(right, own),
        "specificity": divide(others - (called - right), others),
        "f1": np.where(has, divide(2 * right, own + called), np.nan),
    }


def accuracy(confusion: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the share of images predicted right, shape (r,); NaN without images."""
    return divide(np.trace(confusion, axis1=1, axis2=2), confusion.sum(axis=(1, 2)))


def binary_rates(
    confusion: NDArray[np.float64], positive: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute sensitivity and specificity of "one of the positive classes".

    Parameters
    ----------
    confusion : ndarray, shape (r, k, k)
        Rows the truth.
    positive : ndarray of bool, shape (k,)
        The classes that count as positive, in truth as in prediction.

    Returns
    -------
    sensitivity, specificity : ndarray of float64, shape (r,)
        NaN where there is no image to measure on.
    """
    ill, well = confusion[:, positive], confusion[:, ~positive]
    return (
        divide(ill[:, :, positive].sum(axis=(1, 2)), ill.sum(axis=(1, 2))),
        divide(well[:, :, ~positive].sum(axis=(1, 2)), well.sum(axis=(1, 2))),
    )
