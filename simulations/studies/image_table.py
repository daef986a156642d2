"""What the evaluation knows of every image, with the resamples of their lesions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from common.metrics import lesion_weights, seed_key

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from common.cohort import Cohort


@dataclass(frozen=True)
class ImageTable:
    """The images of a lab's cohort.

    Attributes
    ----------
    classes, malignant : tuple of str
        All classes, and the malignant ones.
    y : ndarray of intp, shape (n,)
        Labels.
    lesion : ndarray of str, shape (n,)
        Lesion ids, to count.
    cluster : ndarray of intp, shape (n,)
        Each image's group of joined lesions, as a column of `weights`.
    weights : ndarray of uint8, shape (1 + draws, clusters)
        From `common.metrics.lesion_weights`.
    groupings : mapping of str to ndarray of str, shape (n,)
        By name of `simulations.studies.groups`.
    """

    classes: tuple[str, ...]
    malignant: tuple[str, ...]
    y: NDArray[np.intp]
    lesion: NDArray[np.str_]
    cluster: NDArray[np.intp]
    weights: NDArray[np.uint8]
    groupings: Mapping[str, NDArray[np.str_]]


def make_image_table(
    cohort: Cohort, groupings: Mapping[str, NDArray[np.str_]], *, draws: int, seed: int
) -> ImageTable:
    """Make the table of a cohort.

    Parameters
    ----------
    cohort : Cohort
        The images.
    groupings : mapping of str to ndarray of str, shape (n,)
        Each image's group.
    draws : int
        Resamples.
    seed : int
        Of the resamples.
    """
    clusters, cluster = np.unique(cohort.group, return_inverse=True)
    return ImageTable(
        classes=cohort.classes,
        malignant=cohort.malignant,
        y=cohort.y,
        lesion=cohort.lesion,
        cluster=cluster.reshape(-1),
        weights=lesion_weights(clusters, draws, seed_key(seed)),
        groupings=groupings,
    )
