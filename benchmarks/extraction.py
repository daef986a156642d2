"""Feature extraction against the plain PyTorch eager loop, from image files to features.

Reference: the same weights as trained (BatchNorm apart, contiguous layout), Pillow in the same
process, batches of 32, all cores. The machine's float32 matrix-product limit is measured beside
both, since a network's multiply-adds cannot go faster.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import typer

from benchmarks.machine import median, seconds, write
from common.backbones import get_backbone
from common.backbones.packaged_lite import load_unfolded
from common.cohort import load_cohort
from common.feature_cache import FeatureCache
from common.features import cores, extract
from common.sources.embedded import embedded_cohort

_BATCH = 32
# Multiply-adds of EfficientNet-Lite0 at 224 x 224, counted as two operations each.
_GFLOP_PER_IMAGE = 0.77


def eager(paths: list[Path]) -> np.ndarray:
    """Extract features as a first PyTorch script would."""
    backbone = get_backbone("efficientnet_lite0")
    network, transform = load_unfolded(backbone.name), backbone.transform
    features = []
    with torch.no_grad():
        for start in range(0, len(paths), _BATCH):
            images = [transform.pixels(p.read_bytes(), p) for p in paths[start : start + _BATCH]]
            x = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
            features.append(network(transform.normalise(x.float() / 255)).numpy())
    return np.concatenate(features)


def ours(paths: list[Path]) -> np.ndarray:
    """Extract features with an empty cache."""
    backbone = get_backbone("efficientnet_lite0")
    with tempfile.TemporaryDirectory() as folder:
        return extract(paths, backbone, FeatureCache(Path(folder), backbone)).x


def matrix_product_gflops() -> float:
    """Measure the machine's float32 matrix product, in GFLOP/s."""
    a = torch.randn(2048, 2048)
    return 2 * 2048**3 / 1e9 / median(seconds(lambda: a @ a, repeats=5))


def main(cohort: Path | None = None, images: int = 800, repeats: int = 3) -> None:
    """Measure; COHORT is the embedded one if absent."""
    with tempfile.TemporaryDirectory() as folder:
        where = cohort or embedded_cohort(Path(folder), lambda _done, _total: None)
        paths = list(load_cohort(where).path[:images])
        torch.set_num_threads(cores())
        difference = float(np.abs(eager(paths[:64]) - ours(paths[:64])).max())
        ratios, slow, fast = [], [], []
        for _ in range(repeats):
            # In turn, so that a drift of the machine's speed hits both.
            start = time.perf_counter()
            eager(paths)
            middle = time.perf_counter()
            ours(paths)
            end = time.perf_counter()
            slow.append(len(paths) / (middle - start))
            fast.append(len(paths) / (end - middle))
            ratios.append((middle - start) / (end - middle))
        limit = matrix_product_gflops()
    write(
        "extraction",
        {
            "images": len(paths),
            "repeats": repeats,
            "reference": f"PyTorch eager, batch {_BATCH}, all cores, images per second",
            "reference_images_per_second": round(median(slow), 1),
            "images_per_second": round(median(fast), 1),
            "ratio_median": round(median(ratios), 2),
            "ratio_min": round(min(ratios), 2),
            "ratio_max": round(max(ratios), 2),
            "largest_feature_difference": difference,
            "matrix_product_gflops": round(limit, 1),
            "matrix_product_limit_images_per_second": round(limit / _GFLOP_PER_IMAGE, 1),
        },
    )


if __name__ == "__main__":
    typer.run(main)
