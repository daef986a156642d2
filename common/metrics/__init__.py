"""Metrics of a classifier with intervals, from predictions or from sums of sites."""

from common.metrics.catalogue import CATALOGUE, Metric, describe
from common.metrics.interval import Interval, make_interval
from common.metrics.lesion_weights import lesion_weights, seed_key
from common.metrics.measure import Measured, average, measure, measure_sums
from common.metrics.statistics import Histogram, Statistics, image_statistics

__all__ = [
    "CATALOGUE",
    "Histogram",
    "Interval",
    "Measured",
    "Metric",
    "Statistics",
    "average",
    "describe",
    "image_statistics",
    "lesion_weights",
    "make_interval",
    "measure",
    "measure_sums",
    "seed_key",
]
