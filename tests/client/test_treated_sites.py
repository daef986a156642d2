"""A site treats its own training images once, tells how many it learns from, and draws alone."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Context, RecordDict
from imblearn.over_sampling import SMOTE
from imblearn.under_sampling import RandomUnderSampler
from typer.testing import CliRunner

from client.app import app
from client.deployment.bounds import check_bounds, refuse_unknown
from client.deployment.settings import Bounds, read_site_file
from client.node import site_of_node
from client.site import Site
from common import wire
from common.backbones import get_backbone
from common.cli import app as command_line
from common.errors import BoundsError, ContributionError, SettingsError
from common.learners import make_learner
from common.learners.base import Problem
from common.settings import RunSettings
from common.split import Split

if TYPE_CHECKING:
    from flwr.app.user_config import UserConfigValue

    from tests.client.conftest import Asker

Write = Callable[..., Path]
IMAGES = 260
KEY = "a secret of sixteen letters"


def _site(node: dict[str, UserConfigValue], **run: UserConfigValue) -> Site:
    config = {"backbone": "tiny", **{name.replace("_", "-"): v for name, v in run.items()}}
    context = Context(run_id=1, node_id=4, node_config=node, state=RecordDict(), run_config=config)
    return site_of_node(context)


@pytest.fixture
def root(write_cached_cohort: Write) -> Path:
    return write_cached_cohort({"dias": IMAGES})


@pytest.fixture
def lab_site(root: Path) -> Callable[..., Site]:
    """Open the site as a simulation does."""
    node: dict[str, UserConfigValue] = {"partition-id": 0, "num-partitions": 1}

    def open_site(**run: UserConfigValue) -> Site:
        return _site(node, cohort=str(root), cache=str(root / "cache"), **run)

    return open_site


def _real(root: Path, **more: UserConfigValue) -> dict[str, UserConfigValue]:
    own: dict[str, UserConfigValue] = {
        "cohort": str(root),
        "site": "dias",
        "cache": str(root / "cache"),
    }
    return {**own, "resample-key": KEY, **{n.replace("_", "-"): v for n, v in more.items()}}


def _rows(x: Any) -> list[bytes]:
    return sorted(row.tobytes() for row in x)


def test_a_simulated_site_learns_from_what_imbalanced_learn_makes_of_its_training_images(
    lab_site: Callable[..., Site],
) -> None:
    plain, treated = lab_site(), lab_site(imbalance="undersample seed=6")
    train = plain.part(Split.TRAIN)
    x, _ = RandomUnderSampler(random_state=6).fit_resample(train.x, train.y)
    assert _rows(treated.part(Split.TRAIN).x) == _rows(x)
    assert len(x) < len(train)
    for part in (Split.VALIDATION, Split.TEST):
        np.testing.assert_array_equal(treated.part(part).x, plain.part(part).x)


def test_it_tells_how_many_it_learns_from_and_how_many_it_has(
    lab_site: Callable[..., Site],
) -> None:
    plain = lab_site().info()
    for kind, sign in (("oversample", 1), ("undersample", -1)):
        site = lab_site(imbalance=kind)
        info = site.info()
        assert info.train == len(site.part(Split.TRAIN)) == plain.train + info.added
        assert np.sign(info.added) == sign
        assert replace(info, train=plain.train, added=0) == plain
        assert wire.decode_site_info(wire.encode_site_info(info)) == info


@pytest.mark.parametrize("added", [10**6, -1, 1, True, 1.0, "3", [1]])
def test_a_number_of_added_images_that_cannot_be_is_refused(
    added: Any, lab_site: Callable[..., Site]
) -> None:
    content = wire.encode_site_info(lab_site().info())
    record = content["config"]
    assert isinstance(record, ConfigRecord)
    record["added"] = added
    with pytest.raises(ContributionError, match="added|add up"):
        wire.decode_site_info(content)


def _sums(ask: Asker) -> dict[str, Any]:
    site = wire.decode_site_info(ask(wire.JOIN).content)
    learner = make_learner("ridge", Problem(site.classes, get_backbone("tiny").dimension))
    reply = ask(wire.CONTRIBUTE, wire.encode_state(learner.start()))
    record = reply.content["arrays"]
    assert isinstance(record, ArrayRecord)
    return {name: array.numpy() for name, array in record.items()}


def test_every_message_of_a_real_site_is_answered_with_the_same_images(
    root: Path, asker_of: Callable[..., Asker]
) -> None:
    ask = asker_of(app)
    ask.node_config = _real(root)
    ask.run_config.update({"imbalance": "smote"})
    first, second = _sums(ask), _sums(ask)
    info = wire.decode_site_info(ask(wire.JOIN).content)
    assert info.added > 0
    assert first["class_count"].sum() == info.train
    # A class that would gain fewer images than the minimum gains none.
    count = np.bincount(_site(_real(root)).part(Split.TRAIN).y)
    lacks = count.max() - count
    assert ((lacks > 0) & (lacks < 5)).any()
    np.testing.assert_array_equal(first["class_count"], np.where(lacks < 5, count, count.max()))
    for name, sums in first.items():
        np.testing.assert_array_equal(sums, second[name])


def test_a_real_site_draws_by_its_own_key_and_not_by_what_the_coordinator_knows(
    root: Path, lab_site: Callable[..., Site]
) -> None:
    train = lab_site().part(Split.TRAIN)
    made, _ = SMOTE(random_state=0).fit_resample(train.x, train.y)

    def learned(key: str, treatment: str) -> list[bytes]:
        return _rows(
            _site(_real(root, resample_key=key, minimum_count=2), imbalance=treatment)
            .part(Split.TRAIN)
            .x
        )

    real = set(_rows(train.x))
    mine = set(learned(KEY, "smote")) - real
    assert mine
    assert mine == set(learned(KEY, "smote seed=0")) - real
    for other in (_rows(made), learned(KEY + "!", "smote")):
        assert set(other) > real
        assert not mine & set(other)


def test_a_real_site_draws_anew_for_another_treatment(root: Path) -> None:
    """Else a treatment that draws one image more would tell that image by the difference."""
    more, less = (
        _site(_real(root, minimum_count=2), imbalance=text).part(Split.TRAIN)
        for text in ("oversample", "oversample ratio=0.95")
    )
    real = len(_site(_real(root)).part(Split.TRAIN))
    first = less.y[real]
    many, few = (Counter(_rows(part.x[real:][part.y[real:] == first])) for part in (more, less))
    assert sum(many.values()) > sum(few.values()) > 0
    assert few - many


def test_a_guarded_site_treats_what_it_does_not_withhold(root: Path) -> None:
    node = _real(root, minimum_count=25)
    plain, treated = _site(node), _site(node, imbalance="oversample")
    kept = set(_rows(plain.part(Split.TRAIN).x))
    assert plain.info().withheld == treated.info().withheld
    assert plain.info().withheld
    assert set(_rows(treated.part(Split.TRAIN).x)) == kept


def test_notes_stay_in_the_sites_own_log(
    root: Path, asker_of: Callable[..., Asker], caplog: pytest.LogCaptureFixture
) -> None:
    ask = asker_of(app)
    ask.node_config = _real(root, minimum_count=25)
    ask.run_config.update({"imbalance": "smote"})
    with caplog.at_level(logging.INFO, "client.node"):
        reply = ask(wire.JOIN)
    assert "smote: no image of" in caplog.text
    record = reply.content["config"]
    assert isinstance(record, ConfigRecord)
    assert "no image of" not in str(dict(record))


@pytest.mark.parametrize("kind", ["oversample", "smote"])
def test_a_guarded_site_refuses_to_add_images_where_it_counts_what_is_right(
    root: Path, kind: str
) -> None:
    folds = "folds=2 search=grid:0.1:10:3"
    with pytest.raises(SettingsError, match="not with folds at guarded sites"):
        _site(_real(root, minimum_count=2), imbalance=kind, learner_settings=folds)
    site = _site(_real(root, minimum_count=2), imbalance="undersample", learner_settings=folds)
    assert site.part(Split.TRAIN).fold is not None


# What a real site allows


def _bounds(*treatments: str) -> Bounds:
    return Bounds(learners=("ridge",), imbalance=treatments)


def _run(treatment: str) -> RunSettings:
    return RunSettings(imbalance=treatment, disclosure="guarded")


@pytest.mark.parametrize("treatment", ["", "none"])
def test_a_site_answers_runs_without_a_treatment(treatment: str) -> None:
    check_bounds(_bounds(), _run(treatment))


@pytest.mark.parametrize(
    ("allowed", "asked"),
    [
        ((), "smote"),
        (("oversample", "smote neighbours=3"), "smote"),
        (("smote",), "smote ratio=0.9"),
        (("smote",), "smote seed=1"),
        (("none",), "smote"),
    ],
)
def test_a_site_refuses_a_treatment_with_settings_that_it_does_not_name(
    allowed: tuple[str, ...], asked: str
) -> None:
    with pytest.raises(BoundsError, match=f"imbalance '{asked}': this site allows"):
        check_bounds(_bounds(*allowed), _run(asked))


def test_a_site_answers_what_it_names_however_it_is_written() -> None:
    bounds = _bounds("oversample", "smote seed=2 neighbours=3")
    check_bounds(bounds, _run("smote  neighbours=3 ratio=1.0 seed=2"))
    check_bounds(bounds, _run("oversample"))


def test_a_new_site_allows_no_treatment_until_it_names_one(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "site"
    options = ("--site", "dias", "--cohort", str(root), "--folder", str(folder))
    done = CliRunner().invoke(command_line, ["site", "init", *options], catch_exceptions=False)
    assert done.exit_code == 0
    bounds = read_site_file(folder).bounds
    refuse_unknown(bounds)
    for kind in ("oversample", "undersample", "smote", "borderline-smote", "adasyn"):
        with pytest.raises(BoundsError, match="this site allows none"):
            check_bounds(bounds, _run(kind))
        named = bounds.model_copy(update={"imbalance": (kind,)})
        check_bounds(named, _run(kind))
        with pytest.raises(BoundsError):
            check_bounds(named, _run(f"{kind} seed=1"))


def test_a_mistyped_bound_is_refused() -> None:
    refuse_unknown(_bounds("smote"))
    with pytest.raises(BoundsError, match=r"site.toml bounds.imbalance: .*'smoot' is unknown"):
        refuse_unknown(_bounds("smote", "smoot"))


@pytest.mark.parametrize("treatment", ["", "oversample", "smote", "undersample"])
def test_a_guarded_site_grows_no_trees_on_repeated_images(
    root: Path, asker_of: Callable[..., Asker], treatment: str
) -> None:
    """A leaf of as many images as the minimum could be one image, many times."""
    ask = asker_of(app)
    ask.node_config = _real(root)
    ask.run_config.update({"imbalance": treatment, "learner": "forest"})
    site = wire.decode_site_info(ask(wire.JOIN).content)
    learner = make_learner("forest", Problem(site.classes, get_backbone("tiny").dimension))
    reply = ask(wire.CONTRIBUTE, wire.encode_state(learner.start()))
    assert reply.has_error() == (treatment in ("oversample", "smote"))
    if reply.has_error():
        assert str(reply.error.reason).startswith("SettingsError")
