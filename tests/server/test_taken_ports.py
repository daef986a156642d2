"""A coordinator whose port another program has."""

from __future__ import annotations

import sys
from pathlib import Path

from server.deployment.programs import coordinator_services
from server.deployment.settings import CoordinatorFile


def test_a_port_that_is_taken_is_named_with_its_setting_and_file(tmp_path: Path) -> None:
    # Any program will do for the proxy's: none is started here.
    settings = CoordinatorFile(host="fed.example.org", nginx=sys.executable)
    chosen = {
        service.name: (service.port, service.port_setting, service.meanings["Errno 98"])
        for service in coordinator_services(tmp_path, settings)
        if service.meanings
    }
    for name, port, setting in (
        *(("superlink", 8444, "flower_port"), ("page", 8445, "page_port")),
        ("proxy", 8443, "port"),
    ):
        where = f"{setting} in {tmp_path / 'coordinator.toml'}"
        told = f"port {port} is taken by another program; stop that, or choose another {where}"
        assert chosen[name] == (port, where, told)
