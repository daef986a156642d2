"""The ServerApp: one process a run, and its last line."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Context, RecordDict

import server.app
from common.deployment.lock import alone
from common.errors import DeploymentError
from tests.server.conftest import Hospitals


@pytest.mark.parametrize(
    ("bounds", "said"),
    [
        ([0.6787493536908056, 0.6787493536908056], "0.6787"),
        # One more image of 4 predicted right, of a class of which a site withholds its counts.
        ([0.5, 0.625], "0.5000 to 0.6250"),
        (None, "unknown"),
    ],
)
def test_the_last_line_has_four_digits_of_what_is_known(
    hospitals: Hospitals,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    bounds: list[float] | None,
    said: str,
) -> None:
    pooled = {"n": 188, "balanced_accuracy_bounds": bounds}
    monkeypatch.setattr(
        server.app, "run_federation", lambda *_: {"test": {"pooled": pooled, "sites": {}}}
    )
    context = Context(
        run_id=1,
        node_id=0,
        node_config={},
        state=RecordDict(),
        run_config={"out": str(tmp_path / "run")},
    )
    logger = logging.getLogger("flwr.dermafed")
    # Flower's own logger need not pass its lines on.
    monkeypatch.setattr(logger, "handlers", [caplog.handler])
    monkeypatch.setattr(logger, "propagate", False)
    caplog.set_level(logging.INFO, logger.name)
    server.app.app(hospitals.grid(), context)
    assert caplog.messages == [f"balanced accuracy {said} on 188 test images"]


def test_two_processes_do_not_go_on_from_the_same_checkpoints(
    hospitals: Hospitals, tmp_path: Path
) -> None:
    work = tmp_path / "unfinished"
    work.mkdir()
    config: Any = {"out": str(tmp_path / "run"), "checkpoint": str(work), "backbone": "tiny"}
    context = Context(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config=config)
    grid = hospitals.grid()
    with alone(work), pytest.raises(DeploymentError, match=f"{work}: runs already, as process"):
        server.app.app(grid, context)
    assert not grid.asked
    assert not (tmp_path / "run").exists()
    server.app.app(grid, context)
    assert (tmp_path / "run" / "model.json").is_file()
