"""A run's numbers as TensorBoard and MLflow themselves read them back."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import OutputError, SettingsError
from server.events import EventLog, read_events
from server.finetuning.sinks import MlflowSink, TensorBoardSink, scalars

# SQLAlchemy's own, for what MLflow's tables do.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")


def _round(number: int) -> dict[str, Any]:
    sites = {"basel": {"balanced_accuracy": 0.25}, "São Paulo/1": {"balanced_accuracy": 0.75}}
    pooled = {"balanced_accuracy": number / 8, "macro_auc": 0.875, "worst_site": "basel"}
    return {
        "round": number,
        "train_loss": 1 / number,
        "validation": {"pooled": pooled, "sites": sites},
        "bytes_up": 4_000_000,
        "bytes_down": 13_000_000,
        "seconds": 1.5,
        "best": True,
        "quorum": None,
        "sites_lost": ["zagreb"],
    }


def _expected(number: int) -> dict[str, float]:
    # `printf 'São Paulo/1' | sha256sum` starts with 13aeb5f0.
    return {
        "train_loss": 1 / number,
        "validation/pooled/balanced_accuracy": number / 8,
        "validation/pooled/macro_auc": 0.875,
        "validation/site/basel/balanced_accuracy": 0.25,
        "validation/site/S_o Paulo_1-13aeb5f0/balanced_accuracy": 0.75,
        "bytes_up": 4_000_000,
        "bytes_down": 13_000_000,
        "seconds": 1.5,
    }


def test_a_rounds_numbers_get_names_and_nothing_else_does() -> None:
    assert scalars(_round(4)) == _expected(4)


@given(st.lists(st.text(max_size=80), unique=True, max_size=6))
def test_two_sites_never_share_a_name_and_mlflow_takes_every_name(names: list[str]) -> None:
    found = scalars({"validation": {"sites": {name: {"macro_auc": 0.5} for name in names}}})
    assert len(found) == len(names)
    for tag in found:
        assert len(tag) <= 250
        assert tag.isascii()
        assert tag.replace("/", "").translate(dict.fromkeys(map(ord, "_-. "))).isalnum()
        # MLflow's files: no part may be empty or lead elsewhere.
        assert all(part.strip(" .") == part != "" for part in tag.split("/"))


def test_names_that_differ_in_one_character_stay_apart() -> None:
    names = ["a/b", "a_b", "a:b", "a b", ".", "..", "", "x" * 60, "x" * 61]
    assert len(scalars({"sites": dict.fromkeys(names, 1.0)})) == len(names)


@pytest.mark.parametrize(
    ("modules", "product"),
    [
        (("tensorboard", "torch.utils.tensorboard"), "TensorBoard"),
        (("mlflow", "mlflow.tracking"), "MLflow"),
    ],
)
def test_a_missing_package_names_the_extra_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, modules: tuple[str, ...], product: str
) -> None:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    for name in modules:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SettingsError, match=rf"{product} .* pip install 'dermafed\[tracking\]'"):
        if product == "TensorBoard":
            TensorBoardSink(tmp_path)
        else:
            MlflowSink(f"sqlite:///{tmp_path}/mlflow.db", "run", {})


def _read_tensorboard(folder: Path) -> dict[str, list[tuple[int, float]]]:
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    ).EventAccumulator(str(folder))
    accumulator.Reload()
    return {
        tag: [(point.step, point.value) for point in accumulator.Scalars(tag)]
        for tag in accumulator.Tags()["scalars"]
    }


def test_tensorboard_shows_each_rounds_numbers(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    board = tmp_path / "board"
    with EventLog(tmp_path / "events.jsonl", [TensorBoardSink(board)]) as log:
        log.emit("started", round=0, sites=2)
        for number in (1, 2):
            log.emit("round", **_round(number))
    points = _read_tensorboard(board)
    assert points.keys() == _expected(1).keys()
    for tag, found in points.items():
        assert found == [(number, _expected(number)[tag]) for number in (1, 2)]


def test_tensorboard_has_a_round_at_once(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    sink = TensorBoardSink(tmp_path)
    sink.event("round", _round(1))
    assert _read_tensorboard(tmp_path)["seconds"] == [(1, 1.5)]
    sink.close()


@pytest.mark.parametrize("rounds_done", [0, 1])
def test_tensorboard_hides_rounds_that_a_resumed_run_repeats(
    tmp_path: Path, rounds_done: int
) -> None:
    pytest.importorskip("tensorboard")
    first = TensorBoardSink(tmp_path)
    for number in (0, 1, 2, 3):
        first.event("round", {"round": number, "train_loss": 10.0 * number})
    first.close()
    # Its files are read in the order of their names, which begin with the second they were made.
    (written,) = tmp_path.iterdir()
    written.rename(tmp_path / written.name.replace("events.out.tfevents.", "events.out.tfevents.0"))
    resumed = TensorBoardSink(tmp_path, rounds_done)
    resumed.event("round", {"round": rounds_done + 1, "train_loss": 5.0})
    resumed.close()
    kept = [(number, 10.0 * number) for number in range(rounds_done + 1)]
    assert _read_tensorboard(tmp_path)["train_loss"] == [*kept, (rounds_done + 1, 5.0)]


def test_a_tensorboard_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(OutputError, match="file/board: cannot write for TensorBoard"):
        TensorBoardSink(tmp_path / "file" / "board")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's tables without a run; it takes seconds to make them."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        tracking = pytest.importorskip("mlflow.tracking")
        tracking.MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(params=["file", "sqlite"])
def uri(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    # MLflow keeps its files only where this is set.
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    pytest.importorskip("mlflow")
    if request.param == "file":
        return (tmp_path / "mlruns").as_uri()
    shutil.copy(request.getfixturevalue("database"), tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow.db"


def _mlflow_runs(uri: str) -> tuple[Any, list[Any]]:
    client = pytest.importorskip("mlflow.tracking").MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("dermafed")
    return client, list(client.search_runs([experiment.experiment_id]))


def _history(client: Any, run: Any, tag: str) -> list[tuple[int, float]]:
    return [(each.step, each.value) for each in client.get_metric_history(run.info.run_id, tag)]


def test_mlflow_shows_settings_and_each_rounds_numbers(uri: str, tmp_path: Path) -> None:
    settings: dict[str, object] = {f"setting_{number}": number for number in range(150)}
    sink = MlflowSink(uri, "three sites", settings)
    with EventLog(tmp_path / "events.jsonl", [sink]) as log:
        log.emit("started", round=0, sites=2)
        for number in (1, 2):
            log.emit("round", **_round(number))
    client, (run,) = _mlflow_runs(uri)
    assert (run.info.run_name, run.info.status) == ("three sites", "FINISHED")
    assert run.data.params == {name: str(value) for name, value in settings.items()}
    assert run.data.metrics == _expected(2)
    for tag in _expected(1):
        expected = [(number, _expected(number)[tag]) for number in (1, 2)]
        assert _history(client, run, tag) == expected


def test_mlflow_continues_the_run_of_a_token(uri: str) -> None:
    for number, name in enumerate(("first", "resumed"), start=1):
        sink = MlflowSink(uri, name, {"lr": 0.1 * number}, token="ab12")
        sink.event("round", {"round": number, "train_loss": float(number)})
        sink.close()
    MlflowSink(uri, "another", {}, token="cd34").close()
    client, runs = _mlflow_runs(uri)
    assert sorted(run.info.run_name for run in runs) == ["another", "first"]
    (run,) = [run for run in runs if run.info.run_name == "first"]
    assert run.data.params == {"lr": "0.1"}
    assert run.info.status == "FINISHED"
    assert _history(client, run, "train_loss") == [(1, 1.0), (2, 2.0)]


def test_a_run_that_fails_is_failed_in_mlflow(uri: str, tmp_path: Path) -> None:
    sink = MlflowSink(uri, "run", {})
    with pytest.raises(OutputError), EventLog(tmp_path / "events.jsonl", [sink]):
        raise OutputError("disk full")
    _, (run,) = _mlflow_runs(uri)
    assert run.info.status == "FAILED"


def test_a_round_of_more_numbers_than_one_call_takes_is_logged_whole(uri: str) -> None:
    sink = MlflowSink(uri, "run", {})
    sites = {f"site_{number:04d}": {"macro_auc": 0.5} for number in range(1001)}
    sink.event("round", {"round": 1, "validation": {"sites": sites}})
    sink.close()
    _, (run,) = _mlflow_runs(uri)
    assert len(run.data.metrics) == 1001


def test_a_run_goes_on_where_mlflow_takes_no_more(uri: str, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    sink = MlflowSink(uri, "run", {})
    client, (run,) = _mlflow_runs(uri)
    with EventLog(path, [sink]) as log:
        client.delete_run(run.info.run_id)
        log.emit("round", round=1, train_loss=0.5)
        log.emit("round", round=2, train_loss=0.5)
    events = read_events(path)
    assert [event["event"] for event in events] == ["round", "sink_lost", "round"]
    assert events[1]["sink"] == "MlflowSink"
    assert "\n" not in events[1]["reason"]


def test_a_tracking_server_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    pytest.importorskip("mlflow")
    # Port 9 (discard) of this machine: nothing listens.
    with pytest.raises(SettingsError, match=r"MLflow at http://127\.0\.0\.1:9: .*tracking uri"):
        MlflowSink("http://127.0.0.1:9", "run", {})


def test_a_token_that_would_change_mlflows_search_is_refused() -> None:
    with pytest.raises(SettingsError, match="is not of letters and digits"):
        MlflowSink("sqlite:///never.db", "run", {}, token="a' or 1")


def test_mlflows_telemetry_is_off(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY")
    MlflowSink(uri, "run", {}).close()
    utils = pytest.importorskip("mlflow.telemetry.utils")
    assert utils.MLFLOW_DISABLE_TELEMETRY.get() is True
