"""A site's metadata: beside its features, hidden where rare, asked for only as the site allows."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from flwr.app import Context, RecordDict

from client.app import app
from client.deployment.bounds import check_bounds, refuse_unknown
from client.deployment.settings import Bounds
from client.node import site_of_node
from client.site import Site
from common import wire
from common.backbones import get_backbone
from common.cohort import load_cohort
from common.errors import BoundsError, SettingsError
from common.learners import make_learner
from common.metadata import encode, read_fusion
from common.metadata.encoding import codes_of
from common.settings import RunSettings
from common.split import Split

if TYPE_CHECKING:
    from flwr.app.user_config import UserConfigValue

    from tests.client.conftest import Asker

IMAGES, MINIMUM = 400, 5
VARIABLES = ("age", "sex", "localisation")
KEY = "a secret of sixteen letters"


@pytest.fixture
def root(write_cached_cohort: Callable[..., Path]) -> Path:
    """A cohort with metadata, some of it rare, some missing."""
    root = write_cached_cohort({"dias": IMAGES})
    table = root / "HAM10000_metadata.csv"
    with table.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    rng = np.random.default_rng(4)
    for row in rows:
        row["age"] = str(rng.choice(["", "35", "45", "55", "95"], p=[0.1, 0.3, 0.3, 0.28, 0.02]))
        row["sex"] = str(rng.choice(["male", "female", "unknown"], p=[0.5, 0.47, 0.03]))
        row["localization"] = str(rng.choice(["back", "ear", "elbow"], p=[0.7, 0.27, 0.03]))
    with table.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return root


def _site(node: dict[str, UserConfigValue], **run: UserConfigValue) -> Site:
    config = {"backbone": "tiny", **{name.replace("_", "-"): v for name, v in run.items()}}
    context = Context(run_id=1, node_id=4, node_config=node, state=RecordDict(), run_config=config)
    return site_of_node(context)


def _lab_site(root: Path, **run: UserConfigValue) -> Site:
    node: dict[str, UserConfigValue] = {"partition-id": 0, "num-partitions": 1}
    return _site(node, cohort=str(root), cache=str(root / "cache"), **run)


def _real(root: Path) -> dict[str, UserConfigValue]:
    own: dict[str, UserConfigValue] = {"cohort": str(root), "site": "dias"}
    own.update({"cache": str(root / "cache"), "minimum-count": MINIMUM, "resample-key": KEY})
    return own


def test_a_site_of_the_lab_sees_its_metadata_beside_its_features_or_alone(root: Path) -> None:
    plain, early, alone = (_lab_site(root, metadata=text) for text in ("", "early", "alone"))
    cohort = load_cohort(root)
    wanted = encode(codes_of(cohort, plain.rows), VARIABLES)
    np.testing.assert_array_equal(early.x, np.hstack([plain.x, wanted]))
    np.testing.assert_array_equal(alone.x, wanted)
    assert early.info() == plain.info()


def test_the_key_of_the_resamples_does_not_depend_on_the_metadata(root: Path) -> None:
    node = _real(root)
    del node["resample-key"]
    assert _site(node).resample_key == _site(node, metadata="early").resample_key


def test_at_a_guarded_site_images_of_a_class_share_their_metadata_with_enough_others(
    root: Path,
) -> None:
    site = _site(_real(root), metadata="early")
    exact = _lab_site(root, metadata="early")
    dimension = get_backbone("tiny").dimension
    hidden = False
    for part in (Split.TRAIN, Split.VALIDATION):
        data = site.part(part)
        for label in np.unique(data.y):
            rows = Counter(row.tobytes() for row in data.x[data.y == label][:, dimension:])
            assert min(rows.values()) >= MINIMUM
        hidden |= len(np.unique(data.x[:, dimension:], axis=0)) < len(
            np.unique(exact.part(part).x[:, dimension:], axis=0)
        )
    assert hidden
    # What is predicted is predicted with its own metadata: what is hidden depends on the class.
    test = site.member(Split.TEST)
    np.testing.assert_array_equal(site.x[test], exact.x[test])
    # The same is hidden whichever variables a run asks for: two runs tell no more than one.
    age = _site(_real(root), metadata="early columns=age")
    np.testing.assert_array_equal(age.x, site.x[:, : age.x.shape[1]])


def test_a_hidden_value_tells_nothing_of_the_class(root: Path) -> None:
    """What is hidden depends on the class, so all that is hidden must look alike."""
    site, exact = (_site(_real(root), metadata="early"), _lab_site(root, metadata="early"))
    train = site.member(Split.TRAIN)
    start = get_backbone("tiny").dimension
    for width in (5, 4, 16):
        block = slice(start, start + width)
        changed = (site.x[train, block] != exact.x[train, block]).any(axis=1)
        assert len(np.unique(site.y[train][changed])) > 1
        assert len(np.unique(site.x[train, block][changed], axis=0)) == 1
        start += width


def test_a_guarded_site_hides_within_folds_where_there_are_folds(root: Path) -> None:
    folds = "folds=2 search=grid:0.1:10:3"
    data = _site(_real(root), metadata="early", learner_settings=folds).part(Split.TRAIN)
    assert data.fold is not None
    for fold in (0, 1):
        for label in np.unique(data.y):
            own = data.x[(data.fold == fold) & (data.y == label), -25:].copy()
            assert min(Counter(row.tobytes() for row in own).values(), default=9) >= MINIMUM


def test_a_guarded_site_refuses_metadata_of_images_that_a_treatment_leaves(root: Path) -> None:
    with pytest.raises(SettingsError, match="could be alone with its metadata"):
        _site(_real(root), metadata="early", imbalance="undersample")
    assert _lab_site(root, metadata="early", imbalance="undersample").treated is not None


def test_no_real_site_answers_what_is_for_the_lab(root: Path) -> None:
    with pytest.raises(SettingsError, match="alone: not at guarded sites"):
        _site(_real(root), metadata="alone")
    with pytest.raises(SettingsError, match="sites is for the lab"):
        _site(_real(root), metadata="early sites=1")
    assert _lab_site(root, metadata="alone sites=1 columns=none").x.shape == (IMAGES, 1)


@pytest.mark.parametrize(
    ("metadata", "columns"), [("", 0), ("early", 25), ("early columns=sex", 4)]
)
def test_a_real_site_sums_over_the_columns_that_the_run_asks_for(
    root: Path, asker_of: Callable[..., Asker], metadata: str, columns: int
) -> None:
    ask: Any = asker_of(app)
    ask.node_config = _real(root)
    ask.run_config.update({"metadata": metadata})
    info = wire.decode_site_info(ask(wire.JOIN).content)
    dimension = get_backbone("tiny").dimension
    problem = read_fusion(metadata).problem(info.classes, dimension)
    assert problem.dimension == dimension + columns
    learner = make_learner("ridge", problem)
    reply = ask(wire.CONTRIBUTE, wire.encode_state(learner.start()))
    assert reply.content["arrays"]["x_sum"].numpy().shape == (dimension + columns,)


def test_a_guarded_site_grows_no_trees_on_metadata(
    root: Path, asker_of: Callable[..., Asker]
) -> None:
    ask: Any = asker_of(app)
    ask.node_config = _real(root)
    ask.run_config.update({"metadata": "early", "learner": "forest"})
    info = wire.decode_site_info(ask(wire.JOIN).content)
    problem = read_fusion("early").problem(info.classes, get_backbone("tiny").dimension)
    reply = ask(wire.CONTRIBUTE, wire.encode_state(make_learner("forest", problem).start()))
    assert str(reply.error.reason).startswith("SettingsError")


# What a real site allows


def _bounds(*ways: str) -> Bounds:
    return Bounds(learners=("ridge", "stack"), metadata=ways)


def test_a_site_answers_metadata_only_as_it_names_them() -> None:
    check_bounds(_bounds(), RunSettings())
    check_bounds(_bounds("early scale=4"), RunSettings(metadata="early  scale=4.0"))
    late = "members=ridge:block=images,ridge:block=metadata"
    run = RunSettings(metadata="late", learner="stack", learner_settings=late)
    check_bounds(_bounds("early", "late"), run)
    for allowed, asked in (
        ((), "early"),
        (("early",), "early scale=4.0"),
        (("late",), "early columns=age"),
    ):
        with pytest.raises(BoundsError, match=f"metadata '{asked}': this site allows"):
            check_bounds(_bounds(*allowed), RunSettings(metadata=asked))


@pytest.mark.parametrize(
    ("text", "says"), [("erly", "unknown"), ("early sites=4", "for the lab"), ("alone", "lab")]
)
def test_a_bound_that_cannot_be_is_refused(text: str, says: str) -> None:
    refuse_unknown(_bounds("early", "late", "early columns=age"))
    with pytest.raises(BoundsError, match=f"site.toml bounds.metadata: .*{says}"):
        refuse_unknown(_bounds("early", text))
