"""Fused heads over sites are scikit-learn's on the pooled columns, early and late."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from common.learners import make_learner
from common.learners.base import Head, SiteData
from common.learners.federate import fit_sites
from common.metadata import encode, metadata_codes, read_fusion
from common.metadata.late import late_stack

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLASSES, IMAGES = ("bcc", "mel", "nv"), 12
PLACES = np.array(["back", "face", "ear", "unknown", "elbow"])


def _rows(seed: int, n: int) -> SiteData:
    """Draw features and metadata that both tell something of the class."""
    rng = np.random.default_rng(seed)
    y = rng.choice(3, n, p=[0.2, 0.3, 0.5])
    x = rng.normal(size=(n, IMAGES)) * 10.0 ** rng.uniform(-1, 1, IMAGES)
    x[:, :3] += np.eye(3)[y]
    age = np.clip(40.0 + 12.0 * (2 - y) + 15.0 * rng.normal(size=n), 0, 99)
    age[rng.random(n) < 0.1] = np.nan
    place = PLACES[np.minimum(rng.integers(0, 4, n) + (y == 1), 4)]
    sex = rng.choice(["female", "male", "unknown"], n)
    columns = encode(metadata_codes(age, sex, place), ("age", "sex", "localisation"))
    return SiteData(np.hstack([x.astype(np.float32), columns]), y.astype(np.intp))


SITES = {name: _rows(seed, n) for seed, (name, n) in enumerate((("a", 150), ("b", 90), ("c", 40)))}
HELD = {name: _rows(seed, n) for seed, (name, n) in enumerate((("a", 60), ("b", 50)), start=9)}
PROBE = _rows(99, 200).x
X, Y = (np.concatenate([getattr(one, name) for one in SITES.values()]) for name in ("x", "y"))
HELD_X, HELD_Y = (
    np.concatenate([getattr(one, name) for one in HELD.values()]) for name in ("x", "y")
)


def _federated(metadata: str, learner: str, settings: str) -> Head:
    problem = read_fusion(metadata).problem(CLASSES, IMAGES)
    made = make_learner(learner, problem, settings)
    return made.head(fit_sites(made, SITES, HELD))


def _front(scale: float, pca: int) -> Any:
    """Standardise both blocks, project that of images, multiply that of metadata."""
    images = [StandardScaler(), *([PCA(pca)] if pca else [])]
    beside = FunctionTransformer(lambda z: scale * z)
    return ColumnTransformer(
        [
            ("images", make_pipeline(*images), slice(IMAGES)),
            ("metadata", make_pipeline(StandardScaler(), beside), slice(IMAGES, None)),
        ]
    )


def _head(learner: str, n: int) -> Any:
    if learner == "ridge":
        return RidgeClassifier(alpha=0.3 * n, class_weight="balanced")
    return LogisticRegression(C=1 / (0.3 * n), class_weight="balanced", tol=1e-12, max_iter=10_000)


def _scores(fitted: Any, x: NDArray[Any]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = fitted.decision_function(x.astype(np.float64))
    return found


@pytest.mark.parametrize("scale", [1.0, 5.0])
@pytest.mark.parametrize(
    ("learner", "pca", "tolerance"), [("ridge", 0, 1e-8), ("ridge", 4, 1e-8), ("logistic", 4, 1e-5)]
)
def test_early_fusion_is_the_pooled_fit_of_both_blocks_side_by_side(
    learner: str, pca: int, tolerance: float, scale: float
) -> None:
    settings = f"alpha_per_image=0.3 pca={pca}"
    head: Any = _federated(f"early scale={scale}", learner, settings)
    wanted = make_pipeline(_front(scale, pca), _head(learner, len(Y))).fit(X.astype(np.float64), Y)
    np.testing.assert_allclose(head.scores(PROBE), _scores(wanted, PROBE), atol=tolerance)
    assert head.n_features_in_ == X.shape[1]


def test_a_larger_scale_lets_metadata_count_for_more_and_images_for_less() -> None:
    # Of standardised columns: how far the scores of metadata alone spread over the probes.
    spread = []
    for scale in (0.1, 1.0, 10.0):
        head: Any = _federated(f"early scale={scale}", "ridge", "alpha_per_image=3")
        moved = PROBE.copy()
        moved[:, :IMAGES] = head.front_["mean"][:IMAGES]
        spread.append(float(head.scores(moved).std()))
    assert spread[0] < spread[1] < spread[2]


def test_metadata_alone_are_the_pooled_fit_of_their_columns() -> None:
    problem = read_fusion("alone").problem(CLASSES, IMAGES)
    made = make_learner("ridge", problem, "alpha_per_image=0.3 calibrate=none")
    sites = {name: SiteData(one.x[:, IMAGES:], one.y) for name, one in SITES.items()}
    head: Any = made.head(fit_sites(made, sites))
    wanted = make_pipeline(StandardScaler(), _head("ridge", len(Y)))
    wanted.fit(X[:, IMAGES:].astype(np.float64), Y)
    found = head.scores(PROBE[:, IMAGES:])
    np.testing.assert_allclose(found, _scores(wanted, PROBE[:, IMAGES:]), atol=1e-8)


def test_late_fusion_is_the_pooled_stack_of_a_head_over_each_block() -> None:
    settings = "alpha_per_image=0.3 tolerance=1e-10"
    head = _federated("late", *late_stack("logistic", settings))
    members = []
    for block in (slice(IMAGES), slice(IMAGES, None)):
        one = make_pipeline(StandardScaler(), _head("logistic", len(Y)))
        members.append((block, one.fit(X[:, block].astype(np.float64), Y)))

    def said(x: NDArray[Any]) -> NDArray[np.float64]:
        parts = [one.predict_proba(x[:, block].astype(np.float64)) for block, one in members]
        found: NDArray[np.float64] = np.log(np.hstack(parts))
        return found

    # The stack's own penalty and weights.
    last = LogisticRegression(
        C=1 / (0.1 * len(HELD_Y)), class_weight="balanced", tol=1e-12, max_iter=10_000
    )
    wanted = make_pipeline(StandardScaler(), last).fit(said(HELD_X), HELD_Y)
    np.testing.assert_allclose(
        head.predict_proba(PROBE), wanted.predict_proba(said(PROBE)), atol=1e-5
    )
    assert set(head.predict(PROBE)) <= set(CLASSES)


def test_a_late_model_refuses_images_without_their_metadata() -> None:
    head = _federated("late", *late_stack("ridge", ""))
    with pytest.raises(ValueError, match=f"{IMAGES} features"):
        head.predict_proba(PROBE[:, :IMAGES])


@pytest.mark.parametrize("kernel", ["rff", "nystroem"])
def test_behind_a_kernel_map_metadata_stand_beside_the_components(kernel: str) -> None:
    head: Any = _federated(
        "early scale=2", "ridge", f"pca=4 kernel={kernel} components=20 alpha_per_image=0.3"
    )
    columns = X.shape[1] - IMAGES
    name = "rff_weight" if kernel == "rff" else "landmark"
    assert 4 + columns in head.front_[name].shape
    z = _front(2.0, 4).fit(X.astype(np.float64)).transform(X.astype(np.float64))
    variance = head.front_["explained_variance"]
    np.testing.assert_allclose(variance, z.var(axis=0), rtol=1e-6, atol=1e-12)
