"""Which settings a study of fine-tuning refuses, and which of its strategies a report shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import DermafedError, SettingsError, StudyError
from simulations.commands.study import study
from simulations.report.answers import answer
from simulations.report.facts import Facts
from simulations.report.numbers import Sentence, Shown, format_number
from simulations.report.schema import Study
from simulations.studies.fit import Fit
from simulations.studies.lab import Lab, make_bench
from simulations.studies.models import MODELS, run_fit
from simulations.studies.work import Prediction, Work

REFUSED: list[tuple[dict[str, Any], type[DermafedError], list[str]]] = [
    ({"learner": ["fedsgd"]}, SettingsError, ["'fedsgd' is unknown", "fedavg", "scaffold"]),
    ({"learner": ["ridge"]}, SettingsError, ["'ridge' is unknown", "fedavg"]),
    ({"learner": ["fedprox mu=-1"]}, SettingsError, ["mu"]),
    ({"learner": ["fedavg mu=1"]}, SettingsError, ["mu", "unknown"]),
    ({"learner": ["fedavg", "fedavg"]}, StudyError, ["--learner:", "twice"]),
    ({"learner": ["ditto"], "training": ["norm=local"]}, SettingsError, ["norm", "ditto"]),
    ({"training": ["pace=3"]}, SettingsError, ["pace", "unknown"]),
    ({"training": ["lr=0"]}, SettingsError, ["lr"]),
    ({"training": ["plan=all"]}, SettingsError, ["'all' is not DEPTH:ROUNDS"]),
    ({"training": ["plan=9:1"], "backbone": "staged"}, SettingsError, ["plan", "2 stages"]),
    ({"backbone": "tiny"}, StudyError, ["tiny: has no stages"]),
    ({"name": "fairness", "training": ["lr=1"]}, StudyError, ["--train is for", "fairness"]),
    ({"name": "fairness", "local": False}, StudyError, ["--no-local is for", "fairness"]),
    ({"name": "fairness", "learner": ["fedavg"]}, SettingsError, ["fedavg", "ridge"]),
]


@pytest.mark.parametrize("name", ["fine-tuning", "fine-tuning-left-out"])
@pytest.mark.parametrize(("changes", "error", "wanted"), REFUSED)
def test_a_wrong_strategy_or_training_is_refused_before_the_cohort_is_looked_at(
    name: str,
    changes: dict[str, Any],
    error: type[DermafedError],
    wanted: list[str],
    tmp_path: Path,
) -> None:
    given = {"name": name, "cohort": tmp_path / "absent", "out": tmp_path / "out", **changes}
    with pytest.raises(error) as caught:
        study(**given)
    assert "\n" not in str(caught.value)
    for text in wanted:
        assert text in str(caught.value)
    assert list(tmp_path.iterdir()) == []


CHOSEN, OTHER = "fedavg", "fedprox mu=0.1"
POOLED, LOCAL, FROZEN = "pooled network", "local network", "frozen head"
CONDITIONS = {"fine-tuning": "all sites", "fine-tuning-left-out": "site left out"}
# Balanced accuracies of test images: the strategy that validation chooses is the worse one.
TESTED = {
    (CHOSEN, "fine-tuned"): 0.61,
    (CHOSEN, FROZEN): 0.52,
    (OTHER, "fine-tuned"): 0.72,
    (OTHER, FROZEN): 0.53,
    ("baseline", POOLED): 0.66,
    ("baseline", LOCAL): 0.44,
}


def triple(value: float) -> list[float]:
    return [value, value - 0.05, value + 0.05]


def made_up(
    name: str, learners: tuple[str, ...], validation: list[tuple[str, str, float]]
) -> Study:
    """Make up the result of a study; a site that is left out has no network of its own."""
    condition = CONDITIONS[name]
    against = (POOLED, FROZEN) if name.endswith("left-out") else (POOLED, LOCAL, FROZEN)
    tested = {
        (learner, model): value
        for (learner, model), value in TESTED.items()
        if learner in (*learners, "baseline") and model in ("fine-tuned", *against)
    }
    cells = [
        {
            "learner": learner,
            "model": model,
            "condition": condition,
            "by": "all",
            "group": "all",
            "images": [90],
            "lesions": 80,
            "class_lesions": {"mel": 40, "nv": 40},
            "metrics": {"balanced_accuracy": triple(value)},
        }
        for (learner, model), value in tested.items()
    ]

    def difference(learner: str, model: str) -> dict[str, Any]:
        other = tested.get((learner, model)) or tested["baseline", model]
        value = triple(tested[learner, "fine-tuned"] - other)
        decided = abs(value[0]) > 0.06
        return {
            "learner": learner,
            "by": "all",
            "metric": "balanced_accuracy",
            "a": {"model": "fine-tuned", "condition": condition},
            "b": {"model": model, "condition": condition},
            "groups": {
                "all": {
                    "difference": value,
                    "simultaneous": value,
                    "decided": decided,
                    **dict.fromkeys(("p", "p_corrected"), 0.01 if decided else 0.4),
                }
            },
        }

    return Study.model_validate(
        {
            "kind": "study",
            "study": name,
            "question": "?",
            "settings": {
                "cohort": "c",
                "learners": learners,
                "split_seeds": [1, 2],
                "draws": 10,
                "seed": 0,
                "backbone": "b",
            },
            "cohort": {
                "name": "c",
                "images": 450,
                "lesions": 400,
                "classes": ["mel", "nv"],
                "sites": {},
            },
            "cells": cells,
            "comparisons": [difference(one, model) for one in learners for model in against],
            "validation": [
                {"learner": learner, "model": model, "balanced_accuracy": score}
                for learner, model, score in validation
            ],
        }
    )


def spoken(sentence: Sentence) -> str:
    return "".join(
        format_number(piece.value, 2, piece.signed) if isinstance(piece, Shown) else str(piece)
        for piece in sentence
    )


def scores(of_chosen: list[float], of_other: list[float]) -> list[tuple[str, str, float]]:
    """Give the validation of both strategies, and of the pooled network, which is never shown."""
    both = [(CHOSEN, one) for one in of_chosen] + [(OTHER, one) for one in of_other]
    tuned = [(learner, "fine-tuned", one) for learner, one in both]
    return [("baseline", POOLED, 0.99), *tuned, ("baseline", POOLED, 0.98)]


@pytest.mark.parametrize("learners", [(CHOSEN, OTHER), (OTHER, CHOSEN)])
@pytest.mark.parametrize("name", CONDITIONS)
@pytest.mark.parametrize(
    "validation",
    [
        scores([0.70, 0.70], [0.65, 0.65]),
        # The mean over seeds and sites, not the best nor the last of them.
        scores([0.75, 0.65], [0.90, 0.40]),
        scores([0.75, 0.65], [0.40, 0.90]),
    ],
)
def test_a_report_shows_the_strategy_that_validation_chose_not_the_best_on_test_images(
    validation: list[tuple[str, str, float]], name: str, learners: tuple[str, ...]
) -> None:
    facts = Facts(made_up(name, learners, validation))
    assert facts.learner == CHOSEN
    found = answer(facts)
    where = "at a centre never seen" if name.endswith("left-out") else "at all sites"
    assert spoken(found.verdict) == (
        f"Tested {where}, the federated fedavg network had a balanced accuracy of 0.61; one "
        "fine-tuned on all images in one place had 0.66."
    )
    chosen, *compared = map(spoken, found.sentences)
    assert chosen == (
        "Of 2 strategies, validation images, not test images, chose the fedavg network."
    )
    undecided = ", so no difference could be shown"
    wanted = [
        (
            "Against a network fine-tuned on all images in one place",
            "\N{MINUS SIGN}0.05",
            undecided,
        ),
        ("Against the network that each site fine-tunes alone", "+0.17", ""),
        ("Against the exact head on frozen features", "+0.09", ""),
    ]
    if name.endswith("left-out"):
        del wanted[1]
    assert len(compared) == len(wanted)
    for said, (start, value, end) in zip(compared, wanted, strict=True):
        assert said.startswith(start)
        assert said.endswith(f": {value} in balanced accuracy over all test images{end}.")


def test_one_strategy_alone_is_not_said_to_be_chosen() -> None:
    facts = Facts(made_up("fine-tuning", (OTHER,), [(OTHER, "fine-tuned", 0.5)]))
    said = [spoken(one) for one in answer(facts).sentences]
    assert facts.learner == OTHER
    assert len(said) == 3
    assert not any("strategies" in one for one in said)


def test_a_network_that_is_never_right_on_validation_images_counts_as_such(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Left out of a strategy's mean, it would raise it."""

    def never_right(work: Work) -> Prediction:
        p = np.full((len(work.test), 3), 1 / 3)
        return Prediction(p, p.argmax(axis=1), validation=0.0)

    monkeypatch.setitem(MODELS, "fine-tuned", never_right)
    found = run_fit(make_bench(lab, Fit("fedavg", ("fine-tuned", "majority"), "-", 1)), tmp_path)
    assert found.about["validation"] == {"fine-tuned": 0.0}
