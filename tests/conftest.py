"""What tests of every package share: nothing phones home, no user's cache is touched."""

from __future__ import annotations

import csv
import os
import random
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

from common.backbones import Backbone
from common.transform import Transform

# A test that fails fails again, for everybody.
settings.register_profile("repeatable", derandomize=True, database=None, deadline=None)
settings.load_profile("repeatable")

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
os.environ["FLWR_DISABLE_UPDATE_CHECK"] = "1"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

REAL_COHORT = Path(__file__).parents[1] / "../shared/ham10000"

OFFICIAL_COLUMNS = (
    *("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization", "dataset"),
)
TYPICAL = dict(
    zip(
        OFFICIAL_COLUMNS,
        ("HAM_0", "ISIC_0", "nv", "histo", "50.0", "male", "back", "rosendahl"),
        strict=True,
    )
)

WriteImage = Callable[..., Path]
WriteCohort = Callable[..., Path]


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("DERMAFED_CACHE", str(tmp_path_factory.getbasetemp() / "default-cache"))


@pytest.fixture(scope="session")
def ham10000() -> Path:
    """The real cohort; it is never copied, and absent outside its owner's machine."""
    if not REAL_COHORT.is_dir():
        pytest.skip(f"HAM10000 is not at {REAL_COHORT}")
    return REAL_COHORT


@pytest.fixture(scope="session")
def write_image() -> WriteImage:
    """Write a small image of noise; the ending tells the format."""

    def write(path: Path, seed: int, width: int = 24, height: int = 18) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        return path

    return write


@pytest.fixture(scope="session")
def write_table() -> Callable[..., Path]:
    """Write a CSV of rows by column; an absent value is the typical one."""

    def write(
        path: Path,
        rows: Sequence[Mapping[str, str]],
        columns: Sequence[str] = OFFICIAL_COLUMNS,
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(columns)
            for row in rows:
                writer.writerow([row.get(name, TYPICAL.get(name, "")) for name in columns])
        return path

    return write


@pytest.fixture
def write_cohort(
    tmp_path: Path, write_table: Callable[..., Path], write_image: WriteImage
) -> WriteCohort:
    """Write a cohort in the official layout; images without an id are numbered."""

    def write(
        rows: Sequence[Mapping[str, str]],
        columns: Sequence[str] = OFFICIAL_COLUMNS,
        folder: Path = tmp_path / "cohort",
    ) -> Path:
        numbered = [
            {"image_id": f"ISIC_{i}", "lesion_id": f"HAM_{i}", **row} for i, row in enumerate(rows)
        ]
        write_table(folder / "HAM10000_metadata.csv", numbered, columns)
        for row in numbered:
            seed = random.Random(row["image_id"]).randrange(2**32)
            write_image(folder / "images" / f"{row['image_id']}.jpg", seed)
        return folder

    return write


TINY_NETWORK = '''
"""A network that averages each quarter of each channel: 12 features, in no time."""

from torch import nn


def load_network() -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten()).eval()
'''


@pytest.fixture
def tiny_backbone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Backbone:
    """A backbone for tests of what surrounds one; its module is found in `tmp_path`."""
    (tmp_path / "tiny_network.py").write_text(TINY_NETWORK, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return Backbone(
        name="tiny",
        dimension=12,
        weights_sha256="0" * 64,
        licence="CC0-1.0",
        module="tiny_network",
        transform=Transform(size=8, mean=0.5, std=0.5),
    )


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Give a headless Chromium that logs what pages say and fetch."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no chromium with chromedriver is installed")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options=options, service=Service(driver))
    yield started
    started.quit()
