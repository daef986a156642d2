"""Features: the same bits however they are asked for, and nothing computed twice."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import common.features
from common.backbones import Backbone, get_backbone
from common.errors import CacheError, ImageError
from common.feature_cache import FeatureCache, image_key
from common.features import CHUNK, extract

WriteImage = Callable[..., Path]
PROJECT = Path(__file__).parents[2]

# Extracts with the tiny backbone of `tiny_backbone`; argv: folder of images, cache folder.
CHILD = """
import sys
from pathlib import Path
from common.backbones import Backbone
from common.feature_cache import FeatureCache
from common.features import extract
from common.transform import Transform

backbone = Backbone("tiny", 12, "0" * 64, "CC0-1.0", "tiny_network", Transform(8, 0.5, 0.5))
paths = sorted(Path(sys.argv[1]).glob("*.png"))
cache = FeatureCache(Path(sys.argv[2]), backbone)
"""


@pytest.fixture
def cache(tmp_path: Path, tiny_backbone: Backbone) -> FeatureCache:
    return FeatureCache(tmp_path / "cache", tiny_backbone)


@pytest.fixture
def images(tmp_path: Path, write_image: WriteImage) -> list[Path]:
    return [write_image(tmp_path / "images" / f"{i:03d}.png", i) for i in range(11)]


def _by_hand(path: Path) -> NDArray[np.float64]:
    """Give the tiny network's features, worked out with numpy: the mean of each quarter."""
    with Image.open(path) as image:
        left, top, side = (image.width - image.height) // 2, 0, image.height
        square = image.crop((left, top, left + side, top + side))
        pixels = np.asarray(square.resize((8, 8), Image.Resampling.BICUBIC))
    x = (pixels / 255 - 0.5) / 0.5
    quarters: NDArray[np.float64] = x.reshape(2, 4, 2, 4, 3).mean(axis=(1, 3))
    return quarters.transpose(2, 0, 1).ravel()


def test_features_are_those_of_the_network_in_the_order_asked_for(
    images: list[Path], cache: FeatureCache
) -> None:
    asked = [images[i] for i in (7, 0, 10, 3, 4, 5)]
    found = extract(asked, cache.backbone, cache)
    np.testing.assert_allclose(found.x, [_by_hand(path) for path in asked], atol=1e-6)
    assert found.x.dtype == np.float32
    assert found.kept.tolist() == [True] * 6
    assert found.unreadable == ()
    assert found.computed == 6


def test_only_what_is_new_is_computed(images: list[Path], cache: FeatureCache) -> None:
    first = extract(images[:4], cache.backbone, cache)
    again = extract(images[:4], cache.backbone, cache)
    more = extract(images, cache.backbone, cache)
    assert (first.computed, again.computed, more.computed) == (4, 0, len(images) - 4)
    np.testing.assert_array_equal(first.x, again.x)
    np.testing.assert_array_equal(more.x[:4], first.x)


def test_a_moved_image_is_not_computed_again(images: list[Path], cache: FeatureCache) -> None:
    before = extract(images[:1], cache.backbone, cache)
    moved = images[0].rename(images[0].with_name("moved.png"))
    after = extract([moved], cache.backbone, cache)
    assert after.computed == 0
    np.testing.assert_array_equal(after.x, before.x)


def test_the_same_bytes_are_computed_once(images: list[Path], cache: FeatureCache) -> None:
    copy = images[0].with_name("copy.png")
    copy.write_bytes(images[0].read_bytes())
    found = extract([images[0], copy, images[1], images[0]], cache.backbone, cache)
    assert found.computed == 2
    assert found.x.shape == (4, 12)
    np.testing.assert_array_equal(found.x[0], found.x[1])
    np.testing.assert_array_equal(found.x[0], found.x[3])


def test_no_images_give_no_features(cache: FeatureCache) -> None:
    found = extract([], cache.backbone, cache)
    assert found.x.shape == (0, 12)
    assert found.computed == 0


def test_progress_ends_with_all(images: list[Path], cache: FeatureCache) -> None:
    extract(images[:3], cache.backbone, cache)
    told: list[tuple[int, int]] = []
    extract([*images, images[0]], cache.backbone, cache, progress=lambda *at: told.append(at))
    assert told[0] == (4, 12)
    assert told[-1] == (12, 12)
    assert told == sorted(told)


def test_every_commit_is_stored_as_it_is_made(
    images: list[Path], cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(common.features, "_IMAGES_A_COMMIT", 4)
    keys = [image_key(path.read_bytes()) for path in images]
    stored = []
    extract(
        images,
        cache.backbone,
        cache,
        progress=lambda _done, _total: stored.append(len(cache.read(keys))),
    )
    assert stored == [0, 4, 8, 11]


@pytest.fixture
def damaged(images: list[Path]) -> list[Path]:
    """Images 2, 5 and 6 cannot be read: truncated, a text, missing."""
    images[2].write_bytes(images[2].read_bytes()[:200])
    images[5].write_text("this is no image")
    images[6].unlink()
    return images


def test_unreadable_images_are_left_out_and_the_others_stay_aligned(
    damaged: list[Path], cache: FeatureCache
) -> None:
    found = extract(damaged, cache.backbone, cache, skip_unreadable=True)
    assert np.flatnonzero(~found.kept).tolist() == [2, 5, 6]
    kept = [path for path, keep in zip(damaged, found.kept, strict=True) if keep]
    np.testing.assert_allclose(found.x, [_by_hand(path) for path in kept], atol=1e-6)
    assert [text.split(":")[0] for text in found.unreadable] == [str(damaged[i]) for i in (2, 5, 6)]
    assert found.computed == len(kept)


def test_when_no_image_is_readable_there_are_no_features(
    damaged: list[Path], cache: FeatureCache
) -> None:
    found = extract([damaged[6], damaged[2]], cache.backbone, cache, skip_unreadable=True)
    assert found.x.shape == (0, 12)
    assert len(found.unreadable) == 2


def test_a_missing_image_fails_before_anything_is_computed(
    damaged: list[Path], cache: FeatureCache
) -> None:
    with pytest.raises(ImageError, match=r"006\.png: No such file.*--skip-unreadable"):
        extract(damaged, cache.backbone, cache)
    assert not cache.path.exists()


def test_a_damaged_image_fails_after_all_others_are_stored(
    damaged: list[Path], cache: FeatureCache
) -> None:
    there = [path for path in damaged if path.exists()]
    with pytest.raises(ImageError, match=r"002\.png: .*and 1 more unreadable.*--skip-unreadable"):
        extract(there, cache.backbone, cache)
    assert len(cache.read([image_key(path.read_bytes()) for path in there])) == len(there) - 2


def test_an_empty_file_is_named(images: list[Path], cache: FeatureCache) -> None:
    images[1].write_bytes(b"")
    with pytest.raises(ImageError, match=r"001\.png: the file is empty"):
        extract(images, cache.backbone, cache)


def test_an_image_that_changes_while_it_is_read_is_not_stored_as_the_old_one(
    images: list[Path], cache: FeatureCache
) -> None:
    old = images[0].read_bytes()

    def swap(done: int, _total: int) -> None:
        if done == 0:
            images[0].write_bytes(images[1].read_bytes())

    with pytest.raises(ImageError, match=r"000\.png: changed while it was being read"):
        extract(images[:1], cache.backbone, cache, progress=swap)
    assert cache.read([image_key(old)]) == {}


def test_a_cache_that_cannot_be_written_stops_the_extraction(
    images: list[Path], tmp_path: Path, tiny_backbone: Backbone
) -> None:
    (tmp_path / "file").touch()
    before = torch.get_num_threads()
    with pytest.raises(CacheError):
        extract(images, tiny_backbone, FeatureCache(tmp_path / "file", tiny_backbone))
    assert torch.get_num_threads() == before


def test_torch_keeps_its_number_of_threads(images: list[Path], cache: FeatureCache) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        extract(images, cache.backbone, cache, threads=1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_feature_has_the_same_bits_in_any_company_order_and_number_of_threads(
    tmp_path: Path, write_image: WriteImage
) -> None:
    backbone = get_backbone("efficientnet_lite0")
    paths = [
        write_image(tmp_path / f"{i}.jpg", i, *size)
        for i, size in enumerate([(200, 150), (60, 90), (300, 300)] * 3)
    ]

    def features(asked: list[Path], threads: int) -> dict[Path, bytes]:
        cache = FeatureCache(tmp_path / f"cache-{len(list(tmp_path.iterdir()))}", backbone)
        found = extract(asked, backbone, cache, threads=threads)
        assert found.computed == len(asked)
        return {path: x.tobytes() for path, x in zip(asked, found.x, strict=True)}

    reference = features(paths, 1)
    assert len(set(reference.values())) == len(paths)
    assert features(paths, 2) == reference
    assert features(paths[::-1], 2) == reference
    for alone in (paths[0], paths[CHUNK]):
        assert features([alone], 1)[alone] == features([alone], 2)[alone] == reference[alone]
    for path, x in features(paths[1:7], 1).items():
        assert x == reference[path]


SPYING_NETWORK = """
import torch
from torch import nn

SEEN: list[tuple[int, int]] = []


class Spy(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        SEEN.append((len(x), torch.get_num_threads()))
        return x.flatten(1)[:, :12]


def load_network() -> nn.Module:
    return Spy()
"""


def test_every_pass_has_the_same_number_of_images_and_one_thread(
    images: list[Path], tmp_path: Path, cache: FeatureCache
) -> None:
    """What keeps the bits of a feature on machines where the test above could not tell."""
    (tmp_path / "spying_network.py").write_text(SPYING_NETWORK, encoding="utf-8")
    extract(images, replace(cache.backbone, module="spying_network"), cache, threads=2)
    seen = importlib.import_module("spying_network").SEEN
    assert seen == [(CHUNK, 1)] * 3


def _child(code: str, images: Path, cache: FeatureCache) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD + code, str(images), str(cache.path.parent)],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(images.parent)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_two_processes_at_once_give_a_complete_cache(
    images: list[Path], cache: FeatureCache
) -> None:
    code = """
import common.features
common.features._IMAGES_A_COMMIT = 4
print("ready", flush=True)
sys.stdin.readline()
print(extract(paths, backbone, cache).x.tobytes().hex())
"""
    children = [_child(code, images[0].parent, cache) for _ in range(2)]
    for child in children:
        assert _line(child) == "ready"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    told = [child.communicate()[0].strip() for child in children]
    assert [child.returncode for child in children] == [0, 0]
    found = extract(images, cache.backbone, cache)
    assert found.computed == 0
    assert told == [found.x.tobytes().hex()] * 2


def test_after_a_kill_only_the_rest_is_computed(images: list[Path], cache: FeatureCache) -> None:
    code = """
import time
import common.features
common.features._IMAGES_A_COMMIT = 4

def report(done, total):
    if done >= 4:
        print(done, flush=True)
        time.sleep(600)

extract(paths, backbone, cache, threads=1, progress=report)
"""
    child = _child(code, images[0].parent, cache)
    try:
        assert _line(child) == "4"
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.communicate()
    found = extract(images, cache.backbone, cache)
    assert found.computed == len(images) - 4
    np.testing.assert_allclose(found.x, [_by_hand(path) for path in images], atol=1e-6)


def test_reading_cached_features_and_fitting_on_them_imports_no_torch(
    images: list[Path], cache: FeatureCache
) -> None:
    extract(images, cache.backbone, cache)
    code = """
import numpy as np
from common import wire
from common.learners import make_learner
from common.learners.base import Problem, SiteData
from common.learners.federate import fit_sites

found = extract(paths, backbone, cache)
learner = make_learner("ridge", Problem(("a", "b"), 12), "calibrate=none")
y = np.arange(len(found.x)) % 2
learner.head(fit_sites(learner, {"only": SiteData(found.x, y)})).predict(found.x)
print(found.computed, "torch" in sys.modules, "torchvision" in sys.modules)
"""
    child = _child(code, images[0].parent, cache)
    assert child.communicate()[0].strip() == "0 False False"
