"""A model without a site that withdraws, or with a new one, from what the coordinator kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from sklearn.linear_model import RidgeClassifier
from sklearn.preprocessing import StandardScaler

from common.errors import RunFolderError
from common.learners import make_learner
from common.learners.base import Contribution, Problem, SiteData
from common.learners.federate import fit_sites
from common.learners.linear_head import linear
from common.ledger import Entry, EntryDescription, load_entry, save_entry
from common.model import Model, ModelDescription, load_model, save_model
from server.ledger import change_ledger

CLASSES, DIMENSION = ("bcc", "mel", "nv"), 5
PROBLEM = Problem(CLASSES, DIMENSION)
SETTINGS = "ledger=true alpha_per_image=0.1"
NAMES = ("basel", "new/site", "zagreb")


def _data(seed: int, images: int = 60) -> SiteData:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, images).astype(np.intp)
    x = rng.normal(size=(3, DIMENSION))[y] + rng.normal(size=(images, DIMENSION))
    return SiteData(x.astype(np.float32), y)


SITES = {name: _data(seed) for seed, name in enumerate(NAMES)}
NEW = _data(9)


def _entry(site: str, data: SiteData, **changed: Any) -> Entry:
    learner = make_learner("ridge", PROBLEM, SETTINGS)
    about: dict[str, Any] = {
        "site": site,
        "images": len(data),
        "classes": CLASSES,
        "dimension": DIMENSION,
        "backbone_fingerprint": "b" * 16,
        "split_seed": 1,
        "withheld": (),
        **changed,
    }
    return Entry(EntryDescription(**about), learner.contribute(data, learner.start()))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    (folder / "ledger").mkdir(parents=True)
    (folder / "result.json").write_text("{}", encoding="utf-8")
    for index, (name, data) in enumerate(SITES.items()):
        save_entry(folder / "ledger" / f"{index:05d}.safetensors", _entry(name, data))
    learner = make_learner("ridge", PROBLEM, f"{SETTINGS} calibrate=none")
    about = ModelDescription(
        learner="ridge",
        learner_settings=SETTINGS,
        chosen=None,
        classes=CLASSES,
        classes_without_training_images=(),
        dimension=DIMENSION,
        backbone="efficientnet_lite0",
        backbone_fingerprint="b" * 16,
        split_seed=1,
        sites=NAMES,
        versions={},
    )
    save_model(folder, Model(about, fit_sites(learner, SITES).arrays))
    return folder


def _pooled(sites: list[SiteData]) -> tuple[StandardScaler, RidgeClassifier]:
    x = np.concatenate([data.x for data in sites]).astype(np.float64)
    y = np.concatenate([data.y for data in sites])
    scaler = StandardScaler().fit(x)
    ridge = RidgeClassifier(alpha=0.1 * len(y), class_weight="balanced")
    return scaler, ridge.fit(scaler.transform(x), y)


def _is_the_fit_of(folder: Path, sites: list[SiteData]) -> None:
    model = load_model(folder)
    scaler, ridge = _pooled(sites)
    found = linear(model.head())
    assert np.linalg.norm(found.coef_ - ridge.coef_) <= 1e-10 * np.linalg.norm(ridge.coef_)
    np.testing.assert_allclose(model.arrays["mean"], scaler.mean_, rtol=1e-12, atol=1e-12)


def test_without_a_site_the_model_is_the_pooled_fit_of_the_others(
    run: Path, tmp_path: Path
) -> None:
    change = change_ledger(run, tmp_path / "less", withdraw=["new/site"])
    assert change.sites == ("basel", "zagreb")
    assert change.images == 120
    _is_the_fit_of(tmp_path / "less", [SITES["basel"], SITES["zagreb"]])
    about = load_model(tmp_path / "less").description
    assert about.sites == ("basel", "zagreb")
    assert "calibrate=none" in about.learner_settings


def test_nothing_of_a_withdrawn_site_is_in_the_new_folder(run: Path, tmp_path: Path) -> None:
    change_ledger(run, tmp_path / "less", withdraw=["new/site"])
    kept = [load_entry(path).description.site for path in (tmp_path / "less/ledger").iterdir()]
    assert sorted(kept) == ["basel", "zagreb"]
    gone = load_entry(run / "ledger" / "00001.safetensors").contribution.arrays["class_gram"]
    held = b"".join(p.read_bytes() for p in (tmp_path / "less").rglob("*.safetensors"))
    assert gone[0].tobytes() not in held


def test_with_a_new_site_the_model_is_the_pooled_fit_with_it(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "new.safetensors"
    save_entry(path, _entry("oslo", NEW))
    change_ledger(run, tmp_path / "more", admit=[path])
    _is_the_fit_of(tmp_path / "more", [*SITES.values(), NEW])


def test_out_and_in_again_is_the_model_that_was(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "entry.safetensors"
    path.write_bytes((run / "ledger" / "00000.safetensors").read_bytes())
    change_ledger(run, tmp_path / "less", withdraw=["basel"])
    change_ledger(tmp_path / "less", tmp_path / "again", admit=[path])
    before, after = load_model(run).arrays, load_model(tmp_path / "again").arrays
    np.testing.assert_array_equal(after["coef"], before["coef"])


def test_what_cannot_be_changed_is_refused_with_its_reason(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(RunFolderError, match=r"no site oslo; its sites: basel, new/site, zagreb"):
        change_ledger(run, out, withdraw=["oslo"])
    with pytest.raises(RunFolderError, match="no site would be left"):
        change_ledger(run, out, withdraw=NAMES)
    path = tmp_path / "entry.safetensors"
    save_entry(path, _entry("basel", NEW))
    with pytest.raises(RunFolderError, match=r"entry\.safetensors: site basel is in the ledger"):
        change_ledger(run, out, admit=[path])
    for changed, match in (
        ({"split_seed": 2}, "oslo: its split_seed is 2, the model's is 1"),
        ({"backbone_fingerprint": "c" * 16}, "oslo: its backbone_fingerprint"),
        ({"classes": ("mel", "bcc", "nv")}, "oslo: its classes"),
    ):
        save_entry(path, _entry("oslo", NEW, **changed))
        with pytest.raises(RunFolderError, match=match):
            change_ledger(run, out, admit=[path])
    for file in (run / "ledger").iterdir():
        file.unlink()
    with pytest.raises(RunFolderError, match="has no ledger"):
        change_ledger(run, out, withdraw=["basel"])
    assert not out.exists()


def test_a_damaged_entry_is_refused_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "entry.safetensors"
    with pytest.raises(RunFolderError, match=r"entry\.safetensors: missing"):
        load_entry(path)
    path.write_bytes(b"not safetensors at all")
    with pytest.raises(RunFolderError, match=r"entry\.safetensors: damaged"):
        load_entry(path)
    save_file({"class_gram": np.zeros((3, 21))}, path)
    with pytest.raises(RunFolderError, match=r"entry\.safetensors: damaged"):
        load_entry(path)
    right = _entry("oslo", NEW)
    for forged, match in (
        (right.contribution.arrays["class_gram"] * np.nan, "NaN or infinity"),
        (right.contribution.arrays["class_gram"][:2], "shape"),
        (right.contribution.arrays["class_gram"] * -1.0, "not whole"),
        (right.contribution.arrays["class_gram"].astype(np.float32), "dtype"),
    ):
        arrays = {"class_gram": np.ascontiguousarray(forged)}
        save_entry(path, Entry(right.description, Contribution(len(NEW), arrays)))
        with pytest.raises(RunFolderError, match=match):
            load_entry(path)


def test_the_result_says_what_was_done(run: Path, tmp_path: Path) -> None:
    change_ledger(run, tmp_path / "less", withdraw=["basel"])
    result = json.loads((tmp_path / "less" / "result.json").read_text(encoding="utf-8"))
    assert result["withdrawn"] == ["basel"]
    assert result["sites"] == ["new/site", "zagreb"]
    assert result["images"] == 120
    assert set(load_file(tmp_path / "less" / "model.safetensors")) >= {"coef", "intercept"}
