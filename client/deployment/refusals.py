"""Why the site refused: what its log says under the identifiers that its trail has."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from common.deployment.service_log import log_path

_SAYS_MORE = re.compile(r"under ([0-9a-f]{8})\)$")


def explain_refusals(folder: Path, refused: Iterable[str]) -> dict[str, str]:
    """Look refusals up in the worker's log, which is no part of the chain.

    Parameters
    ----------
    folder : Path
        The site's.
    refused : iterable of str
        What the trail has of each.

    Returns
    -------
    dict of str to str
        The log's text of each that it still has; a log that was rotated away has none.
    """
    wanted = {found[1]: one for one in refused if (found := _SAYS_MORE.search(one))}
    path = log_path(folder, "worker")
    if not wanted or not path.is_file():
        return {}
    texts = {}
    with path.open(encoding="utf-8", errors="replace") as log:
        for line in log:
            text = _text(line)
            identifier, _, why = text.partition(" ")
            if identifier in wanted:
                texts[wanted[identifier]] = why
    return texts


def _text(line: str) -> str:
    """Give the text of a line; what the interpreter itself wrote is no JSON."""
    try:
        found = json.loads(line)
    except json.JSONDecodeError:
        return ""
    return str(found.get("text", "")) if isinstance(found, dict) else ""
