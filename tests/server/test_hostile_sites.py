"""A site that is broken or lies: refused by name, whatever it sends, and without a trace."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from common import wire
from common.errors import ContributionError, RoundError
from common.learners import make_learner
from common.learners.base import Problem, State
from common.settings import RunSettings
from common.split import Split
from server.sum_strategy import SumStrategy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from common.site_info import SiteInfo
    from tests.server.conftest import FakeGrid, Hospitals

StrategyOf = Callable[..., SumStrategy]
# Ridge regression in two rounds.
EXACT = "calibrate=none"
Forge = Callable[[RecordDict], RecordDict]


def _numpy(array: NDArray[Any], *, allow_pickle: bool = False) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=allow_pickle)
    return stream.getvalue()


def _header(text: bytes) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def _array(name: str, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Forge:
    """Change the values of an array, keeping the message in order."""

    def forge(content: RecordDict) -> RecordDict:
        record = content["arrays"]
        assert isinstance(record, ArrayRecord)
        record[name] = Array(change(record[name].numpy()))
        return content

    return forge


def _raw(name: str, **claims: Any) -> Forge:
    """Change what the message says of an array, or its bytes."""

    def forge(content: RecordDict) -> RecordDict:
        record = content["arrays"]
        assert isinstance(record, ArrayRecord)
        true = record[name]
        values = {"dtype": true.dtype, "shape": true.shape, "stype": true.stype, "data": true.data}
        if callable(claims.get("data")):
            claims["data"] = claims["data"](true.data)
        record[name] = Array(**{**values, **claims})
        return content

    return forge


def _record(key: str, value: Any) -> Forge:
    def forge(content: RecordDict) -> RecordDict:
        content[key] = value
        return content

    return forge


def _without(key: str) -> Forge:
    def forge(content: RecordDict) -> RecordDict:
        del content[key]
        return content

    return forge


def _set(index: Any, value: Any) -> Callable[[NDArray[Any]], NDArray[Any]]:
    def change(array: NDArray[Any]) -> NDArray[Any]:
        changed = array.copy()
        changed[index] = value
        return changed

    return change


def _wrap_around(array: NDArray[Any]) -> NDArray[Any]:
    """Three counts that add up to the right number in 64 bits, and to 2^64 more in truth."""
    return np.array([2**63 - 1, 2**63 - 1, array.sum() + 2], dtype=np.int64)


def _more_images_than_registered(content: RecordDict) -> RecordDict:
    """Count a thousand images more, in every place that counts them."""
    content = _array("class_count", lambda a: a + np.array([1000, 0, 0]))(content)
    config = content["config"]
    assert isinstance(config, ConfigRecord)
    config["count"] = int(str(config["count"])) + 1000
    return content


class _Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("a pickle was opened",))


_PICKLE = _numpy(np.array([_Bomb()] * 8, dtype=object), allow_pickle=True)

# Replies to the first round: `class_count` of 3 classes, `x_sum` and `x_square_sum` of 8 features.
FORGERIES: dict[str, Forge] = {
    "nan": _array("x_sum", _set(3, np.nan)),
    "infinity": _array("x_sum", _set(0, -np.inf)),
    "shape": _array("x_sum", lambda a: a[:7]),
    "dimensions": _array("x_sum", lambda a: a[None]),
    "dtype": _array("x_sum", lambda a: a.astype(np.float32)),
    "byte order": _array("x_sum", lambda a: a.astype(">f8")),
    "text": _array("x_sum", lambda a: a.astype(str)),
    "negative square": _array("x_square_sum", _set(3, -1.0)),
    "sums larger than the squares allow": _array("x_sum", lambda a: 1000 * a),
    "squares smaller than the sums allow": _array("x_square_sum", lambda a: a / 1000),
    "sums of absurd size": _array("x_sum", lambda a: np.full_like(a, 1.5e308)),
    "negative count": _array("class_count", lambda a: a + np.array([-1000, 1000, 0])),
    "other count": _array("class_count", lambda a: a + 1),
    "count that wraps around": _array("class_count", _wrap_around),
    "claimed shape": _raw("x_sum", shape=(7,)),
    "claimed dtype": _raw("x_sum", dtype="int64"),
    "claimed encoding": _raw("x_sum", stype="pickle"),
    "no bytes": _raw("x_sum", data=b""),
    "fewer bytes": _raw("x_sum", data=lambda data: data[:-1]),
    "more bytes": _raw("x_sum", data=lambda data: data + bytes(10**6)),
    "pickle": _raw("x_sum", data=_PICKLE),
    "huge shape": _raw("x_sum", data=_header(b"{'descr': '<f8', 'shape': (9999999999999,)}\n")),
    "header of mixed keys": _raw("x_sum", data=_header(b"{1: 2, 'a': 3}\n")),
    "header of an empty dtype": _raw(
        "x_sum", data=_header(b"{'descr': (), 'fortran_order': False, 'shape': (8,)}\n")
    ),
    "header without an end": _raw("x_sum", data=_header(b"((((((")),
    "header of nested brackets": _raw("x_sum", data=_header(b"[" * 60_000)),
    "missing array": _record("arrays", ArrayRecord({"x_sum": Array(np.zeros(8))})),
    "no arrays": _without("arrays"),
    "arrays of another kind": _record("arrays", MetricRecord()),
    "no settings": _without("config"),
    "record nobody asked for": _record("images", ConfigRecord({"a": 1})),
    "registered count": _record("config", ConfigRecord({"count": 10**6})),
    "more images than registered": _more_images_than_registered,
    "boolean count": _record("config", ConfigRecord({"count": True})),
    "text as count": _record("config", ConfigRecord({"count": "\x1b[2J" + "1" * 10**6})),
    "empty text": _record("config", ConfigRecord({"count": ""})),
    "list of empty texts": _record("config", ConfigRecord({"count": 1, "more": [""]})),
}


def _join_and_fit(
    strategy: SumStrategy, hospitals: Hospitals, learner: str = "ridge", settings: str = EXACT
) -> tuple[State, dict[int, SiteInfo]]:
    site = next(iter(hospitals.sites.values()))
    sites = strategy.join(0, site.backbone.fingerprint, split_seed=1)
    problem = Problem(site.classes, site.backbone.dimension)
    return strategy.fit(make_learner(learner, problem, settings), sites)


def _forging_grid(
    hospitals: Hospitals,
    name: str,
    kind: str,
    stage: str,
    forge: Forge,
    *,
    learner: str = "ridge",
    settings: str = EXACT,
) -> FakeGrid:
    """A grid whose site `name` forges its replies to one kind of question."""
    grid = hospitals.grid(learner=learner, learner_settings=settings)

    def tamper(message: Message, right: Message) -> list[Message]:
        if (
            message.metadata.message_type == kind
            and wire.decode_stage(message.content) == stage
            and right.has_content()
        ):
            right.content = forge(right.content)
        return [right]

    grid.tamper[hospitals.node(name)] = tamper
    return grid


@pytest.mark.parametrize("what", FORGERIES)
def test_a_forged_contribution_is_refused_and_leaves_no_trace(
    hospitals: Hospitals, strategy_of: StrategyOf, what: str, reports: list[str]
) -> None:
    grid = _forging_grid(hospitals, "modern", wire.CONTRIBUTE, "moments", FORGERIES[what])
    with pytest.raises(RoundError, match=r"3 of 4 sites count, 4 are needed\. modern: "):
        _join_and_fit(strategy_of(grid), hospitals)
    strategy = strategy_of(grid, quorum=3)
    state, members = _join_and_fit(strategy, hospitals)
    assert strategy.left_out.keys() == {"modern"}
    assert [info.site for info in members.values()] == ["dias", "molemax", "rosendahl"]
    assert all(line.isprintable() and len(line) < 400 for line in reports)
    del hospitals.sites[hospitals.node("modern")]
    honest, _ = _join_and_fit(strategy_of(hospitals.grid(learner_settings=EXACT)), hospitals)
    for name, array in honest.arrays.items():
        assert array.tobytes() == state.arrays[name].tobytes(), name


def _absurd(array: NDArray[Any]) -> NDArray[Any]:
    return np.full_like(array, 1.5e308)


def _beyond_cauchy_schwarz(packed: NDArray[Any]) -> NDArray[Any]:
    """A product of two features ten times as large as their squares allow."""
    return _set((0, 1), 10.0 * np.sqrt(packed[0, 0] * packed[0, 2]))(packed)


def _two_records(content: RecordDict) -> RecordDict:
    record = content["arrays"]
    assert isinstance(record, ArrayRecord)
    record["class_count"] = Array(np.array([1, 2, 3]))
    return content


# Replies to the second round: `gram`, packed from 9 rows, and `class_sum` of 3 classes by 9.
GRAM_FORGERIES: dict[str, tuple[Forge, str]] = {
    "nan": (_array("gram", _set((0, 0), np.nan)), "gram: holds NaN or infinity"),
    "nan class sums": (_array("class_sum", _set((0, 1, 2), np.nan)), "class_sum: holds NaN"),
    "wrong dimension": (
        _array("gram", lambda a: a[:, :36]),
        r"gram: shape \(1, 36\), expected \(1, 45\)",
    ),
    "unpacked": (_array("gram", lambda a: np.zeros((1, 9, 9))), r"gram: shape \(1, 9, 9\)"),
    "transposed": (_array("class_sum", lambda a: a.transpose(0, 2, 1).copy()), "class_sum: shape"),
    "other order": (_array("class_sum", np.asfortranarray), "class_sum: not float64 .* C order"),
    "an array too many": (_two_records, "wrong arrays"),
    "negative square": (_array("gram", _set((0, 0), -1.0)), "gram: has a negative eigenvalue"),
    "negative eigenvalue": (
        _array("gram", _beyond_cauchy_schwarz),
        "gram: has a negative eigenvalue",
    ),
    "negative": (_array("gram", lambda a: -a), "gram: has a negative eigenvalue"),
    "far below zero": (
        _array("gram", lambda a: -(10.0**9) - np.abs(a)),
        "gram: has a negative eigenvalue",
    ),
    "absurd size": (_array("gram", _absurd), "gram: its diagonal, or the sum of it, is not finite"),
    "class sums of other images": (
        _array("class_sum", lambda a: 1.001 * a),
        "class_sum: does not belong to the Gram matrix",
    ),
    "class sums of a class less": (
        _array("class_sum", _set((0, 1), 0.0)),
        "class_sum: does not belong to the Gram matrix",
    ),
    "class sums of absurd size": (
        _array("class_sum", _absurd),
        "class_sum: does not belong to the Gram matrix",
    ),
}


def _assert_is_pooled_fit(state: State, hospitals: Hospitals, without: str) -> None:
    x, y = hospitals.pooled(Split.TRAIN, (without,))
    ridge = RidgeClassifier(alpha=float(len(y)), class_weight="balanced")
    pooled = make_pipeline(StandardScaler(), ridge).fit(x, y)
    np.testing.assert_allclose(state.arrays["coef"], pooled[-1].coef_, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(state.arrays["intercept"], pooled[-1].intercept_, rtol=1e-9)


@pytest.mark.parametrize("what", GRAM_FORGERIES)
def test_a_forgery_in_the_second_round_is_named_and_the_rounds_start_again_without_it(
    hospitals: Hospitals, strategy_of: StrategyOf, what: str
) -> None:
    forge, reason = GRAM_FORGERIES[what]
    grid = _forging_grid(hospitals, "molemax", wire.CONTRIBUTE, "gram", forge)
    with pytest.raises(RoundError, match=rf"3 of 4 sites count, 4 are needed\. molemax: {reason}"):
        _join_and_fit(strategy_of(grid), hospitals)
    strategy = strategy_of(grid, quorum=2)
    state, members = _join_and_fit(strategy, hospitals)
    assert (strategy.traffic.rounds, list(strategy.left_out)) == (4, ["molemax"])
    assert [info.site for info in members.values()] == ["dias", "modern", "rosendahl"]
    _assert_is_pooled_fit(state, hospitals, without="molemax")
    del hospitals.sites[hospitals.node("molemax")]
    honest, _ = _join_and_fit(strategy_of(hospitals.grid(learner_settings=EXACT)), hospitals)
    for name, array in honest.arrays.items():
        assert array.tobytes() == state.arrays[name].tobytes(), name


def test_a_site_with_features_of_another_backbone_changes_nothing(
    hospitals: Hospitals, strategy_of: StrategyOf
) -> None:
    node = hospitals.node("modern")
    other = replace(hospitals.sites[node].backbone, weights_sha256="1" * 64)
    hospitals.replace(node, backbone=other, x=1000 * hospitals.sites[node].x)
    with pytest.raises(RoundError, match=f"modern: its backbone is {other.fingerprint}, the run"):
        _join_and_fit(strategy_of(hospitals.grid(learner_settings=EXACT)), hospitals)
    strategy = strategy_of(hospitals.grid(learner_settings=EXACT), quorum=3)
    state, members = _join_and_fit(strategy, hospitals)
    assert [info.site for info in members.values()] == ["dias", "molemax", "rosendahl"]
    _assert_is_pooled_fit(state, hospitals, without="modern")


# The last element of a matrix of each class: its number of images.
_LAST = np.arange(45) == 44

SEARCH = "folds=3 search=grid:0.01:1:3"
DRAWS = RunSettings().draws

# The learner, its settings, the stage, the forgery, and why it is refused.
OTHER_STAGES: list[tuple[str, str, str, Forge, str]] = [
    ("ridge", "pca=3", "moments", _array("x_gram", lambda a: -a), "x_gram: has a negative eigenv"),
    ("ridge", "pca=3", "moments", _array("x_sum", lambda a: 9 * a), "x_gram: has a negative eigen"),
    ("ridge", "", "temperature", _array("loss", lambda a: -a - 1.0), "loss: below 0"),
    ("ridge", "", "temperature", _array("gradient", _set((0, 0), np.inf)), "gradient: holds NaN"),
    (
        *("ridge", "", "temperature", _array("curvature", lambda a: -a - 1.0)),
        "curvature: has a negative eigenvalue",
    ),
    (
        *("ridge", "calibrate=vector", "temperature"),
        _array("curvature", lambda a: a + np.triu(np.ones((3, 3)), 1)),
        "curvature: is not symmetric",
    ),
    ("ridge", SEARCH, "gram", _array("gram", _set((1, 0), -1.0)), "gram: has a negative eigenval"),
    ("ridge", SEARCH, "gram", _array("class_sum", _set((2, 0, 0), 9e9)), "class_sum: does not bel"),
    ("ridge", SEARCH, "validate", _array("held", lambda a: a + 1), "held: sums to"),
    ("ridge", SEARCH, "validate", _array("hits", lambda a: -a - 1), "hits: below 0"),
    ("ridge", SEARCH, "validate", _array("hits", lambda a: a + 999), "hits: more than held"),
    ("logistic", "", "newton", _array("hessian", lambda a: -a), "hessian: has a negative eigenval"),
    (
        *("logistic", "", "newton", _array("hessian", _set((0, 0, 0), -1.0))),
        "hessian: has a negative eigenvalue",
    ),
    (
        *("logistic", "", "newton", _array("hessian", _absurd)),
        "hessian: its diagonal, or the sum of it, is not finite",
    ),
    ("logistic", "", "newton", _array("gradient", lambda a: a * np.nan), "gradient: holds NaN"),
    ("logistic", "", "newton", _array("loss", lambda a: -a), "loss: below 0"),
    (
        *("logistic", SEARCH, "path", _array("hessian", _set((2, 0, 0), -1.0))),
        "hessian: has a negative eigenvalue",
    ),
    (
        *("logistic", "solver=lbfgs", "curvature", _array("gram", lambda a: -a)),
        "gram: has a negative eigenvalue",
    ),
    ("svm", "", "newton", _array("hessian", lambda a: -a), "hessian: has a negative eigenvalue"),
    (
        *("ridge", "calibrate=none ledger=true", "class_gram"),
        _array("class_gram", _set((0, 0), -1.0)),
        "class_gram: has a negative eigenvalue",
    ),
    (
        *("ridge", "calibrate=none ledger=true", "class_gram"),
        _array("class_gram", lambda a: a + _LAST),
        "class_gram: its classes do not add up to the images",
    ),
    (
        *("ridge", "calibrate=none ledger=true", "class_gram"),
        _array("class_gram", lambda a: a + 0.5 * _LAST),
        "class_gram: a class's number of images is not whole",
    ),
    (
        *("ridge", "calibrate=none ledger=true", "class_gram", _array("class_gram", _absurd)),
        "class_gram: ",
    ),
]


@pytest.mark.parametrize(("learner", "settings", "stage", "forge", "reason"), OTHER_STAGES)
def test_a_forgery_at_any_stage_of_any_learner_is_named_and_leaves_no_trace(
    hospitals: Hospitals,
    strategy_of: StrategyOf,
    learner: str,
    settings: str,
    stage: str,
    forge: Forge,
    reason: str,
) -> None:
    hospitals.deal(3)
    task = {"learner": learner, "settings": settings}
    grid = _forging_grid(hospitals, "modern", wire.CONTRIBUTE, stage, forge, **task)
    with pytest.raises(RoundError, match=rf"3 of 4 sites count, 4 are needed\. modern: {reason}"):
        _join_and_fit(strategy_of(grid), hospitals, **task)
    strategy = strategy_of(grid, quorum=3)
    state, _ = _join_and_fit(strategy, hospitals, **task)
    assert list(strategy.left_out) == ["modern"]
    del hospitals.sites[hospitals.node("modern")]
    honest = strategy_of(hospitals.grid(learner=learner, learner_settings=settings))
    for name, array in _join_and_fit(honest, hospitals, **task)[0].arrays.items():
        assert array.tobytes() == state.arrays[name].tobytes(), name


@pytest.mark.parametrize(
    "forge",
    [
        _array("confusion", lambda a: a + 1),
        _array("confusion", lambda a: a - 2 * a.min() - 1),
        _array("confusion", lambda a: a.astype(np.float64)),
        _array("scores", lambda a: a * 1000),
        _array("scores", _set((0, 0, 0), 2**63 - 1)),
        _array("scores", lambda a: a[:, :, :512]),
        _array("scores", lambda a: a[:, ::-1].copy()),
        _array("scores", lambda a: a[::-1].copy()),
        _array("withheld", lambda a: a + 1),
        _array("withheld", lambda a: a + 2),
        _array("withheld", lambda a: a - 1),
        _array("withheld", _set((0, 0), 1)),
        _array("confusion", _set((0, 0), 0)),
        _array("confusion", lambda a: a[::-1].copy()),
        _array("confidence", lambda a: a[::-1].copy()),
        _array("malignant", lambda a: a * 2),
        # Other resamples of the matrix than those of its classes.
        _array("drawn_confusion", lambda a: np.roll(a, 1, axis=0)),
        _array("drawn_support", lambda a: a + 1),
        *(
            _array(f"drawn_{name}", change)
            for name in ("confusion", "scores", "malignant", "confidence")
            for change in (
                lambda a: a[:100],
                lambda a: np.concatenate([a, a]),
                lambda a: a + 1,
                lambda a: -a,
                lambda a: a * 100,
                lambda a: a.astype(np.int32),
            )
        ),
    ],
)
def test_a_forged_evaluation_is_refused(
    hospitals: Hospitals, strategy_of: StrategyOf, forge: Forge
) -> None:
    grid = _forging_grid(hospitals, "modern", wire.EVALUATE, "fitted", forge)
    strategy = strategy_of(grid, quorum=3)
    state, members = _join_and_fit(strategy, hospitals)
    assert list(strategy.evaluate(state, members, DRAWS)) == ["dias", "molemax", "rosendahl"]
    assert strategy.left_out.keys() == {"modern"}
    with pytest.raises(RoundError, match=r"evaluate\.sums: 3 of 4 sites count.*modern: "):
        strategy_of(grid).evaluate(state, members, DRAWS)


def test_sums_that_overflow_only_together_end_the_run_with_an_error_of_ours(
    hospitals: Hospitals, strategy_of: StrategyOf
) -> None:
    # Each is finite and no smaller than it must be, so that neither site can be refused.
    forge = _array("x_square_sum", _absurd)
    grid = _forging_grid(hospitals, "modern", wire.CONTRIBUTE, "moments", forge)
    grid.tamper[hospitals.node("dias")] = grid.tamper[hospitals.node("modern")]
    with pytest.raises(ContributionError, match="x_square_sum: the sum over the sites overflows"):
        _join_and_fit(strategy_of(grid), hospitals)


def test_a_site_cannot_answer_in_the_name_of_another(
    hospitals: Hospitals, strategy_of: StrategyOf
) -> None:
    grid = hospitals.grid()
    modern, dias = hospitals.node("modern"), hospitals.node("dias")
    of_dias: list[Message] = []

    def swap(message: Message, right: Message) -> list[Message]:
        # The message of `dias`, answered by `modern` before `dias` itself does.
        if message.metadata.message_type != wire.CONTRIBUTE:
            return [right]
        forged = Message(RecordDict(), reply_to=message)
        forged.metadata.__dict__["_src_node_id"] = modern
        of_dias.append(right)
        return [forged]

    grid.tamper[dias] = swap
    strategy = strategy_of(grid, quorum=3)
    _join_and_fit(strategy, hospitals)
    assert strategy.left_out == {"dias": f"answered by another node ({modern})"}
