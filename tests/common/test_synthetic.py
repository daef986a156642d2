"""The drawn cohort: its layout, its tables' habits, and that it behaves like the real one."""

import csv
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import RidgeClassifier
from sklearn.preprocessing import StandardScaler

from common.backbones import get_backbone
from common.cohort import Cohort, load_cohort
from common.errors import SourceError
from common.feature_cache import FeatureCache
from common.features import extract
from common.sources.synthetic import CLASSES, REAL_COUNTS, site_class_counts, write_synthetic
from common.split import split_groups

IMAGES = 800
SPLIT_SEEDS = range(5)
REAL_TOTAL = sum(map(sum, REAL_COUNTS.values()))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("synthetic") / "cohort"
    write_synthetic(path, images=IMAGES, seed=0)
    return path


@pytest.fixture(scope="module")
def cohort(folder: Path) -> Cohort:
    return load_cohort(folder)


@dataclass
class Scores:
    """Balanced accuracies, one a split seed."""

    pooled: list[float]
    pooled_a_site: list[float]
    left_out_site: list[float]
    metadata: list[float]


@pytest.fixture(scope="module")
def scores(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Scores:
    backbone = get_backbone("efficientnet_lite0")
    cache = FeatureCache(tmp_path_factory.mktemp("features"), backbone)
    x = extract(cohort.path, backbone, cache).x.astype(np.float64)
    z = _metadata(cohort)
    result = Scores([], [], [], [])
    for seed in SPLIT_SEEDS:
        part = split_groups(seed, cohort.group)
        train, test = part == "train", part == "test"
        guess = _ridge(x, cohort.y, train)
        result.pooled.append(_accuracy(cohort.y, guess, test))
        guess_metadata = _ridge(z, cohort.y, train)
        result.metadata.append(_accuracy(cohort.y, guess_metadata, test))
        seen, unseen = [], []
        for site in cohort.sites:
            here = cohort.site == site
            elsewhere = _ridge(x, cohort.y, train & ~here)
            seen.append(_accuracy(cohort.y, guess, test & here))
            unseen.append(_accuracy(cohort.y, elsewhere, test & here))
        result.pooled_a_site.append(float(np.mean(seen)))
        result.left_out_site.append(float(np.mean(unseen)))
    return result


def _ridge(
    x: NDArray[np.float64], y: NDArray[np.intp], train: NDArray[np.bool_]
) -> NDArray[np.intp]:
    scaler = StandardScaler().fit(x[train])
    head = RidgeClassifier(alpha=float(train.sum()), class_weight="balanced")
    head.fit(scaler.transform(x[train]), y[train])
    guess: NDArray[np.intp] = head.predict(scaler.transform(x))
    return guess


def _accuracy(y: NDArray[np.intp], guess: NDArray[np.intp], rows: NDArray[np.bool_]) -> float:
    """Recall averaged over the classes that the rows hold."""
    recalls = [float(np.mean(guess[rows & (y == c)] == c)) for c in np.unique(y[rows])]
    return float(np.mean(recalls))


def _metadata(cohort: Cohort) -> NDArray[np.float64]:
    known = np.where(np.isnan(cohort.age), np.nanmean(cohort.age), cohort.age)
    columns = [known, known**2]
    for values in (cohort.site, cohort.sex, cohort.localisation):
        columns += [(values == value).astype(np.float64) for value in np.unique(values)]
    return np.stack(columns, axis=1)


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "HAM10000_metadata.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_layout_is_the_official_one(folder: Path, cohort: Cohort) -> None:
    header = (folder / "HAM10000_metadata.csv").read_text().splitlines()[0]
    assert header == "lesion_id,image_id,dx,dx_type,age,sex,localization,dataset"
    assert len(cohort) == IMAGES
    assert cohort.sites_known
    assert cohort.lesions_known
    assert cohort.classes == CLASSES
    assert all(name.startswith("SYN_") for name in cohort.image_id.tolist())
    assert all(name.startswith("SYNL_") for name in cohort.lesion.tolist())


def test_every_image_has_a_mask_of_its_size(cohort: Cohort) -> None:
    covered = []
    for path, mask in zip(cohort.path, cohort.mask, strict=True):
        assert mask is not None
        with Image.open(path) as image, Image.open(mask) as lesion:
            assert image.size == lesion.size
            assert lesion.mode == "L"
            counts = lesion.histogram()
        assert sum(counts) == counts[0] + counts[255]
        covered.append(counts[255] / sum(counts))
    assert min(covered) > 0.01
    assert max(covered) < 0.95


def test_sites_and_classes_keep_the_real_proportions(cohort: Cohort) -> None:
    found = Counter(
        (site, CLASSES[y]) for site, y in zip(cohort.site.tolist(), cohort.y.tolist(), strict=True)
    )
    for site, counts in REAL_COUNTS.items():
        for dx, count in zip(CLASSES, counts, strict=True):
            share = count * IMAGES / REAL_TOTAL
            assert abs(found[site, dx] - share) <= max(1.0, 0.02 * share)
            assert (found[site, dx] > 0) == (count > 0)


@pytest.mark.parametrize("images", [100, 101, 257, 800, REAL_TOTAL])
def test_site_class_counts_are_exact_in_total(images: int) -> None:
    counts = site_class_counts(images)
    assert sum(counts.values()) == images
    assert min(counts.values()) >= 1
    if images == REAL_TOTAL:
        real = [count for row in REAL_COUNTS.values() for count in row if count]
        assert list(counts.values()) == real


def test_lesions_have_several_images_as_often_as_in_ham10000(cohort: Cohort) -> None:
    sizes = Counter(Counter(cohort.lesion.tolist()).values())
    lesions = sum(sizes.values())
    assert lesions / IMAGES == pytest.approx(7470 / 10015, abs=0.05)
    assert sizes[1] / lesions == pytest.approx(5514 / 7470, abs=0.06)
    assert sizes[3] > 0


def test_a_lesion_is_one_patient_with_one_diagnosis(folder: Path) -> None:
    facts = defaultdict(set)
    for row in _rows(folder):
        case = (row["dx"], row["dx_type"], row["age"], row["sex"], row["localization"])
        facts[row["lesion_id"]].add(case)
    assert all(len(cases) == 1 for cases in facts.values())


def test_a_few_lesions_were_seen_at_both_systems_of_the_clinic(cohort: Cohort) -> None:
    sites = defaultdict(set)
    for lesion, site in zip(cohort.lesion.tolist(), cohort.site.tolist(), strict=True):
        sites[lesion].add(site)
    shared = [seen for seen in sites.values() if len(seen) > 1]
    assert 2 <= len(shared) <= IMAGES // 100
    assert all(seen == {"vidir_modern", "vidir_molemax"} for seen in shared)


def test_duplicate_pairs_join_lesions_of_one_site(folder: Path, cohort: Cohort) -> None:
    with (folder / "duplicate_pairs.csv").open(encoding="utf-8", newline="") as stream:
        pairs = list(csv.DictReader(stream))
    row_of = {name: row for row, name in enumerate(cohort.image_id.tolist())}
    assert pairs
    for pair in pairs:
        a, b = row_of[pair["image_a"]], row_of[pair["image_b"]]
        assert cohort.lesion[a] != cohort.lesion[b]
        assert cohort.site[a] == cohort.site[b]
        assert cohort.group[a] == cohort.group[b]


def test_patients_are_plausible(folder: Path) -> None:
    rows = _rows(folder)
    ages = defaultdict(list)
    for row in rows:
        if row["age"]:
            assert int(row["age"]) % 5 == 0
            ages[row["dx"]].append(int(row["age"]))
        if row["dataset"] in ("rosendahl", "vienna_dias"):
            assert row["dx_type"] == "histo"
    assert np.mean(ages["bcc"]) > np.mean(ages["nv"]) + 8
    assert 0 < sum(not row["age"] for row in rows) < 0.05 * IMAGES
    assert {row["sex"] for row in rows} == {"male", "female", "unknown"}
    old = Counter(r["dx_type"] for r in rows if (r["dx"], r["dataset"]) == ("nv", "vidir_molemax"))
    assert old.most_common(1)[0][0] == "follow_up"


def test_same_seed_gives_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    here, there, other = tmp_path / "here", tmp_path / "there", tmp_path / "other"
    code = (
        "import sys; from pathlib import Path; from common.sources.synthetic import *; "
        "write_synthetic(Path(sys.argv[1]), images=100, seed=3)"
    )
    # The other process runs meanwhile: drawing is what takes the time here.
    with subprocess.Popen([sys.executable, "-c", code, str(there)]) as process:
        here.mkdir()
        calls: list[tuple[int, int]] = []
        write_synthetic(here, images=100, seed=3, progress=lambda *call: calls.append(call))
        write_synthetic(other, images=100, seed=4)
    assert process.returncode == 0
    assert calls == [(done, 100) for done in range(1, 101)]
    contents = _contents(here)
    assert len(contents) == 202
    assert contents == _contents(there)
    strangers = _contents(other)
    assert [name for name in contents if contents[name] == strangers[name]] == []
    # What is left is the three folders: an empty one was filled, nothing partial stayed.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "other", "there"]


def test_refuses_a_folder_that_is_not_empty(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(SourceError, match=r"not empty; choose another folder or remove it"):
        write_synthetic(tmp_path, images=100)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("arguments", "named"), [({"images": 99}, "images = 99"), ({"seed": -1}, "seed = -1")]
)
def test_refuses_settings_out_of_bounds(
    arguments: dict[str, Any], named: str, tmp_path: Path
) -> None:
    with pytest.raises(SourceError, match=named):
        write_synthetic(tmp_path / "cohort", **arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("fault", "seen"),
    [(KeyboardInterrupt(), KeyboardInterrupt), (OSError(28, "No space left"), SourceError)],
)
def test_an_interruption_leaves_nothing_behind(
    fault: BaseException, seen: type[BaseException], tmp_path: Path
) -> None:
    def stop(done: int, total: int) -> None:
        if done == 5:
            raise fault

    with pytest.raises(seen):
        write_synthetic(tmp_path / "cohort", images=100, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_frozen_features_tell_the_classes_apart_but_not_easily(scores: Scores) -> None:
    assert 0.45 < np.mean(scores.pooled) < 0.75
    assert 0.48 < scores.pooled[1] < 0.72


def test_a_site_never_seen_is_harder(scores: Scores) -> None:
    unseen = np.mean(scores.left_out_site)
    assert unseen < np.mean(scores.pooled_a_site) - 0.08
    assert unseen < np.mean(scores.pooled) - 0.08


def test_site_and_metadata_alone_do_not_tell_the_class(scores: Scores) -> None:
    assert np.mean(scores.metadata) < np.mean(scores.pooled) - 0.1
