"""Every image's prediction, which only a simulation may see, and the exact metrics from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import confusion_matrix, roc_auc_score

from common.errors import ContributionError
from common.evaluated import metrics_of_confusion
from common.split import Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from common.cohort import Cohort
    from common.imbalance import Resampled
    from simulations.site_host import SitePredictions


@dataclass(frozen=True)
class Predictions:
    """All sites' predictions, in the order of the cohort's rows.

    Attributes
    ----------
    rows : ndarray of intp, shape (n,)
        Positions in the cohort; unreadable images are missing.
    client : ndarray of str, shape (n,)
        The simulated site of each image.
    split : ndarray of str, shape (n,)
        Its part of the split.
    probabilities : ndarray of float64, shape (n, classes)
        The model's.
    x : ndarray of float32, shape (n, dimension)
        Features.
    kept : ndarray of bool, shape (n,)
        Images that the sites' disclosure policies let them sum over.
    treated : mapping of str to Resampled
        What sites learn from instead of their training images; empty where there is no treatment.
    """

    rows: NDArray[np.intp]
    client: NDArray[np.str_]
    split: NDArray[np.str_]
    probabilities: NDArray[np.float64]
    x: NDArray[np.float32]
    kept: NDArray[np.bool_]
    treated: Mapping[str, Resampled] = field(default_factory=dict)

    def take(self, member: NDArray[np.bool_]) -> Predictions:
        """Give some of the images."""
        return Predictions(
            self.rows[member],
            self.client[member],
            self.split[member],
            self.probabilities[member],
            self.x[member],
            self.kept[member],
            self.treated,
        )


def gather(parts: list[SitePredictions], split: NDArray[np.str_]) -> Predictions:
    """Put the sites' predictions into the cohort's order.

    Parameters
    ----------
    parts : list of SitePredictions
        One a site.
    split : ndarray of str
        Part of the split of every row of the cohort.
    """
    rows = np.concatenate([part.rows for part in parts])
    order = np.argsort(rows)
    client = np.repeat([part.name for part in parts], [len(part.rows) for part in parts])
    probabilities = np.concatenate([part.probabilities for part in parts])
    x = np.concatenate([part.x for part in parts])
    kept = np.concatenate([part.kept for part in parts])
    rows = rows[order]
    treated = {part.name: part.treated for part in parts if part.treated is not None}
    return Predictions(
        rows, client[order], split[rows], probabilities[order], x[order], kept[order], treated
    )


def exact_metrics(
    y: NDArray[np.intp], probabilities: NDArray[np.float64], classes: tuple[str, ...]
) -> dict[str, Any]:
    """Compute a group's metrics from its predictions, with scikit-learn.

    Parameters
    ----------
    y : ndarray of intp, shape (n,)
        The truth.
    probabilities : ndarray of float64, shape (n, k)
        The largest is the prediction.
    classes : tuple of str, length k
        Class names.

    Returns
    -------
    dict
        As `common.evaluation.metrics_of_confusion`, with the exact AUC.
    """
    labels = np.arange(len(classes))
    if not len(y):
        empty = np.zeros((len(classes), len(classes)), dtype=np.int64)
        return metrics_of_confusion(empty, None, classes)
    confusion = confusion_matrix(y, probabilities.argmax(axis=1), labels=labels)
    aucs = [
        roc_auc_score(y == label, probabilities[:, label])
        for label in labels
        if 0 < (y == label).sum() < len(y)
    ]
    return metrics_of_confusion(confusion, float(np.mean(aucs)) if aucs else None, classes)


def checked_metrics(
    cohort: Cohort, predictions: Predictions, from_sums: dict[str, Any]
) -> dict[str, Any]:
    """Give exact metrics by acquisition site and by simulated site, beside the federation's own.

    Parameters
    ----------
    cohort : Cohort
        As it was read.
    predictions : Predictions
        Of the test images, at least.
    from_sums : dict
        Test metrics of the sites' sums, pooled and by site.

    Raises
    ------
    ContributionError
        If the sites' sums are not those of their predictions.
    """
    test = predictions.split == Split.TEST.value
    y, p = cohort.y[predictions.rows], predictions.probabilities

    def metrics(member: NDArray[np.bool_]) -> dict[str, Any]:
        return exact_metrics(y[test & member], p[test & member], cohort.classes)

    pooled = metrics(np.ones(len(y), dtype=np.bool_))
    site = cohort.site[predictions.rows]
    clients = {name: metrics(predictions.client == name) for name in from_sums["sites"]}
    for name, found in clients.items():
        told = from_sums["sites"][name]
        whole = told["n"] == found["n"] and told["images_withheld"] == 0
        if whole and found["confusion"] != told["confusion"]:
            raise ContributionError(f"site {name}: its sums are not those of its predictions")
    pooled["macro_auc_from_sums"] = from_sums["pooled"]["macro_auc"]
    return {
        "pooled": pooled,
        "sites": {name: metrics(site == name) for name in cohort.sites},
        "clients": clients,
        # What the coordinator alone knows, which in a deployment is all that there is.
        "from_sums": from_sums,
    }
