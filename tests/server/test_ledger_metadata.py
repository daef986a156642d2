"""Withdrawal and arrival with metadata beside the features: scikit-learn's fit of the rest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import RidgeClassifier
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from common.errors import RunFolderError
from common.learners import make_learner
from common.learners.base import SiteData
from common.learners.federate import fit_sites
from common.ledger import Entry, EntryDescription, save_entry
from common.metadata import encode, metadata_codes, read_fusion
from common.model import Model, ModelDescription, load_model, save_model
from server.ledger import change_ledger

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLASSES, IMAGES = ("bcc", "mel", "nv"), 6
# What one site alone calls a place: without it, a column has no image.
COMMON, ODD = ("back", "face", "ear"), "elbow"
FUSION = "early scale=3.0"


def _data(seed: int, n: int, places: tuple[str, ...] = COMMON) -> SiteData:
    """Draw features and metadata that both tell something of the class."""
    rng = np.random.default_rng(seed)
    y = rng.choice(3, n, p=[0.2, 0.3, 0.5]).astype(np.intp)
    x = rng.normal(size=(n, IMAGES)) * 10.0 ** np.arange(-2, 4)
    x[:, :3] += np.eye(3)[y]
    age = np.clip(40.0 + 12.0 * (2 - y) + 15.0 * rng.normal(size=n), 0, 99)
    age[rng.random(n) < 0.1] = np.nan
    place = np.array(places)[
        np.minimum(rng.integers(0, len(places), n) + (y == 1), len(places) - 1)
    ]
    sex = rng.choice(["female", "male", "unknown"], n)
    columns = encode(metadata_codes(age, sex, place), ("age", "sex", "localisation"))
    return SiteData(np.hstack([x.astype(np.float32), columns]), y)


SITES = {
    "basel": _data(1, 120),
    "oslo": _data(2, 90, (*COMMON, ODD)),
    "zagreb": _data(3, 70),
}
NEW = _data(4, 80, (ODD, "trunk"))
PROBE = _data(9, 150, (*COMMON, ODD, "trunk")).x


def _entry(site: str, data: SiteData, metadata: str = FUSION) -> Entry:
    problem = read_fusion(metadata).problem(CLASSES, IMAGES)
    learner = make_learner("ridge", problem, "ledger=true")
    about = EntryDescription(
        site, len(data), CLASSES, problem.dimension, "b" * 16, 1, (), metadata=metadata
    )
    return Entry(about, learner.contribute(data, learner.start()))


def _plain(data: SiteData) -> SiteData:
    return replace(data, x=data.x[:, :IMAGES])


def _run(folder: Path, learner: str, settings: str, metadata: str = FUSION) -> Path:
    """Write a run that kept a ledger."""
    (folder / "ledger").mkdir(parents=True)
    (folder / "result.json").write_text("{}", encoding="utf-8")
    told = f"ledger=true {settings}"
    problem = read_fusion(metadata).problem(CLASSES, IMAGES)
    sites = SITES if metadata else {name: _plain(data) for name, data in SITES.items()}
    for index, (name, data) in enumerate(sites.items()):
        save_entry(folder / "ledger" / f"{index:05d}.safetensors", _entry(name, data, metadata))
    made = make_learner(learner, problem, f"{told} calibrate=none")
    about = ModelDescription(
        *(learner, told, None, CLASSES, (), problem.dimension, "tiny", "b" * 16, 1),
        sites=tuple(sites),
        versions={},
        metadata=metadata,
    )
    save_model(folder, Model(about, fit_sites(made, sites).arrays))
    return folder


def _front(pca: int) -> Any:
    images = [StandardScaler(), *([PCA(pca, svd_solver="covariance_eigh")] if pca else [])]
    beside = FunctionTransformer(lambda z: 3.0 * z)
    return ColumnTransformer(
        [
            ("images", make_pipeline(*images), slice(IMAGES)),
            ("metadata", make_pipeline(StandardScaler(), beside), slice(IMAGES, None)),
        ]
    )


def _pooled(learner: str, pca: int, sites: list[SiteData]) -> NDArray[np.float64]:
    """Give what scikit-learn's fit of all columns says of the probe."""
    x = np.concatenate([data.x for data in sites]).astype(np.float64)
    y = np.concatenate([data.y for data in sites])
    head: Any = {
        "ridge": RidgeClassifier(alpha=0.3 * len(y), class_weight="balanced"),
        "lda": LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.2),
        "ncm": NearestCentroid(),
    }[learner]
    fitted = make_pipeline(_front(pca), head).fit(x, y)
    if learner == "ncm":
        far = fitted[0].transform(PROBE.astype(np.float64))[:, None] - fitted[1].centroids_
        return np.asarray(-(far**2).sum(axis=2))
    found: NDArray[np.float64] = fitted.decision_function(PROBE.astype(np.float64))
    return found


def _relative(found: NDArray[np.float64], wanted: NDArray[np.float64], learner: str) -> float:
    if learner == "ncm":
        # Its scores leave out what all classes of an image share.
        found, wanted = (one - one.mean(axis=1, keepdims=True) for one in (found, wanted))
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


CASES = {"ridge": "alpha_per_image=0.3", "lda": "shrinkage=0.2", "ncm": "priors=uniform"}


@pytest.mark.filterwarnings("ignore:self.within_class_std_dev_ has:UserWarning")
@pytest.mark.parametrize("pca", [0, 4])
@pytest.mark.parametrize("learner", CASES)
def test_with_metadata_what_is_left_is_scikit_learns_fit_of_it(
    learner: str, pca: int, tmp_path: Path
) -> None:
    run = _run(tmp_path / "run", learner, f"{CASES[learner]} pca={pca}")
    new = tmp_path / "new.safetensors"
    save_entry(new, _entry("vienna", NEW))
    change_ledger(run, tmp_path / "less", withdraw=["oslo"])
    change_ledger(tmp_path / "less", tmp_path / "more", admit=[new])
    left = [SITES["basel"], SITES["zagreb"]]
    for folder, sites in (("less", left), ("more", [*left, NEW])):
        model = load_model(tmp_path / folder)
        assert model.description.metadata == FUSION
        assert model.description.problem.metadata_scale == 3.0
        head: Any = model.head()
        wanted = _pooled(learner, pca, sites)
        assert _relative(head.scores(PROBE), wanted, learner) <= 1e-10, folder
    # The column that the site alone had an image of says nothing once it is gone.
    gone: Any = load_model(tmp_path / "less").arrays
    had = SITES["oslo"].x.max(axis=0) > np.max([data.x.max(axis=0) for data in left], axis=0)
    odd = IMAGES + int(np.flatnonzero(had[IMAGES:])[-1])
    assert left[0].x[:, odd].max() == 0.0
    assert gone["mean"][odd] == 0.0


def test_sums_without_metadata_are_refused_by_a_model_that_has_them_and_it_says_what_to_do(
    tmp_path: Path,
) -> None:
    run = _run(tmp_path / "run", "ridge", "")
    entry, out = tmp_path / "entry.safetensors", tmp_path / "out"
    for data, metadata, told in (
        (_plain(NEW), "", "is over images alone, the model's over metadata 'early scale=3.0'"),
        (NEW, "early", "over metadata 'early', the model's over metadata 'early scale=3.0'"),
    ):
        save_entry(entry, _entry("vienna", data, metadata))
        with pytest.raises(RunFolderError) as refused:
            change_ledger(run, out, admit=[entry])
        said = str(refused.value)
        assert said.startswith(f"{entry}: site vienna: ")
        assert told in said
        assert f"dermafed contribute --like {run / 'model.json'}" in said
    plain = _run(tmp_path / "plain", "ridge", "", metadata="")
    save_entry(entry, _entry("vienna", NEW))
    with pytest.raises(RunFolderError, match="'early scale=3.0', the model's over images alone"):
        change_ledger(plain, out, admit=[entry])
    assert not out.exists()
