"""Runs whose sites treat imbalance, as users start them, against imbalanced-learn on each site."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from imblearn.over_sampling import SMOTE
from safetensors.numpy import load_file
from sklearn.linear_model import RidgeClassifier
from sklearn.preprocessing import StandardScaler

CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
RIDGE = ("--learner", "ridge", "--set", "class_weight=none", "--set", "calibrate=none")


def _smote_by_hand(x: Any, y: Any) -> tuple[Any, Any]:
    """SMOTE with three neighbours, with fewer where a class has fewer, with copies of one image."""
    count, most = Counter(y.tolist()), max(Counter(y.tolist()).values())
    few: dict[int, dict[str, int]] = {}
    parts = [(x, y)]
    for label, images in count.items():
        if images == 1:
            at = np.flatnonzero(y == label).repeat(most - 1)
            parts.append((x[at], y[at]))
        elif images < most:
            few.setdefault(min(3, images - 1), {})[label] = most
    for neighbours, goals in few.items():
        # It draws for the classes in the order of their goals.
        goals = {label: goals[label] for label in sorted(goals)}
        smote = SMOTE(sampling_strategy=goals, k_neighbors=neighbours, random_state=2)
        made, labels = smote.fit_resample(x, y)
        parts.append((made[len(y) :], labels[len(y) :]))
    return np.concatenate([a for a, _ in parts]), np.concatenate([b for _, b in parts])


@pytest.fixture(scope="module")
def treated(dermafed: Any, cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A finished run with SMOTE, and what it printed."""
    run = tmp_path_factory.mktemp("runs") / "smote"
    treatment = ("--imbalance", "smote seed=2 neighbours=3")
    done = dermafed("simulate", cohort, *RIDGE, *treatment, "--out", run)
    assert done.returncode == 0, done.stderr
    return run, done


def test_the_model_is_the_fit_of_what_imbalanced_learn_makes_of_each_site(
    treated: Any, exported: Any
) -> None:
    run, done = treated
    train, site = exported["split"] == "train", exported["site"]
    parts = [
        _smote_by_hand(exported["x"][train & (site == name)], exported["y"][train & (site == name)])
        for name in np.unique(site)
    ]
    x = np.concatenate([part for part, _ in parts]).astype(np.float64)
    y = np.concatenate([labels for _, labels in parts])
    ridge = RidgeClassifier(alpha=float(len(y))).fit(StandardScaler().fit_transform(x), y)
    model = load_file(run / "model.safetensors")
    present = [CLASSES.index(name) for name in ridge.classes_]
    wanted = ridge.coef_
    assert np.linalg.norm(model["coef"][present] - wanted) <= 1e-8 * np.linalg.norm(wanted)
    assert "0 predictions differ" in done.stdout
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    assert result["oracle"]["relative_coefficient_error"] < 1e-8
    learned = {name: told["to_learn"] for name, told in result["imbalance"].items()}
    assert learned == {
        name: len(labels) for name, (_, labels) in zip(np.unique(site), parts, strict=True)
    }
    assert sum(told["images"] for told in result["imbalance"].values()) == train.sum()
    # Sites hold no more images than before.
    assert sum(result["partition"]["images"].values()) == len(exported["y"])


def test_every_fallback_is_printed_and_stays_in_the_results(treated: Any, exported: Any) -> None:
    run, done = treated
    train = exported["split"] == "train"
    told = json.loads((run / "result.json").read_text(encoding="utf-8"))
    wanted = set()
    for name in np.unique(exported["site"]):
        count = Counter(exported["y"][train & (exported["site"] == name)].tolist())
        for label, images in count.items():
            if images == 1:
                repeated = max(count.values()) - 1
                text = f"1 image has no neighbour: repeated {repeated} times"
            elif images <= 3:
                neighbours = {2: "1 neighbour", 3: "2 neighbours"}[images]
                text = f"{images} images: {neighbours} instead of 3"
            else:
                continue
            wanted.add((str(name), f"{label}: {text}"))
    assert wanted
    for site, text in wanted:
        assert text in told["imbalance"][site]["notes"]
        assert f"site {site}: {text}" in done.stderr
        assert f"imbalance smote seed=2 neighbours=3: site {site}: {text}" in told["notes"]


def test_the_run_and_the_model_say_what_was_done(treated: Any) -> None:
    run, _ = treated
    told = json.loads((run / "result.json").read_text(encoding="utf-8"))
    assert told["config"]["imbalance"] == "smote seed=2 neighbours=3"
    assert told["settings"]["imbalance"] == "smote seed=2 neighbours=3"
    about = json.loads((run / "model.json").read_text(encoding="utf-8"))
    assert about["imbalance"] == "smote neighbours=3 seed=2"
    assert "imbalanced-learn" in about["versions"]


@pytest.mark.slow
def test_a_site_withdraws_from_and_comes_to_a_model_of_treated_sites(
    dermafed: Any, cohort: Path, tmp_path: Path
) -> None:
    settings = (*RIDGE, "--set", "pca=8", "--imbalance", "smote seed=2")
    four, less, other = tmp_path / "four", tmp_path / "less", tmp_path / "other"
    done = dermafed("simulate", cohort, *settings, "--set", "ledger=true", "--out", four)
    assert done.returncode == 0, done.stderr
    done = dermafed("withdraw", four, "rosendahl", "--out", less)
    assert done.returncode == 0, done.stderr
    done = dermafed("simulate", cohort, *settings, "--without", "rosendahl", "--out", other)
    assert done.returncode == 0, done.stderr

    def coefficients(run: Path) -> Any:
        model = load_file(run / "model.safetensors")
        return model["coef"] @ model["components"]

    wanted = coefficients(other)
    assert np.linalg.norm(coefficients(less) - wanted) <= 1e-8 * np.linalg.norm(wanted)
    entry, back = tmp_path / "entry.safetensors", tmp_path / "back"
    like = ("--like", less / "model.json", "--out", entry, "--minimum-count", 1)
    done = dermafed("contribute", cohort, "--site", "rosendahl", *like)
    assert done.returncode == 0, done.stderr
    assert "by smote seed=2)" in done.stderr
    done = dermafed("admit", less, entry, "--out", back)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(coefficients(back), coefficients(four))

    # An entry of images that were treated otherwise does not fit.
    about = less / "model.json"
    text = about.read_text(encoding="utf-8")
    about.write_text(text.replace("smote seed=2", ""), encoding="utf-8")
    done = dermafed("admit", less, entry, "--out", tmp_path / "wrong")
    assert done.returncode != 0
    assert "its imbalance is 'smote seed=2', the model's is ''" in done.stderr


@pytest.mark.slow
def test_guarded_sites_treat_and_equal_the_oracle(
    dermafed: Any, cohort: Path, tmp_path: Path
) -> None:
    options = ("--disclosure", "guarded", "--imbalance", "oversample", "--out", tmp_path / "run")
    done = dermafed("simulate", cohort, *RIDGE, *options)
    assert done.returncode == 0, done.stderr
    assert "0 predictions differ" in done.stdout


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--imbalance", "smoot"), "imbalance 'smoot' is unknown"),
        (("--imbalance", "smote neighbours=0"), "imbalance settings: neighbours"),
    ],
)
def test_a_wrong_treatment_is_named_before_anything_is_computed(
    options: tuple[str, ...], told: str, dermafed: Any, cohort: Path, tmp_path: Path
) -> None:
    done = dermafed("simulate", cohort, *options, "--out", tmp_path / "run")
    assert done.returncode == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()
