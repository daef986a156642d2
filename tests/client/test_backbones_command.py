"""``dermafed backbones``: the table, and the check against reference outputs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from client.commands.backbones import app
from common.backbones import backbone_names, packaged_lite
from common.backbones.reference import Reference
from common.backbones.weights import WEIGHTS_VARIABLE
from common.errors import SettingsError, WeightsError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path))
    return tmp_path


def _rows() -> dict[str, list[str]]:
    shown = CliRunner().invoke(app, [])
    assert shown.exit_code == 0, shown.output
    cells = [re.split(r"\s*│\s*", line.strip("│ ")) for line in shown.output.splitlines()]
    return {row[0]: row[1:] for row in cells if len(row) == 5}


def test_the_table_says_what_each_backbone_gives_takes_and_needs(folder: Path) -> None:
    (folder / "swin_t-704ceda3.pth").touch()
    rows = _rows()
    # One that the tests add has no weights.
    assert list(rows) == [name for name in backbone_names() if name != "tiny"]
    lite, vgg = rows["efficientnet_lite0"], rows["vgg16"]
    assert lite == ["1280", "224 x 224, central square, bicubic", "Apache-2.0", "package"]
    assert vgg == ["512", "224 x 224, of 256, bilinear", "BSD-3-Clause", "to be fetched"]
    assert rows["swin_t"][-1] == "file"


def test_a_backbone_that_matches_is_told_so() -> None:
    shown = CliRunner().invoke(app, ["check", "efficientnet_lite0"])
    assert shown.exit_code == 0, shown.output
    assert "efficientnet_lite0: matches timm's scores with these weights; 16 numbers" in (
        shown.output
    )


def test_one_that_differs_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = packaged_lite.reference

    def reference(*arguments: object) -> Reference:
        told = plain(*arguments)  # type: ignore[arg-type]
        return told._replace(wanted=told.wanted + 0.1)

    monkeypatch.setattr(packaged_lite, "reference", reference)
    shown = CliRunner().invoke(app, ["check", "efficientnet_lite0"])
    assert isinstance(shown.exception, WeightsError)
    assert "differs by" in str(shown.exception)


def test_an_unknown_backbone_fails() -> None:
    shown = CliRunner().invoke(app, ["check", "alexnet"])
    assert isinstance(shown.exception, SettingsError)
