"""What a guarded site keeps back: classes, and folds of a class, with too few images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict
from sklearn.preprocessing import StandardScaler

from client.app import app
from client.node import site_of_node
from client.site import Site
from common import wire
from common.errors import SettingsError
from common.evaluation import class_probabilities
from common.learners import make_learner
from common.learners.base import Problem, State
from common.split import Split

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flwr.app.user_config import UserConfigValue
    from numpy.typing import NDArray

    from tests.client.conftest import Asker

AskerOf = Callable[..., "Asker"]
Node = dict[str, "UserConfigValue"]

IMAGES = 220
MINIMUM = 6
SEARCH = "folds=3 search=grid:0.1:10:3"


@pytest.fixture
def root(write_cached_cohort: Callable[..., Path]) -> Path:
    """A cohort of one site; each image is a lesion of its own."""
    return write_cached_cohort({"dias": IMAGES})


def _context(run: Mapping[str, UserConfigValue], node: Node) -> Context:
    config = {"backbone": "tiny", **run}
    return Context(run_id=1, node_id=4, node_config=node, state=RecordDict(), run_config=config)


def _real(root: Path, **more: UserConfigValue) -> Node:
    own: Node = {"cohort": str(root), "site": "dias", "cache": str(root / "cache")}
    return {**own, **{name.replace("_", "-"): value for name, value in more.items()}}


def _whole(root: Path, **run: UserConfigValue) -> Site:
    """The site with all its images, as a simulation without a threshold opens it."""
    config = {"cohort": str(root), "cache": str(root / "cache"), **run}
    node: Node = {"partition-id": 0, "num-partitions": 1}
    return site_of_node(_context(config, node))


def _cells(site: Site) -> list[str]:
    """Each image's cell, as the site would name it."""
    cells = []
    for row, part in enumerate(site.split):
        by_fold = site.fold is not None and part == "train"
        fold = f":{site.fold[row]}" if by_fold and site.fold is not None else ""
        cells.append(f"{part}:{site.classes[site.y[row]]}{fold}")
    return cells


def _large(site: Site, minimum: int) -> NDArray[np.bool_]:
    """Whether an image's cell holds enough, counted one by one."""
    cells = _cells(site)
    count = Counter(cells)
    return np.array([count[cell] >= minimum for cell in cells])


def _small(site: Site, minimum: int) -> list[str]:
    return sorted(cell for cell, count in Counter(_cells(site)).items() if count < minimum)


def _ask_real(asker_of: AskerOf, root: Path, minimum: int, **run: UserConfigValue) -> Asker:
    ask = asker_of(app)
    ask.node_config = _real(root, minimum_count=minimum)
    ask.run_config.update({name.replace("_", "-"): value for name, value in run.items()})
    return ask


def _config(reply: Message) -> dict[str, Any]:
    record = reply.content["config"]
    assert isinstance(record, ConfigRecord)
    return dict(record)


def _arrays(reply: Message) -> dict[str, NDArray[Any]]:
    record = reply.content["arrays"]
    assert isinstance(record, ArrayRecord)
    return {name: array.numpy() for name, array in record.items()}


def _states(site: Site, settings: str = "") -> dict[str, State]:
    """The states that a coordinator of this one site would send, by stage."""
    learner = make_learner("ridge", Problem(site.classes, site.backbone.dimension), settings)
    states: dict[str, State] = {}
    state = learner.start()
    while not state.done:
        states.setdefault(state.stage, state)
        data = site.part(learner.part(state.stage))
        state = learner.update(state, learner.contribute(data, state))
    return {**states, "fitted": state}


# Classes


def test_a_guarded_site_joins_without_its_small_classes_and_names_them(
    root: Path, asker_of: AskerOf
) -> None:
    whole = _whole(root)
    kept = _large(whole, MINIMUM)
    told = _config(_ask_real(asker_of, root, MINIMUM)(wire.JOIN))
    assert told["withheld"] == _small(whole, MINIMUM)
    assert 0 < len(told["withheld"]) < 20
    assert told["images"] == told["lesions"] == kept.sum() < IMAGES
    for part in Split:
        assert told[part.value] == (kept & (whole.split == part.value)).sum()


def test_a_lesion_counts_where_one_of_its_images_is_kept(root: Path, asker_of: AskerOf) -> None:
    table = root / "HAM10000_metadata.csv"
    header, *lines = table.read_text(encoding="utf-8").splitlines()
    rows = [line.split(",") for line in lines]
    # The second image becomes one of the first's lesion and class.
    rows[1][0], rows[1][2] = rows[0][0], rows[0][2]
    table.write_text("\n".join([header, *map(",".join, rows)]) + "\n", encoding="utf-8")
    whole = _whole(root)
    assert (whole.lesions, len(whole.y)) == (IMAGES - 1, IMAGES)
    kept = _large(whole, MINIMUM)
    assert kept[0], "the lesion of two images is withheld"
    told = _config(_ask_real(asker_of, root, MINIMUM)(wire.JOIN))
    assert (told["images"], told["lesions"]) == (kept.sum(), kept.sum() - 1)


def test_the_sums_of_a_guarded_site_are_those_of_the_images_that_it_keeps(
    root: Path, asker_of: AskerOf
) -> None:
    whole = _whole(root)
    # In training, too, a class must be too small for this to show anything.
    minimum = int(np.bincount(whole.y[whole.split == "train"]).min()) + 1
    train = (whole.split == "train") & _large(whole, minimum)
    assert 0 < train.sum() < (whole.split == "train").sum()
    x, y = whole.x[train].astype(np.float64), whole.y[train]
    ask = _ask_real(asker_of, root, minimum)

    reply = ask(wire.CONTRIBUTE, wire.encode_state(State("moments", {})))
    assert _config(reply) == {"count": len(y)}
    sums = _arrays(reply)
    assert sums["class_count"].tolist() == np.bincount(y, minlength=7).tolist()
    np.testing.assert_allclose(sums["x_sum"], x.sum(axis=0), rtol=1e-12)
    np.testing.assert_allclose(sums["x_square_sum"], (x**2).sum(axis=0), rtol=1e-12)

    front = {
        "class_count": np.bincount(y, minlength=7),
        "mean": x.mean(axis=0),
        "scale": x.std(axis=0),
    }
    weight = np.arange(1.0, 8.0)
    state = State("gram", {**front, "class_weight": weight})
    reply = ask(wire.CONTRIBUTE, wire.encode_state(state))
    assert _config(reply) == {"count": len(y)}
    z = np.column_stack([StandardScaler().fit_transform(x), np.ones(len(y))])
    columns, rows = np.tril_indices(9)
    gram = ((z * weight[y, None]).T @ z)[rows, columns]
    np.testing.assert_allclose(_arrays(reply)["gram"], gram[None], rtol=1e-9, atol=1e-9)
    of_class = [((y == label) * weight[label]) @ z for label in range(7)]
    np.testing.assert_allclose(_arrays(reply)["class_sum"], [of_class], rtol=1e-9, atol=1e-9)


def test_an_evaluation_under_guard_shows_no_small_count(root: Path, asker_of: AskerOf) -> None:
    whole = _whole(root)
    fitted = _states(whole)["fitted"]
    reply = _ask_real(asker_of, root, MINIMUM)(wire.EVALUATE, wire.encode_state(fitted))
    test = (whole.split == "test") & _large(whole, MINIMUM)
    assert _config(reply) == {"count": int(test.sum())}

    learner = make_learner("ridge", Problem(whole.classes, whole.backbone.dimension))
    head = learner.head(fitted)
    predicted = class_probabilities(head, whole.classes, whole.x[test]).argmax(axis=1)
    true = np.zeros((7, 7), dtype=np.int64)
    for truth, guess in zip(whole.y[test], predicted, strict=True):
        true[truth, guess] += 1
    assert ((true > 0) & (true < MINIMUM)).any(), "nothing to withhold"

    sums = _arrays(reply)
    shown, withheld = sums["confusion"], sums["withheld"] == 1
    assert not ((shown > 0) & (shown < MINIMUM)).any()
    assert withheld[(true > 0) & (true < MINIMUM)].all()
    assert np.array_equal(shown[~withheld], true[~withheld])
    assert not shown[withheld].any()
    # Nor can a row's total, which the scores give, be taken apart.
    lacking = true.sum(axis=1) - shown.sum(axis=1)
    assert not ((lacking > 0) & (lacking < MINIMUM)).any()
    assert np.array_equal(sums["scores"][:, 1].sum(axis=1), true.sum(axis=1))
    for name in ("scores", "malignant", "confidence"):
        bins = sums[name]
        assert not ((bins > 0) & (bins < MINIMUM)).any()
    # The confidences' totals are those of the cells shown, so that they tell nothing more.
    assert sums["confidence"].sum(axis=1).tolist() == [
        shown.sum() - np.trace(shown),
        np.trace(shown),
    ]
    assert not sums["drawn_confusion"][:, withheld].any()


def test_a_site_of_small_classes_alone_has_nothing_to_say(root: Path, asker_of: AskerOf) -> None:
    ask = _ask_real(asker_of, root, IMAGES)
    told = _config(ask(wire.JOIN))
    counts = ("images", "lesions", "train", "validation", "test")
    assert [told[name] for name in counts] == [0] * 5
    assert told["withheld"] == _small(_whole(root), IMAGES)
    states = _states(_whole(root))
    for kind, stage in (
        (wire.CONTRIBUTE, "moments"),
        (wire.CONTRIBUTE, "gram"),
        (wire.CONTRIBUTE, "temperature"),
        (wire.EVALUATE, "fitted"),
    ):
        reply = ask(kind, wire.encode_state(states[stage]))
        assert _config(reply) == {"count": 0}
        assert all(not array.any() for array in _arrays(reply).values())


# Whose minimum


@pytest.mark.parametrize(
    ("run", "own", "minimum"),
    [
        ({}, None, 5),
        ({"disclosure": "exact", "minimum-count": 50}, None, 5),
        ({"disclosure": "guarded"}, None, 5),
        ({"disclosure": "guarded", "minimum-count": 1}, None, 5),
        ({"disclosure": "guarded", "minimum-count": 8}, None, 8),
        ({"disclosure": "exact"}, 9, 9),
        ({"disclosure": "guarded", "minimum-count": 8}, 9, 9),
        ({"disclosure": "guarded", "minimum-count": 9}, 8, 9),
        ({"disclosure": "guarded", "minimum-count": 3}, 2, 3),
    ],
)
def test_a_real_site_is_guarded_by_the_larger_minimum_whatever_the_run_says(
    root: Path, run: Node, own: int | None, minimum: int
) -> None:
    node = _real(root) if own is None else _real(root, minimum_count=own)
    site = site_of_node(_context(run, node))
    assert site.disclosure.minimum == minimum
    assert list(site.info().withheld) == _small(_whole(root), minimum)
    assert site.kept.tolist() == _large(_whole(root), minimum).tolist()


@pytest.mark.parametrize(
    ("run", "minimum"),
    [
        ({}, 1),
        ({"disclosure": "exact", "minimum-count": 50}, 1),
        ({"disclosure": "guarded"}, 5),
        ({"disclosure": "guarded", "minimum-count": 8}, 8),
    ],
)
def test_a_simulated_site_withholds_what_the_run_says(
    root: Path, run: dict[str, UserConfigValue], minimum: int
) -> None:
    site = _whole(root, **run)
    assert list(site.info().withheld) == _small(_whole(root), minimum)
    assert (minimum == 1) == (len(site.info().withheld) == 0)
    assert site.info().images == _large(_whole(root), minimum).sum()


@pytest.mark.parametrize("own", ["many", "", 2.5, True, 0, -5])
def test_a_minimum_that_is_no_whole_number_of_images_lets_nothing_leave(
    root: Path, asker_of: AskerOf, own: UserConfigValue
) -> None:
    with pytest.raises(SettingsError, match="node configuration minimum-count: .* whole number"):
        site_of_node(_context({}, _real(root, minimum_count=own)))
    ask = asker_of(app)
    ask.node_config = _real(root, minimum_count=own)
    for kind in (wire.JOIN, wire.CONTRIBUTE, wire.EVALUATE):
        reply = ask(kind, wire.encode_state(State("moments", {})))
        assert not reply.has_content()
        assert str(reply.error.reason).startswith("SettingsError")


# Folds


def test_a_site_of_a_search_withholds_small_folds_of_a_class(root: Path, asker_of: AskerOf) -> None:
    whole = _whole(root, **{"learner-settings": SEARCH})
    assert whole.fold is not None
    assert set(whole.fold.tolist()) == {0, 1, 2}
    told = _config(_ask_real(asker_of, root, MINIMUM, learner_settings=SEARCH)(wire.JOIN))
    assert told["withheld"] == _small(whole, MINIMUM)
    # In training each fold is a cell of its own; in the other parts the class is.
    by_part = Counter(name.count(":") for name in told["withheld"] if name.startswith("train:"))
    assert set(by_part) == {2}
    assert any(name.startswith("test:") and name.count(":") == 1 for name in told["withheld"])
    assert told["train"] == (_large(whole, MINIMUM) & (whole.split == "train")).sum()


def test_every_round_of_a_search_sums_over_the_same_images_fold_by_fold(
    root: Path, asker_of: AskerOf
) -> None:
    whole = _whole(root, **{"learner-settings": SEARCH})
    assert whole.fold is not None
    train = (whole.split == "train") & _large(whole, MINIMUM)
    x, y, fold = whole.x[train].astype(np.float64), whole.y[train], whole.fold[train]
    ask = _ask_real(asker_of, root, MINIMUM, learner_settings=SEARCH)
    states = _states(whole, SEARCH)

    sums = _arrays(ask(wire.CONTRIBUTE, wire.encode_state(states["moments"])))
    assert sums["class_count"].tolist() == np.bincount(y, minlength=7).tolist()

    arrays = {**states["gram"].arrays, "mean": np.zeros(8), "scale": np.ones(8)}
    state = State("gram", {**arrays, "class_weight": np.ones(7)})
    sums = _arrays(ask(wire.CONTRIBUTE, wire.encode_state(state)))
    z = np.column_stack([x, np.ones(len(x))])
    columns, rows = np.tril_indices(9)
    for lane in range(3):
        inside = fold == lane
        gram = (z[inside].T @ z[inside])[rows, columns]
        np.testing.assert_allclose(sums["gram"][lane], gram, rtol=1e-9, atol=1e-9)
        of_class = [(y[inside] == label) @ z[inside] for label in range(7)]
        np.testing.assert_allclose(sums["class_sum"][lane], of_class, rtol=1e-9, atol=1e-9)
    counts = np.rint(sums["class_sum"][:, :, -1])
    assert not ((counts > 0) & (counts < MINIMUM)).any()
    assert (counts == 0).any()

    told = _arrays(ask(wire.CONTRIBUTE, wire.encode_state(states["validate"])))
    assert np.array_equal(told["held"], counts)
    for few in (told["hits"], told["held"] - told["hits"]):
        assert not ((few > 0) & (few < MINIMUM)).any()
    # Rounding moves a count by less than the minimum from what the candidates get right.
    candidate = states["validate"].arrays["candidate"]
    scaled = (x - states["validate"].arrays["mean"]) / states["validate"].arrays["scale"]
    z = np.column_stack([scaled, np.ones(len(x))])
    for lane, held in enumerate(fold == lane for lane in range(3)):
        for index in range(candidate.shape[1]):
            right = (z[held] @ candidate[lane, index].T).argmax(axis=1) == y[held]
            exact = np.bincount(y[held][right], minlength=7)
            assert (np.abs(told["hits"][index, lane] - exact) < MINIMUM).all()
