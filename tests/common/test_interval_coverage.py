"""Intervals by lesion on simulated lesions with several images, of which the truth is known."""

from __future__ import annotations

import math

import pytest

from benchmarks.coverage import Coverage, Scenario, simulate
from benchmarks.lesion_cohorts import truth

# What is biased (calibration error), and percentiles of gaps, are told in benchmarks/README.md.
MAIN = (
    *("accuracy", "balanced_accuracy", "macro_f1", "macro_auc", "malignant_auc", "brier_score"),
    *("sensitivity:a", "auc:a", "area_under_risk", "worse model", "equal model"),
    *("gap, harder site", "gap, equal site"),
)
COHORTS = 1000


def test_an_interval_by_lesion_is_wider_than_one_by_image() -> None:
    found = simulate(Scenario(3, 60, 10), truth(3, 2000, 1), draws=150)
    ratios = {name: found.width(name) / found.width(name, "image") for name in MAIN}
    assert min(ratios.values()) > 1.05, ratios


@pytest.fixture(scope="module")
def thirty_lesions() -> Coverage:
    return simulate(Scenario(3, 30, COHORTS), truth(3, 50_000, 4))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("metric", MAIN)
def test_it_holds_the_truth_in_93_to_97_of_100_cohorts(
    thirty_lesions: Coverage, metric: str
) -> None:
    covered = thirty_lesions.covered(metric)
    slack = 2.5 * math.sqrt(0.95 * 0.05 / COHORTS)
    assert 0.93 - slack <= covered <= 0.97 + slack


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("metric", MAIN)
def test_by_image_it_holds_the_truth_too_rarely(thirty_lesions: Coverage, metric: str) -> None:
    assert thirty_lesions.covered(metric, "image") < 0.92
    assert thirty_lesions.covered(metric, "image") < thirty_lesions.covered(metric)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_equal_models_are_said_to_differ_in_5_of_100_cohorts(thirty_lesions: Coverage) -> None:
    assert thirty_lesions.claims == pytest.approx(0.05, abs=0.025)
