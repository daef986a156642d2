"""Median of each entry (Yin et al., ICML 2018, definition 1)."""

from __future__ import annotations

from flwr.serverapp.strategy import FedMedian

from server.strategies.base import Aggregation


class Median(Aggregation, FedMedian):
    """Flower's; sites weigh alike."""
