"""A run's numbers in TensorBoard or MLflow, where the extra ``tracking`` is installed.

Both log the numbers of ``round`` events under the same names, such as
``validation/pooled/balanced_accuracy`` and ``validation/site/basel/balanced_accuracy``.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import OutputError, SettingsError
from common.settings import RunSettings
from server.result import config_of

if TYPE_CHECKING:
    from server.events import Sink

EXPERIMENT = "dermafed"
RUN_TAG = "dermafed.run"
# A name of several parts must stay below MLflow's 250 characters.
_PART = 48


class TensorBoardSink:
    """Writes scalars that ``tensorboard --logdir FOLDER`` shows.

    Parameters
    ----------
    folder : Path
        Where the event files go; a resumed run adds one.
    rounds_done : int or None
        The checkpoint's round where a run resumes: points of later rounds, which the run
        repeats, are hidden.

    Raises
    ------
    SettingsError
        If TensorBoard is not installed.
    OutputError
        If the folder cannot be written.
    """

    def __init__(self, folder: Path, rounds_done: int | None = None) -> None:
        module = _import("torch.utils.tensorboard", "TensorBoard")
        self._folder = folder
        with self._writing():
            self._writer = module.SummaryWriter(
                str(folder), purge_step=None if rounds_done is None else rounds_done + 1
            )

    def event(self, kind: str, facts: Mapping[str, Any], /) -> None:
        """Write a round's numbers, on disk when this returns."""
        if kind != "round":
            return
        with self._writing():
            for tag, value in scalars(facts).items():
                self._writer.add_scalar(tag, value, facts["round"])
            self._writer.flush()

    def close(self) -> None:
        """Finish the file."""
        with self._writing():
            self._writer.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or error
            raise OutputError(f"{self._folder}: cannot write for TensorBoard: {reason}") from error


class MlflowSink:
    """Logs scalars as metrics of a run on an MLflow tracking server.

    MLflow's own telemetry is switched off, unless ``MLFLOW_DISABLE_TELEMETRY`` is set already.
    It asks a server that does not answer again for minutes; ``MLFLOW_HTTP_REQUEST_MAX_RETRIES``
    and ``MLFLOW_HTTP_REQUEST_TIMEOUT`` shorten that.

    Parameters
    ----------
    uri : str
        The tracking server, such as ``http://localhost:5000`` or ``sqlite:///mlflow.db``.
    name : str
        The run's name.
    params : mapping of str to object
        The run's settings.
    token : str
        The run's token, where it may resume: an MLflow run with this token is continued.

    Raises
    ------
    SettingsError
        If MLflow is not installed, the server does not take the run or the token is none.
    """

    def __init__(
        self, uri: str, name: str, params: Mapping[str, object], *, token: str = ""
    ) -> None:
        if token and not token.isalnum():
            raise SettingsError(f"MLflow run {name}: token {token!r} is not of letters and digits")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        tracking = _import("mlflow.tracking", "MLflow")
        self._entities = _import("mlflow.entities", "MLflow")
        self._error: type[Exception] = _import("mlflow.exceptions", "MLflow").MlflowException
        self._uri, self._status = uri, "FINISHED"
        try:
            # A client of its own: MLflow's module-level functions share one active run.
            self._client = tracking.MlflowClient(tracking_uri=uri)
            self._run_id = self._open(name, params, token)
        except self._error as error:
            raise SettingsError(
                f"MLflow at {uri}: {_first_line(error)}; check the tracking uri"
            ) from error

    def event(self, kind: str, facts: Mapping[str, Any], /) -> None:
        """Log a round's numbers; ``failed`` marks the run so."""
        if kind == "failed":
            self._status = "FAILED"
        if kind != "round":
            return
        now = time.time_ns() // 1_000_000
        metrics = [
            self._entities.Metric(tag, value, now, facts["round"])
            for tag, value in scalars(facts).items()
        ]
        with self._logging():
            self._client.log_batch(self._run_id, metrics=metrics)

    def close(self) -> None:
        """Mark the run as finished, or as failed."""
        with self._logging():
            self._client.set_terminated(self._run_id, self._status)

    def _open(self, name: str, params: Mapping[str, object], token: str) -> str:
        experiment = self._client.get_experiment_by_name(EXPERIMENT)
        number = experiment.experiment_id if experiment else None
        if number is None:
            number = self._client.create_experiment(EXPERIMENT)
        if token:
            found = self._client.search_runs([number], f"tags.`{RUN_TAG}` = '{token}'")
            if found:
                self._client.update_run(found[0].info.run_id, status="RUNNING")
                return str(found[0].info.run_id)
        tags = {RUN_TAG: token} if token else {}
        run_id = str(self._client.create_run(number, run_name=name, tags=tags).info.run_id)
        entries = [self._entities.Param(key, str(value)) for key, value in params.items()]
        self._client.log_batch(run_id, params=entries)
        return run_id

    @contextmanager
    def _logging(self) -> Iterator[None]:
        try:
            yield
        except self._error as error:
            raise OutputError(f"MLflow at {self._uri}: {_first_line(error)}") from error


def check_sinks(settings: RunSettings) -> None:
    """Refuse a run whose sinks are not installed, before anything is computed.

    Raises
    ------
    SettingsError
        Naming the product.
    """
    for name, product in (("tensorboard", "TensorBoard"), ("mlflow", "MLflow")):
        if getattr(settings, name) and find_spec(name) is None:
            raise _missing(product)


def open_sinks(
    settings: RunSettings, name: str, run: str, rounds_done: int | None = None
) -> list[Sink]:
    """Open the sinks that a run's settings name.

    Parameters
    ----------
    settings : RunSettings
        The run.
    name : str
        What people call it.
    run : str
        Its token.
    rounds_done : int or None
        The checkpoint's round where it resumes.

    Raises
    ------
    SettingsError
        If one is not installed, or the tracking server does not take the run.
    OutputError
        If TensorBoard's folder cannot be written.
    """
    sinks: list[Sink] = []
    with ExitStack() as opened:
        if settings.tensorboard:
            sinks.append(TensorBoardSink(Path(settings.tensorboard), rounds_done))
            opened.callback(sinks[0].close)
        if settings.mlflow:
            sinks.append(MlflowSink(settings.mlflow, name, config_of(settings), token=run))
        # Nothing failed: they stay open.
        opened.pop_all()
    return sinks


def scalars(facts: Mapping[str, Any]) -> dict[str, float]:
    """Give a round's numbers by name.

    Parameters
    ----------
    facts : mapping
        Numbers, by names that may nest. What is no number is left out, and so is ``round``.

    Returns
    -------
    dict of str to float
        Names joined by ``/``; ``sites`` becomes ``site``. A part that holds other characters
        than letters, digits, ``_``, ``-``, ``.`` and spaces, or is long, is shortened to those
        and ends with a digest of itself, so that two sites never share a name.
    """
    return dict(_scalars(facts, ()))


def _scalars(facts: Mapping[str, Any], above: tuple[str, ...]) -> Iterator[tuple[str, float]]:
    for name, value in facts.items():
        parts = (*above, "site" if name == "sites" else _part(name))
        if isinstance(value, Mapping):
            yield from _scalars(value, parts)
        elif isinstance(value, int | float) and not isinstance(value, bool) and name != "round":
            yield "/".join(parts), float(value)


def _part(name: str) -> str:
    clean = re.sub(r"[^A-Za-z0-9_\-. ]", "_", name).strip(" .")[:_PART]
    if name and clean == name:
        return name
    return f"{clean}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(". ")


def _import(module: str, product: str) -> Any:  # noqa: ANN401
    try:
        return import_module(module)
    except ImportError as error:
        raise _missing(product) from error


def _missing(product: str) -> SettingsError:
    return SettingsError(f"{product} is not installed; run: pip install 'dermafed[tracking]'")
