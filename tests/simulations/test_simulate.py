"""The main job, as users run it: against a pooled fit that shares no code with it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score
from sklearn.preprocessing import StandardScaler

from common.evaluation import evaluation_spec

CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
SITES = ("rosendahl", "vidir_modern", "vidir_molemax", "vienna_dias")


def read_predictions(run: Path) -> list[dict[str, str]]:
    with (run / "predictions.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def probabilities(rows: list[dict[str, str]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([[float(row[f"p_{name}"]) for name in CLASSES] for row in rows])


def read_result(run: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((run / "result.json").read_text(encoding="utf-8"))
    return result


@pytest.fixture(scope="module")
def pooled(exported: Any) -> tuple[StandardScaler, RidgeClassifier]:
    train = exported["split"] == "train"
    x = exported["x"].astype(np.float64)
    scaler = StandardScaler().fit(x[train])
    ridge = RidgeClassifier(alpha=float(train.sum()), class_weight="balanced")
    return scaler, ridge.fit(scaler.transform(x[train]), exported["y"][train])


def test_exported_features_have_the_documented_arrays(exported: Any) -> None:
    assert set(exported) == {"image_id", "x", "site", "y", "split", "group"}
    assert exported["x"].dtype == np.float32
    assert exported["x"].shape == (240, 1280)
    assert set(exported["y"]) <= set(CLASSES)
    assert exported["image_id"].dtype.kind == "U"


@pytest.mark.parametrize("partition", ["site", "iid:7", "dirichlet:0.1:20"])
def test_the_model_is_the_pooled_ridge_of_scikit_learn_whatever_the_partition(
    partition: str,
    pooled: tuple[StandardScaler, RidgeClassifier],
    exported: Any,
    site_run: tuple[Path, Any],
    dermafed: Any,
    cohort: Path,
    tmp_path: Path,
) -> None:
    run = site_run[0]
    if partition != "site":
        run = tmp_path / "run"
        done = dermafed("simulate", cohort, "--partition", partition, "--out", run)
        assert done.returncode == 0, done.stderr
    scaler, ridge = pooled
    model = load_file(run / "model.safetensors")
    present = [CLASSES.index(name) for name in ridge.classes_]
    error = np.linalg.norm(model["coef"][present] - ridge.coef_) / np.linalg.norm(ridge.coef_)
    assert error <= 1e-8
    np.testing.assert_allclose(model["intercept"][present], ridge.intercept_, atol=1e-9)
    np.testing.assert_allclose(model["mean"], scaler.mean_, rtol=1e-10, atol=1e-12)
    rows = {row["image_id"]: row for row in read_predictions(run)}
    wanted = ridge.predict(scaler.transform(exported["x"].astype(np.float64)))
    assert [rows[name]["y_pred"] for name in exported["image_id"]] == list(wanted)


def test_the_result_has_the_documented_keys_and_says_what_the_oracle_says(
    site_run: tuple[Path, Any],
) -> None:
    result = read_result(site_run[0])
    assert {"config", "rounds", "bytes_up", "bytes_down", "seconds", "partition"} <= set(result)
    assert {"stages", "selection", "test", "oracle", "versions"} <= set(result)
    # Two rounds give the exact head; those after them its probabilities' temperature.
    stages = result["stages"]
    assert list(stages) == ["moments", "gram", "temperature"]
    assert (stages["moments"], stages["gram"]) == (1, 1)
    assert result["rounds"] == sum(stages.values()) <= 10
    assert result["selection"] is None
    assert result["config"]["learner_settings"] == ""
    assert result["partition"]["sites"] == 4
    assert sum(result["partition"]["images"].values()) == 240
    assert result["partition"]["withheld"] == {name: [] for name in SITES}
    assert tuple(result["test"]["sites"]) == SITES
    for metrics in (result["test"]["pooled"], result["oracle"]["pooled"]):
        assert {"n", "balanced_accuracy", "accuracy", "macro_auc"} <= set(metrics)
    assert result["oracle"]["relative_coefficient_error"] <= 1e-8
    assert result["oracle"]["predictions_that_differ"] == 0
    # A packed Gram matrix a site and the resamples of its evaluation are the bulk of what goes up.
    packed = 4 * 1281 * 1282 / 2 * 8
    spec = evaluation_spec(7, malignant=True, draws=result["config"]["draws"])
    evaluation = 4 * sum(array.elements for array in spec.values()) * 8
    assert packed + evaluation < result["bytes_up"] < 1.1 * packed + evaluation


def test_the_metrics_are_those_of_scikit_learn_on_the_predictions(
    site_run: tuple[Path, Any],
) -> None:
    result = read_result(site_run[0])
    rows = [row for row in read_predictions(site_run[0]) if row["split"] == "test"]
    for name, metrics in [("all", result["test"]["pooled"]), *result["test"]["sites"].items()]:
        of_site = [row for row in rows if name in ("all", row["site"])]
        truth = [row["y_true"] for row in of_site]
        predicted = [row["y_pred"] for row in of_site]
        assert metrics["n"] == len(of_site)
        assert metrics["accuracy"] == pytest.approx(accuracy_score(truth, predicted))
        recalls = [
            np.mean([p == label for t, p in zip(truth, predicted, strict=True) if t == label])
            for label in set(truth)
        ]
        assert metrics["balanced_accuracy"] == pytest.approx(np.mean(recalls))
        assert set(metrics["classes_absent"]) == set(CLASSES) - set(truth)
        p = probabilities(of_site)
        aucs = [
            roc_auc_score([t == label for t in truth], p[:, CLASSES.index(label)])
            for label in set(truth)
            if len(set(truth)) > 1
        ]
        assert metrics["macro_auc"] == pytest.approx(np.mean(aucs))
    pooled = result["test"]["pooled"]
    truth = [row["y_true"] for row in rows]
    predicted = [row["y_pred"] for row in rows]
    if not pooled["classes_absent"]:
        assert pooled["balanced_accuracy"] == pytest.approx(
            balanced_accuracy_score(truth, predicted)
        )
    assert abs(pooled["macro_auc"] - pooled["macro_auc_from_sums"]) < 1e-3


def test_predictions_have_one_row_for_every_image_of_the_cohort(
    site_run: tuple[Path, Any], cohort: Path, exported: Any
) -> None:
    rows = read_predictions(site_run[0])
    with (cohort / "HAM10000_metadata.csv").open(encoding="utf-8", newline="") as stream:
        table = {row["image_id"]: row for row in csv.DictReader(stream)}
    assert [row["image_id"] for row in rows] == list(table)
    assert list(rows[0]) == [
        *("learner", "model", "condition", "split_seed", "split"),
        *("image_id", "lesion_id", "cluster", "site", "client"),
        *("sex", "age_band", "localisation", "label_source", "skin_tone", "y_true", "y_pred"),
        *(f"p_{name}" for name in CLASSES),
    ]
    split = dict(zip(exported["image_id"], exported["split"], strict=True))
    for row in rows:
        official = table[row["image_id"]]
        assert (row["lesion_id"], row["y_true"]) == (official["lesion_id"], official["dx"])
        assert row["site"] == row["client"] == official["dataset"]
        assert row["split"] == split[row["image_id"]]
    # Written as float32.
    np.testing.assert_allclose(probabilities(rows).sum(axis=1), 1.0, rtol=1e-6)


def test_what_is_printed_shows_the_sites_the_oracle_and_the_cost(
    site_run: tuple[Path, Any],
) -> None:
    printed = site_run[1].stdout
    for name in (*SITES, "all sites", "pooled oracle", "MiB up", str(site_run[0])):
        assert name in printed
    stages = read_result(site_run[0])["stages"]
    rounds = f"{sum(stages.values())} rounds (moments 1, gram 1, temperature "
    assert rounds in printed
    assert "0 predictions differ" in printed
    assert "guarded" not in printed
    assert "choice by folds" not in printed


def test_what_the_sums_alone_tell_is_what_the_predictions_say(site_run: tuple[Path, Any]) -> None:
    test = read_result(site_run[0])["test"]
    told = test["from_sums"]
    assert told["sites"].keys() == test["clients"].keys()
    pairs = [(told["pooled"], test["pooled"])]
    pairs += [(told["sites"][name], test["clients"][name]) for name in told["sites"]]
    for from_sums, from_predictions in pairs:
        for name in ("n", "confusion", "accuracy", "balanced_accuracy", "classes_absent"):
            assert from_sums[name] == from_predictions[name]
        assert from_sums["images_withheld"] == 0


def test_two_rounds_are_enough_without_a_temperature_and_give_the_same_head(
    site_run: tuple[Path, Any], dermafed: Any, cohort: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    done = dermafed("simulate", cohort, "--set", "calibrate=none", "--out", run)
    assert done.returncode == 0, done.stderr
    assert "2 rounds (moments 1, gram 1)" in done.stdout
    assert read_result(run)["rounds"] == 2
    model, calibrated = (load_file(path / "model.safetensors") for path in (run, site_run[0]))
    for name in ("coef", "intercept", "mean", "scale"):
        assert model[name].tobytes() == calibrated[name].tobytes()
    assert set(model["inverse_temperature"].tolist()) == {1.0}
    assert len(set(calibrated["inverse_temperature"].tolist())) == 1


def test_predict_gives_new_images_what_the_run_gave_them(
    site_run: tuple[Path, Any], dermafed: Any, cohort: Path, tmp_path: Path
) -> None:
    rows = {row["image_id"]: row for row in read_predictions(site_run[0])}
    one = sorted((cohort / "images").iterdir())[5]
    out = tmp_path / "predicted.csv"
    done = dermafed("predict", site_run[0], cohort / "images", one, "--out", out)
    assert done.returncode == 0, done.stderr
    with out.open(encoding="utf-8", newline="") as stream:
        predicted = list(csv.DictReader(stream))
    assert list(predicted[0]) == ["image_id", "y_pred", *(f"p_{name}" for name in CLASSES)]
    assert len(predicted) == len(rows) + 1
    assert predicted[-1]["image_id"] == one.stem
    for row in predicted:
        assert row["y_pred"] == rows[row["image_id"]]["y_pred"]
    in_order = [rows[row["image_id"]] for row in predicted]
    # The run's are written as float32, those of new images as float64.
    np.testing.assert_allclose(probabilities(predicted), probabilities(in_order), rtol=2**-22)


def test_a_binary_task_from_a_manifest_equals_the_pooled_ridge(
    dermafed: Any, cohort: Path, exported: Any, tmp_path: Path
) -> None:
    manifest = tmp_path / "malignancy.toml"
    malignant = ("akiec", "bcc", "mel")
    classes = {name: "malignant" if name in malignant else "benign" for name in CLASSES}
    diagnoses = "\n".join(f'{name} = "{label}"' for name, label in classes.items())
    manifest.write_text(
        f"""
        name = "malignancy"
        table = "{cohort / "HAM10000_metadata.csv"}"
        images = ["drawn"]
        classes = ["benign", "malignant"]
        duplicates = "{cohort / "duplicate_pairs.csv"}"
        [columns]
        image = "image_id"
        diagnosis = "dx"
        lesion = "lesion_id"
        site = "dataset"
        [diagnoses]
        {diagnoses}
        """,
        encoding="utf-8",
    )
    (tmp_path / "drawn").symlink_to(cohort / "images")
    run = tmp_path / "run"
    done = dermafed("simulate", manifest, "--out", run)
    assert done.returncode == 0, done.stderr
    train = exported["split"] == "train"
    x = exported["x"].astype(np.float64)
    y = np.array([classes[name] for name in exported["y"]])
    scaler = StandardScaler().fit(x[train])
    ridge = RidgeClassifier(alpha=float(train.sum()), class_weight="balanced")
    ridge.fit(scaler.transform(x[train]), y[train])
    model = load_file(run / "model.safetensors")
    reference = ridge.coef_.ravel()
    assert np.linalg.norm(model["coef"][1] - reference) <= 1e-8 * np.linalg.norm(reference)
    with (run / "predictions.csv").open(encoding="utf-8", newline="") as stream:
        predicted = [row["y_pred"] for row in csv.DictReader(stream)]
    assert predicted == list(ridge.predict(scaler.transform(x)))
    oracle = read_result(run)["oracle"]
    assert oracle["relative_coefficient_error"] <= 1e-8
    assert oracle["predictions_that_differ"] == 0
