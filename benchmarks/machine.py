"""What a figure was measured on, and where figures are kept."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from common.features import cores
from common.versions import package_versions

RESULTS = Path(__file__).parent / "results"


def processor() -> str:
    """Name the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def describe() -> dict[str, Any]:
    """Describe the machine and the packages."""
    return {"processor": processor(), "cores": cores(), "versions": package_versions()}


def seconds(work: Callable[[], object], repeats: int) -> list[float]:
    """Time a piece of work several times, after one warm-up."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return times


def median(values: list[float]) -> float:
    """Take the median."""
    return float(np.median(values))


def write(name: str, result: dict[str, Any]) -> None:
    """Keep a result as ``benchmarks/results/<name>.json`` and print it."""
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({"machine": describe(), **result}, indent=2)
    (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    print(text)
