"""The SuperNode as a site's supervisor starts it: it ends when Flower's own has given up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from client.deployment.programs import site_services, supernode_command
from client.deployment.settings import SiteFile
from tests.client.deployed_site import MEMBERSHIP

# What Flower's program leaves: a thread that serves its port.
PROGRAM = """
import sys, threading
import flwr.supernode.cli.flower_supernode
from client.deployment.supernode import main

def given_up():
    print(sys.argv[0])
    threading.Thread(target=threading.Event().wait, daemon={daemon}).start()
    {ending}

# The package has a function of the module's name.
sys.modules["flwr.supernode.cli.flower_supernode"].flower_supernode = given_up
main()
"""


def _run(ending: str, *, daemon: bool = False) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(ending=ending, daemon=daemon)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("ending", ["return", "raise ValueError('no more')"])
def test_it_ends_though_a_thread_of_flowers_lives(ending: str) -> None:
    done = _run(ending)
    assert (done.returncode, done.stdout) == (1, "flower-supernode\n")
    assert ("ValueError: no more" in done.stderr) is ending.startswith("raise")


def test_where_flower_ends_it_the_exit_code_is_flowers() -> None:
    assert _run("sys.exit(74)", daemon=True).returncode == 74


def test_a_site_starts_flowers_supernode_so_with_the_same_options(tmp_path: Path) -> None:
    site = SiteFile(site="dias", cohort=tmp_path, membership=MEMBERSHIP)
    supernode, worker = site_services(tmp_path, site)
    assert (supernode.name, worker.name) == ("supernode", "worker")
    assert supernode.command[:3] == (sys.executable, "-m", "client.deployment.supernode")
    assert supernode.command[3:] == supernode_command(tmp_path, site)[1:]
