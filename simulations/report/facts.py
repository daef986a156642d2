"""A study's numbers by what they are of, and the rules by which a page chooses what to show."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from common.cohort import UNKNOWN
from common.errors import RunFolderError
from common.metrics.catalogue import SEPARATOR
from simulations.report.numbers import Shown, flipped
from simulations.report.schema import Cell, Comparison, GroupDifference, Study, Triple
from simulations.report.titles import BASELINE, BASELINES, FEDERATED, FINE_TUNED, MODELS, POOLED
from simulations.skin_tone import TONES

ALL = "all"
BALANCED = "balanced_accuracy"
MALIGNANT = "malignant_auc"
_MELANOMA = ("mel", "melanoma")
# Of a class with fewer lesions the bootstrap's interval is likely too narrow.
FEW_LESIONS = 30
_OF_EVERY_CLASS = ("balanced_accuracy", "macro_specificity", "macro_f1", "macro_auc")
_TUNING = ("finetune", "fine-tuning", "fine-tuning-left-out")
# The condition that a study is about, where its name is fixed.
_MAIN = {
    "leave-one-site-out": "site left out",
    "cross-site": "trained at all sites",
    "fairness": "all sites",
    "fusion": "images and metadata, early",
    "simulate": "all sites",
    "finetune": "all sites",
    "fine-tuning": "all sites",
    "fine-tuning-left-out": "site left out",
    "learning-curve": "all images of all sites",
}


@dataclass(frozen=True)
class Compared:
    """One model against another in one group."""

    difference: Shown
    simultaneous: Shown
    p: float | None
    p_corrected: float | None
    decided: bool


@dataclass(frozen=True)
class Facts:
    """A study with its numbers at hand.

    Attributes
    ----------
    study : Study
        What ``result.json`` holds.
    """

    study: Study

    @cached_property
    def learner(self) -> str:
        """The learner shown first: the first asked for, or the strategy that validation chose.

        Never the one that did best on test images.
        """
        scores: dict[str, list[float]] = {}
        for one in self.study.validation:
            if one.model == self.model:
                scores.setdefault(one.learner, []).append(one.balanced_accuracy)
        if not scores:
            return self.study.settings.learners[0]
        return max(scores, key=lambda name: sum(scores[name]) / len(scores[name]))

    @property
    def model(self) -> str:
        """The model that the study is about."""
        return FINE_TUNED if self.study.study in _TUNING else FEDERATED

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """The metrics shown first: balanced accuracy, then what melanoma and malignancy allow."""
        cohort = self.study.cohort
        melanoma = [f"sensitivity_at_95{SEPARATOR}{c}" for c in cohort.classes if c in _MELANOMA]
        return (BALANCED, *melanoma, *((MALIGNANT,) if cohort.malignant else ()))

    @cached_property
    def conditions(self) -> tuple[str, ...]:
        """Conditions of the main model of the first learner, as the study orders them."""
        found = [
            c.condition
            for c in self.study.cells
            if c.learner == self.learner and c.model == self.model
        ]
        if not found:
            raise RunFolderError(
                f"{self.study.study}: no cell of learner {self.learner!r}, model {self.model!r}; "
                "run the study anew"
            )
        return tuple(dict.fromkeys(found))

    @cached_property
    def main_condition(self) -> str:
        """The condition that the study is about: one of a fixed name, else the first."""
        name = _MAIN.get(self.study.study, self.conditions[0])
        if name not in self.conditions:
            raise RunFolderError(
                f"{self.study.study}: no cell of condition {name!r}; run the study anew"
            )
        return name

    @cached_property
    def series(self) -> tuple[tuple[str, str], ...]:
        """Models and conditions of the first learner and the baselines, the main model first."""
        found = dict.fromkeys(
            (cell.model, cell.condition)
            for cell in self.study.cells
            if cell.learner in (self.learner, BASELINE)
        )
        order = (*MODELS, *(model for model, _ in found if model not in MODELS))
        return tuple(sorted(found, key=lambda one: order.index(one[0])))

    @cached_property
    def attributes(self) -> tuple[str, ...]:
        """What groups are made by, other than all images together."""
        found = dict.fromkeys(cell.by for cell in self.study.cells)
        return tuple(by for by in found if by != ALL)

    def groups(self, by: str) -> tuple[str, ...]:
        """List the groups of an attribute: ages and tones in order, unknown last."""
        found = dict.fromkeys(cell.group for cell in self.study.cells if cell.by == by)
        return tuple(sorted(found, key=_rank_of_group))

    @cached_property
    def _cells(self) -> dict[tuple[str, str, str, str, str], Cell]:
        return {(c.learner, c.model, c.condition, c.by, c.group): c for c in self.study.cells}

    def cell(
        self, model: str, condition: str, by: str, group: str, learner: str | None = None
    ) -> Cell | None:
        """Find a cell of a learner, the first by default; a baseline has no learner."""
        name = BASELINE if model in BASELINES else learner or self.learner
        return self._cells.get((name, model, condition, by, group))

    def shown(self, cell: Cell | None, metric: str) -> Shown | None:
        """Give a cell's metric to be shown; None without cell or metric."""
        if cell is None or metric not in cell.metrics:
            return None
        where = {
            "learner": cell.learner,
            "model": cell.model,
            "condition": cell.condition,
            "by": cell.by,
            "group": cell.group,
            "metric": metric,
        }
        few = rests_on_few(cell, metric, self.study.cohort.malignant)
        return Shown(cell.metrics[metric], where, few=few)

    def value(self, model: str, condition: str, by: str, group: str, metric: str) -> Shown | None:
        """Give the first learner's metric, or a baseline's; None where it has no value."""
        shown = self.shown(self.cell(model, condition, by, group), metric)
        return None if shown is None or shown.value is None else shown

    def compared(
        self, a: tuple[str, str], b: tuple[str, str], by: str, metric: str
    ) -> dict[str, Compared]:
        """Find how the first learner's model a differs from b (model, condition), by group.

        Empty where the study does not compare them.
        """
        for one in self.study.comparisons:
            if (one.learner, one.by, one.metric) != (self.learner, by, metric):
                continue
            sides = (one.a.model, one.a.condition), (one.b.model, one.b.condition)
            if sides in ((a, b), (b, a)):
                return comparison_groups(one, turned=sides == (b, a))
        return {}

    @property
    def federated_is_pooled(self) -> bool:
        """Whether every federated prediction is the pooled fit's, so that one stands for both."""
        checks = [one for one in self.study.exactness if one.learner == self.learner]
        both = {model for model, _ in self.series} >= {FEDERATED, POOLED}
        return both and bool(checks) and all(one.differ == 0 for one in checks)


def _rank_of_group(group: str) -> tuple[bool, float]:
    """Rank a group: a tone by its place, an age band by its lower end, others alike."""
    if group in TONES:
        return False, float(TONES.index(group))
    lower, _, rest = group.partition(" ")
    if lower == "below":
        return False, float(rest) - 0.5 if rest.isdecimal() else 0.0
    in_order = lower.isdecimal() and rest.startswith(("to ", "and above"))
    return group == UNKNOWN, float(lower) if in_order else 0.0


def comparison_groups(comparison: Comparison, *, turned: bool = False) -> dict[str, Compared]:
    """Give a comparison's groups to be shown; turned, as b against a."""
    a, b = comparison.a, comparison.b
    if turned:
        a, b = b, a

    def shown(triple: Triple, group: str, kind: str) -> Shown:
        where = {
            "kind": kind,
            "learner": comparison.learner,
            "model": a.model,
            "condition": a.condition,
            "against-model": b.model,
            "against-condition": b.condition,
            "by": comparison.by,
            "group": group,
            "metric": comparison.metric,
        }
        return Shown(flipped(triple) if turned else triple, where, signed=True)

    def group_of(name: str, one: GroupDifference) -> Compared:
        return Compared(
            shown(one.difference, name, "difference"),
            shown(one.simultaneous, name, "simultaneous"),
            one.p,
            one.p_corrected,
            one.decided,
        )

    return {name: group_of(name, one) for name, one in comparison.groups.items()}


def rests_on_few(cell: Cell, metric: str, malignant: tuple[str, ...]) -> bool:
    """Tell whether a metric rests on a class, or a kind, of fewer than `FEW_LESIONS` lesions.

    A mean over classes rests on each class that the group has, one class's metric on that class,
    a malignant one on the malignant and on the benign lesions, any other on all lesions.
    """
    lesions = {name: n for name, n in cell.class_lesions.items() if name not in cell.absent}
    base, _, label = metric.partition(SEPARATOR)
    if label:
        kinds = [lesions.get(label, 0)]
    elif base in _OF_EVERY_CLASS:
        kinds = list(lesions.values())
    elif base.startswith("malignant_"):
        ill = sum(n for name, n in lesions.items() if name in malignant)
        kinds = [ill, sum(lesions.values()) - ill]
    else:
        kinds = [sum(lesions.values())]
    return any(n < FEW_LESIONS for n in kinds)
