"""What a coordinator hands to a site: where it is, and what to trust. It holds no secret."""

from __future__ import annotations

import tomllib
from pathlib import Path

import tomli_w
from pydantic import BaseModel, ConfigDict

from common.errors import TrustError
from common.whole_file import whole_file

ENDING = ".invitation.toml"
# In the first line of every private key's PEM.
PRIVATE = "PRIVATE KEY"


class Invitation(BaseModel):
    """An invitation of one site.

    Attributes
    ----------
    federation : str
        Its name.
    site : str
        Who is invited.
    key : str
        The site's public key that the coordinator has registered.
    address : str
        ``host:port`` that the site reaches the coordinator by.
    authority : str
        Certificate of the federation's authority, PEM.
    bundle, code : str
        As `common.wire.bundle` gives them.
    version : str
        Release of dermafed at the coordinator.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    federation: str
    site: str
    key: str
    address: str
    authority: str
    bundle: str
    code: str
    version: str


def write_invitation(path: Path, invitation: Invitation) -> None:
    """Write an invitation.

    Raises
    ------
    TrustError
        If it would hold a private key.
    """
    text = tomli_w.dumps(invitation.model_dump())
    _refuse_private(text, path)
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def read_invitation(path: Path) -> Invitation:
    """Read an invitation.

    Raises
    ------
    TrustError
        If the file is none, or holds a private key.
    """
    try:
        text = path.read_text(encoding="utf-8")
        _refuse_private(text, path)
        return Invitation.model_validate(tomllib.loads(text))
    except OSError as error:
        raise TrustError(f"{path}: {error.strerror}") from error
    # Bytes that are no text, numbers too long and brackets too deep are no TOMLDecodeError.
    except (ValueError, RecursionError) as error:
        raise TrustError(f"{path}: not an invitation; ask the coordinator for it anew") from error


def _refuse_private(text: str, path: Path) -> None:
    if PRIVATE in text.upper():
        raise TrustError(f"{path}: holds a private key; nobody but its owner may have that")
