"""Settings that people write: TOML files, and what is wrong in them."""

from __future__ import annotations

import inspect
import textwrap
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args

import tomli_w
from pydantic import BaseModel, ValidationError

from common.errors import SettingsError

Checked = TypeVar("Checked", bound=BaseModel)
_WIDTH = 86


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
        raise SettingsError(
            f"{path.absolute()}: missing; name its folder with --folder, or make it with {made_by}"
        ) from error
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
            _told(one["loc"], one["type"], one["msg"], kind) for one in error.errors()
        )
        raise SettingsError(f"{what}: {problems}") from error


def _told(place: tuple[int | str, ...], problem: str, message: str, kind: type[BaseModel]) -> str:
    """Say what is wrong with one setting."""
    where = ".".join(map(str, place))
    if problem != "extra_forbidden":
        return f"{where}: {message}"
    near = get_close_matches(str(place[-1]), _names(kind), 1)
    return f"{where}: unknown setting{f'; did you mean {near[0]}?' if near else ''}"


def _names(kind: type[BaseModel]) -> list[str]:
    """List the settings of a kind, those of its tables, too."""
    found = []
    for name, field in kind.model_fields.items():
        found.append(field.alias or name)
        for part in (field.annotation, *get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel):
                found += _names(part)
    return found


def settings_text(about: str, settings: BaseModel) -> str:
    """Write settings as TOML, each below what its class says of it and its default.

    Parameters
    ----------
    about : str
        The first line, a comment.
    settings : BaseModel
        What to write; its class's docstring has the NumPy section ``Attributes``.
    """
    return "\n".join([f"# {about}", "", *_lines(settings, "")]).rstrip() + "\n"


def _lines(settings: BaseModel, table: str) -> list[str]:
    values, tables = [], []
    meanings = _meanings(type(settings))
    plain = settings.model_dump(mode="json")
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            below = f"{table}.{name}" if table else name
            tables += [*_comment(meanings.get(name, "")), f"[{below}]", *_lines(value, below)]
            continue
        default = "" if field.is_required() else f" Default: {_written(field.default)}."
        values += _comment(f"{meanings.get(name, '')}{default}")
        # TOML has no word for nothing.
        values += [f"# {name} = ..." if value is None else f"{name} = {_written(plain[name])}", ""]
    return [*values, *tables]


def _written(value: object) -> str:
    if value is None:
        return "not set"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_written, value))}]"
    return tomli_w.dumps({"value": value}).removeprefix("value = ").removesuffix("\n")


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, _WIDTH)]


def _meanings(kind: type[BaseModel]) -> dict[str, str]:
    """Read what a class's docstring says of each attribute."""
    _, _, section = (inspect.getdoc(kind) or "").partition("Attributes\n----------\n")
    found: dict[str, list[str]] = {}
    names: list[str] = []
    for line in section.split("\n\n")[0].splitlines():
        if line.startswith(" "):
            for name in names:
                found[name].append(line.strip())
        else:
            names = line.partition(" : ")[0].split(", ")
            found.update({name: [] for name in names})
    return {name: " ".join(lines) for name, lines in found.items()}
