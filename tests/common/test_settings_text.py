"""Settings as people read them: each below what it means and its default, from one place."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from client.deployment.settings import Bounds, Membership, SiteFile, write_site_file
from common.settings_file import settings_text
from server.deployment.settings import CoordinatorFile, write_coordinator_file


class _Inner(BaseModel):
    """Something inside.

    Attributes
    ----------
    names : tuple of str
        Who may come: one of those who were asked, or one who was not asked, or one who comes
        quite uninvited.
    limit : int
        How many, at most; 0 for any number.
    """

    model_config = ConfigDict(frozen=True)

    names: tuple[str, ...] = ("a", "b")
    limit: int = 0


class _Outer(BaseModel):
    """Something.

    Attributes
    ----------
    place : str
        Where.
    other : str or None
        Where else.
    inner : _Inner
        Who.

    Notes
    -----
    limit : int
        This is no attribute.
    """

    model_config = ConfigDict(frozen=True)

    place: str
    other: str | None = None
    inner: _Inner = _Inner()


def test_each_setting_stands_below_its_meaning_and_its_default() -> None:
    made = _Outer(place='a "b"\n# c', inner=_Inner(names=("x",), limit=3))
    assert settings_text("Read me.", made).splitlines() == [
        "# Read me.",
        "",
        "# Where.",
        'place = "a \\"b\\"\\n# c"',
        "",
        "# Where else. Default: not set.",
        "# other = ...",
        "",
        "# Who.",
        "[inner]",
        "# Who may come: one of those who were asked, or one who was not asked, or one who comes",
        '# quite uninvited. Default: ["a", "b"].',
        'names = ["x"]',
        "",
        "# How many, at most; 0 for any number. Default: 0.",
        "limit = 3",
    ]


@pytest.mark.parametrize("kind", [SiteFile, Bounds, Membership, CoordinatorFile])
def test_every_setting_of_a_site_and_of_a_coordinator_is_documented(kind: type[BaseModel]) -> None:
    for name in kind.model_fields:
        assert f"\n    {name} : " in (kind.__doc__ or "")


def test_the_files_that_init_writes_say_what_each_setting_means(tmp_path: Path) -> None:
    write_site_file(tmp_path, SiteFile(site="dias", cohort=Path("/data")))
    write_coordinator_file(tmp_path, CoordinatorFile(host="fed.example.org"))
    for name in ("site.toml", "coordinator.toml"):
        lines = (tmp_path / name).read_text(encoding="utf-8").splitlines()
        settings = [at for at, line in enumerate(lines) if " = " in line]
        assert len(settings) >= 7
        assert all(lines[at - 1].startswith("# ") for at in settings), name
    text = (tmp_path / "site.toml").read_text(encoding="utf-8")
    assert "0 for any number. Default: 0.\nmost_runs = 0\n" in text
    assert tomllib.loads(text)["bounds"]["backbones"] == ["efficientnet_lite0"]
