"""What ``result.json`` holds of any run, and the writing of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import RoundError
from common.evaluated import metrics_of_sums
from common.learners.base import Contribution, State
from common.learners.search import Selection
from common.learners.settings import LearnerSettings
from common.learners.total import Total
from common.learners.tuning.scores import Tuning
from common.learners.tuning.settings import TunedSettings
from common.settings import RunSettings
from common.site_info import SiteInfo
from common.versions import package_versions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from server.link import Link

RESULT_FILE = "result.json"
# Where one machine keeps things and what watches the run; a tracking URI may hold a password.
UNTOLD = {"out", "overwrite", "cache", "checkpoint", "tensorboard", "mlflow"}


def config_of(settings: RunSettings) -> dict[str, Any]:
    """Give the settings that a result tells."""
    return settings.model_dump(exclude=UNTOLD)


def describe_run(
    settings: RunSettings,
    link: Link,
    sites: Mapping[str, Mapping[str, Any]],
    seconds: dict[str, float],
    selection: dict[str, Any] | None,
) -> dict[str, Any]:
    """Give what a result holds besides the run's own numbers.

    Parameters
    ----------
    settings : RunSettings
        The run.
    link : Link
        After the run: what went over the wire, and who was left out.
    sites : mapping of str to mapping
        The fields of `SiteInfo` of each site that the model is made of.
    seconds : dict of str to float
        Wall-clock time of each phase.
    selection : dict or None
        From `selection_of`.
    """
    traffic = link.traffic
    return {
        "config": config_of(settings),
        "rounds": traffic.rounds,
        "stages": traffic.stages,
        "bytes_up": traffic.bytes_up,
        "bytes_down": traffic.bytes_down,
        "seconds": seconds,
        "partition": {
            "sites": len(sites),
            "images": {site: info["images"] for site, info in sites.items()},
            "lesions": {site: info["lesions"] for site, info in sites.items()},
            "left_out": dict(link.left_out),
            "withheld": {site: list(info["withheld"]) for site, info in sites.items()},
        },
        "selection": selection,
        "versions": package_versions(),
    }


def write_result(folder: Path, result: Mapping[str, Any]) -> None:
    """Write ``result.json``; a number that is not finite is an error, not a result."""
    text = json.dumps(result, indent=2, allow_nan=False)
    (folder / RESULT_FILE).write_text(text + "\n", encoding="utf-8")


def pooled_and_by_site(results: dict[str, Contribution], task: SiteInfo) -> dict[str, Any]:
    """Derive the metrics of evaluation sums, of all sites together and of each.

    Raises
    ------
    RoundError
        If there are none.
    """
    if not results:
        raise RoundError("evaluation: no site answered")
    pooled = Total()
    for sums in results.values():
        pooled.add(sums)

    def metrics(sums: Contribution) -> dict[str, Any]:
        return metrics_of_sums(sums, task.classes, task.malignant)

    return {
        "pooled": metrics(pooled.value()),
        "sites": {name: metrics(sums) for name, sums in results.items()},
    }


def selection_of(state: State, settings: LearnerSettings) -> dict[str, Any] | None:
    """Give the results of a search as ``result.json`` holds them, None where there was none.

    Values are numbers of one setting, or the settings of tuning's candidates as text.

    Parameters
    ----------
    state : State
        The learner's last.
    settings : LearnerSettings
        The learner's.
    """
    if isinstance(settings, TunedSettings):
        found = Tuning.of(state, settings)
        sign = -1.0 if found.metric == "log_loss" else 1.0
        return {
            "values": list(found.candidates),
            found.metric: (sign * found.mean).tolist(),
            "standard_error": found.standard_error.tolist(),
            "folds": _of_folds(sign * found.scores),
            "chosen": found.candidates[found.chosen],
        }
    selection = Selection.of(state)
    if selection is None:
        return None
    return {
        "values": selection.values.tolist(),
        "balanced_accuracy": selection.mean.tolist(),
        "standard_error": selection.standard_error.tolist(),
        "folds": _of_folds(selection.scores),
        "chosen": selection.value,
    }


def _of_folds(scores: NDArray[np.float64]) -> list[list[float | None]]:
    return [[None if np.isnan(x) else x for x in row] for row in scores.tolist()]


@contextmanager
def timed(seconds: dict[str, float], phase: str) -> Iterator[None]:
    """Measure the body's wall-clock time."""
    start = time.perf_counter()
    yield
    seconds[phase] = round(time.perf_counter() - start, 3)
