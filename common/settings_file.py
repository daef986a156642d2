"""Settings that people write: TOML files, and what is wrong in them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from common.errors import SettingsError

Checked = TypeVar("Checked", bound=BaseModel)


def read_settings_file(path: Path, kind: type[Checked], made_by: str) -> Checked:
    """Read a TOML file.

    Parameters
    ----------
    path : Path
        The file.
    kind : type
        What it must hold.
    made_by : str
        The command that makes one, for who has none.

    Raises
    ------
    SettingsError
        If it is missing, or naming what in it is wrong.
    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SettingsError(f"{path}: missing; make it with {made_by}") from error
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from error
    return check_settings_of(path, kind, found)


def check_settings_of(what: object, kind: type[Checked], found: Mapping[str, Any]) -> Checked:
    """Check settings.

    Parameters
    ----------
    what : object
        What holds them, for messages.
    kind : type
        What they must be.
    found : mapping of str to Any
        By name.

    Raises
    ------
    SettingsError
        Naming each setting that is unknown or out of bounds.
    """
    try:
        return kind.model_validate(found)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()
        )
        raise SettingsError(f"{what}: {problems}") from error
