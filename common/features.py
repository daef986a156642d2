"""From image files to features: what the cache lacks is computed, the rest is read."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from common.errors import ImageError
from common.feature_cache import FeatureCache, image_key
from common.transform import read_image

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from common.backbones import Backbone

# Few images a forward pass keep its activations in the processor's cache, and always the same
# number keeps a feature independent of how many images come with it.
CHUNK = 4
_IMAGES_A_COMMIT = 128

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Features:
    """Features of a list of images.

    Attributes
    ----------
    x : ndarray of float32, shape (m, dimension)
        One row a readable image, in the order asked for.
    kept : ndarray of bool, shape (n,)
        Which of the n images those are.
    unreadable : tuple of str
        What was wrong with the others, each naming its file.
    computed : int
        How many images went through the network; the rest came from the cache.
    """

    x: NDArray[np.float32]
    kept: NDArray[np.bool_]
    unreadable: tuple[str, ...]
    computed: int


def cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def no_progress(done: int, total: int) -> None:
    """Report nothing."""


def extract(
    paths: Sequence[Path],
    backbone: Backbone,
    cache: FeatureCache,
    *,
    skip_unreadable: bool = False,
    threads: int | None = None,
    progress: Progress = no_progress,
) -> Features:
    """Give the features of image files.

    Parameters
    ----------
    paths : sequence of Path, length n
        Image files.
    backbone : Backbone
        The frozen network.
    cache : FeatureCache
        Where features are looked up and kept; an interruption loses at most the last few.
    skip_unreadable : bool
        Leave unreadable images out instead of failing.
    threads : int or None
        Cores to use; None for all that this process may use.
    progress : callable
        Called with (images done, images in all) as they are done.

    Raises
    ------
    ImageError
        If images cannot be read and `skip_unreadable` is False; raised before anything is
        computed for missing and empty files, and after all others are done for damaged ones,
        so that one run counts every bad file.
    CacheError, WeightsError
        As `FeatureCache` and the backbone.
    """
    problems: dict[int, str] = {}
    keys: list[bytes] = []
    for index, path in enumerate(paths):
        try:
            keys.append(image_key(_read(path)))
        except ImageError as error:
            problems[index] = str(error)
            keys.append(b"")
    if problems and not skip_unreadable:
        raise ImageError(_summary(problems))

    known = cache.read([key for key in keys if key])
    missing: dict[bytes, int] = {}
    for index, key in enumerate(keys):
        if key and key not in known:
            missing.setdefault(key, index)
    progress(len(paths) - len(missing), len(paths))
    if missing:
        todo = [(key, paths[index]) for key, index in missing.items()]
        bad: dict[bytes, str] = {}
        for batch in _compute(todo, backbone, threads or cores(), bad):
            cache.write(batch)
            known.update(batch)
            progress(len(paths) - len(missing) + len(known.keys() & missing.keys()), len(paths))
        problems.update({i: bad[key] for i, key in enumerate(keys) if key in bad})
    if problems and not skip_unreadable:
        raise ImageError(_summary(problems))

    kept = np.array([index not in problems for index in range(len(paths))], dtype=np.bool_)
    x = np.empty((int(kept.sum()), backbone.dimension), dtype=np.float32)
    for row, index in enumerate(np.flatnonzero(kept).tolist()):
        x[row] = known[keys[index]]
    unreadable = tuple(problems[index] for index in sorted(problems))
    return Features(x, kept, unreadable, len(known.keys() & missing.keys()))


def _read(path: Path, key: bytes | None = None) -> bytes:
    data = read_image(path)
    if key is not None and image_key(data) != key:
        raise ImageError(f"{path}: changed while it was being read; run again")
    return data


def _summary(problems: dict[int, str]) -> str:
    first = problems[min(problems)]
    more = f" (and {len(problems) - 1} more unreadable images)" if len(problems) > 1 else ""
    return f"{first}{more}; or leave such images out with --skip-unreadable"


def _compute(
    todo: Sequence[tuple[bytes, Path]], backbone: Backbone, threads: int, bad: dict[bytes, str]
) -> Iterator[dict[bytes, NDArray[np.float32]]]:
    """Yield a commit's worth of features at a time; unreadable images go to `bad`.

    Each thread decodes a chunk and runs it through the network on one core: decoding and
    computing balance by themselves, and a feature does not depend on the number of cores.
    """
    forward = _forward(backbone)

    def work(items: Sequence[tuple[bytes, Path]]) -> dict[bytes, NDArray[np.float32]]:
        keys, images = [], []
        for key, path in items:
            try:
                images.append(backbone.transform.pixels(_read(path, key), path))
                keys.append(key)
            except ImageError as error:
                bad[key] = str(error)
        return dict(zip(keys, forward(np.stack(images)), strict=True)) if images else {}

    chunks = (todo[start : start + CHUNK] for start in range(0, len(todo), CHUNK))
    with _one_thread_a_pass(), ThreadPoolExecutor(threads) as workers:
        running = deque(workers.submit(work, chunk) for chunk in islice(chunks, 2 * threads))
        batch: dict[bytes, NDArray[np.float32]] = {}
        try:
            while running:
                batch.update(running.popleft().result())
                running.extend(workers.submit(work, chunk) for chunk in islice(chunks, 1))
                if len(batch) >= _IMAGES_A_COMMIT or not running:
                    yield batch
                    batch = {}
        finally:
            workers.shutdown(cancel_futures=True)


@contextmanager
def _one_thread_a_pass() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _forward(backbone: Backbone) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    import torch

    network = backbone.load_network()
    transform = backbone.transform

    def forward(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        padding = np.repeat(images[-1:], CHUNK - len(images), axis=0)
        # Channels stay last in memory, as Pillow has them and the network wants them.
        x = torch.from_numpy(np.concatenate([images, padding])).permute(0, 3, 1, 2)
        with torch.inference_mode():
            x = transform.normalise(x.float().div_(255))
            features: NDArray[np.float32] = network(x).numpy()
        return features[: len(images)]

    return forward
