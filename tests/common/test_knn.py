"""K-nearest neighbours: scikit-learn's on pooled features, and only where it may be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.neighbors import KNeighborsClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

from common.errors import ContributionError, SettingsError
from common.learners import LEARNERS, SHIPPING, KnnHead, federate, is_collective, make_learner
from common.learners.base import Contribution, Problem, SiteData, State
from common.learners.checked import check_arrays
from common.learners.federate import fit_sites
from common.learners.knn import SHIP
from common.model import Model, ModelDescription, load_model, save_model
from common.settings import RunSettings
from common.shipping import check_shipping

CLASSES = ("a", "b", "c", "d")
PROBLEM = Problem(CLASSES, 5)
SAID = "ships_features=yes"


def _images(seed: int, n: int, classes: int = 4) -> tuple[NDArray[Any], NDArray[Any]]:
    rng = np.random.default_rng(seed)
    y = np.append(np.arange(classes), rng.integers(0, classes, n - classes))
    x = rng.normal(size=(n, 5)) + 1.2 * np.eye(4, 5)[y]
    return x.astype(np.float32), y.astype(np.intp)


SITES = {"north": _images(1, 60), "south": _images(2, 25, classes=2), "west": _images(3, 40)}
PROBE = _images(4, 200)[0]


@pytest.mark.parametrize("neighbours", [1, 5, 400])
@pytest.mark.parametrize("vote", ["uniform", "distance"])
def test_over_sites_it_is_scikit_learns_on_the_pooled_features(neighbours: int, vote: str) -> None:
    head = federate(KnnHead(neighbours, vote, ships_features=True), SITES)
    x = np.concatenate([x for x, _ in SITES.values()])
    y = np.concatenate([y for _, y in SITES.values()])
    few = min(neighbours, len(y))
    wanted = KNeighborsClassifier(few, weights=vote).fit(x, y)
    np.testing.assert_allclose(head.predict_proba(PROBE), wanted.predict_proba(PROBE), atol=1e-6)
    np.testing.assert_array_equal(head.predict(PROBE), wanted.predict(PROBE))
    assert head.classes_.tolist() == [0, 1, 2, 3]


def test_a_model_read_again_predicts_alike_and_a_class_without_images_is_never_named(
    tmp_path: Path,
) -> None:
    settings = f"neighbours=3 {SAID}"
    learner = make_learner("knn", Problem((*CLASSES, "e"), 5), settings)
    state = fit_sites(learner, {name: SiteData(*one) for name, one in SITES.items()})
    about = ModelDescription(
        *("knn", settings, None, (*CLASSES, "e"), ("e",), 5, "tiny", "f" * 64, 1, ("a",), {})
    )
    save_model(tmp_path, Model(about, state.arrays))
    again: Any = load_model(tmp_path).head()
    assert again.classes_.tolist() == list(CLASSES)
    wanted = learner.head(state).predict_proba(PROBE)
    assert again.predict_proba(PROBE).tobytes() == wanted.tobytes()


def test_it_is_off_unless_a_run_says_that_features_leave() -> None:
    with pytest.raises(SettingsError, match="the features of every single training image"):
        make_learner("knn", PROBLEM)
    with pytest.raises(SettingsError, match="say ships_features=yes"):
        KnnHead().fit(*SITES["north"])
    assert is_collective("knn", SAID)


def test_no_list_of_learners_ensemble_or_search_has_it() -> None:
    assert not LEARNERS.keys() & SHIPPING.keys()
    member = "knn:ships_features=yes"
    with pytest.raises(SettingsError, match="member 'knn' cannot be one"):
        make_learner("soft-vote", PROBLEM, f"members={member},ridge")
    with pytest.raises(SettingsError, match="learner 'knn' cannot be tuned"):
        make_learner("tuned", PROBLEM, f"learner=knn space=neighbours=1|5;{SAID}")


@pytest.mark.parametrize("stage", ["class_counts", SHIP])
def test_a_site_with_a_policy_answers_no_round_of_it(stage: str) -> None:
    learner = make_learner("knn", PROBLEM, SAID)
    state = State(stage, {"class_count": np.array([1, 1, 1, 1])})
    assert learner.contribute(SiteData(*SITES["west"]), state).count == 40
    with pytest.raises(ContributionError, match="ships features of single images"):
        learner.contribute(SiteData(*SITES["west"], minimum=2), state)


def test_a_guarded_run_and_a_real_site_are_refused_before_any_round() -> None:
    task = {"learner": "knn", "learner-settings": SAID}
    check_shipping(RunSettings.from_run_config(task))
    with pytest.raises(SettingsError, match="for --disclosure exact alone"):
        check_shipping(RunSettings.from_run_config({**task, "disclosure": "guarded"}))
    with pytest.raises(SettingsError, match="a real site answers it never"):
        check_shipping(RunSettings.from_run_config(task), real=True)
    check_shipping(RunSettings.from_run_config({"learner": "forest"}), real=True)


def _answer(**changes: Any) -> Contribution:
    x, y = SITES["west"]
    return Contribution(40, {"x": x, "y": y.astype(np.int64), **changes})


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"x": SITES["west"][0][:39]}, "39 rows and 40 labels of 40 images"),
        ({"y": np.zeros(41, np.int64)}, "40 rows and 41 labels"),
        ({"y": np.full(40, 4)}, "y: beyond the 4 classes"),
        ({"y": np.full(40, -1)}, "y: below 0"),
        ({"y": np.zeros(40)}, "y: dtype float64"),
        ({"x": np.full((40, 5), np.nan, np.float32)}, "x: holds NaN"),
        ({"x": np.zeros((40, 6), np.float32)}, "x: shape"),
        ({"x": np.zeros((40, 5))}, "x: dtype float64"),
        ({"path": np.zeros(1)}, "not asked for"),
    ],
)
def test_other_than_one_row_and_label_an_image_is_refused(
    changes: dict[str, Any], match: str
) -> None:
    learner = make_learner("knn", PROBLEM, SAID)
    spec = learner.contribution_spec(SHIP)
    good = _answer()
    check_arrays(good.arrays, spec, good.count)
    learner.verify(SHIP, good)
    bad = _answer(**changes)
    with pytest.raises(ContributionError, match=match):
        check_arrays(bad.arrays, spec, bad.count)
        learner.verify(SHIP, bad)


def test_labels_other_than_those_counted_are_refused() -> None:
    learner: Any = make_learner("knn", PROBLEM, SAID)
    state = State(SHIP, {"class_count": np.bincount(SITES["west"][1])})
    assert learner.merge(state, {"west": _answer()}).done
    with pytest.raises(ContributionError, match="other labels than the sites have counted"):
        learner.merge(state, {"west": _answer(y=np.zeros(40, np.int64))})


@parametrize_with_checks([KnnHead(ships_features=True)])  # type: ignore[untyped-decorator]
def test_the_head_keeps_scikit_learns_contract(estimator: Any, check: Any) -> None:
    check(estimator)
