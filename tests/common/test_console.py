"""Where output is no terminal, lines stay whole and nothing moves."""

from __future__ import annotations

import io
import sys

import pytest

from common.console import messages, progress_bar, say


def test_a_long_name_is_not_broken(capsys: pytest.CaptureFixture[str]) -> None:
    name = "/".join(["a very long folder"] * 100)
    messages().print(name, highlight=False, soft_wrap=True)
    assert capsys.readouterr().err == f"{name}\n"


def test_progress_is_silent_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with progress_bar(messages(), "features") as bar:
        bar(1, 2)
        bar.describe("more")
        bar(2, 2)
    assert stream.getvalue().strip() == ""


def test_a_line_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """A fingerprint may hold what is the name of an emoji elsewhere."""
    line = "A1:CD:F5 :smile: [bold]x[/bold] [/data]"
    say(messages(), line)
    assert capsys.readouterr().err == f"{line}\n"
