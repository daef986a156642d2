"""The ServerApp: one federation by sums, from a run configuration to a run folder."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from common.deployment.lock import alone
from common.errors import SettingsError
from common.run_folder import new_run_folder
from common.settings import RunSettings
from server.federation import run_federation

# A child of Flower's own logger, so that the lines reach `flwr log`.
_LOG = logging.getLogger("flwr.dermafed")

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the federation that the run configuration describes.

    Raises
    ------
    DermafedError
        If a setting is wrong, a round ends below the quorum or the folder cannot be written.
    """
    settings = RunSettings.from_run_config(context.run_config)
    if not settings.out:
        raise SettingsError("run setting out: give the folder to write, an absolute path")
    with new_run_folder(Path(settings.out), overwrite=settings.overwrite) as folder:
        result = _run(grid, settings, folder)
    # Only now: a folder that could not be written leaves the checkpoints where they are.
    if not settings.checkpoint:
        shutil.rmtree(settings.unfinished, ignore_errors=True)
    pooled = result["test"]["pooled"]
    # Where sites withhold counts, it may lie anywhere between two values.
    bounds = pooled["balanced_accuracy_bounds"] or ()
    shown = " to ".join(dict.fromkeys(f"{value:.4f}" for value in bounds)) or "unknown"
    _LOG.info("balanced accuracy %s on %s test images", shown, pooled["n"])


def _run(grid: Grid, settings: RunSettings, folder: Path) -> dict[str, Any]:
    # Of real sites and of fine-tuning: a simulation of seconds keeps no journal.
    if not (settings.strategy or settings.registry or settings.checkpoint):
        return run_federation(grid, settings, folder, _LOG.info)
    work = settings.unfinished
    work.mkdir(parents=True, exist_ok=True)
    # Two processes that went on from the same checkpoints would mix their rounds.
    with alone(work):
        if not settings.strategy:
            return run_federation(grid, settings, folder, _LOG.info, work)
        # Here, so that a federation by sums does not import torch.
        from server.finetuning.run import run_finetuning

        return run_finetuning(grid, settings, folder, _LOG.info, work)
