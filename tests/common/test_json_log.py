"""A deployment's log: one JSON object a line."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from common.deployment.log import JsonLines, log_json_lines


@pytest.fixture
def own_root() -> Iterator[None]:
    """Let a test set the root logger up, and take it back."""
    root, client = logging.getLogger(), logging.getLogger("httpx")
    handlers, levels = root.handlers, (root.level, client.level)
    yield
    root.handlers = handlers
    root.setLevel(levels[0])
    client.setLevel(levels[1])


@pytest.mark.usefixtures("own_root")
def test_every_record_is_one_object_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    before = datetime.now(UTC)
    log_json_lines()
    logger = logging.getLogger("site")
    logger.info("answered\n%s", '"fit"', extra={"run": 7, "round": 2, "kind": "contribute"})
    logger.debug("not shown")
    logging.getLogger("httpx").info("not shown")
    logger.warning("Zürich")
    first, second = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    when = datetime.fromisoformat(first.pop("time"))
    assert abs((when - before).total_seconds()) < 60
    assert first == {
        "level": "info",
        "text": 'answered\n"fit"',
        "run": 7,
        "round": 2,
        "kind": "contribute",
    }
    assert (second["level"], second["text"]) == ("warning", "Zürich")
    assert set(second) == {"time", "level", "text"}


def test_an_error_is_told_with_where_it_was_raised() -> None:
    with pytest.raises(ValueError, match="seven") as caught:
        int("seven")
    error = (caught.type, caught.value, caught.tb)
    line = JsonLines().format(logging.LogRecord("site", logging.ERROR, "", 0, "no", (), error))
    assert "\n" not in line
    assert "test_json_log" in json.loads(line)["error"]
    assert json.loads(line)["error"].endswith("'seven'")
