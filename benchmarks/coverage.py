"""How often an interval holds the truth, and how wide it is: by lesion, and naively by image.

Cohorts are simulated (`benchmarks/lesion_cohorts.py`), so that the truth of each metric is known:
its mean over a million lesions. Of each cohort the intervals are made as for any result, from
`lesion_weights` and `make_interval`, once with the lesion as the unit that is resampled, and once
with the image. A 95% interval should hold the truth in 95 of 100 cohorts.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import typer
from numpy.typing import NDArray

from benchmarks.lesion_cohorts import (
    INTRACLASS,
    OVERALL,
    SITES,
    SIZES,
    class_names,
    draw_sites,
    resample,
    truth,
    values_of,
)
from benchmarks.machine import write
from common.features import cores
from common.metrics import Interval, describe, make_interval
from common.metrics.interval import two_sided_p
from common.metrics.spread_interval import spread_intervals
from common.one_thread import one_blas_thread

DRAWS = 400
_TITLES = {
    **{name: describe(name).title for name in OVERALL},
    "worse model": "balanced accuracy minus that of a worse model, paired",
    "equal model": "balanced accuracy minus that of a model as good, paired",
    "gap, harder site": "gap in balanced accuracy to a harder site",
    "gap, equal site": "gap in balanced accuracy to a site as hard",
    "percentiles of the gap, harder site": "the same with percentiles, harder site",
    "percentiles of the gap, equal site": "the same with percentiles, site as hard",
}
UNITS = ("lesion", "image")
_ALPHA = 0.05


@dataclass(frozen=True)
class Scenario:
    """So many cohorts of k classes, of so many lesions a class on average at each site."""

    classes: int
    lesions: int
    cohorts: int

    @property
    def title(self) -> str:
        """Name the scenario in a table."""
        return f"{self.classes} x {self.lesions}"


FULL = (
    Scenario(3, 30, 1000),
    Scenario(3, 60, 1000),
    Scenario(3, 200, 1000),
    Scenario(7, 30, 1000),
    Scenario(7, 60, 1000),
)
QUICK = (Scenario(3, 30, 300), Scenario(7, 30, 100))


@dataclass(frozen=True)
class Coverage:
    """What became of a scenario's intervals.

    Attributes
    ----------
    truth : mapping of str to float
        By metric.
    intervals : mapping of str to ndarray of float64, shape (cohorts, 2, 2)
        Low and high, by unit that is resampled and metric; NaN for none.
    claims : float
        Share of cohorts in which two models that are equally good differ by p <= 0.05.
    """

    truth: dict[str, float]
    intervals: dict[str, NDArray[np.float64]]
    claims: float

    def covered(self, metric: str, unit: str = "lesion") -> float:
        """Tell the share of intervals that hold the truth."""
        low, high = self._ends(metric, unit)
        return float(np.mean((low <= self.truth[metric]) & (self.truth[metric] <= high)))

    def missed(self, metric: str, unit: str = "lesion") -> tuple[float, float]:
        """Tell the shares of intervals that lie above the truth, and below it."""
        low, high = self._ends(metric, unit)
        return float(np.mean(low > self.truth[metric])), float(np.mean(high < self.truth[metric]))

    def width(self, metric: str, unit: str = "lesion") -> float:
        """Tell the mean width."""
        low, high = self._ends(metric, unit)
        return float(np.mean(high - low))

    def _ends(self, metric: str, unit: str) -> NDArray[np.float64]:
        ends: NDArray[np.float64] = self.intervals[metric][:, UNITS.index(unit)].T
        return ends


def simulate(
    scenario: Scenario, known: dict[str, float], processes: int = 1, draws: int = DRAWS
) -> Coverage:
    """Make the intervals of all cohorts of a scenario.

    Parameters
    ----------
    scenario : Scenario
        Which.
    known : dict of str to float
        Its truth, from `benchmarks.lesion_cohorts.truth`.
    processes : int
        How many work side by side.
    draws : int
        Resamples of each cohort.
    """
    work = [(scenario, index, draws) for index in range(scenario.cohorts)]
    if processes == 1:
        found = [_intervals(*one) for one in work]
    else:
        with ProcessPoolExecutor(processes) as pool:
            found = list(pool.map(_intervals, *zip(*work, strict=True), chunksize=10))
    gaps = {name: known["first"] - known[site] for name, site in SITES.items()}
    return Coverage(
        truth={
            **known,
            **{f"gap, {name}": abs(gap) for name, gap in gaps.items()},
            **{f"percentiles of the gap, {name}": abs(gap) for name, gap in gaps.items()},
        },
        intervals={name: np.array([one[name] for one, _ in found]) for name in found[0][0]},
        claims=float(np.mean([p <= _ALPHA for _, p in found])),
    )


def _intervals(
    scenario: Scenario, index: int, draws: int
) -> tuple[dict[str, list[list[float]]], float]:
    """Make one cohort's intervals, by both units, and test the two equal models."""
    rng = np.random.default_rng([scenario.classes, scenario.lesions, index])
    sites = draw_sites(rng, scenario.lesions * scenario.classes, scenario.classes)
    found: dict[str, list[list[float]]] = {}
    p = None
    for unit in UNITS:
        weights = resample(sites, draws, b"%d" % index, by_lesion=unit == "lesion")
        with one_blas_thread():
            values, by_site = values_of(sites, scenario.classes, weights)
        intervals = {name: make_interval(one) for name, one in values.items()}
        for name, site in SITES.items():
            pair = {"first": by_site["first"], site: by_site[site]}
            band = spread_intervals(pair)
            assert band is not None  # noqa: S101  # both sites have every class
            intervals[f"gap, {name}"] = band.gap
            gap = np.abs(by_site["first"] - by_site[site])
            intervals[f"percentiles of the gap, {name}"] = make_interval(gap)
        for name, one in intervals.items():
            found.setdefault(name, []).append(_ends(one))
        p = two_sided_p(values["equal model"]) if unit == "lesion" else p
    return found, 1.0 if p is None else p


def _ends(one: Interval) -> list[float]:
    return [np.nan if end is None else end for end in (one.low, one.high)]


def rows_of(scenario: Scenario, found: Coverage) -> Iterable[dict[str, Any]]:
    """Give the figures of each metric, for the file."""
    for metric in found.intervals:
        above, below = found.missed(metric)
        yield {
            "classes": scenario.classes,
            "lesions_a_class": scenario.lesions,
            "cohorts": scenario.cohorts,
            "metric": metric,
            "truth": round(found.truth[metric], 4),
            "coverage": round(found.covered(metric), 4),
            "interval_above_truth": round(above, 4),
            "interval_below_truth": round(below, 4),
            "width": round(found.width(metric), 4),
            "naive_coverage": round(found.covered(metric, "image"), 4),
            "naive_width": round(found.width(metric, "image"), 4),
        }


def markdown(found: dict[Scenario, Coverage]) -> str:
    """Write the table: coverage in percent, by lesion and (by image), and the ratio of widths."""
    head = [f"{one.title}" for one in found]
    lines = [
        f"| | {' | '.join(head)} | width, by lesion / by image |",
        "|---" * (len(head) + 2) + "|",
    ]
    for metric in next(iter(found.values())).intervals:
        cells = [
            f"**{100 * one.covered(metric):.1f}** ({100 * one.covered(metric, 'image'):.1f})"
            for one in found.values()
        ]
        ratios = [one.width(metric) / one.width(metric, "image") for one in found.values()]
        widths = f"{min(ratios):.2f} to {max(ratios):.2f}"
        lines.append(f"| {_TITLES.get(metric, metric)} | {' | '.join(cells)} | {widths} |")
    return "\n".join(lines)


def main(*, quick: bool = False, processes: int = 0) -> None:
    """Measure all scenarios; with QUICK, two small ones, which are printed and not kept."""
    scenarios = QUICK if quick else FULL
    parts = 5 if quick else 20
    known = {k: truth(k, 50_000, parts) for k in sorted({one.classes for one in scenarios})}
    found = {one: simulate(one, known[one.classes], processes or cores()) for one in scenarios}
    if not quick:
        write(
            "coverage",
            {
                "reference": "the same intervals with the image as the unit that is resampled",
                "level": 0.95,
                "draws": DRAWS,
                "intraclass_correlation": INTRACLASS,
                "lesions_with_1_to_6_images": SIZES,
                "lesions_for_the_truth": 50_000 * parts,
                "classes": {one.title: class_names(one.classes) for one in scenarios},
                "claims_of_equal_models": {
                    scenario.title: round(one.claims, 4) for scenario, one in found.items()
                },
                "rows": [row for scenario, one in found.items() for row in rows_of(scenario, one)],
            },
        )
    print("\n" + markdown(found))
    claims = ", ".join(f"{one.title}: {100 * found[one].claims:.1f}%" for one in found)
    print(f"\nEqual models said to differ (p <= {_ALPHA}): {claims}")


if __name__ == "__main__":
    command_line = typer.Typer(pretty_exceptions_show_locals=False, add_completion=False)
    command_line.command()(main)
    command_line()
