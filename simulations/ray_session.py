"""Ray for the length of a simulation, here or on a cluster, without telling anyone."""

from __future__ import annotations

import logging
import os
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
    os.environ.update(QUIET)
    with warnings.catch_warnings():
        # Ray's start-up leaves log files open; that is its affair.
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            if address is None:
                ray.init(
                    num_cpus=cores(),
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                )
            else:
                ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise SettingsError(
                f"--ray-address {address}: no Ray cluster can be joined there ({error}); "
                "run the command on a machine of the cluster, or start one with `ray start --head`"
            ) from error
        try:
            resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
            yield max(1, int(resources.get("CPU", 1)))
        finally:
            ray.shutdown()
