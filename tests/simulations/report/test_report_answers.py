"""The words claim what the intervals hold, and nothing beyond it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from common.errors import RunFolderError
from simulations.report.answers import answer
from simulations.report.facts import Facts, rests_on_few
from simulations.report.loading import Run
from simulations.report.numbers import Sentence, Shown, flipped, format_number
from simulations.report.schema import Cell, Comparison, Study, Triple

LoadedRun = Callable[..., Run]
LEFT_OUT = {"model": "federated", "condition": "site left out"}
TAKES_PART = {"model": "federated", "condition": "site takes part"}


def spoken(sentence: Sentence) -> str:
    return "".join(
        format_number(piece.value, 2) if isinstance(piece, Shown) else str(piece)
        for piece in sentence
    )


def everything(study: Study) -> str:
    found = answer(Facts(study))
    return "\n".join(spoken(one) for one in (found.verdict, *found.sentences))


def comparison(
    values: dict[str, tuple[float, bool]],
    a: dict[str, str],
    b: dict[str, str],
    by: str = "site",
) -> Comparison:
    def group(value: float, decided: bool) -> dict[str, Any]:
        triple = [value, value - 0.1, value + 0.1]
        p = 0.01 if decided else 0.4
        of = {"difference": triple, "simultaneous": triple, "p": p, "p_corrected": p}
        return {**of, "decided": decided}

    return Comparison.model_validate(
        {
            "learner": "ridge",
            "by": by,
            "metric": "balanced_accuracy",
            "a": a,
            "b": b,
            "groups": {name: group(*value) for name, value in values.items()},
        }
    )


def travelling(loaded: LoadedRun, *comparisons: Comparison) -> Study:
    study = loaded("leave-one-site-out").study
    return study.model_copy(update={"comparisons": comparisons})


def verdict(study: Study) -> str:
    return spoken(answer(Facts(study)).verdict)


def test_no_loss_is_not_called_no_difference(loaded: LoadedRun) -> None:
    undecided = comparison({"a": (-0.2, False), "b": (0.1, False)}, LEFT_OUT, TAKES_PART)
    said = verdict(travelling(loaded, undecided))
    assert said.startswith("No loss could be shown at any of 2 centres")
    assert "does not prove" in said


def test_a_loss_is_told_where_it_is_decided_and_only_there(loaded: LoadedRun) -> None:
    some = comparison(
        {"a": (-0.2, True), "b": (-0.3, False), "c": (0.2, True)}, LEFT_OUT, TAKES_PART
    )
    said = verdict(travelling(loaded, some))
    assert said.startswith("Not everywhere: at 1 of 3 centres")
    assert "(a)" in said
    assert "higher at c" in said
    assert "At b no difference could be shown" in said
    every = comparison({"a": (-0.2, True), "b": (-0.3, True)}, LEFT_OUT, TAKES_PART)
    assert verdict(travelling(loaded, every)).startswith("No: at 2 of 2 centres")


def test_a_comparison_the_other_way_round_says_the_same(loaded: LoadedRun) -> None:
    one = comparison({"a": (-0.2, True), "b": (0.1, False)}, LEFT_OUT, TAKES_PART)
    other = comparison({"a": (0.2, True), "b": (-0.1, False)}, TAKES_PART, LEFT_OUT)
    assert verdict(travelling(loaded, one)) == verdict(travelling(loaded, other))


def test_what_was_not_compared_is_not_judged(loaded: LoadedRun) -> None:
    study = travelling(loaded)
    assert "was not compared" in verdict(study)
    # The baseline's value is told instead, for the reader to compare.
    assert "sex and localisation alone gives" in everything(study)
    assert "Against predicting" not in everything(study)


def test_an_undecided_difference_over_all_images_is_said_to_be_so(loaded: LoadedRun) -> None:
    shortcut = {"model": "shortcut", "condition": "site left out"}
    undecided = comparison({"all": (0.2, False)}, LEFT_OUT, shortcut, "all")
    decided = comparison({"all": (0.2, True)}, LEFT_OUT, shortcut, "all")
    for one, count in ((undecided, 1), (decided, 0)):
        line = next(
            line
            for line in everything(travelling(loaded, one)).splitlines()
            if line.startswith("Against predicting")
        )
        assert line.count("no difference could be shown") == count


def test_exact_agreement_is_counted_and_a_deviation_is_told(loaded: LoadedRun) -> None:
    study = loaded("heterogeneity").study
    assert verdict(study).startswith("Under each of 3 partitions")
    off = [one.model_copy(update={"differ": 1}) for one in study.exactness]
    changed = study.model_copy(update={"exactness": tuple(off)})
    assert "differ from those of one fit on all images under 3 of 3" in verdict(changed)
    assert Facts(study).federated_is_pooled
    assert not Facts(changed).federated_is_pooled


def test_overlapping_intervals_give_no_gain(loaded: LoadedRun) -> None:
    study = loaded("learning-curve").study

    def with_value(first: Triple, last: Triple) -> Study:
        cells = []
        for cell in study.cells:
            metrics = dict(cell.metrics)
            for n, triple in ((10, first), (40, last)):
                if cell.about.get("images_per_site") == n:
                    metrics["balanced_accuracy"] = triple
            cells.append(cell.model_copy(update={"metrics": metrics}))
        return study.model_copy(update={"cells": tuple(cells)})

    apart = with_value((0.3, 0.25, 0.35), (0.5, 0.45, 0.55))
    assert "With more images a site, the federated ridge head got better" in verdict(apart)
    near = with_value((0.3, 0.25, 0.46), (0.5, 0.45, 0.55))
    assert "could not be shown to get better" in verdict(near)
    assert "The two intervals overlap" in everything(near)


def test_a_gap_that_may_be_none_is_not_called_one(loaded: LoadedRun) -> None:
    study = loaded("fairness").study

    def with_gap(low: float | None) -> Study:
        gaps = [
            one.model_copy(update={"gap": (0.3, low, None if low is None else 0.6)})
            for one in study.fairness
        ]
        return study.model_copy(update={"fairness": tuple(gaps)})

    assert "No gap between groups could be shown" in verdict(with_gap(0.0))
    assert "the groups may be alike" in everything(with_gap(0.0))
    assert "No gap between groups could be shown" in verdict(with_gap(None))
    assert "too small for an interval" in everything(with_gap(None))
    assert verdict(with_gap(0.1)).startswith("The clearest gap in balanced accuracy")


@pytest.mark.parametrize("name", ["leave-one-site-out", "learning-curve", "simulate", "compare"])
def test_without_resamples_nothing_is_claimed_of_intervals(name: str, loaded: LoadedRun) -> None:
    study = loaded(name).study

    def bare(cell: Cell) -> Cell:
        values: dict[str, Triple] = {k: (v[0], None, None) for k, v in cell.metrics.items()}
        return cell.model_copy(update={"metrics": values})

    said = everything(
        study.model_copy(
            update={"cells": tuple(map(bare, study.cells)), "comparisons": (), "fairness": ()}
        )
    )
    assert "overlap" not in said
    assert "got better" not in said
    assert "is better than" not in said


def test_the_first_learner_is_shown_however_good_another_is(loaded: LoadedRun) -> None:
    study = loaded("leave-one-site-out").study
    turned = study.settings.model_copy(update={"learners": study.settings.learners[::-1]})
    assert "federated ridge head" in everything(study)
    said = everything(study.model_copy(update={"settings": turned}))
    assert "federated logistic head (pca=128)" in said
    assert "federated ridge head" not in said


def test_a_comparison_names_the_best_of_all_and_does_not_trust_it(loaded: LoadedRun) -> None:
    study = loaded("compare").study

    def with_best(learner: str, condition: str) -> Study:
        """Raise one combination above all, whose intervals then lie below its own."""

        def raised(cell: Cell) -> Cell:
            is_best = (cell.learner, cell.condition) == (learner, condition)
            value = (0.95, 0.94, 0.96) if is_best else (0.5, 0.4, 0.6)
            return cell.model_copy(update={"metrics": {**cell.metrics, "balanced_accuracy": value}})

        return study.model_copy(update={"cells": tuple(map(raised, study.cells))})

    best = with_best("logistic pca=128", "two, smote")
    assert verdict(best) == (
        "Of 8 combinations, the logistic head (pca=128) with two, smote had the highest balanced "
        "accuracy, 0.95."
    )
    assert "overlaps with those of 0 of the 7 others" in everything(best)
    assert "the best one's is too high" in everything(best)
    # Baselines look at no image, and are no combination.
    assert verdict(with_best("baseline", "any features")).startswith("Of 8 combinations, the ridge")
    alike = everything(with_best("none", "none"))
    assert "overlaps with those of 7 of the 7 others" in alike
    assert "The ridge head with one, smote, against one, none: " in alike


def test_a_study_without_its_condition_is_refused(loaded: LoadedRun) -> None:
    study = loaded("leave-one-site-out").study
    cells = tuple(cell for cell in study.cells if cell.condition != "site left out")
    with pytest.raises(RunFolderError, match="no cell of condition 'site left out'"):
        _ = Facts(study.model_copy(update={"cells": cells})).main_condition


@pytest.mark.parametrize(
    ("metric", "few"),
    [
        ("balanced_accuracy", True),
        ("macro_auc", True),
        ("sensitivity_at_95:mel", False),
        ("auc:df", True),
        ("malignant_auc", False),
        ("accuracy", False),
    ],
)
def test_an_interval_is_marked_by_the_classes_that_it_rests_on(
    metric: str, few: bool, loaded: LoadedRun
) -> None:
    lesions = {"mel": 30, "nv": 500, "df": 29, "vasc": 0}
    cell = (
        loaded("simulate")
        .study.cells[0]
        .model_copy(update={"class_lesions": lesions, "absent": ("vasc",)})
    )
    assert rests_on_few(cell, metric, ("mel",)) is few


def test_a_class_that_is_absent_is_no_small_one(loaded: LoadedRun) -> None:
    cell = (
        loaded("simulate")
        .study.cells[0]
        .model_copy(
            update={"class_lesions": {"mel": 30, "nv": 500, "vasc": 0}, "absent": ("vasc",)}
        )
    )
    assert not rests_on_few(cell, "balanced_accuracy", ("mel",))


def test_an_interval_turned_round_keeps_its_ends_in_order() -> None:
    assert flipped((0.2, -0.1, 0.4)) == (-0.2, -0.4, 0.1)
    assert flipped((0.2, None, None)) == (-0.2, None, None)
    assert flipped((None, None, None)) == (None, None, None)


def test_numbers_are_written_with_their_sign_and_no_negative_zero() -> None:
    assert format_number(0.123, 2) == "0.12"
    assert format_number(0.123, 2, signed=True) == "+0.12"
    assert format_number(-0.126, 2) == "\N{MINUS SIGN}0.13"
    assert format_number(-0.001, 2, signed=True) == "0.00"
    assert format_number(None) == "\N{EN DASH}"


def test_a_fine_tuned_network_of_a_comparison_is_one_of_the_combinations(
    loaded: LoadedRun,
) -> None:
    """It is told beside the heads, which stay what the page is about."""
    study = loaded("compare").study
    one = next(cell for cell in study.cells if (cell.by, cell.learner) == ("all", "ridge"))
    about = {"learner": "fedavg", "model": "fine-tuned", "condition": "one, fine-tuned"}
    metrics = {**one.metrics, "balanced_accuracy": (0.97, 0.96, 0.98)}
    tuned = one.model_copy(update={**about, "metrics": metrics})
    score = {**about, "tests": (), "split_seed": 1, "balanced_accuracy": 0.9}
    validation = (
        type(study).model_validate({**study.model_dump(), "validation": [score]}).validation
    )
    with_tuned = study.model_copy(update={"cells": (*study.cells, tuned), "validation": validation})
    assert Facts(with_tuned).learner == "ridge"
    found = spoken(answer(Facts(with_tuned)).verdict)
    assert found.startswith(
        "Of 9 combinations, the network that fedavg makes of one had the highest"
    )
