"""The most confident mistakes: the surest, spread over sites, one a lesion; and their images."""

from __future__ import annotations

import io
from base64 import b64decode
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.errors import CohortError, ImageError
from simulations.report.facts import Facts
from simulations.report.loading import Run
from simulations.report.mistakes import MOST, MOST_OF_A_SITE, confident_mistakes
from simulations.report.thumbnails import SIDE, thumbnails

LoadedRun = Callable[..., Run]
WriteCohort = Callable[..., Path]


def test_mistakes_are_the_surest_within_the_limits(loaded: LoadedRun) -> None:
    run = loaded("simulate")
    found = confident_mistakes(Facts(run.study), run.predictions)
    assert len(found) == MOST
    assert [one.confidence for one in found] == sorted(
        (one.confidence for one in found), reverse=True
    )
    assert max(Counter(one.site for one in found).values()) <= MOST_OF_A_SITE
    assert len({one.lesion for one in found}) == MOST
    assert all(one.truth != one.predicted for one in found)


def test_no_surer_mistake_is_passed_over(loaded: LoadedRun) -> None:
    run = loaded("simulate")
    text, table = run.predictions.text, run.predictions
    wrong = [
        (float(table.probabilities[row].max()), str(text["site"][row]), str(text["cluster"][row]))
        for row in range(len(table))
        if text["model"][row] == "federated" and text["y_true"][row] != text["y_pred"][row]
    ]
    chosen: list[tuple[float, str, str]] = []
    for one in sorted(wrong, reverse=True):
        same_site = sum(one[1] == other[1] for other in chosen)
        if one[2] not in {other[2] for other in chosen} and same_site < MOST_OF_A_SITE:
            chosen.append(one)
    found = confident_mistakes(Facts(run.study), run.predictions)
    assert [one.confidence for one in found] == [one[0] for one in chosen[:MOST]]


def test_a_model_without_mistakes_has_none(loaded: LoadedRun) -> None:
    run = loaded("simulate")
    text = {**run.predictions.text, "y_pred": run.predictions.text["y_true"]}
    table = type(run.predictions)(text, run.predictions.classes, run.predictions.probabilities)
    assert confident_mistakes(Facts(run.study), table) == []


def test_a_thumbnail_is_small_and_carries_no_metadata(write_cohort: WriteCohort) -> None:
    folder = write_cohort([{}, {"image_id": "big"}])
    exif = Image.Exif()
    exif[0x010E] = "patient's name"
    pixels = np.random.default_rng(0).integers(0, 256, (450, 600, 3), dtype=np.uint8)
    big = folder / "images" / "big.jpg"
    Image.fromarray(pixels).save(big, exif=exif, comment=b"the patient's address")
    found = thumbnails(folder, ["big"])["big"]
    assert (found.width, found.height) == (SIDE, SIDE * 3 // 4)
    data = b64decode(found.source.removeprefix("data:image/jpeg;base64,"))
    assert b"patient" not in data
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "JPEG"
        assert not image.getexif()


def test_an_image_of_another_cohort_is_named(write_cohort: WriteCohort) -> None:
    folder = write_cohort([{}, {}])
    with pytest.raises(CohortError, match="has no image ISIC_77"):
        thumbnails(folder, ["ISIC_0", "ISIC_77"])


def test_a_damaged_image_is_named(write_cohort: WriteCohort) -> None:
    folder = write_cohort([{}, {}])
    (folder / "images" / "ISIC_1.jpg").write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"ISIC_1\.jpg"):
        thumbnails(folder, ["ISIC_1"])
