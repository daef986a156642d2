"""What a deployed site answers and what it refuses, whatever the coordinator sends."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from flwr.app import Context, Message, RecordDict

import client.deployment.answering
import client.node
from client.app import app
from client.deployment.answering import Answering
from common import wire
from common.cohort import Cohort, load_cohort
from common.errors import BoundsError, CohortError, DeploymentError
from common.learners.base import State
from tests.client.deployed_site import (
    BUNDLE,
    TINY_BOUNDS,
    Deployed,
    context,
    federate,
    question,
    reason_of,
    site_file,
    values_of,
)

SECRET = "/data/patient7.jpg"
MOMENTS = wire.encode_state(State("moments", {}))
ALLOWED: dict[str, Any] = {"learner": "ridge"}

Deploy = Callable[..., Deployed]


@pytest.fixture
def deploy(write_cached_cohort: Callable[..., Path], tmp_path: Path) -> Deploy:
    """Deploy a site of 60 images; keywords are of its bounds."""
    root = write_cached_cohort({"dias": 60, "molemax": 40})

    def make(**bounds: Any) -> Deployed:
        site = site_file(root, bounds=TINY_BOUNDS.model_copy(update=bounds))
        return Deployed(site, tmp_path / "site")

    return make


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The cohorts that a node has opened."""
    found: list[Path] = []

    def load(path: Path) -> Cohort:
        found.append(path)
        return load_cohort(path)

    monkeypatch.setattr(client.node, "load_cohort", load)
    return found


@pytest.fixture
def unused(monkeypatch: pytest.MonkeyPatch) -> Callable[[Deployed], None]:
    """Let a site's app fail the test if it is run."""

    def watch(site: Deployed) -> None:
        def run(*_: object) -> NoReturn:
            pytest.fail("the app was run")

        monkeypatch.setattr(site.answering, "_app", run)

    return watch


def assert_refused(reply: Message, category: str) -> None:
    pattern = rf"{category} \(the site's log says more under [0-9a-f]{{8}}\)"
    assert re.fullmatch(pattern, reason_of(reply))
    assert SECRET not in repr(reply.__dict__)


# The bundle


@pytest.mark.parametrize(
    "bundle",
    [
        *(BUNDLE[:at] + bytes([BUNDLE[at] ^ 1]) + BUNDLE[at + 1 :] for at in (0, 9, -2)),
        BUNDLE[:-1],
        BUNDLE + b"\0",
        b"",
    ],
    ids=["first byte", "a byte", "last byte but one", "shorter", "longer", "none"],
)
def test_another_bundle_is_refused_and_nothing_is_run(
    deploy: Deploy, unused: Callable[[Deployed], None], opened: list[Path], bundle: bytes
) -> None:
    site = deploy()
    unused(site)
    assert bundle != BUNDLE
    assert_refused(site.ask(wire.JOIN, bundle=bundle, **ALLOWED), "BundleError")
    assert opened == []
    (line,) = site.lines()
    assert line["sent"] == []
    assert line["refused"].startswith("BundleError (")


def test_the_pinned_bundle_is_answered(deploy: Deploy, opened: list[Path]) -> None:
    reply = deploy().ask(wire.JOIN, **ALLOWED)
    assert values_of(reply)["site"] == "dias"
    assert len(opened) == 1


def test_a_site_with_other_code_than_that_of_its_invitation_answers_nothing(
    deploy: Deploy, unused: Callable[[Deployed], None], tmp_path: Path
) -> None:
    joined = deploy().site
    assert joined.membership is not None
    before = joined.membership.model_copy(update={"code": "1" * 64})
    site = Deployed(joined.model_copy(update={"membership": before}), tmp_path / "upgraded")
    unused(site)
    assert_refused(site.ask(wire.JOIN, **ALLOWED), "BundleError")
    (line,) = site.lines()
    assert line["sent"] == []


def test_a_site_that_has_not_joined_answers_nothing(deploy: Deploy, tmp_path: Path) -> None:
    alone = deploy().site.model_copy(update={"membership": None})
    with pytest.raises(DeploymentError, match="dermafed site join"):
        Answering(alone, tmp_path)


# Bounds


@pytest.mark.parametrize(
    ("settings", "category"),
    [
        ({"learner": "svm"}, "BoundsError"),
        ({"learner": "ridge", "backbone": "efficientnet_lite0"}, "BoundsError"),
        ({"learner": "ridge", "strategy": "fedavg"}, "BoundsError"),
        ({"learner": "ridge", "split_seed": 2}, "BoundsError"),
        ({"learner": "ridge", "draws": 101}, "BoundsError"),
        ({"learner": "ridge", "draws": 201}, "SettingsError"),
        ({"learner": 5}, "SettingsError"),
    ],
)
@pytest.mark.parametrize("kind", [wire.JOIN, wire.CONTRIBUTE, wire.FINETUNE])
def test_a_run_outside_the_bounds_is_refused_and_nothing_is_run(
    deploy: Deploy,
    unused: Callable[[Deployed], None],
    settings: dict[str, Any],
    category: str,
    kind: str,
) -> None:
    site = deploy(learners=("ridge",), most_draws=100)
    unused(site)
    assert_refused(site.ask(kind, MOMENTS, **settings), category)


def test_no_more_messages_of_a_run_are_answered_than_allowed(deploy: Deploy) -> None:
    site = deploy(most_messages=2)
    # What is refused does not count.
    for _ in range(3):
        assert_refused(site.ask(wire.JOIN, learner="none"), "BoundsError")
    assert site.ask(wire.JOIN, draws=100, **ALLOWED).has_content()
    # The trail knows, also after a new start.
    site = deploy(most_messages=2)
    assert site.ask(wire.JOIN, draws=100, **ALLOWED).has_content()
    assert_refused(site.ask(wire.JOIN, draws=100, **ALLOWED), "BoundsError")
    assert site.ask(wire.JOIN, run=2, draws=100, **ALLOWED).has_content()


def test_no_more_runs_are_answered_than_allowed(deploy: Deploy) -> None:
    site = deploy(most_runs=2)
    assert_refused(site.ask(wire.JOIN, learner="none", run=9), "BoundsError")
    for run in (1, 2, 1, 2):
        assert site.ask(wire.JOIN, run=run, **ALLOWED).has_content()
    assert_refused(site.ask(wire.JOIN, run=3, **ALLOWED), "BoundsError")
    site = deploy(most_runs=2)
    assert_refused(site.ask(wire.JOIN, run=9, **ALLOWED), "BoundsError")
    assert site.ask(wire.JOIN, run=2, **ALLOWED).has_content()


def test_mistyped_bounds_stop_a_site_at_its_start(deploy: Deploy) -> None:
    with pytest.raises(BoundsError, match="logistc"):
        deploy(learners=("logistc",))


# Failures


@pytest.mark.parametrize(
    ("error", "category"),
    [
        (CohortError(f"{SECRET}: missing"), "CohortError"),
        (FileNotFoundError(2, "No such file", SECRET), "InternalError"),
        (ValueError(SECRET), "InternalError"),
    ],
)
@pytest.mark.parametrize("where", ["site", "app"])
def test_of_a_failure_only_category_and_identifier_leave(
    deploy: Deploy,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    category: str,
    where: str,
) -> None:
    def fail(*_: object) -> NoReturn:
        raise error from KeyError(SECRET)

    if where == "site":
        monkeypatch.setattr(client.deployment.answering, "site_of_node", fail)
    site = deploy()
    if where == "app":
        monkeypatch.setattr(site.answering, "_app", fail)
    reply = site.ask(wire.JOIN, **ALLOWED)
    assert_refused(reply, category)
    identifier = reason_of(reply).split()[-1].rstrip(")")
    (line,) = site.lines()
    assert (line["sent"], line["refused"]) == ([], reason_of(reply))
    assert "patient7" not in site.trail.read_text(encoding="utf-8")
    # The site's own log tells the whole story under the identifier.
    assert identifier in caplog.text
    assert SECRET in caplog.text


@pytest.mark.parametrize("kind", ["query", "train", "query.patient7", "train.images"])
def test_an_unknown_question_is_refused_and_opens_no_cohort(
    deploy: Deploy, opened: list[Path], kind: str
) -> None:
    site = deploy()
    assert_refused(site.ask(kind, **ALLOWED), "InternalError")
    assert opened == []
    assert site.lines()[0]["kind"] == kind


def test_a_coordinators_texts_are_cut_short_in_the_trail(deploy: Deploy) -> None:
    site = deploy()
    site.ask(wire.JOIN, learner="\x1b[2J\n" + "x" * 10**6)
    assert site.trail.stat().st_size < 2000
    assert site.lines()[0]["learner"] == " [2J " + "x" * 195


# The site's own settings


def test_what_the_coordinator_says_of_the_node_is_not_looked_at(
    deploy: Deploy, opened: list[Path], tmp_path: Path
) -> None:
    site = deploy()
    own = site.ask(wire.JOIN, **ALLOWED)
    asked = context({**ALLOWED, "disclosure": "exact", "minimum-count": 1, "cohort": "/other"})
    asked.node_config = {
        "cohort": str(tmp_path / "other"),
        "site": "molemax",
        "minimum-count": 1,
        "cache": str(tmp_path / "other-cache"),
        "resample-key": "known to the coordinator",
        "partition-id": 0,
        "num-partitions": 2,
        "split-seed": 1,
    }
    reply = site.answering.answer(question(wire.JOIN), asked, BUNDLE)
    assert values_of(reply) == values_of(own)
    # 60 images of 7 classes in 3 parts: some cells hold fewer than 5 images, and are withheld.
    assert values_of(reply)["images"] < 60
    assert values_of(reply)["withheld"] != [""]
    assert set(opened) == {site.site.cohort}
    assert asked.node_config == site.site.node_config()


def test_features_stay_for_a_run_and_are_read_anew_for_another(
    deploy: Deploy, opened: list[Path]
) -> None:
    site = deploy()
    for kind, content in [(wire.JOIN, None), (wire.CONTRIBUTE, MOMENTS), (wire.JOIN, None)]:
        assert site.ask(kind, content, **ALLOWED).has_content()
    assert len(opened) == 1
    assert site.ask(wire.JOIN, learner="lda").has_content()
    assert len(opened) == 2
    # One site is kept, not one for each run.
    assert site.ask(wire.JOIN, **ALLOWED).has_content()
    assert len(opened) == 3


def test_a_site_that_could_not_be_opened_is_tried_again(deploy: Deploy) -> None:
    site = deploy()
    image = next((site.site.cohort / "images").glob("dias-*.jpg"))
    image.rename(image.with_suffix(".gone"))
    assert_refused(site.ask(wire.JOIN, **ALLOWED), "CohortError")
    image.with_suffix(".gone").rename(image)
    assert site.ask(wire.JOIN, **ALLOWED).has_content()


def _bytes(content: RecordDict) -> list[tuple[str, object]]:
    return [(name, list(record.items())) for name, record in content.items()]


def test_a_deployed_site_answers_byte_for_byte_what_its_app_does(deploy: Deploy) -> None:
    site = deploy()
    asked = federate([site], "logistic")
    questions = [(wire.JOIN, RecordDict())]
    questions += [(one.kind, wire.encode_state(one.state)) for one in asked]
    assert len(questions) > 4
    for (kind, content), reply in zip(questions, site.replies, strict=True):
        own: Context = context({"learner": "logistic"})
        own.node_config = site.site.node_config()
        expected = app(question(kind, content), own)
        assert _bytes(reply.content) == _bytes(expected.content)
