"""Which releases computed a result."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = (
    "dermafed",
    "flwr",
    "imbalanced-learn",
    "numpy",
    "scikit-learn",
    "scipy",
    "torch",
    "ray",
)


def package_versions() -> dict[str, str]:
    """List Python and the packages that a result depends on, where they are installed."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
