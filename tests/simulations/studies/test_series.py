"""Rows of tables from fits: parts of the test images and seeds come together, and nothing twice."""

from __future__ import annotations

import numpy as np

from simulations.studies import STUDIES
from simulations.studies.fit import Fit, FitResult
from simulations.studies.series import collect_series

STUDY = STUDIES["leave-one-site-out"]
LEFT, TAKES = "site left out", "site takes part"


def result(rows: list[int], site: str, *models: str) -> FitResult:
    """Predictions that tell which image and model they are of."""
    at = np.array(rows, dtype=np.intp)
    return FitResult(
        rows=at,
        client=np.full(len(at), site),
        probabilities={m: np.stack([at + i / 3, 1 - at], axis=1) for i, m in enumerate(models)},
        predicted={m: (at + i) % 2 for i, m in enumerate(models)},
        about={},
    )


def test_sites_left_out_in_turn_become_one_series_in_the_cohorts_order() -> None:
    fits = [
        (Fit("ridge", ("federated",), LEFT, 2, tests=("b",)), result([4, 1], "b", "federated")),
        (Fit("ridge", ("federated",), LEFT, 2, tests=("a",)), result([0, 3], "a", "federated")),
    ]
    (one,) = collect_series(STUDY, fits)
    assert one.name == ("ridge", "federated", LEFT)
    (part,) = one.repetitions
    assert part.rows.tolist() == [0, 1, 3, 4]
    assert part.client.tolist() == ["a", "b", "a", "b"]
    assert part.predicted.tolist() == [0, 1, 1, 0]
    assert part.probabilities[:, 0].tolist() == [0, 1, 3, 4]


def test_seeds_are_repetitions_ascending_and_models_learners_conditions_apart() -> None:
    models = ("federated", "local")
    fits = [
        (Fit("ridge", models, LEFT, 7), result([0], "a", *models)),
        (Fit("ridge", models, LEFT, 3), result([1], "a", *models)),
        (Fit("lda", ("federated",), LEFT, 3), result([1], "a", "federated")),
        (Fit("ridge", ("federated",), TAKES, 3), result([1], "a", "federated")),
    ]
    found = collect_series(STUDY, fits)
    assert [one.name for one in found] == [
        ("ridge", "federated", LEFT),
        ("ridge", "local", LEFT),
        ("lda", "federated", LEFT),
        ("ridge", "federated", TAKES),
    ]
    assert [part.split_seed for part in found[0].repetitions] == [3, 7]
    assert [part.split_seed for part in found[2].repetitions] == [3]


def test_probabilities_are_rounded_once_to_what_a_file_holds() -> None:
    fits = [(Fit("ridge", ("a", "b"), LEFT, 1), result([5], "a", "a", "b"))]
    (_, one) = collect_series(STUDY, fits)
    (part,) = one.repetitions
    assert part.probabilities.dtype == np.float32
    # As text and back, it is the very number.
    text = str(part.probabilities.astype(np.str_)[0, 0])
    assert np.float32(text) == part.probabilities[0, 0] == np.float32(5 + 1 / 3)


def test_the_cross_site_matrix_calls_a_federation_of_one_site_local() -> None:
    fits = [
        (
            Fit("ridge", ("federated",), "trained at a", 1, trains=("a",)),
            result([0], "a", "federated"),
        ),
        (Fit("ridge", ("federated",), "trained at all sites", 1), result([0], "a", "federated")),
    ]
    names = [one.name for one in collect_series(STUDIES["cross-site"], fits)]
    assert names == [
        ("ridge", "local", "trained at a"),
        ("ridge", "federated", "trained at all sites"),
    ]
