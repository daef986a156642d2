"""A federation within one process: every site is asked, as itself, and each reply is had once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from flwr.app import RecordDict

from client.site import make_site
from common.errors import ContributionError
from common.settings import RunSettings
from simulations.local_grid import LocalGrid
from simulations.run_app import run_app
from simulations.studies.lab import Lab
from tests.simulations.studies.study_lab import SITES, TINY

SETTINGS = RunSettings(backbone="tiny", draws=0)


def grid(lab: Lab, settings: RunSettings = SETTINGS) -> LocalGrid:
    nodes = {}
    for node, name in enumerate(SITES, start=2):
        rows = np.flatnonzero(lab.cohort.site == name)
        nodes[node] = make_site(name, lab.cohort, rows, lab.x[rows], TINY, split_seed=1)
    return LocalGrid(nodes, settings)


def test_every_site_is_in_the_federation_by_its_own_name(lab: Lab, tmp_path: Path) -> None:
    result = run_app(grid(lab), SETTINGS, tmp_path)
    images = {site: int((lab.cohort.site == site).sum()) for site in SITES}
    assert result["partition"]["images"] == images
    assert result["bytes_up"] > 0
    # The model and the result, and no folder in between.
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("model.json", "model.safetensors", "result.json"),
    ]


def test_a_reply_is_had_once(lab: Lab) -> None:
    nodes = grid(lab)
    assert list(nodes.get_node_ids()) == [2, 3, 4]
    message = nodes.create_message(RecordDict(), "query.join", 3, "1")
    (name,) = nodes.push_messages([message])
    (reply,) = nodes.pull_messages([name, "another"])
    assert reply.metadata.src_node_id == 3
    assert reply.metadata.reply_to_message_id == name
    assert list(nodes.pull_messages([name])) == []


def test_sending_and_receiving_gives_a_reply_for_each_message(lab: Lab) -> None:
    nodes = grid(lab)
    messages = [nodes.create_message(RecordDict(), "query.join", node, "1") for node in (4, 2)]
    replies = list(nodes.send_and_receive(messages))
    assert [reply.metadata.src_node_id for reply in replies] == [4, 2]


def test_what_a_federation_refuses_comes_out_as_it_was_raised(lab: Lab, tmp_path: Path) -> None:
    rows = np.flatnonzero(lab.cohort.y == 2)
    site = make_site("one", lab.cohort, rows, lab.x[rows], TINY, split_seed=1)
    with pytest.raises(ContributionError, match="fewer than two classes"):
        run_app(LocalGrid({2: site}, SETTINGS), SETTINGS, tmp_path)
