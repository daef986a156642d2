"""What a site's resamples tell when they are looked at together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from client.site import Site
from client.training.pixels import Pixels
from common.backbones import Backbone
from common.disclosure import EXACT, GUARDED
from common.evaluated import metrics_of_sums
from common.evaluation import check_evaluation, evaluation_sums, statistic_names
from common.metrics import lesion_weights

CLASSES = ("bcc", "mel", "nv")
MODEL = {"coef": np.arange(6.0).reshape(3, 2)}
DRAWS = 200


@pytest.fixture
def site(tiny_backbone: Backbone) -> Site:
    """Ninety test images, each of a lesion of its own."""
    n, rng = 90, np.random.default_rng(0)
    return Site(
        name="dias",
        classes=CLASSES,
        malignant=("mel",),
        backbone=tiny_backbone,
        split_seed=1,
        rows=np.arange(n),
        x=rng.normal(size=(n, 12)).astype(np.float32),
        y=np.arange(n) % 3,
        group=np.array([f"L{i}" for i in range(n)]),
        split=np.array(["test"] * n),
        fold=None,
        kept=np.ones(n, dtype=np.bool_),
        disclosure=GUARDED,
        resample_key=b"a key of this site",
        lesions=n,
        unreadable=(),
        pixels=Pixels((), tiny_backbone.transform),
    )


def _covariances(weights: dict[str, NDArray[np.uint8]]) -> NDArray[np.float64]:
    """Give each image's covariance of its draws in the matrix and in the other statistics."""
    draws = {name: one[1:].astype(float) for name, one in weights.items()}
    matrix = draws["confusion"] - draws["confusion"].mean(axis=0)
    others = [one for name, one in draws.items() if name != "confusion"]
    return np.array([(matrix * one).mean(axis=0) for one in others])


def test_statistics_of_a_guarded_site_do_not_vary_together(site: Site) -> None:
    weights = site.resamples(DRAWS, MODEL)
    assert set(weights) == set(statistic_names(3))
    # A covariance of 0 has a deviation of DRAWS^-1/2; drawn together it would be the variance, 1.
    assert np.abs(_covariances(weights)).max() < 6.0 / np.sqrt(DRAWS)
    together = replace(site, disclosure=EXACT).resamples(DRAWS, MODEL)
    assert _covariances(together).min() > 0.4


def test_asking_again_draws_the_same_and_another_model_draws_anew(site: Site) -> None:
    first, again = site.resamples(DRAWS, MODEL), site.resamples(DRAWS, MODEL)
    changed = site.resamples(DRAWS, {"coef": MODEL["coef"] + 1e-12})
    for name, weights in first.items():
        np.testing.assert_array_equal(weights, again[name])
        assert (weights[1:] != changed[name][1:]).mean() > 0.3


def test_the_lab_draws_as_the_seed_says_whatever_the_model(site: Site) -> None:
    lab = replace(site, disclosure=EXACT)
    expected = lesion_weights(site.group, DRAWS, b"a key of this site")
    for weights in lab.resamples(DRAWS, MODEL).values():
        np.testing.assert_array_equal(weights, expected)


def test_means_over_what_is_drawn_apart_have_a_value_and_no_interval(site: Site) -> None:
    p = 0.2 * np.random.default_rng(1).dirichlet(np.ones(3), 90) + 0.8 * np.eye(3)[site.y]
    ill = np.array([False, True, False])

    def metrics(of: Site) -> dict[str, list[float | None]]:
        weights = of.resamples(DRAWS, MODEL)
        sums = evaluation_sums(of.y, p, of.disclosure, malignant=ill, weights=weights)
        check_evaluation(sums)
        found: dict[str, list[float | None]] = metrics_of_sums(sums, CLASSES, ("mel",))["metrics"]
        return found

    apart, together = metrics(site), metrics(replace(site, disclosure=EXACT))
    for name in ("macro_auc", "brier_score"):
        assert apart[name][0] is not None
        assert apart[name][1:] == [None, None]
        assert None not in together[name]
    for name in ("balanced_accuracy", "accuracy", "malignant_auc", "auc:mel"):
        assert None not in apart[name]
