"""A study's files: ``predictions.csv``, a row a prediction, and ``result.json``."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.metrics.comparison import Difference, compare
from common.split import Split, split_groups
from common.whole_file import whole_file
from simulations.studies.base import Study
from simulations.studies.cells import COMPARED, Evaluated
from simulations.studies.fit import BASELINE, Fit, FitResult
from simulations.studies.groups import CLIENT, SKIN_TONE
from simulations.studies.series import Series

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from common.cohort import Cohort
    from simulations.studies.base import Pair

Json = dict[str, Any]
RESULT_FILE, PREDICTIONS_FILE = "result.json", "predictions.csv"
_GROUPS = ("sex", "age_band", "localisation", "label_source", SKIN_TONE)


def write_json(path: Path, value: Json) -> None:
    """Write a file, whole or not at all; a number that is not finite is an error."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    with whole_file(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")


def write_predictions(
    path: Path,
    cohort: Cohort,
    groupings: Mapping[str, NDArray[np.str_]],
    series: Sequence[Series],
) -> None:
    """Write every prediction behind a study's numbers.

    Parameters
    ----------
    path : Path
        The file.
    cohort : Cohort
        The lab's.
    groupings : mapping of str to ndarray of str
        Groups of the cohort's images.
    series : sequence of Series
        The predictions.
    """
    names = np.array(cohort.classes)
    header = [
        *(
            "learner",
            "model",
            "condition",
            "split_seed",
            "split",
            "image_id",
            "lesion_id",
            "cluster",
        ),
        *("site", CLIENT, *_GROUPS, "y_true", "y_pred"),
        *(f"p_{name}" for name in cohort.classes),
    ]
    unknown = np.full(len(cohort), "unknown")
    fixed = np.stack(
        [
            *(cohort.image_id, cohort.lesion, cohort.group, cohort.site),
            *(groupings.get(name, unknown) for name in _GROUPS),
            names[cohort.y],
        ],
        axis=1,
    ).tolist()
    with whole_file(path) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        for one in series:
            for part in one.repetitions:
                split = split_groups(part.split_seed, cohort.group)
                rows = zip(
                    part.rows.tolist(),
                    part.client.tolist(),
                    names[part.predicted].tolist(),
                    # The shortest text that stands for the very number.
                    part.probabilities.astype(np.str_).tolist(),
                    strict=True,
                )
                for row, client, predicted, p in rows:
                    image, lesion, cluster, site, *groups, truth = fixed[row]
                    writer.writerow(
                        [
                            *(
                                *one.name,
                                part.split_seed,
                                Split.TEST.value if part.turned else split[row],
                                image,
                                lesion,
                                cluster,
                                site,
                                client,
                            ),
                            *(*groups, truth, predicted),
                            *p,
                        ]
                    )


def comparisons(
    by: Sequence[str],
    pairs: Sequence[Pair],
    learners: Sequence[str],
    found: Mapping[Any, Evaluated],
) -> list[Json]:
    """Compare pairs of series in every group, for each learner that has both.

    Where the two sides have learners of their own, the second's stands before its condition.

    Parameters
    ----------
    by : sequence of str
        Groupings in which they are compared.
    pairs : sequence of Pair
        What to compare.
    learners : sequence of str
        The study's.
    found : mapping of (learner, model, condition) to Evaluated
        All series.
    """
    entries = []
    for pair in pairs:
        both = [pair.learners] if pair.learners else [(learner, learner) for learner in learners]
        for learner, other in both:
            a, b = _series(found, learner, *pair.a), _series(found, other, *pair.b)
            if a is None or b is None:
                continue
            against = pair.b[1] if learner == other else f"{other}: {pair.b[1]}"
            for grouping in by:
                for metric in COMPARED:
                    differences = compare(a.draws[grouping, metric], b.draws[grouping, metric])
                    if not differences:
                        continue
                    entries.append(
                        {
                            "learner": learner,
                            "by": grouping,
                            "metric": metric,
                            "a": {"model": pair.a[0], "condition": pair.a[1]},
                            "b": {"model": pair.b[0], "condition": against},
                            "groups": {g: difference_json(d) for g, d in differences.items()},
                        }
                    )
    return entries


def _series(
    found: Mapping[Any, Evaluated], learner: str, model: str, condition: str
) -> Evaluated | None:
    of_learner = found.get((learner, model, condition))
    return of_learner or found.get((BASELINE, model, condition))


def difference_json(difference: Difference) -> Json:
    """Write a difference down."""
    return {
        "difference": difference.difference.as_list(),
        "simultaneous": difference.simultaneous.as_list(),
        "p": difference.p,
        "p_corrected": difference.p_corrected,
        "decided": difference.decided,
    }


def describe_cohort(cohort: Cohort) -> Json:
    """Count images and lesions, in all, by site and by class."""

    def counts(rows: NDArray[np.intp]) -> Json:
        classes = np.bincount(cohort.y[rows], minlength=len(cohort.classes))
        return {
            "images": len(rows),
            "lesions": len(set(cohort.lesion[rows].tolist())),
            "classes": dict(zip(cohort.classes, classes.tolist(), strict=True)),
        }

    return {
        **counts(np.arange(len(cohort))),
        "name": cohort.name,
        "classes": list(cohort.classes),
        "malignant": list(cohort.malignant),
        "sites": {site: counts(np.flatnonzero(cohort.site == site)) for site in cohort.sites},
    }


def costs(study: Study, results: Sequence[tuple[Fit, FitResult]]) -> list[Json]:
    """Give what each model took, as means over its fits."""
    found: dict[tuple[str, str, str], list[Json]] = {}
    for fit, result in results:
        for model, cost in result.about["costs"].items():
            label = study.label(fit, model)
            found.setdefault((fit.learner, label.model, label.condition), []).append(cost)
    entries = []
    for (learner, model, condition), each in found.items():
        means = {name: float(np.mean([cost[name] for cost in each])) for name in each[0]}
        entries.append({"learner": learner, "model": model, "condition": condition, **means})
    return entries


def validation(study: Study, results: Sequence[tuple[Fit, FitResult]]) -> list[Json]:
    """Give the balanced accuracy on validation images that chose a model, by seed of the split."""
    entries = []
    for fit, result in results:
        for model, score in result.about["validation"].items():
            label = study.label(fit, model)
            entries.append(
                {
                    "learner": fit.learner,
                    "model": label.model,
                    "condition": label.condition,
                    "tests": list(fit.tests),
                    "split_seed": fit.split_seed,
                    "balanced_accuracy": score,
                }
            )
    return entries


def exactness(results: Sequence[tuple[Fit, FitResult]]) -> list[Json]:
    """Count the predictions in which federated and pooled differ; give the AUCs' worst error."""
    found: dict[tuple[str, str], Json] = {}
    for fit, result in results:
        if result.about["differ"] is not None:
            about = {"learner": fit.learner, "condition": fit.condition}
            nothing = {**about, "predictions": 0, "differ": 0, "auc_error": 0.0}
            entry = found.setdefault((fit.learner, fit.condition), nothing)
            entry["predictions"] += len(result.rows)
            entry["differ"] += result.about["differ"]
            entry["auc_error"] = max(entry["auc_error"], result.about["auc_error"])
    return list(found.values())
