"""Ray for the length of a simulation, here or on a cluster, without telling anyone."""

from __future__ import annotations

import logging
import os
import signal
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from common.errors import SettingsError
from common.features import cores

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
}
# Of Ray's workers: glibc gives large blocks of memory back at once, and asks for them again, on
# which training spent a fifth of its time.
_KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**32)}

_CONNECT_SECONDS = 5.0


@contextmanager
def ray_session(address: str | None) -> Iterator[int]:
    """Start Ray on this machine, or join a cluster, and yield the number of cores.

    Parameters
    ----------
    address : str or None
        Address of a running cluster; None starts Ray here and stops it afterwards.

    Raises
    ------
    SettingsError
        If the cluster cannot be reached.
    """
    if address is not None:
        _require_listener(address)
    os.environ.update({**QUIET, **_KEEP_MEMORY})
    # The ServerApp's lines for an operator; a simulation shows the same in its own way.
    logging.getLogger("flwr").setLevel(logging.ERROR)
    on_terminate = signal.getsignal(signal.SIGTERM)
    with warnings.catch_warnings():
        # Ray's start-up leaves log files open; that is its affair.
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            if address is None:
                # "local": never a cluster that happens to run on this machine.
                ray.init(
                    "local",
                    num_cpus=cores(),
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                )
            else:
                ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError, RuntimeError) as error:
            where = "here" if address is None else f"at --ray-address {address}"
            raise SettingsError(f"Ray does not start {where}: {error}") from error
        # Ray replaces the program's own answer to SIGTERM.
        signal.signal(signal.SIGTERM, on_terminate)
        try:
            resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
            yield max(1, int(resources.get("CPU", 1)))
        finally:
            ray.shutdown()


def _require_listener(address: str) -> None:
    """Refuse an address where nobody listens; Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS):
            return
    except (OSError, ValueError, OverflowError) as error:
        raise SettingsError(
            f"--ray-address {address}: no Ray cluster answers there ({error}); give HOST:PORT of "
            "one that this machine belongs to, as `ray start --head` prints it"
        ) from error
