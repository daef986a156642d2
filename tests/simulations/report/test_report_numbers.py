"""Every number on the page can be recomputed by a reader, from predictions.csv alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from tests.simulations.report.recompute import (
    Rows,
    cell_rows,
    confusion,
    interval,
    metric,
    read,
    reliability,
    risk,
)
from tests.simulations.report.report_run import CLASSES, DRAWS
from tests.simulations.report.shown_numbers import Number, shown_numbers

# As the page's method tells, for seed 0.
KEY = b"dermafed:0"
MALIGNANT = ["akiec", "bcc", "mel"]
LOWER_IS_BETTER = ("calibration_error", "brier_score", "area_under_risk")
STUDIES = (
    *("leave-one-site-out", "cross-site", "heterogeneity", "fairness", "learning-curve"),
    *("simulate", "compare"),
)
RunFolder = Callable[..., Path]


class Reader:
    """Recomputes numbers of one run, each once."""

    def __init__(self, run: Path) -> None:
        self.table = read(run, list(CLASSES))
        self.cell = cache(self._cell)
        self.metric = cache(self._metric)

    def _cell(self, learner: str, model: str, condition: str, by: str, group: str) -> Rows:
        return cell_rows(self.table, learner, model, condition, by, group)

    def _metric(
        self, learner: str, model: str, condition: str, by: str, group: str, name: str
    ) -> float:
        return metric(self.cell(learner, model, condition, by, group), name, MALIGNANT)

    def value(self, number: Number) -> float:
        kind = number.get("kind")
        if kind in ("worst", "gap", "ratio", "deviation"):
            return self._spread(number, kind)
        if kind == "mistake":
            return self._mistake(number)
        names = ("learner", "model", "condition", "by", "group")
        learner, model, condition, by, group = (number.get(name) for name in names)
        if kind in ("difference", "simultaneous") and number.get("against-model"):
            other = (number.get("against-model"), number.get("against-condition"))
            name = number.get("metric")
            mine = self.metric(learner, model, condition, by, group, name)
            return mine - self.metric(learner, *other, by, group, name)
        if kind == "difference":
            return self._odds(number)
        rows = self.cell(learner, model, condition, by, group)
        if kind == "confusion":
            return confusion(rows, number.get("truth"), number.get("predicted"))
        if kind == "risk":
            return risk(rows, float(number.get("at")))
        if kind in ("confidence", "accuracy", "images"):
            return reliability(rows, kind, int(number.get("at")))
        assert kind == ""
        return self.metric(learner, model, condition, by, group, number.get("metric"))

    def _by_group(self, number: Number, name: str) -> list[float]:
        learner, model = number.get("learner"), number.get("model")
        condition, by = number.get("condition"), number.get("by")
        groups = sorted(set(self.cell(learner, model, condition, "all", "").column(by)))
        # Images of unknown group and groups of few lesions are compared with none.
        groups = [
            group
            for group in groups
            if group != "unknown"
            and len(set(self.cell(learner, model, condition, by, group).column("lesion_id"))) >= 10
        ]
        values = [self.metric(learner, model, condition, by, group, name) for group in groups]
        return [value for value in values if not np.isnan(value)]

    def _spread(self, number: Number, kind: str) -> float:
        name = number.get("metric")
        values = self._by_group(number, name)
        low, high = min(values), max(values)
        worst = high if name in LOWER_IS_BETTER else low
        deviation = float(np.std(values))
        of_kind = {"worst": worst, "gap": high - low, "ratio": low / high, "deviation": deviation}
        return of_kind[kind]

    def _odds(self, number: Number) -> float:
        rates = [self._by_group(number, f"malignant_{name}") for name in _RATES]
        return max(max(values) - min(values) for values in rates if len(values) > 1)

    def _mistake(self, number: Number) -> float:
        rows = self.cell("ridge", "federated", self.main_condition, "all", "")
        rows = rows.only("image_id", number.get("image"))
        rows = rows.only("split_seed", number.get("split-seed"))
        assert len(rows) == 1
        assert rows.y[0] != rows.predicted[0]
        return float(rows.confidence[0])

    main_condition = ""

    def count(self, number: Number) -> str:
        names = ("learner", "model", "condition", "by", "group")
        rows = self.cell(*(number.get(name) for name in names))
        if number.part == "lesions":
            return f"{len(set(rows.column('lesion_id'))):,}"
        assert number.part == "images"
        return "+".join(str(len(seed)) for seed in rows.seeds)

    def agreement(self, number: Number) -> float:
        """Count cases in which federated and pooled predict the same."""
        learner = number.get("learner")
        parts = []
        for model in ("federated", "pooled"):
            rows = self.table.only("learner", learner).only("model", model)
            if number.get("condition"):
                rows = rows.only("condition", number.get("condition"))
            keys = zip(*(rows.column(c) for c in ("condition", "split_seed", "image_id")),
                       strict=True)  # fmt: skip
            parts.append(dict(zip(keys, rows.predicted, strict=True)))
        both = parts[0].keys() & parts[1].keys()
        same = sum(bool(parts[0][key] == parts[1][key]) for key in both)
        counts = {"same": same, "predictions": len(both), "differ": len(both) - same}
        return float(counts[number.part])


_RATES = ("sensitivity", "specificity")
MAIN = {
    "leave-one-site-out": "site left out",
    "cross-site": "trained at all sites",
    "heterogeneity": "site",
    "learning-curve": "all images of all sites",
    "fairness": "all sites",
    "simulate": "all sites",
    "compare": "one, none",
}


@pytest.mark.parametrize("study", STUDIES)
def test_a_reader_recomputes_every_number_with_scikit_learn(
    study: str, page_of: Callable[[str], str], run_folder: RunFolder
) -> None:
    reader = Reader(run_folder(study))
    reader.main_condition = MAIN[study]
    seen: Counter[str] = Counter()
    for number in shown_numbers(page_of(study)):
        if number.part in ("low", "high"):
            continue
        kind = number.get("kind")
        seen[kind] += 1
        if kind == "exactness":
            assert number.value == reader.agreement(number), number
        elif number.part in ("lesions", "images"):
            assert number.text == reader.count(number), number
        else:
            assert number.part == "value", number
            wanted = reader.value(number)
            assert abs(number.value - wanted) <= number.precision + 1e-6, (number, wanted)
    assert seen[""] > 300
    assert seen["risk"] >= 20
    assert seen["confusion"] >= 49
    # A comparison makes no pooled fits.
    assert seen["exactness"] >= (0 if study == "compare" else 2)
    assert seen["mistake"] == 12
    assert seen["gap"] > 0


@pytest.mark.parametrize("study", ["leave-one-site-out", "simulate"])
def test_intervals_are_the_documented_bootstrap(
    study: str, page_of: Callable[[str], str], run_folder: RunFolder
) -> None:
    reader = Reader(run_folder(study))
    ends: dict[tuple[str, ...], dict[str, Number]] = {}
    for number in shown_numbers(page_of(study)):
        if number.get("metric") != "balanced_accuracy" or number.get("kind"):
            continue
        if number.part in ("low", "high") and number.get("learner") == "ridge":
            names = ("learner", "model", "condition", "by", "group")
            place = tuple(number.get(name) for name in names)
            ends.setdefault(place, {})[number.part] = number
    checked = 0
    for place, both in ends.items():
        if place[1] not in ("federated", "local"):
            continue
        low, high = interval(reader.cell(*place), KEY, DRAWS)
        assert abs(both["low"].value - low) <= both["low"].precision + 1e-6
        assert abs(both["high"].value - high) <= both["high"].precision + 1e-6
        checked += 1
    assert checked >= 8


def test_a_wrong_number_is_noticed(page_of: Callable[[str], str], run_folder: RunFolder) -> None:
    reader = Reader(run_folder("simulate"))
    number = next(n for n in shown_numbers(page_of("simulate")) if n.get("metric"))
    assert abs(number.value + 0.01 - reader.value(number)) > number.precision
