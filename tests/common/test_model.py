"""The model on disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from common.errors import RunFolderError
from common.learners import LINEAR, make_learner
from common.learners.base import Problem, SiteData
from common.learners.federate import fit_sites
from common.model import Model, ModelDescription, load_model, save_model

DIMENSION = 6
CLASSES = ("bcc", "mel", "nv")
SETTINGS = "alpha_per_image=0.3 calibrate=none"
PROBE = np.random.default_rng(1).normal(size=(40, DIMENSION)).astype(np.float32)


@pytest.fixture
def model() -> Model:
    """A model whose class ``mel`` has no training image."""
    rng = np.random.default_rng(0)
    data = SiteData(rng.normal(size=(50, DIMENSION)).astype(np.float32), rng.integers(0, 2, 50) * 2)
    learner = make_learner("ridge", Problem(CLASSES, DIMENSION), SETTINGS)
    state = fit_sites(learner, {"é": data})
    description = ModelDescription(
        learner="ridge",
        learner_settings=SETTINGS,
        chosen=None,
        classes=CLASSES,
        classes_without_training_images=("mel",),
        dimension=DIMENSION,
        backbone="tiny",
        backbone_fingerprint="f" * 64,
        split_seed=1,
        sites=("é", "b"),
        versions={"python": "3"},
    )
    return Model(description, state.arrays)


def test_a_model_read_again_predicts_bit_for_bit(model: Model, tmp_path: Path) -> None:
    save_model(tmp_path, model)
    again = load_model(tmp_path)
    assert again.description == model.description
    before, after = model.head(), again.head()
    assert after.predict_proba(PROBE).tobytes() == before.predict_proba(PROBE).tobytes()
    assert after.classes_.tolist() == ["bcc", "nv"]
    assert after.predict(PROBE).tolist() == before.predict(PROBE).tolist()


@pytest.mark.parametrize("learner", LINEAR)
@pytest.mark.parametrize(
    "front", ["", "pca=3", "kernel=rff components=9", "pca=3 kernel=nystroem components=4"]
)
def test_every_learner_with_every_front_is_read_again(
    model: Model, tmp_path: Path, learner: str, front: str
) -> None:
    rng = np.random.default_rng(0)
    data = SiteData(rng.normal(size=(50, DIMENSION)), rng.integers(0, 2, 50) * 2)
    settings = f"calibrate=none {front}"
    fitted = make_learner(learner, Problem(CLASSES, DIMENSION), settings)
    state = fit_sites(fitted, {"a": data})
    about = replace(model.description, learner=learner, learner_settings=settings, chosen=0.25)
    save_model(tmp_path, Model(about, state.arrays))
    again = load_model(tmp_path)
    assert again.description == about
    # A copy of the estimator is fitted with what was set for this one.
    parameters = again.head().get_params()
    set_for_it = dict(item.split("=") for item in front.split())
    assert {name: str(parameters[name]) for name in set_for_it} == set_for_it
    expected = fitted.head(state).predict_proba(PROBE)
    assert again.head().predict_proba(PROBE).tobytes() == expected.tobytes()


def test_arrays_of_any_layout_are_saved(model: Model, tmp_path: Path) -> None:
    coef = np.asfortranarray(model.arrays["coef"])
    doubled = np.repeat(coef, 2, axis=1)[:, ::2]
    for layout in (coef, doubled):
        save_model(tmp_path, replace(model, arrays={**model.arrays, "coef": layout}))
        np.testing.assert_array_equal(load_model(tmp_path).arrays["coef"], coef)


def test_a_model_is_numbers_and_json_and_no_pickle(model: Model, tmp_path: Path) -> None:
    save_model(tmp_path, model)
    assert {path.name for path in tmp_path.iterdir()} == {"model.json", "model.safetensors"}
    json.loads((tmp_path / "model.json").read_text(encoding="utf-8"))
    # safetensors: the header's length, the header in JSON, then numbers to the last byte.
    data = (tmp_path / "model.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    front, head = {"mean", "scale", "class_count"}, {"coef", "intercept", "inverse_temperature"}
    assert header.keys() == front | head
    ends = sorted(entry["data_offsets"] for entry in header.values())
    assert [start for start, _ in ends] == [0, *(end for _, end in ends[:-1])]
    assert ends[-1][1] == len(data) - 8 - length


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_a_folder_without_a_model_is_refused(model: Model, tmp_path: Path, name: str) -> None:
    save_model(tmp_path, model)
    (tmp_path / name).unlink()
    with pytest.raises(RunFolderError, match=r"missing; .* is not the folder of a finished run"):
        load_model(tmp_path)


def _weights(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        arrays = dict(load_model(folder).arrays)
        change(arrays)
        save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, folder / WEIGHTS)

    return damage


def _description(**changes: Any) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / "model.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return damage


WEIGHTS = "model.safetensors"
DAMAGES: dict[str, Callable[[Path], object]] = {
    "weights cut": lambda at: (at / WEIGHTS).write_bytes((at / WEIGHTS).read_bytes()[:-8]),
    "weights empty": lambda at: (at / WEIGHTS).write_bytes(b""),
    "weights are text": lambda at: (at / WEIGHTS).write_text("no weights at all"),
    "header too long": lambda at: (at / WEIGHTS).write_bytes(b"\xff" * 100),
    "array missing": _weights(lambda arrays: arrays.pop("scale")),
    "array added": _weights(lambda arrays: arrays.update(extra=np.zeros(1))),
    "wrong shape": _weights(lambda arrays: arrays.update(coef=np.zeros((3, DIMENSION + 1)))),
    "wrong dtype": _weights(lambda arrays: arrays.update(mean=np.zeros(DIMENSION, np.float32))),
    "not finite": _weights(lambda arrays: arrays.update(intercept=np.full(3, np.nan))),
    "scale of zero": _weights(lambda arrays: arrays.update(scale=np.zeros(DIMENSION))),
    "description cut": lambda at: (at / "model.json").write_text('{"learner": "ri'),
    "description empty": lambda at: (at / "model.json").write_bytes(b""),
    "description no text": lambda at: (at / "model.json").write_bytes(b"\xff\xfe"),
    "description a list": lambda at: (at / "model.json").write_text("[]"),
    "no classes": _description(classes=None),
    "a class more": _description(classes=[*CLASSES, "df"]),
    "dimension in words": _description(dimension="six"),
    "another dimension": _description(dimension=7),
    "unknown learner": _description(learner="forest"),
    "temperature below zero": _weights(lambda a: a.update(inverse_temperature=np.full(3, -1.0))),
    "penalty out of bounds": _description(learner_settings="alpha_per_image=-1"),
    "settings of another": _description(learner_settings="shrinkage=0.5"),
    "settings no settings": _description(learner_settings="alpha"),
    "settings a number": _description(learner_settings=1),
    "more components than features": _description(learner_settings="pca=7"),
    "components that it lacks": _description(learner_settings="pca=3"),
    "a kernel that it lacks": _description(learner_settings="kernel=rff components=6"),
    "chosen a text": _description(chosen="much"),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_a_damaged_model_is_refused(model: Model, tmp_path: Path, case: str) -> None:
    save_model(tmp_path, model)
    DAMAGES[case](tmp_path)
    with pytest.raises(RunFolderError) as caught:
        load_model(tmp_path)
    assert str(caught.value).startswith(str(tmp_path / "model."))
