"""What a site answers, and what it never lets out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, RecordDict
from scipy.special import softmax
from sklearn.metrics import confusion_matrix, log_loss
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

from client.app import app, make_app, trainer_of_node
from client.node import site_of_node
from client.site import Site
from common import wire
from common.errors import DermafedError
from common.learners import make_learner
from common.learners.base import Problem, State
from common.split import Split

if TYPE_CHECKING:
    from tests.client.conftest import Asker

SiteOf = Callable[..., Site]
AskerOf = Callable[..., "Asker"]
SECRET = "Anna_Schmidt_1961"


def _states(site: Site) -> dict[str, State]:
    """The states that a coordinator would send to this site, by stage."""
    learner = make_learner("ridge", Problem(site.classes, site.backbone.dimension))
    states: dict[str, State] = {}
    state = learner.start()
    while not state.done:
        states.setdefault(state.stage, state)
        state = learner.update(
            state, learner.contribute(site.part(learner.part(state.stage)), state)
        )
    return {**states, "fitted": state}


def _config(reply: Message) -> dict[str, Any]:
    record = reply.content["config"]
    assert isinstance(record, ConfigRecord)
    return dict(record)


def _arrays(reply: Message) -> dict[str, Array]:
    record = reply.content["arrays"]
    assert isinstance(record, ArrayRecord)
    return dict(record)


def _everything(reply: Message) -> str:
    """All that a reply carries, as text."""
    parts = [repr(reply.metadata), repr(reply.__dict__)]
    if reply.has_content():
        for record in reply.content.values():
            parts += [repr(dict(record))]
            parts += [str(v.data) for v in record.values() if isinstance(v, Array)]
    return "\n".join(parts)


def _assert_refused(reply: Message, category: str) -> None:
    assert not reply.has_content()
    assert reply.error.code == wire.SITE_ERROR_CODE
    assert str(reply.error.reason).startswith(f"{category} (the site's log says more under ")


# What leaves when all is well


def test_a_site_joins_with_counts_and_identities_and_nothing_else(
    site_of: SiteOf, asker_of: AskerOf
) -> None:
    site = site_of(50)
    reply = asker_of(site)(wire.JOIN)
    assert list(reply.content) == ["config"]
    assert _config(reply) == {
        "site": "dias",
        "images": 50,
        "lesions": 50,
        "train": int((site.split == "train").sum()),
        "validation": int((site.split == "validation").sum()),
        "test": int((site.split == "test").sum()),
        "classes": list(site.classes),
        "malignant": ["akiec", "bcc", "mel"],
        "backbone": site.backbone.fingerprint,
        "split_seed": 1,
        "withheld": [""],
        "added": 0,
    }


def test_the_first_contribution_is_the_sums_over_the_training_images(
    site_of: SiteOf, asker_of: AskerOf
) -> None:
    site = site_of(200)
    reply = asker_of(site)(wire.CONTRIBUTE, wire.encode_state(_states(site)["moments"]))
    train = site.split == "train"
    x = site.x[train].astype(np.float64)
    assert _config(reply) == {"count": len(x)}
    arrays = {name: array.numpy() for name, array in _arrays(reply).items()}
    assert arrays.keys() == {"class_count", "x_sum", "x_square_sum"}
    assert arrays["class_count"].tolist() == np.bincount(site.y[train], minlength=7).tolist()
    np.testing.assert_allclose(arrays["x_sum"], x.sum(axis=0), rtol=1e-12)
    np.testing.assert_allclose(arrays["x_square_sum"], (x**2).sum(axis=0), rtol=1e-12)


def test_an_evaluation_is_counts_over_the_test_images(site_of: SiteOf, asker_of: AskerOf) -> None:
    site = site_of(200)
    fitted = _states(site)["fitted"]
    reply = asker_of(site)(wire.EVALUATE, wire.encode_state(fitted))
    test = site.split == "test"
    z = (site.x[test] - fitted.arrays["mean"]) / fitted.arrays["scale"]
    predicted = (z @ fitted.arrays["coef"].T + fitted.arrays["intercept"]).argmax(axis=1)
    found = _arrays(reply)["confusion"].numpy()
    assert np.array_equal(found, confusion_matrix(site.y[test], predicted, labels=range(7)))
    assert _config(reply) == {"count": int(test.sum())}


QUESTIONS = [
    (wire.CONTRIBUTE, "moments"),
    (wire.CONTRIBUTE, "gram"),
    (wire.CONTRIBUTE, "temperature"),
    (wire.EVALUATE, "fitted"),
]


def test_the_second_contribution_is_the_weighted_normal_equations_of_the_training_images(
    site_of: SiteOf, asker_of: AskerOf
) -> None:
    site = site_of(200)
    state = _states(site)["gram"]
    reply = asker_of(site)(wire.CONTRIBUTE, wire.encode_state(state))
    train = site.split == "train"
    x, y = site.x[train].astype(np.float64), site.y[train]
    z = np.column_stack([StandardScaler().fit_transform(x), np.ones(len(x))])
    weight = compute_sample_weight("balanced", y)
    arrays = {name: array.numpy() for name, array in _arrays(reply).items()}
    assert arrays.keys() == {"gram", "class_sum"}
    # The upper triangle, column after column.
    columns, rows = np.tril_indices(9)
    gram = ((z * weight[:, None]).T @ z)[rows, columns]
    np.testing.assert_allclose(arrays["gram"], gram[None], rtol=1e-9, atol=1e-9)
    of_class = [((y == label) * weight) @ z for label in range(7)]
    np.testing.assert_allclose(arrays["class_sum"], [of_class], rtol=1e-9, atol=1e-9)


def test_calibration_sums_over_the_validation_images_alone(
    site_of: SiteOf, asker_of: AskerOf
) -> None:
    site = site_of(200)
    state = _states(site)["temperature"]
    reply = asker_of(site)(wire.CONTRIBUTE, wire.encode_state(state))
    held = site.split == "validation"
    assert _config(reply) == {"count": int(held.sum())}
    x = site.x[site.split == "train"].astype(np.float64)
    z = StandardScaler().fit(x).transform(site.x[held].astype(np.float64))
    scores = z @ state.arrays["coef"].T + state.arrays["intercept"]
    losses = [
        log_loss(site.y[held], softmax(theta * scores, axis=1), labels=range(7), normalize=False)
        for theta in state.arrays["theta"]
    ]
    found = _arrays(reply)["loss"].numpy()
    # scikit-learn cuts a probability off at its smallest; the steepest scores go below.
    mild = state.arrays["theta"].ravel() < 10
    np.testing.assert_allclose(found[mild], np.array(losses)[mild], rtol=1e-9)


def test_nothing_that_leaves_grows_with_the_number_of_images(
    site_of: SiteOf, asker_of: AskerOf
) -> None:
    states = _states(site_of(500))
    for kind, stage in QUESTIONS:
        shapes = []
        for images in (10, 1000):
            reply = asker_of(site_of(images))(kind, wire.encode_state(states[stage]))
            assert list(reply.content) == ["arrays", "config"]
            assert _config(reply).keys() == {"count"}
            arrays = _arrays(reply).items()
            shapes.append({n: (a.shape, a.dtype, len(a.data)) for n, a in arrays})
        assert shapes[0] == shapes[1]


def test_nothing_is_kept_between_messages(site_of: SiteOf, asker_of: AskerOf) -> None:
    site = site_of(50)
    ask, states = asker_of(site), _states(site)
    ask(wire.JOIN)
    for kind, stage in QUESTIONS:
        assert ask(kind, wire.encode_state(states[stage])).has_content()
    assert dict(ask.state) == {}


@pytest.mark.parametrize(("kind", "stage"), QUESTIONS)
def test_a_part_without_images_answers_zeros(
    site_of: SiteOf, asker_of: AskerOf, kind: str, stage: str
) -> None:
    states = _states(site_of(500))
    elsewhere = Split.TRAIN if stage == "temperature" else Split.VALIDATION
    reply = asker_of(site_of(30, part=elsewhere))(kind, wire.encode_state(states[stage]))
    assert _config(reply) == {"count": 0}
    assert all(not array.numpy().any() for array in _arrays(reply).values())


# Errors


class _DerivedError(DermafedError):
    pass


@pytest.mark.parametrize("kind", [wire.JOIN, wire.CONTRIBUTE, wire.EVALUATE])
@pytest.mark.parametrize(
    ("error", "category"),
    [
        (RuntimeError(f"/data/{SECRET}.jpg"), "InternalError"),
        (FileNotFoundError(2, "No such file", f"/data/{SECRET}.jpg"), "InternalError"),
        (MemoryError(SECRET), "InternalError"),
        (KeyError(SECRET), "InternalError"),
        (UnicodeDecodeError("utf-8", SECRET.encode(), 0, 1, SECRET), "InternalError"),
        (ExceptionGroup(SECRET, [ValueError(SECRET)]), "InternalError"),
        (_DerivedError(f"/data/{SECRET}.jpg: truncated"), "_DerivedError"),
    ],
)
def test_what_fails_is_told_in_the_sites_log_and_only_its_kind_leaves(
    asker_of: AskerOf,
    caplog: pytest.LogCaptureFixture,
    kind: str,
    error: Exception,
    category: str,
) -> None:
    def open_site(_context: Context) -> Site:
        raise error from ValueError(f"while reading {SECRET}")

    reply = asker_of(make_app(open_site, trainer_of_node))(kind)
    _assert_refused(reply, category)
    assert SECRET not in _everything(reply)
    # The site's own people get the whole story.
    assert SECRET in caplog.text
    assert f"ValueError: while reading {SECRET}" in caplog.text
    identifier = str(reply.error.reason).split()[-1].rstrip(")")
    assert len(identifier) == 8
    assert identifier in caplog.text


def test_two_errors_have_two_identifiers(asker_of: AskerOf) -> None:
    def open_site(_context: Context) -> Site:
        raise RuntimeError(SECRET)

    ask = asker_of(make_app(open_site, trainer_of_node))
    assert ask(wire.JOIN).error.reason != ask(wire.JOIN).error.reason


@pytest.fixture
def deployed(asker_of: AskerOf, write_cached_cohort: Callable[..., Path]) -> tuple[Asker, Path]:
    """A real site's node over a cohort whose images are named after a patient."""
    root = write_cached_cohort({SECRET: 300})
    ask = asker_of(app)
    ask.node_config = {"cohort": str(root), "site": SECRET, "cache": str(root / "cache")}
    return ask, root


def _missing(root: Path) -> None:
    (root / "images" / f"{SECRET}-7.jpg").unlink()


def _empty(root: Path) -> None:
    (root / "images" / f"{SECRET}-7.jpg").write_bytes(b"")


def _damaged_cache(root: Path) -> None:
    (file,) = (root / "cache").glob("*.sqlite")
    file.rename(root / SECRET)
    file.write_bytes(b"not a database" * 1000)


def _damaged_table(root: Path) -> None:
    table = root / "HAM10000_metadata.csv"
    table.write_text(table.read_text().replace("histo", SECRET).replace("nv", f"nv {SECRET}"))


def _no_table(root: Path) -> None:
    (root / "HAM10000_metadata.csv").unlink()


@pytest.mark.parametrize(
    ("damage", "category"),
    [
        (_missing, "CohortError"),
        (_empty, "ImageError"),
        (_damaged_cache, "CacheError"),
        (_damaged_table, "CohortError"),
        (_no_table, "CohortError"),
    ],
)
@pytest.mark.parametrize("kind", [wire.JOIN, wire.CONTRIBUTE, wire.EVALUATE])
def test_no_path_and_no_image_id_leaves_a_site_with_damaged_data(
    deployed: tuple[Asker, Path],
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[Path], None],
    category: str,
    kind: str,
) -> None:
    ask, root = deployed
    damage(root)
    reply = ask(kind)
    _assert_refused(reply, category)
    assert SECRET not in _everything(reply)
    assert str(root) not in _everything(reply)
    assert str(root) in caplog.text


def test_no_path_and_no_image_id_is_in_what_a_healthy_site_sends(
    deployed: tuple[Asker, Path],
) -> None:
    ask, root = deployed
    states = _states(site_of_node(ask.context()))
    for kind, stage in QUESTIONS:
        reply = ask(kind, wire.encode_state(states[stage]))
        assert reply.has_content()
        assert SECRET not in _everything(reply)
        assert str(root) not in _everything(reply)


# Coordinators that are broken or curious


def _content(stage: object, **arrays: Any) -> RecordDict:
    record = ArrayRecord({name: Array(np.asarray(a)) for name, a in arrays.items()})
    assert isinstance(stage, str | int)
    return RecordDict({"arrays": record, "config": ConfigRecord({"stage": stage})})


_FRONT = {"class_count": np.ones(7, dtype=np.int64), "mean": np.zeros(8), "scale": np.ones(8)}
_GRAM = {**_FRONT, "class_weight": np.ones(7)}
_HEAD = {**_FRONT, "coef": np.ones((7, 8)), "intercept": np.zeros(7)}
_TEMPERATURE = {**_HEAD, "theta": np.ones((25, 1))}
_FITTED = {**_HEAD, "inverse_temperature": np.ones(7)}
_HOSTILE: dict[str, tuple[str, RecordDict]] = {
    "empty contribute": (wire.CONTRIBUTE, RecordDict()),
    "empty evaluate": (wire.EVALUATE, RecordDict()),
    "no stage": (wire.CONTRIBUTE, RecordDict({"config": ConfigRecord()})),
    "stage of another type": (wire.CONTRIBUTE, _content(5)),
    "stage without a name": (wire.CONTRIBUTE, _content("")),
    "stage of a megabyte": (wire.CONTRIBUTE, _content("x" * 10**6)),
    "unknown stage": (wire.CONTRIBUTE, _content("images")),
    "stage without sums": (wire.CONTRIBUTE, _content("fitted", **_FITTED)),
    "arrays of another stage": (wire.CONTRIBUTE, _content("moments", **_GRAM)),
    "stage without its arrays": (wire.CONTRIBUTE, _content("gram")),
    "array too many": (wire.CONTRIBUTE, _content("gram", **_GRAM, more=np.ones(3))),
    "nan": (wire.CONTRIBUTE, _content("gram", **{**_GRAM, "mean": np.full(8, np.nan)})),
    "infinity": (wire.CONTRIBUTE, _content("gram", **{**_GRAM, "scale": np.full(8, np.inf)})),
    "zero scale": (wire.CONTRIBUTE, _content("gram", **{**_GRAM, "scale": np.zeros(8)})),
    "negative weight": (
        wire.CONTRIBUTE,
        _content("gram", **{**_GRAM, "class_weight": -np.ones(7)}),
    ),
    "negative class count": (
        wire.CONTRIBUTE,
        _content("gram", **{**_GRAM, "class_count": -_FRONT["class_count"]}),
    ),
    "sums of a search": (wire.CONTRIBUTE, _content("validate", **_GRAM)),
    "sums of another learner": (wire.CONTRIBUTE, _content("newton", **_GRAM)),
    "nan temperature": (
        wire.CONTRIBUTE,
        _content("temperature", **{**_TEMPERATURE, "theta": np.full((25, 1), np.nan)}),
    ),
    "more temperatures": (
        wire.CONTRIBUTE,
        _content("temperature", **{**_TEMPERATURE, "theta": np.ones((10_000, 1))}),
    ),
    "other classes": (wire.CONTRIBUTE, _content("gram", **{**_GRAM, "class_weight": np.ones(9)})),
    "other dimension": (wire.CONTRIBUTE, _content("gram", **{**_GRAM, "mean": np.zeros(1280)})),
    "other dtype": (wire.CONTRIBUTE, _content("gram", **{**_GRAM, "mean": np.zeros(8, np.int64)})),
    "nan model": (
        wire.EVALUATE,
        _content("fitted", **{**_FITTED, "coef": np.full((7, 8), np.nan)}),
    ),
    "model without classes": (
        wire.EVALUATE,
        _content("fitted", **{**_FITTED, "class_count": np.zeros(7, dtype=np.int64)}),
    ),
    "model of another shape": (
        wire.EVALUATE,
        _content("fitted", **{**_FITTED, "coef": np.ones(8)}),
    ),
    "negative temperature": (
        wire.EVALUATE,
        _content("fitted", **{**_FITTED, "inverse_temperature": -np.ones(7)}),
    ),
    "model without a temperature": (wire.EVALUATE, _content("fitted", **_HEAD)),
    "state of another stage": (wire.EVALUATE, _content("gram", **_GRAM)),
}


@pytest.mark.parametrize("what", _HOSTILE)
def test_a_wrong_question_gets_an_error_and_nothing_else(
    site_of: SiteOf, asker_of: AskerOf, what: str
) -> None:
    kind, content = _HOSTILE[what]
    reply = asker_of(site_of(60))(kind, content)
    # Refused for what it is, not by falling over it; only an empty model gets as far as that.
    _assert_refused(
        reply, "InternalError" if what == "model without classes" else "ContributionError"
    )
    assert len(str(reply.error.reason)) < 100


def test_a_right_question_is_answered_so_that_the_wrong_ones_test_something(
    site_of: SiteOf, asker_of: AskerOf
) -> None:
    ask = asker_of(site_of(60))
    assert ask(wire.CONTRIBUTE, _content("gram", **_GRAM)).has_content()
    assert ask(wire.CONTRIBUTE, _content("temperature", **_TEMPERATURE)).has_content()
    assert ask(wire.EVALUATE, _content("fitted", **_FITTED)).has_content()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_model_of_absurd_size_crashes_no_site(site_of: SiteOf, asker_of: AskerOf) -> None:
    ask = asker_of(site_of(60))
    huge = {**_FITTED, "coef": np.full((7, 8), 1e308), "scale": np.full(8, 1e-300)}
    assert ask(wire.EVALUATE, _content("fitted", **huge)).has_error()
    tiny = {**_GRAM, "scale": np.full(8, 1e-300), "mean": np.full(8, 1e300)}
    reply = ask(wire.CONTRIBUTE, _content("gram", **tiny))
    # Sums that are not finite tell nothing; whether they leave or not, nothing falls over.
    if reply.has_content():
        gram = _arrays(reply)["gram"].numpy()
        # The one finite number is the count of the images.
        assert gram[np.isfinite(gram)].tolist() == [_config(reply)["count"]]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("qourum", 1),
        ("minimum-count", 0),
        ("minimum-count", -5),
        ("learner", "nearest-neighbour"),
        ("alpha-per-image", 1.0),
        ("disclosure", "open"),
        ("learner-settings", "alpha_per_image=0"),
        ("learner-settings", "alpha_per_image"),
        ("learner-settings", f"{SECRET}=1"),
        ("learner-settings", "folds=5"),
        ("learner-settings", "pca=9"),
        (f"\x1b[2J{SECRET}", 1),
    ],
)
@pytest.mark.parametrize("kind", [wire.CONTRIBUTE, wire.EVALUATE])
def test_run_settings_that_are_unknown_or_out_of_bounds_are_refused(
    site_of: SiteOf, asker_of: AskerOf, kind: str, setting: str, value: Any
) -> None:
    ask = asker_of(site_of(60))
    ask.run_config[setting] = value
    content = (
        _content("gram", **_GRAM) if kind == wire.CONTRIBUTE else _content("fitted", **_FITTED)
    )
    reply = ask(kind, content)
    _assert_refused(reply, "SettingsError")
    assert SECRET not in _everything(reply)


def test_a_message_that_is_an_error_gets_an_error(site_of: SiteOf, asker_of: AskerOf) -> None:
    ask = asker_of(site_of(60))
    question = Message(RecordDict(), 4, wire.CONTRIBUTE)
    broken = Message(Error(1, "hello"), reply_to=question)
    _assert_refused(ask.app(broken, ask.context()), "InternalError")


@pytest.mark.parametrize("kind", ["train", "query", "evaluate.images", "query.predict"])
def test_a_question_that_the_app_does_not_know_opens_no_site(asker_of: AskerOf, kind: str) -> None:
    def open_site(_context: Context) -> Site:
        pytest.fail("the site was opened")

    with pytest.raises(ValueError, match="registered"):
        asker_of(make_app(open_site, trainer_of_node))(kind)
