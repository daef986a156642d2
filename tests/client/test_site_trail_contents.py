"""What a site writes of its answers: all that left, nothing private, and before it leaves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Message

from client.deployment.audit import read_trail
from common import wire
from common.errors import AuditError
from common.finetuning.order import Update
from tests.client.deployed_site import Deployed, arrays_of, federate, site_file, values_of

WriteCachedCohort = Callable[..., Path]
# What ties lines together, beside what they say.
CHAIN = ("time", "before", "hash")


@pytest.fixture
def deployed(write_cached_cohort: WriteCachedCohort, tmp_path: Path) -> Deployed:
    root = write_cached_cohort({"dias": 120}, name="cohort-of-Anna-Schmidt")
    return Deployed(site_file(root), tmp_path / "site")


def test_a_line_is_what_left_and_nothing_else(deployed: Deployed) -> None:
    asked = federate([deployed], "ridge")
    deployed.ask(wire.JOIN, learner="none", strategy="fedavg", imbalance="smote", run=2)
    kinds = [wire.JOIN, *(one.kind for one in asked), wire.JOIN]
    for number, (line, kind, reply) in enumerate(
        zip(deployed.lines(), kinds, deployed.replies, strict=True), 1
    ):
        sent: list[dict[str, Any]] = []
        if kind != wire.JOIN:
            for name, array in arrays_of(reply).items():
                value = array.numpy()
                shape, dtype = list(value.shape), value.dtype.name
                size = len(array.data)
                # NumPy's header is what is not values.
                assert size == value.nbytes + 128
                sent.append({"name": name, "shape": shape, "dtype": dtype, "bytes": size})
        for name, value in values_of(reply).items() if reply.has_content() else ():
            texts = value if isinstance(value, list) else [value]
            sent.append(
                {
                    "name": name,
                    "shape": [len(texts)] if isinstance(value, list) else [],
                    "dtype": "text",
                    "bytes": sum(len(str(text).encode()) for text in texts),
                }
            )
        last = number == len(kinds)
        assert {name: value for name, value in line.items() if name not in CHAIN} == {
            "line": number,
            "run": "2" if last else "1",
            "kind": kind,
            "round": "3",
            "learner": "none" if last else "ridge",
            "backbone": "tiny",
            "strategy": "fedavg" if last else "",
            "minimum_count": 5,
            "images": _counted(reply),
            "sent": sent,
            "refused": str(reply.error.reason) if last else "",
            "imbalance": "smote" if last else "",
            "metadata": "",
        }
    assert len(list(read_trail(deployed.trail))) == len(kinds)


def _counted(reply: Message) -> int | None:
    """What the reply itself tells: of joining all images, of sums those of their part."""
    if not reply.has_content():
        return None
    told = values_of(reply)
    return int(told["images"] if "images" in told else told["count"])


def test_the_trail_tells_how_many_images_each_answer_was_over(deployed: Deployed) -> None:
    asked = federate([deployed], "ridge")
    info = wire.decode_site_info(deployed.replies[0].content)
    assert len({info.images, info.train, info.validation, info.test}) == 4
    part = {
        "moments": info.train,
        "gram": info.train,
        "temperature": info.validation,
        "evaluation": info.test,
    }
    expected = [info.images, *(part[one.stage] for one in asked)]
    assert [line["images"] for line in deployed.lines()] == expected


def test_of_weights_the_trail_tells_how_many_images_they_were_trained_on(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = wire.decode_site_info(deployed.ask(wire.JOIN, learner="ridge").content)
    # An update as every trainer sends it, which tells no number of images.
    update = Update({"classifier.bias": np.zeros(7, np.float32)}, steps=3, loss=0.5)
    monkeypatch.setattr(
        deployed.answering,
        "_app",
        lambda message, _: Message(wire.encode_update(update), reply_to=message),
    )
    deployed.ask(wire.FINETUNE, learner="ridge")
    assert deployed.lines()[-1]["images"] == info.train


def test_no_value_path_or_image_is_in_the_trail(deployed: Deployed) -> None:
    federate([deployed], "logistic")
    federate([deployed], "lda")
    # Failures, too, whose reasons name files in the site's log.
    (deployed.site.cohort / "images" / "dias-7.jpg").unlink()
    assert deployed.ask(wire.JOIN, learner="ridge").has_error()
    text = deployed.trail.read_text(encoding="utf-8")
    table = (deployed.site.cohort / "HAM10000_metadata.csv").read_text(encoding="utf-8")
    images = [row.split(",")[1] for row in table.splitlines()[1:]]
    assert len(images) == 120
    for private in (*images, "L-dias", "Anna-Schmidt", str(deployed.site.cohort), "jpg"):
        assert private not in text
    values: set[float] = set()
    for reply in deployed.replies:
        if reply.has_content() and "arrays" in reply.content:
            arrays = [array.numpy() for array in arrays_of(reply).values()]
            values.update(v for a in arrays if a.dtype == np.float64 for v in a.ravel().tolist())
    assert len(values) > 1000
    assert not [value for value in values if value % 1 and repr(value)[:8] in text]


def test_what_the_trail_cannot_take_is_not_answered(deployed: Deployed) -> None:
    deployed.ask(wire.JOIN, learner="ridge")
    deployed.trail.rename(deployed.folder / "moved")
    deployed.trail.mkdir()
    for kind in (wire.JOIN, wire.CONTRIBUTE, "query.unknown"):
        with pytest.raises(AuditError, match="nothing is answered"):
            deployed.ask(kind, learner="ridge")
    with pytest.raises(AuditError):
        Deployed(deployed.site, deployed.folder)
    assert len(deployed.replies) == 1
