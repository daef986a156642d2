"""Which releases computed a result."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError

import numpy as np
import pytest

from common import versions


def test_python_and_what_computes_is_listed() -> None:
    found = versions.package_versions()
    assert found["python"] == platform.python_version()
    assert found["numpy"] == np.__version__
    assert {"dermafed", "flwr", "scikit-learn", "scipy", "torch"} <= found.keys()


def test_a_package_that_is_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "ray":
            raise PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(versions, "version", version)
    assert "ray" not in versions.package_versions()
    assert versions.package_versions()["flwr"] == "1"
