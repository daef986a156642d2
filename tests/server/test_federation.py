"""From a run configuration to a run folder, or to nothing at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from flwr.app import Context, RecordDict
from scipy.optimize import brentq
from scipy.special import softmax
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import accuracy_score, confusion_matrix, recall_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from common import wire
from common.errors import ContributionError, RoundError, RunFolderError, SettingsError
from common.metrics import CATALOGUE, lesion_weights, make_interval, measure, seed_key
from common.metrics.score_bins import score_bin
from common.model import load_model
from common.split import Split
from server.app import app
from server.result import write_result

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.server.conftest import FakeGrid, Hospitals

ALPHA = 0.3
SETTINGS = f"alpha_per_image={ALPHA}"
Run = Callable[..., Path]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run the ServerApp over a grid; keywords are run settings."""

    def start(grid: FakeGrid, **settings: Any) -> Path:
        out = tmp_path / "runs" / "first"
        given = {"backbone": "tiny", "learner-settings": SETTINGS, "out": str(out)}
        config = {**given, **{name.replace("_", "-"): value for name, value in settings.items()}}
        context = Context(
            run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config=config
        )
        app(grid, context)
        return out

    return start


def _result(out: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((out / "result.json").read_text(encoding="utf-8"))
    return result


def _predict(hospitals: Hospitals, x: NDArray[Any]) -> NDArray[np.float64]:
    """Probabilities of the pooled fit, by scikit-learn, at the validation images' temperature."""
    pooled, y = hospitals.pooled(Split.TRAIN)
    ridge = RidgeClassifier(alpha=ALPHA * len(y), class_weight="balanced")
    fitted = make_pipeline(StandardScaler(), ridge).fit(pooled, y)
    held, truth = hospitals.pooled(Split.VALIDATION)
    scores = fitted.decision_function(held)

    def slope(theta: float) -> float:
        """The derivative of the log loss, of which the least is wanted."""
        p = softmax(theta * scores, axis=1)
        return float((p * scores).sum() - scores[np.arange(len(truth)), truth].sum())

    theta = brentq(slope, 1e-3, 1e3, xtol=1e-13)
    probabilities: NDArray[np.float64] = softmax(theta * fitted.decision_function(x), axis=1)
    return probabilities


def _binning_error(y: NDArray[np.intp], p: NDArray[np.float64]) -> float:
    """Bound the error of the mean AUC: half the share of pairs whose scores share a bin."""
    bounds = []
    bins = score_bin(p)
    for label in np.unique(y):
        own, others = bins[y == label, label], bins[y != label, label]
        bounds.append(0.5 * np.mean(own[:, None] == others))
    return float(np.mean(bounds))


def test_a_run_folder_holds_the_model_its_description_and_the_result(
    hospitals: Hospitals, run: Run
) -> None:
    out = run(hospitals.grid(learner_settings=SETTINGS))
    names = {path.name for path in out.iterdir()}
    assert names == {"model.safetensors", "model.json", "result.json"}
    assert list(out.parent.iterdir()) == [out]


def test_the_result_has_the_documented_keys(hospitals: Hospitals, run: Run) -> None:
    result = _result(run(hospitals.grid(learner_settings=SETTINGS)))
    assert result.keys() == {
        *("config", "rounds", "stages", "bytes_up", "bytes_down", "seconds", "partition"),
        *("selection", "test", "versions"),
    }
    stages = result["stages"]
    assert list(stages) == ["moments", "gram", "temperature"]
    assert (stages["moments"], stages["gram"]) == (1, 1)
    assert 2 <= stages["temperature"] <= 6
    assert result["rounds"] == sum(stages.values())
    assert result["selection"] is None
    assert min(result["bytes_up"], result["bytes_down"]) > 0
    assert result["seconds"].keys() == {"join", "learn", "evaluate"}
    assert result["config"]["learner_settings"] == SETTINGS
    assert (result["config"]["disclosure"], result["config"]["minimum_count"]) == ("exact", 5)
    assert not {"out", "cache", "overwrite"} & result["config"].keys()
    assert {"python", "dermafed", "numpy", "flwr"} <= result["versions"].keys()
    partition = result["partition"]
    assert partition["sites"] == 4
    counts = {site.name: len(site.y) for site in hospitals.sites.values()}
    assert partition["images"] == partition["lesions"] == counts
    assert partition["left_out"] == {}
    assert partition["withheld"] == {name: [] for name in counts}
    assert result["test"].keys() == {"pooled", "sites"}
    wanted = {
        *("n", "balanced_accuracy", "accuracy", "macro_auc", "classes_absent", "confusion"),
        *("balanced_accuracy_bounds", "accuracy_bounds", "images_withheld"),
        *("metrics", "auc_error"),
    }
    assert result["config"]["draws"] == 200
    for metrics in (result["test"]["pooled"], *result["test"]["sites"].values()):
        assert metrics.keys() == wanted
        assert {name.partition(":")[0] for name in metrics["metrics"]} == CATALOGUE.keys()
    for value, low, high in result["test"]["pooled"]["metrics"].values():
        assert low <= value <= high


def test_metrics_are_those_of_scikit_learn_on_the_pooled_predictions(
    hospitals: Hospitals, run: Run
) -> None:
    found = _result(run(hospitals.grid(learner_settings=SETTINGS)))["test"]
    x, y = hospitals.pooled(Split.TEST)
    p = _predict(hospitals, x)
    groups = {"pooled": (found["pooled"], y, p)}
    for site in hospitals.sites.values():
        data = site.part(Split.TEST)
        groups[site.name] = (found["sites"][site.name], data.y, _predict(hospitals, data.x))
    assert found["sites"].keys() == groups.keys() - {"pooled"}
    for metrics, truth, probabilities in groups.values():
        predicted, present = probabilities.argmax(axis=1), np.unique(truth)
        assert metrics["n"] == len(truth)
        assert metrics["accuracy"] == pytest.approx(accuracy_score(truth, predicted))
        recall = recall_score(truth, predicted, labels=present, average="macro")
        assert metrics["balanced_accuracy"] == pytest.approx(recall)
        # Without a threshold the bounds are the values.
        for name in ("accuracy", "balanced_accuracy"):
            assert metrics[f"{name}_bounds"] == [metrics[name]] * 2
        assert metrics["images_withheld"] == 0
        reference = confusion_matrix(truth, predicted, labels=range(3))
        assert np.array_equal(metrics["confusion"], reference)
        auc = np.mean([roc_auc_score(truth == c, probabilities[:, c]) for c in present])
        assert abs(metrics["macro_auc"] - auc) <= _binning_error(truth, probabilities) + 1e-12
    assert found["sites"]["rosendahl"]["classes_absent"] == ["nv"]


def test_intervals_are_those_of_the_pooled_predictions_by_the_sites_key(
    hospitals: Hospitals, run: Run
) -> None:
    found = _result(run(hospitals.grid(learner_settings=SETTINGS)))["test"]
    key, sites = seed_key(0), sorted(hospitals.sites.values(), key=lambda site: site.name)
    lesions = [site.group[site.split == Split.TEST.value] for site in sites]
    x, y = hospitals.pooled(Split.TEST)
    weights = lesion_weights(np.concatenate(lesions), 200, key)
    p = _predict(hospitals, x)
    exact = measure(y, p.argmax(axis=1), p, ("bcc", "mel", "nv"), ("bcc", "mel"), weights).values()
    assert found["pooled"]["metrics"].keys() == exact.keys()
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "malignant_sensitivity"):
        expected = make_interval(exact[name]).as_list()
        assert found["pooled"]["metrics"][name] == pytest.approx(expected), name
    for name in ("macro_auc", "malignant_auc", "brier_score"):
        expected = make_interval(exact[name]).as_list()
        assert found["pooled"]["metrics"][name] == pytest.approx(expected, abs=0.01), name


def test_a_run_without_draws_has_values_and_no_interval(hospitals: Hospitals, run: Run) -> None:
    found = _result(run(hospitals.grid(draws=0), draws=0))["test"]["pooled"]["metrics"]
    assert all(low is None and high is None for _, low, high in found.values())
    assert all(value is not None for value, _, _ in found.values())


def test_the_model_loads_and_predicts_as_the_pooled_fit(hospitals: Hospitals, run: Run) -> None:
    model = load_model(run(hospitals.grid(learner_settings=SETTINGS)))
    assert model.description.sites == ("dias", "modern", "molemax", "rosendahl")
    assert model.description.classes == ("bcc", "mel", "nv")
    assert model.description.backbone_fingerprint == hospitals.sites[7].backbone.fingerprint
    x, _ = hospitals.pooled(Split.TEST)
    np.testing.assert_allclose(model.head().predict_proba(x), _predict(hospitals, x), rtol=1e-8)


def test_a_class_that_no_site_has_is_named_and_never_predicted(
    hospitals: Hospitals, run: Run
) -> None:
    for node, site in hospitals.sites.items():
        hospitals.replace(node, classes=("bcc", "never", "mel", "nv"))
        hospitals.replace(node, y=np.where(site.y > 0, site.y + 1, 0))
    out = run(hospitals.grid(learner_settings=SETTINGS))
    assert load_model(out).description.classes_without_training_images == ("never",)
    pooled = _result(out)["test"]["pooled"]
    assert pooled["classes_absent"] == ["never"]
    assert np.array(pooled["confusion"])[:, 1].sum() == 0


def test_a_site_that_was_left_out_is_named_in_the_result(hospitals: Hospitals, run: Run) -> None:
    grid = hospitals.grid(learner_settings=SETTINGS)
    grid.tamper[9] = lambda message, right: (
        [] if message.metadata.message_type == wire.CONTRIBUTE else [right]
    )
    out = run(grid, quorum=3)
    result = _result(out)
    assert result["partition"]["left_out"] == {"molemax": "no reply within 600 s"}
    assert result["partition"]["sites"] == 3
    assert "molemax" not in result["partition"]["images"]
    assert "molemax" not in result["test"]["sites"]
    assert load_model(out).description.sites == ("dias", "modern", "rosendahl")


@pytest.mark.parametrize("kind", [wire.JOIN, wire.CONTRIBUTE, wire.EVALUATE])
def test_nothing_is_left_on_disk_when_a_round_fails(
    hospitals: Hospitals, run: Run, tmp_path: Path, kind: str
) -> None:
    grid = hospitals.grid()
    grid.tamper[3] = lambda message, right: [] if message.metadata.message_type == kind else [right]
    with pytest.raises(RoundError):
        run(grid)
    assert list((tmp_path / "runs").iterdir()) == []


def test_sites_that_withhold_everything_end_the_run_and_are_named(
    hospitals: Hospitals, run: Run, tmp_path: Path
) -> None:
    hospitals.guard(1000)
    with pytest.raises(RoundError, match=r"dias: has no image; .*; rosendahl: has no image"):
        run(hospitals.grid())
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_cohort_of_one_class_makes_no_model(hospitals: Hospitals, run: Run) -> None:
    for node, site in hospitals.sites.items():
        hospitals.replace(node, y=np.zeros_like(site.y))
    with pytest.raises(ContributionError, match="fewer than two classes"):
        run(hospitals.grid())


def test_sites_without_a_test_image_give_no_score_rather_than_a_wrong_one(
    hospitals: Hospitals, run: Run
) -> None:
    for node, site in hospitals.sites.items():
        hospitals.replace(node, split=np.full(len(site.y), Split.TRAIN.value, dtype="<U10"))
    pooled = _result(run(hospitals.grid()))["test"]["pooled"]
    assert pooled["n"] == 0
    assert [pooled[k] for k in ("accuracy", "balanced_accuracy", "macro_auc")] == [None] * 3


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"qourum": 3}, "qourum"),
        ({"quorum": -1}, "quorum"),
        ({"window": 0}, "window"),
        ({"deadline": 0.0}, "deadline"),
        ({"deadline": float("nan")}, "deadline"),
        ({"alpha-per-image": 1.0}, "alpha-per-image"),
        ({"learner-settings": 5}, "learner-settings"),
        ({"learner-settings": "alpha_per_image=-1"}, "alpha_per_image"),
        ({"learner-settings": "alpha_per_image=nan"}, "alpha_per_image"),
        ({"learner-settings": "calibrate"}, "'calibrate' is not key=value"),
        ({"learner-settings": "folds=5"}, "folds and search belong together"),
        ({"learner-settings": "pca=9"}, "pca=9, but features have 8 dimensions"),
        ({"learner-settings": "pca=2 pca=2"}, "pca is given twice"),
        ({"disclosure": "open"}, "disclosure"),
        ({"minimum-count": 0}, "minimum-count"),
        ({"out": ""}, "out"),
        ({"learner": "forest"}, "forest"),
        ({"backbone": "vgg"}, "vgg"),
    ],
)
def test_a_wrong_setting_is_named_and_nothing_is_written(
    hospitals: Hospitals, run: Run, tmp_path: Path, settings: dict[str, Any], named: str
) -> None:
    with pytest.raises(SettingsError, match=named):
        run(hospitals.grid(), **settings)
    assert not any((tmp_path / "runs").glob("*"))


@pytest.mark.parametrize("wrong", [{"qourum": 3}, {"learner-settings": "nonsense=1"}])
def test_a_wrong_setting_is_told_before_any_site_is_asked(
    hospitals: Hospitals, run: Run, wrong: dict[str, Any]
) -> None:
    # A site would refuse it, too, but could not tell why.
    grid = hospitals.grid()
    with pytest.raises(SettingsError, match=next(iter(wrong)) + "|nonsense"):
        run(grid, **wrong)
    assert grid.asked == []


def test_a_folder_that_exists_is_refused_before_any_site_is_asked(
    hospitals: Hospitals, run: Run, tmp_path: Path
) -> None:
    theirs = tmp_path / "runs" / "first" / "thesis.tex"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("years of work", encoding="utf-8")
    grid = hospitals.grid()
    for overwrite in (False, True):
        with pytest.raises(RunFolderError):
            run(grid, overwrite=overwrite)
    assert grid.asked == []
    assert theirs.read_text(encoding="utf-8") == "years of work"
    assert list(theirs.parent.parent.iterdir()) == [theirs.parent]


def test_a_run_is_overwritten_only_by_one_that_succeeds(hospitals: Hospitals, run: Run) -> None:
    out = run(hospitals.grid())
    before = _result(out)
    broken = hospitals.grid()
    broken.delay[3] = float("inf")
    with pytest.raises(RoundError):
        run(broken, overwrite=True, learner_settings="alpha_per_image=5")
    assert _result(out) == before
    run(hospitals.grid(), overwrite=True, learner_settings="alpha_per_image=5")
    assert _result(out)["config"]["learner_settings"] == "alpha_per_image=5"
    assert list(out.parent.iterdir()) == [out]


def test_a_result_with_a_number_that_is_none_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_result(tmp_path, {"macro_auc": float("nan")})
    assert list(tmp_path.iterdir()) == []
