"""The documented bootstrap in plain loops, for any metric of the reader's program."""

from __future__ import annotations

from hashlib import shake_128

import numpy as np
from scipy.stats import norm, poisson, skew

from tests.simulations.report.recompute import Rows, metric

MEANS = {"balanced_accuracy": "sensitivity", "macro_f1": "f1", "macro_auc": "auc"}
_LIMITS = [round(float(poisson.cdf(count, 1.0)) * 2**32) for count in range(17)]


def copies(cluster: str, seed: int, draws: int) -> list[int]:
    """Give how often a lesion counts in each resample: Poisson by a keyed hash of its id."""
    key = f"dermafed:{seed}".encode()
    digest = shake_128(len(key).to_bytes(4, "big") + key + cluster.encode()).digest(4 * draws)
    words = [int.from_bytes(digest[at : at + 4], "big") for at in range(0, 4 * draws, 4)]
    return [sum(word >= limit for limit in _LIMITS) for word in words]


def resampled(
    rows: Rows, name: str, malignant: list[str], draws: int, seed: int = 0
) -> tuple[float | None, float | None]:
    """Give the ends of a metric's interval: each image is written down as often as it counts."""
    clusters = rows.column("cluster")
    table = {one: copies(one, seed, draws) for one in sorted(set(clusters.tolist()))}
    present = [label for label in rows.classes if label in set(rows.y.tolist())]
    values = []
    for draw in range(draws):
        times = [table[one][draw] for one in clusters.tolist()]
        drawn = Rows(rows.table, rows.classes, np.repeat(rows.index, times))
        if name in MEANS:
            of_class = [metric(drawn, f"{MEANS[name]}:{label}", malignant) for label in present]
            value = float(np.mean(of_class))
        else:
            value = metric(drawn, name, malignant)
        if not np.isnan(value):
            values.append(value)
    if len(values) < max(2, draws / 10):
        return None, None
    # Efron 1987: percentiles at Phi(z / (1 - a z)), a being a sixth of the skewness.
    a = float(skew(values)) / 6.0 if np.ptp(values) else 0.0
    z = float(norm.ppf(0.975))
    low, high = np.quantile(values, norm.cdf([-z / (1.0 + a * z), z / (1.0 - a * z)]))
    return float(low), float(high)
