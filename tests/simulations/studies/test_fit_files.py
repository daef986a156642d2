"""The files that resuming reads: whole, named by all they depend on, and refused when damaged."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import simulations.studies.open_lab
from common.errors import RunFolderError
from simulations.studies.fit import Fit, FitResult, load_result
from simulations.studies.lab import Lab, make_bench
from simulations.studies.models import run_fit
from simulations.studies.open_lab import lab_identities

FIT = Fit("ridge", ("federated", "pooled"), "-", 1)


@pytest.fixture
def result(lab: Lab) -> FitResult:
    return run_fit(make_bench(lab, FIT), Path())


@pytest.fixture
def saved(result: FitResult, tmp_path: Path) -> Path:
    path = tmp_path / "fits" / "one.safetensors"
    result.save(path)
    return path


def test_a_result_comes_back_bit_for_bit(result: FitResult, saved: Path) -> None:
    back = load_result(saved)
    np.testing.assert_array_equal(back.rows, result.rows)
    np.testing.assert_array_equal(back.client, result.client)
    assert list(back.probabilities) == sorted(result.probabilities)
    for model in result.probabilities:
        np.testing.assert_array_equal(back.probabilities[model], result.probabilities[model])
        np.testing.assert_array_equal(back.predicted[model], result.predicted[model])
        assert back.predicted[model].dtype == np.intp
    assert back.about == result.about
    assert [path.name for path in saved.parent.iterdir()] == ["one.safetensors"]


def _rewrite(path: Path, about: str | None, drop: str = "", **arrays: Any) -> None:
    kept = {name: array for name, array in load_file(path).items() if name != drop}
    save_file({**kept, **arrays}, path, metadata=None if about is None else {"about": about})


ABOUT = json.dumps({"clients": ["graz", "sydney", "vienna"], "costs": {}})


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-100]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("not a model", encoding="utf-8"),
        lambda path: _rewrite(path, None),
        lambda path: _rewrite(path, "{"),
        lambda path: _rewrite(path, "{}"),
        lambda path: _rewrite(path, "[]"),
        lambda path: _rewrite(path, ABOUT, drop="rows"),
        lambda path: _rewrite(path, ABOUT, client=np.array([99])),
    ],
    ids=["cut", "empty", "text", "unlabelled", "half", "bare", "list", "no-rows", "no-client"],
)
def test_a_damaged_file_is_named_with_what_to_do(damage: Any, saved: Path) -> None:
    damage(saved)
    with pytest.raises(RunFolderError, match=r"one\.safetensors: damaged .*delete it") as caught:
        load_result(saved)
    assert "\n" not in str(caught.value)


def test_a_fit_has_its_own_file_for_each_thing_that_it_depends_on() -> None:
    other: dict[str, Any] = {
        "learner": "ridge alpha_per_image=2",
        "models": ("federated",),
        "condition": "+",
        "split_seed": 2,
        "trains": ("a",),
        "tests": ("a",),
        "partition": "iid:2",
        "seed": 1,
        "images_per_site": 5,
        "looks": True,
        "training": "steps=3",
        "backbone": "efficientnet_lite1",
        "turn": 1,
        "class_weight": "none",
        "imbalance": "smote",
        "views": 2,
        "metadata": "early",
    }
    # A field that is added must be part of the name, too.
    assert set(other) == {field.name for field in fields(Fit)}
    keys = {FIT.key("x"), FIT.key("y")}
    keys |= {replace(FIT, **{name: value}).key("x") for name, value in other.items()}
    assert len(keys) == len(other) + 2
    assert FIT.key("x") == Fit("ridge", ("federated", "pooled"), "-", 1).key("x")


def test_files_are_named_by_features_labels_groups_and_versions(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    cohort = lab.cohort

    def swapped(column: str) -> Lab:
        values = getattr(cohort, column).copy()
        first, second = 0, int(np.flatnonzero(values != values[0])[0])
        values[[first, second]] = values[[second, first]]
        return replace(lab, cohort=replace(cohort, **{column: values}))

    x = lab.x.copy()
    x[17, 2] = np.nextafter(x[17, 2], np.float32(np.inf))
    changed = [replace(lab, x=x), replace(lab, cohort=replace(cohort, classes=("a", "b", "c")))]
    columns = ("image_id", "y", "site", "group", "sex", "localisation", "age")
    changed += [swapped(column) for column in columns]
    names = [lab_identities(one, [FIT])[FIT] for one in (lab, *changed)]
    assert len(set(names)) == len(names)
    assert lab_identities(replace(lab, x=lab.x.copy()), [FIT])[FIT] == names[0]
    monkeypatch.setattr(simulations.studies.open_lab, "package_versions", lambda: {"numpy": "0"})
    assert lab_identities(lab, [FIT])[FIT] != names[0]


def test_changed_looks_rename_the_fits_that_see_them_and_no_others(lab: Lab) -> None:
    looking = replace(FIT, partition="iid:3", looks=True)
    one = lab_identities(replace(lab, looks={"iid:3": lab.x + 1}), [FIT, looking])
    other = lab_identities(replace(lab, looks={"iid:3": lab.x + 2}), [FIT, looking])
    assert one[FIT] == other[FIT] == lab_identities(lab, [FIT])[FIT]
    assert one[looking] != other[looking]


def test_other_backbones_rename_the_fits_that_see_them_and_no_others(lab: Lab) -> None:
    seeing = replace(FIT, backbone="efficientnet_lite1")
    one = lab_identities(replace(lab, others={seeing.backbone: lab.x}), [FIT, seeing])
    other = lab_identities(replace(lab, others={seeing.backbone: lab.x + 1}), [FIT, seeing])
    assert one[FIT] == other[FIT]
    # The same numbers from another network are other features.
    assert len({one[FIT], one[seeing], other[seeing]}) == 3
