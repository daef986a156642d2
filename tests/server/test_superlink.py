"""The SuperLink as the coordinator starts it: Flower's own, whose database waits its turn."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

from server.deployment.programs import coordinator_services, superlink_command
from server.deployment.settings import CoordinatorFile

# Flower's own objects are kept in the database that its program would open.
PROGRAM = """
import sys
import flwr.superlink.cli
from flwr.supercore.object_store.sql_object_store import SqlObjectStore
from server.deployment.superlink import main

def opened():
    store = SqlObjectStore(sys.argv[1])
    store.initialize()
    print(sys.argv[0], store.query("PRAGMA busy_timeout"), flush=True)
    sys.stdin.readline()
    with store.session() as session:
        from sqlalchemy import text
        session.execute(text("CREATE TABLE written (one INTEGER)"))
    print("written")

flwr.superlink.cli.flower_superlink = opened
main()
"""


def test_a_write_waits_longer_than_flowers_five_seconds_for_its_turn(tmp_path: Path) -> None:
    database = tmp_path / "superlink.db"
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(database)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    first = process.stdout.readline()
    assert first == "flower-superlink [{'timeout': 25000}]\n"
    other = sqlite3.connect(database)
    other.execute("BEGIN IMMEDIATE")
    process.stdin.write("go on\n")
    process.stdin.flush()
    # Flower's own would have given up.
    try:
        said, errors = process.communicate(timeout=7)
    except subprocess.TimeoutExpired:
        other.rollback()
        said, errors = process.communicate(timeout=30)
    else:
        raise AssertionError(f"it did not wait: {said}{errors}")
    finally:
        other.close()
    assert said == "written\n", errors


def test_a_coordinator_starts_flowers_superlink_so_with_the_same_options(tmp_path: Path) -> None:
    settings = CoordinatorFile(host="coordinator.example", nginx="")
    superlink = coordinator_services(tmp_path, settings)[0]
    assert superlink.name == "superlink"
    assert superlink.command[:3] == (sys.executable, "-m", "server.deployment.superlink")
    assert superlink.command[3:] == superlink_command(tmp_path, settings)[1:]
