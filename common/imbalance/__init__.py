"""Imbalance of classes: what a site does to its own training images before it sums over them."""

from common.imbalance.resample import Resampled, resample
from common.imbalance.treatment import KINDS, UNTREATED, Treatment, read_treatment

__all__ = ["KINDS", "UNTREATED", "Resampled", "Treatment", "read_treatment", "resample"]
