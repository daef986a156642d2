"""The metrics by name, with what they mean: one line here for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# Names of one class's metric are "name:class".
SEPARATOR = ":"


@dataclass(frozen=True)
class Metric:
    """A metric.

    Attributes
    ----------
    title : str
        For people.
    meaning : str
        One sentence.
    higher_is_better : bool
        Which way is good.
    """

    title: str
    meaning: str
    higher_is_better: bool = True


_OF_A_CLASS = "one class against all others"

CATALOGUE: Mapping[str, Metric] = {
    "balanced_accuracy": Metric(
        "balanced accuracy", "mean sensitivity over the classes that the group has images of"
    ),
    "accuracy": Metric("accuracy", "share of images predicted right"),
    "macro_specificity": Metric(
        "macro specificity", "mean specificity over the classes that the group has images of"
    ),
    "macro_f1": Metric("macro F1", "mean F1 over the classes that the group has images of"),
    "macro_auc": Metric(
        "macro AUC", "mean one-versus-rest area under the ROC curve over the classes at hand"
    ),
    "malignant_auc": Metric(
        "malignant AUC", "area under the ROC curve of the malignant classes' probability together"
    ),
    "malignant_sensitivity": Metric(
        "malignant sensitivity", "share of malignant images predicted as any malignant class"
    ),
    "malignant_specificity": Metric(
        "malignant specificity", "share of benign images predicted as any benign class"
    ),
    "calibration_error": Metric(
        "calibration error",
        "mean gap between confidence and accuracy, in 15 bins; too high where images are few",
        higher_is_better=False,
    ),
    "brier_score": Metric(
        "Brier score",
        "mean squared distance of probabilities and truth, from 0 to 2",
        higher_is_better=False,
    ),
    "area_under_risk": Metric(
        "area under risk-coverage",
        "mean error rate over all shares of surest images",
        higher_is_better=False,
    ),
    "sensitivity": Metric("sensitivity", f"share of a class's images found: {_OF_A_CLASS}"),
    "specificity": Metric("specificity", f"share of other images not called so: {_OF_A_CLASS}"),
    "f1": Metric("F1", f"harmonic mean of sensitivity and precision: {_OF_A_CLASS}"),
    "auc": Metric("AUC", f"area under the ROC curve: {_OF_A_CLASS}"),
    "sensitivity_at_95": Metric(
        "sensitivity at 95% specificity",
        "highest sensitivity of a threshold that calls at most 5% of other images so",
    ),
}


def describe(name: str) -> Metric:
    """Look a metric up by its name, with or without a class.

    Raises
    ------
    KeyError
        If there is no such metric.
    """
    base, _, label = name.partition(SEPARATOR)
    metric = CATALOGUE[base]
    if not label:
        return metric
    return Metric(f"{metric.title} of {label}", metric.meaning, metric.higher_is_better)
