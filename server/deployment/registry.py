"""The sites that a coordinator has invited: whose key is which node, and under which name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from common.errors import DeploymentError
from common.settings import RunSettings
from common.whole_file import whole_file

REGISTRY_FILE = "sites.json"
# What a site may be called.
NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"


class Member(BaseModel):
    """A site.

    Attributes
    ----------
    site : str
        Its name.
    node_id : int
        Flower's number of its node, which its key belongs to.
    key : str
        Its public key.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    site: str = Field(pattern=NAME)
    node_id: int
    key: str


_MEMBERS = TypeAdapter(tuple[Member, ...])


def read_registry(path: Path) -> tuple[Member, ...]:
    """Read the registry; there is none before the first invitation.

    Raises
    ------
    DeploymentError
        If the file is damaged.
    """
    try:
        return _MEMBERS.validate_json(path.read_bytes())
    except FileNotFoundError:
        return ()
    except (OSError, ValidationError) as error:
        raise DeploymentError(f"{path}: damaged; restore it from a backup") from error


def write_registry(path: Path, members: tuple[Member, ...]) -> None:
    """Write the registry, in the order of the sites' names."""
    ordered = tuple(sorted(members, key=lambda member: member.site))
    with whole_file(path) as partial:
        partial.write_bytes(_MEMBERS.dump_json(ordered, indent=1))


def invited(settings: RunSettings) -> Mapping[int, str] | None:
    """Give the invited sites' names by node; None for a run that believes what nodes say."""
    if not settings.registry:
        return None
    return {member.node_id: member.site for member in read_registry(Path(settings.registry))}
