"""Simulated predictions on lesions with several images, of which the truth of each metric is known.

A lesion's class is drawn from equally likely ones, so that the number of lesions of a class varies
from cohort to cohort; each lesion has 1 to 6 images. The score of each class is normal noise, of
which `INTRACLASS` of the variance is the lesion's and shared by its images, plus a signal for the
lesion's own class. Some classes are easier than others. The truth of a metric is its value in the
population of all such images: the limit of a single cohort with ever more lesions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from common.metrics import lesion_weights, measure
from common.metrics.confusion import class_metrics

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = dict[str, NDArray[np.float64]]

# Share of the noise's variance that images of a lesion have in common.
INTRACLASS = 0.6
# Of lesions with 1 to 6 images: 2.2 images on average.
SIZES = (0.5, 0.2, 0.12, 0.08, 0.06, 0.04)
_SIGNAL = (1.6, 2.6)
_SHARPNESS = 1.3
# How much weaker the signal is at the harder site.
_HARDER = 0.5
# Variances of the noise that all models share, and of each model's own.
_SHARED, _OWN, _WORSE = 0.8, 0.2, 0.6

OVERALL = (
    *("accuracy", "balanced_accuracy", "macro_f1", "macro_auc", "malignant_auc"),
    *("sensitivity:a", "auc:a", "brier_score", "area_under_risk", "calibration_error"),
)
MODELS = {"worse model": "b", "equal model": "c"}
SITES = {"harder site": "harder", "equal site": "equal"}


@dataclass(frozen=True)
class Images:
    """Predictions of three models on the images of one site.

    Attributes
    ----------
    lesion, y : ndarray of intp, shape (n,)
        Each image's lesion and class.
    probabilities : ndarray of float64, shape (n, k)
        Of the model of which all metrics are measured.
    predicted : mapping of str to ndarray of intp, shape (n,)
        Of this model, ``a``, of a worse one, ``b``, and of one as good as it, ``c``.
    """

    lesion: NDArray[np.intp]
    y: NDArray[np.intp]
    probabilities: NDArray[np.float64]
    predicted: Mapping[str, NDArray[np.intp]]


def class_names(k: int) -> tuple[str, ...]:
    """Name k classes."""
    return tuple("abcdefg"[:k])


def draw_images(rng: np.random.Generator, lesions: int, k: int, harder: float = 0.0) -> Images:
    """Draw so many lesions of k classes, with a signal weaker by so much."""
    lesion = np.repeat(np.arange(lesions), rng.choice(len(SIZES), lesions, p=SIZES) + 1)
    y = rng.integers(0, k, lesions)[lesion]
    n = len(y)

    def noise(variance: float) -> NDArray[np.float64]:
        of_lesion = rng.standard_normal((lesions, k))[lesion]
        of_image = rng.standard_normal((n, k))
        mixed = np.sqrt(INTRACLASS) * of_lesion + np.sqrt(1.0 - INTRACLASS) * of_image
        scaled: NDArray[np.float64] = np.sqrt(variance) * mixed
        return scaled

    common = noise(_SHARED)
    common[np.arange(n), y] += np.linspace(*_SIGNAL, k)[y] - harder
    a, b, c = (common + noise(variance) for variance in (_OWN, _WORSE, _OWN))
    odds = np.exp(_SHARPNESS * (a - a.max(axis=1, keepdims=True)))
    return Images(
        lesion=lesion,
        y=y,
        probabilities=odds / odds.sum(axis=1, keepdims=True),
        predicted={"a": a.argmax(axis=1), "b": b.argmax(axis=1), "c": c.argmax(axis=1)},
    )


def draw_sites(rng: np.random.Generator, lesions: int, k: int) -> dict[str, Images]:
    """Draw a site, a harder one, and one that is in truth as hard as the first."""
    return {
        "first": draw_images(rng, lesions, k),
        "harder": draw_images(rng, lesions, k, _HARDER),
        "equal": draw_images(rng, lesions, k),
    }


def values_of(
    sites: Mapping[str, Images], k: int, weights: Mapping[str, NDArray[np.uint8]]
) -> tuple[Values, Values]:
    """Measure the first site and compare it.

    Returns
    -------
    values : dict of str to ndarray of float64, shape (r,)
        `OVERALL` of the first site, and its balanced accuracy minus that of the other models.
    by_site : dict of str to ndarray of float64, shape (r,)
        The balanced accuracy at each site.
    """
    first = sites["first"]
    malignant = class_names(k)[1 : 2 + k // 4]
    measured = measure(
        first.y,
        first.predicted["a"],
        first.probabilities,
        class_names(k),
        malignant,
        weights["first"],
    ).values()
    by_site = {name: _balanced(one, "a", k, weights[name]) for name, one in sites.items()}
    values = {name: measured[name] for name in OVERALL}
    for name, model in MODELS.items():
        values[name] = by_site["first"] - _balanced(first, model, k, weights["first"])
    return values, by_site


def resample(
    sites: Mapping[str, Images], draws: int, key: bytes, *, by_lesion: bool
) -> dict[str, NDArray[np.uint8]]:
    """Draw the weights of each site's images: lesions at a time, or, naively, images."""
    return {
        name: lesion_weights(
            [f"{name}-{i}" for i in (one.lesion if by_lesion else range(len(one.lesion)))],
            draws,
            key,
        )
        for name, one in sites.items()
    }


def _balanced(
    images: Images, model: str, k: int, weights: NDArray[np.uint8]
) -> NDArray[np.float64]:
    cells = np.zeros((len(images.y), k * k))
    cells[np.arange(len(images.y)), images.y * k + images.predicted[model]] = 1.0
    confusion = (weights.astype(np.float64) @ cells).reshape(-1, k, k)
    mean: NDArray[np.float64] = class_metrics(confusion)["sensitivity"].mean(axis=1)
    return mean


def truth(k: int, lesions: int, parts: int, seed: int = 2**32) -> dict[str, float]:
    """Tell the truth of each metric from so many parts of so many lesions each."""
    found: dict[str, list[float]] = {}
    for rng in (np.random.default_rng([seed, k, part]) for part in range(parts)):
        sites = draw_sites(rng, lesions, k)
        once = {name: np.ones((1, len(one.y)), np.uint8) for name, one in sites.items()}
        values, by_site = values_of(sites, k, once)
        for name, value in {**values, **by_site}.items():
            found.setdefault(name, []).append(float(value[0]))
    means = {name: float(np.mean(value)) for name, value in found.items()}
    # Known without a simulation.
    means["equal model"], means["equal"] = 0.0, means["first"]
    return means
