"""The answer in words, one study a file: sentences that claim no more than the intervals hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from simulations.report.answers.compare import compare
from simulations.report.answers.cross_site import cross_site
from simulations.report.answers.fairness import fairness
from simulations.report.answers.fine_tuning import fine_tuning
from simulations.report.answers.finetune import finetune
from simulations.report.answers.fusion import fusion
from simulations.report.answers.heterogeneity import heterogeneity
from simulations.report.answers.learning_curve import learning_curve
from simulations.report.answers.leave_one_site_out import leave_one_site_out
from simulations.report.answers.parts import Answer
from simulations.report.answers.simulate import simulate
from simulations.report.facts import Facts

__all__ = ["Answer", "answer"]

_ANSWERS: Mapping[str, Callable[[Facts], Answer]] = {
    "leave-one-site-out": leave_one_site_out,
    "cross-site": cross_site,
    "heterogeneity": heterogeneity,
    "fairness": fairness,
    "fusion": fusion,
    "learning-curve": learning_curve,
    "simulate": simulate,
    "finetune": finetune,
    "fine-tuning": fine_tuning,
    "fine-tuning-left-out": fine_tuning,
    "compare": compare,
}


def answer(facts: Facts) -> Answer:
    """Say what a study found."""
    return _ANSWERS[facts.study.study](facts)
