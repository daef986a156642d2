"""A run that TensorBoard and MLflow are told of: what they see, also where it was stopped."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from common.errors import OutputError, SettingsError
from server.finetuning import sinks
from server.journal import identity_of
from tests.server.finetuning_lab import Lab, run, run_settings, two_stages

if TYPE_CHECKING:
    from tests.server.conftest import Hospitals


@pytest.fixture(autouse=True)
def _with_trunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two_stages(tmp_path, monkeypatch)


class Server:
    """Stands in for MLflow's: what each sink was opened with and told."""

    def __init__(self) -> None:
        self.opened: list[tuple[str, str, dict[str, Any], str]] = []
        self.rounds: list[int] = []
        self.closed = 0

    def sink(self, uri: str, name: str, params: Mapping[str, Any], *, token: str) -> Server:
        self.opened.append((uri, name, dict(params), token))
        return self

    def event(self, kind: str, facts: Mapping[str, Any], /) -> None:
        if kind == "round":
            self.rounds.append(facts["round"])

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server()
    monkeypatch.setattr(sinks, "MlflowSink", server.sink)
    return server


def test_a_run_that_was_stopped_stays_one_run_in_mlflow(
    hospitals: Hospitals, tmp_path: Path, mlflow: Server
) -> None:
    lab = Lab(hospitals, run_settings(mlflow="http://tracking:5000"))
    lab.fails_at = 3
    with pytest.raises(KeyboardInterrupt):
        run(lab, tmp_path, "torn", "tuned.unfinished")
    lab.fails_at = 0
    result = run(lab, tmp_path, "out", "tuned.unfinished")
    assert mlflow.rounds == [0, 1, 2, 3, 4, 5]
    uris, names, params, tokens = zip(*mlflow.opened, strict=True)
    assert (uris, names) == (("http://tracking:5000",) * 2, ("tuned", "tuned"))
    assert tokens == (result["run"],) * 2
    assert params[0] == result["config"]
    assert mlflow.closed == 2


def _points(board: Path, tag: str) -> list[tuple[int, float]]:
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    ).EventAccumulator(str(board))
    accumulator.Reload()
    return [(point.step, point.value) for point in accumulator.Scalars(tag)]


def test_tensorboard_shows_the_rounds_of_the_result(hospitals: Hospitals, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    board = tmp_path / "board"
    result = run(Lab(hospitals, run_settings(tensorboard=str(board))), tmp_path)
    rounds, scores = zip(*_points(board, "validation/pooled/accuracy"), strict=True)
    assert rounds == tuple(entry["round"] for entry in result["history"])
    wanted = [entry["validation"]["pooled"]["accuracy"] for entry in result["history"]]
    assert scores == pytest.approx(wanted)


@pytest.mark.parametrize("round_done", [0, 2])
def test_tensorboard_is_told_from_which_round_a_run_goes_on(
    hospitals: Hospitals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, round_done: int
) -> None:
    begun: list[int | None] = []
    writer = pytest.importorskip("torch.utils.tensorboard").SummaryWriter

    class Writer(writer):  # type: ignore[misc, valid-type]
        def __init__(self, folder: str, purge_step: int | None) -> None:
            begun.append(purge_step)
            super().__init__(folder, purge_step=purge_step)

    monkeypatch.setattr("torch.utils.tensorboard.SummaryWriter", Writer)
    lab = Lab(hospitals, run_settings(tensorboard=str(tmp_path / "board")))
    lab.fails_at = round_done + 1
    with pytest.raises(KeyboardInterrupt):
        run(lab, tmp_path, "torn")
    lab.fails_at = 0
    run(lab, tmp_path)
    assert begun == [None, round_done + 1]


def test_who_watches_changes_neither_the_run_nor_its_result(
    hospitals: Hospitals, tmp_path: Path, mlflow: Server
) -> None:
    plain = run_settings()
    watched = run_settings(mlflow="http://reader:secret@tracking")
    assert identity_of(plain) == identity_of(watched)
    run(Lab(hospitals, watched), tmp_path)
    text = (tmp_path / "out" / "result.json").read_text(encoding="utf-8")
    assert "secret" not in text
    assert not {"mlflow", "tensorboard"} & json.loads(text)["config"].keys()
    assert mlflow.rounds


@pytest.mark.parametrize(
    ("setting", "module", "product"),
    [("tensorboard", "torch.utils.tensorboard", "TensorBoard"), ("mlflow", "mlflow", "MLflow")],
)
def test_what_is_not_installed_is_told_before_a_site_is_asked(
    hospitals: Hospitals,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
    module: str,
    product: str,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    lab = Lab(hospitals, run_settings(**{setting: str(tmp_path / "numbers")}))
    with pytest.raises(SettingsError, match=rf"{product} .* pip install 'dermafed\[tracking\]'"):
        run(lab, tmp_path)
    assert lab.grid.asked == []
    assert not (tmp_path / "work").exists()


def test_a_tracking_server_that_refuses_leaves_no_sink_open(
    hospitals: Hospitals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mlflow: Server
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise SettingsError("MLflow at http://tracking: no")

    monkeypatch.setattr(sinks, "TensorBoardSink", lambda *_: mlflow)
    monkeypatch.setattr(sinks, "MlflowSink", refuse)
    settings = run_settings(tensorboard=str(tmp_path), mlflow="http://tracking")
    lab = Lab(hospitals, settings)
    with pytest.raises(SettingsError, match="http://tracking"):
        run(lab, tmp_path)
    assert mlflow.closed == 1
    assert lab.grid.asked == []


def test_a_folder_that_tensorboard_cannot_write_is_told_before_a_site_is_asked(
    hospitals: Hospitals, tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard")
    (tmp_path / "file").write_text("", encoding="utf-8")
    lab = Lab(hospitals, run_settings(tensorboard=str(tmp_path / "file" / "board")))
    with pytest.raises(OutputError, match="cannot write for TensorBoard"):
        run(lab, tmp_path)
    assert lab.grid.asked == []
