"""A coordinator's own file, ``coordinator.toml``."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

from common.settings_file import read_settings_file, settings_text
from common.whole_file import whole_file

COORDINATOR_FILE = "coordinator.toml"
_ABOUT = "What is changed here counts from the next dermafed coordinator start."


class CoordinatorFile(BaseModel):
    """A coordinator.

    What is said here of each stands above it in ``coordinator.toml``.

    Attributes
    ----------
    federation : str
        Name of the federation.
    host : str
        Name or address that sites reach it by; its certificate is for this one.
    listen : str
        Address of this machine that the sites' port is opened on; 0.0.0.0 for all of them.
    port : int
        Port that sites come in by: the only one that is not on loopback.
    flower_port : int
        Port on loopback of Flower's SuperLink.
    page_port : int
        Port on loopback of the page and the metrics.
    nginx : str
        Program of the reverse proxy; empty where another one is set up by hand.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    federation: str = Field("dermafed", pattern=r"^[A-Za-z0-9][A-Za-z0-9 _.,-]{0,63}$")
    host: str = Field(pattern=r"^[A-Za-z0-9.:-]+$")
    listen: str = "0.0.0.0"  # noqa: S104 -- sites are elsewhere
    port: int = Field(8443, ge=1, le=65535)
    flower_port: int = Field(8444, ge=1, le=65535)
    page_port: int = Field(8445, ge=1, le=65535)
    nginx: str = "nginx"

    @field_validator("listen")
    @classmethod
    def _is_address(cls, listen: str) -> str:
        # Without the brackets that nginx wants around one of IPv6.
        return str(ip_address(listen.removeprefix("[").removesuffix("]")))

    @property
    def address(self) -> str:
        """``host:port`` for sites."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def read_coordinator_file(folder: Path) -> CoordinatorFile:
    """Read ``coordinator.toml``.

    Raises
    ------
    SettingsError
        If it is missing, or naming what in it is wrong.
    """
    return read_settings_file(
        folder / COORDINATOR_FILE, CoordinatorFile, "dermafed coordinator init"
    )


def write_coordinator_file(folder: Path, settings: CoordinatorFile) -> None:
    """Write ``coordinator.toml``."""
    with whole_file(folder / COORDINATOR_FILE) as path:
        path.write_text(settings_text(_ABOUT, settings), encoding="utf-8")
