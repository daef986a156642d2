"""What ``dermafed site audit`` says of refusals: the trail's word beside the log's."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from client.deployment.refusals import explain_refusals
from common import wire
from common.deployment.log import JsonLines
from common.deployment.service_log import log_path
from tests.client.deployed_site import TINY_BOUNDS, Deployed, site_file
from tests.client.site_commands import SiteCommands

LINE = "BoundsError (the site's log says more under 0a1b2c3d)"


@pytest.fixture
def site(write_cached_cohort: Callable[..., Path], clinic: SiteCommands) -> SiteCommands:
    """A site that was just made."""
    assert clinic.init(write_cached_cohort({"dias": 12}))[0] == 0
    return clinic


@contextmanager
def _worker_log(folder: Path) -> Iterator[None]:
    """Write what is logged as a worker does."""
    written, root = io.StringIO(), logging.getLogger()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonLines())
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
    path = log_path(folder, "worker")
    path.parent.mkdir(exist_ok=True)
    path.write_text(written.getvalue(), encoding="utf-8")


def test_what_a_site_really_refused_is_told_with_its_reason(
    write_cached_cohort: Callable[..., Path], tmp_path: Path
) -> None:
    root = write_cached_cohort({"dias": 60})
    bounds = TINY_BOUNDS.model_copy(update={"learners": ("ridge",)})
    site = Deployed(site_file(root, bounds=bounds), tmp_path / "site")
    with _worker_log(site.folder):
        # By the bounds, and by the app behind them.
        site.ask(wire.JOIN, learner="svm")
        site.ask(wire.CONTRIBUTE, learner="ridge")
    refused = [line["refused"] for line in site.lines()]
    texts = explain_refusals(site.folder, refused)
    assert list(texts) == refused
    assert texts[refused[0]].startswith("BoundsError: ")
    assert "'svm'" in texts[refused[0]]
    assert texts[refused[1]].startswith("ContributionError: ")


def test_audit_prints_the_logs_reason_beside_a_refusal(site: SiteCommands) -> None:
    site.add_line(sent=(), refused=LINE)
    log = log_path(site.folder, "worker")
    log.parent.mkdir()
    log.write_text(
        "Fatal Python error, which is no JSON\n7\n"
        '{"text": "0a1b2c3d BoundsError: [bold]svm[/bold] is not allowed"}\n'
        '{"text": "0a1b2c3e BoundsError: of another line"}\n',
        encoding="utf-8",
    )
    _, shown, _ = site("audit")
    words = " ".join(shown.replace("│", " ").split())
    # A table's cell is folded anywhere.
    assert "[bold]svm[/bold]" in words
    assert "another" not in words


def test_audit_of_a_refusal_whose_log_is_gone_prints_what_the_trail_has(
    site: SiteCommands,
) -> None:
    site.add_line(sent=(), refused=LINE)
    code, shown, _ = site("audit")
    assert code == 0
    assert "0a1b2c3d" in shown
