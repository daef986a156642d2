"""The real ServerApp over a lab's grid."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from flwr.app import Context, RecordDict

from common.settings import RunSettings
from server.app import app as server_app
from server.result import RESULT_FILE
from simulations.lab_grid import LabGrid


def run_app(grid: LabGrid, settings: RunSettings, folder: Path) -> dict[str, Any]:
    """Run a federation; the model and the result come to stand in `folder`.

    Parameters
    ----------
    grid : LabGrid
        The nodes.
    settings : RunSettings
        The run; its output folder is not looked at.
    folder : Path
        A folder that exists.

    Returns
    -------
    dict
        What ``result.json`` holds.

    Raises
    ------
    DermafedError
        As `server.federation.run_federation`.
    """
    inner = folder / "federation"
    nodes = len(list(grid.get_node_ids()))
    config = settings.model_copy(update={"out": str(inner), "overwrite": False, "sites": nodes})
    context = Context(
        run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config=config.run_config()
    )
    server_app(grid, context)
    for path in inner.iterdir():
        path.rename(folder / path.name)
    inner.rmdir()
    result: dict[str, Any] = json.loads((folder / RESULT_FILE).read_text(encoding="utf-8"))
    return result
