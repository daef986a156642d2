"""Sites that allow fine-tuning for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

import psutil

from tests.deploy.conftest import SITES, Federation, wait_until

BACKBONE = "efficientnet_lite0+view:64x48"
TASK = (
    *("--strategy", "fedavg", "--backbone", BACKBONE, "--train", "plan=head:1,all:2"),
    # The smallest site's share of a batch is one image, and its minimum is ten.
    *("--train", "steps=4", "--train", "batch=8", "--train", "share_batch=false"),
)


def _allow(federation: Federation, changes: dict[str, str]) -> None:
    """Change what each site allows, and let its worker read it."""
    before: dict[str, int] = {}
    for site in SITES:
        path = federation.site(site) / "site.toml"
        text = path.read_text(encoding="utf-8")
        for old, new in changes.items():
            assert old in text
            text = text.replace(old, new)
        path.write_text(text, encoding="utf-8")
        # A hostile one was there, or it has just ended of its own will.
        wait_until(partial(_has_worker, federation, site))
        worker = _worker(federation, site)
        assert worker is not None
        before[site] = worker.pid
        # Its supervisor starts another.
        with suppress(psutil.NoSuchProcess):
            worker.terminate()

    def is_another(site: str) -> bool:
        worker = _worker(federation, site)
        return worker is not None and worker.pid != before[site]

    for site in SITES:
        wait_until(partial(is_another, site))


def _worker(federation: Federation, site: str) -> psutil.Process | None:
    try:
        return federation.process(federation.site(site), "worker")
    except (psutil.NoSuchProcess, TypeError):
        return None


def _has_worker(federation: Federation, site: str) -> bool:
    return _worker(federation, site) is not None


@contextmanager
def allowing_fine_tuning(federation: Federation) -> Iterator[None]:
    """Have each site allow FedAvg over small images."""
    changes = {
        "strategies = []": 'strategies = ["fedavg"]',
        'backbones = ["efficientnet_lite0"]': f'backbones = ["efficientnet_lite0", "{BACKBONE}"]',
    }
    _allow(federation, changes)
    yield
    _allow(federation, {after: before for before, after in changes.items()})
