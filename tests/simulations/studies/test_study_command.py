"""``dermafed study``: the real command over each study, and what it refuses before any work."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.cohort import Cohort
from common.errors import CohortError, DermafedError, PartitionError, SettingsError, StudyError
from simulations.commands.study import study
from simulations.studies import STUDIES
from simulations.studies.lab import Lab
from tests.simulations.studies.study_lab import SITES, STAGED, make_lab

RealStudy = Callable[[str], Path]
RunHere = Callable[..., dict[str, Any]]


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_leaves_a_result_predictions_and_a_table(name: str, real_study: RealStudy) -> None:
    folder = real_study(name)
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert (result["kind"], result["study"]) == ("study", name)
    assert result["fits"]["all"] == result["fits"]["this_time"] > 0
    assert result["cohort"]["images"] == 240
    assert {"numpy", "scikit-learn", "flwr"} <= set(result["versions"])
    assert len(list((folder / "fits").iterdir())) == result["fits"]["all"]
    printed = " ".join((folder / "printed.txt").read_text(encoding="utf-8").split())
    assert STUDIES[name].question in printed
    told = "federated and pooled differ in 0 of" in printed
    assert told == (not STUDIES[name].tunes)
    assert f"folder: {folder}" in printed


def test_predictions_are_of_test_images_alone_each_once_a_series_and_seed(
    real_study: RealStudy,
) -> None:
    for name in STUDIES:
        with (real_study(name) / "predictions.csv").open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert {row["split"] for row in rows} == {"test"}
        keys = ("learner", "model", "condition", "split_seed", "image_id")
        found = [tuple(row[key] for key in keys) for row in rows]
        assert len(set(found)) == len(found)
        images: dict[tuple[str, ...], set[str]] = {}
        for key in found:
            images.setdefault(key[:4], set()).add(key[4])
        # Every model of a seed answers for the same images: those of the split's test part.
        by_seed: dict[str, set[frozenset[str]]] = {}
        for key, of_series in images.items():
            by_seed.setdefault(key[3], set()).add(frozenset(of_series))
        assert all(len(sets) == 1 for sets in by_seed.values())
        for row in rows:
            p = [float(value) for column, value in row.items() if column.startswith("p_")]
            assert sum(p) == pytest.approx(1.0, abs=1e-5)


def test_looks_change_the_predictions_and_not_the_sites(real_study: RealStudy) -> None:
    """``iid:3`` and ``look:4`` are of different sites; each holds whole lesions."""
    with (real_study("heterogeneity") / "predictions.csv").open(encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["model"] == "pooled"]
    clients = {c: {r["client"] for r in rows if r["condition"] == c} for c in ("iid:3", "look:4")}
    assert clients == {
        "iid:3": {f"site-{i}" for i in range(3)},
        "look:4": {f"site-{i}" for i in range(4)},
    }
    p = {
        c: {r["image_id"]: r["p_nv"] for r in rows if r["condition"] == c}
        for c in ("iid:3", "look:4")
    }
    differ = [p["iid:3"][one] != p["look:4"][one] for one in p["iid:3"]]
    assert np.mean(differ) > 0.9


BAD: list[tuple[dict[str, Any], type[DermafedError], list[str]]] = [
    ({"name": "astrology"}, StudyError, ["'astrology' is unknown", *STUDIES]),
    ({"learner": ["oracle-bone"]}, SettingsError, ["oracle-bone", "ridge"]),
    ({"learner": ["ridge nonsense=1"]}, SettingsError, ["nonsense", "alpha_per_image"]),
    ({"learner": ["ridge alpha_per_image=0"]}, SettingsError, ["alpha_per_image"]),
    ({"learner": ["ridge pca"]}, SettingsError, ["'pca' is not key=value"]),
    ({"learner": ["logistic pca=5000"]}, SettingsError, ["pca=5000", "1280"]),
    ({"learner": [""]}, SettingsError, ["learner ''", "ridge"]),
    ({"learner": ["ridge", "ridge"]}, StudyError, ["--learner:", "twice"]),
    ({"backbone": "spine"}, SettingsError, ["spine", "efficientnet_lite0"]),
    ({"draws": -1}, StudyError, ["--draws", "0 (no intervals) or more"]),
    ({"split_seed": [1, 2, 1]}, StudyError, ["--split-seed:", "twice"]),
    ({"split_seed": [-1]}, StudyError, ["--split-seed", "from 0"]),
    ({"partition": ["iid:3"]}, StudyError, ["--partition is for the study heterogeneity"]),
    ({"images_per_site": [9]}, StudyError, ["--images-per-site is for the study learning-curve"]),
    (
        {"name": "learning-curve", "images_per_site": [0]},
        StudyError,
        ["--images-per-site", "1 or more"],
    ),
    (
        {"name": "learning-curve", "images_per_site": [5, 5]},
        StudyError,
        ["--images-per-site:", "twice"],
    ),
    (
        {"name": "heterogeneity", "partition": ["iid:2", "iid:2"]},
        StudyError,
        ["--partition:", "twice"],
    ),
    (
        {"name": "heterogeneity", "partition": ["by-moon"]},
        PartitionError,
        ["by-moon", "dirichlet:ALPHA:N", "look:N"],
    ),
    ({"cohort": Path("nowhere")}, CohortError, ["nowhere"]),
]


@pytest.mark.parametrize(("changes", "error", "wanted"), BAD)
def test_a_wrong_choice_is_named_before_anything_is_computed(
    changes: dict[str, Any],
    error: type[DermafedError],
    wanted: list[str],
    cohort: Path,
    tmp_path: Path,
) -> None:
    arguments = {"name": "fairness", "cohort": cohort, "out": tmp_path / "out", **changes}
    with pytest.raises(error) as caught:
        study(**arguments)
    assert "\n" not in str(caught.value)
    for text in wanted:
        assert text in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "wanted"),
    [
        (("astrology",), 1, "leave-one-site-out"),
        (("fairness", "--draws", "-1"), 1, "--draws"),
        (("fairness", "--draws", "many"), 2, "--draws"),
        ((), 2, "NAME"),
    ],
)
def test_the_command_says_so_in_one_line_and_by_its_exit_code(
    arguments: tuple[str, ...], code: int, wanted: str, dermafed: Any, tmp_path: Path
) -> None:
    done = dermafed("study", *arguments, *(("--out", tmp_path / "out") if arguments else ()))
    assert done.returncode == code
    (line,) = done.stderr.strip().splitlines()
    assert wanted in line
    assert list(tmp_path.iterdir()) == []


def one_site(cohort: Cohort) -> Cohort:
    return replace(cohort, site=np.full(len(cohort), SITES[0]))


def unknown_sites(cohort: Cohort) -> Cohort:
    return replace(cohort, sites_known=False)


@pytest.mark.parametrize("change", [one_site, unknown_sites])
@pytest.mark.parametrize("name", STUDIES)
def test_a_cohort_without_two_sites_is_refused(
    name: str,
    change: Callable[[Cohort], Cohort],
    made_cohort: Cohort,
    run_here: Any,
    tmp_path: Path,
) -> None:
    changed = Lab(change(made_cohort), "tiny", make_lab(made_cohort).x, {})
    with pytest.raises(StudyError, match=r"two acquisition sites or more.*site column"):
        tunes = {"learners": (), "backbone": STAGED.name} if STUDIES[name].tunes else {}
        run_here(name, tmp_path / "out", on=changed, **tunes)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["leave-one-site-out", "cross-site", "learning-curve"])
def test_a_class_without_images_is_told_and_changes_nothing(
    name: str, lab: Lab, run_here: RunHere, tmp_path: Path
) -> None:
    wider = replace(lab, cohort=replace(lab.cohort, classes=(*lab.cohort.classes, "vasc")))
    narrow = run_here(name, tmp_path / "a", images_per_site=(20,))
    wide = run_here(name, tmp_path / "b", on=wider, images_per_site=(20,))
    assert wide["cohort"]["classes"][-1] == "vasc"
    for one, other in zip(narrow["cells"], wide["cells"], strict=True):
        assert other["absent"] == [*one["absent"], "vasc"]
        assert other["metrics"].keys() == one["metrics"].keys()
        value, wanted = (c["metrics"]["balanced_accuracy"][0] for c in (other, one))
        assert value == pytest.approx(wanted)
    assert all(entry["differ"] == 0 for entry in wide["exactness"])


def test_a_site_of_one_class_does_not_stop_a_study(
    lab: Lab, run_here: RunHere, tmp_path: Path
) -> None:
    y = np.where(lab.cohort.site == SITES[2], 2, lab.cohort.y)
    changed = replace(lab, cohort=replace(lab.cohort, y=y))
    result = run_here("cross-site", tmp_path / "a", on=changed)
    (cell,) = (
        cell
        for cell in result["cells"]
        if cell["condition"] == f"trained at {SITES[2]}" and cell["by"] == "all"
    )
    # It calls everything by its one class: right for one of three.
    assert cell["metrics"]["balanced_accuracy"][0] == pytest.approx(1 / 3)
    run_here("learning-curve", tmp_path / "b", on=changed, images_per_site=(20,))
    run_here("leave-one-site-out", tmp_path / "c", on=changed)
