"""Flower's partitioners: loaded late, quiet, offline, and without a trace in global state."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset
from flwr_datasets.partitioner import ExponentialPartitioner, NaturalIdPartitioner

from common.errors import PartitionError
from common.flower_parts import (
    class_parts,
    dirichlet_parts,
    equal_parts,
    falling_parts,
    natural_parts,
)

_DRAW_ALL = """
import json, random, socket, sys
import numpy as np

def refuse(*args, **kwargs):
    raise AssertionError("the network is asked")

socket.socket.connect = socket.getaddrinfo = refuse
states = random.getstate(), np.random.get_state()[1].tolist()

from common.flower_parts import *
from common.partition import parse_partition

parse_partition("dirichlet:0.1:3")
early = sorted({"flwr_datasets", "datasets"} & sys.modules.keys())
label = np.arange(60) % 4
parts = {
    "natural": natural_parts(np.array(["a", "b", "c"])[np.arange(60) % 3])[1],
    "equal": equal_parts(60, 7),
    "falling": falling_parts(60, 3, 20.0),
    "dirichlet": dirichlet_parts(label, 5, 0.5, 3),
    "class": class_parts(label, 5, 2),
}
touched = states != (random.getstate(), np.random.get_state()[1].tolist())
drawn = {name: [part.tolist() for part in given] for name, given in parts.items()}
print(json.dumps({"early": early, "touched": touched, "drawn": drawn}))
"""


def test_a_fresh_process_draws_the_same_quietly_offline_and_leaves_nothing_behind(
    tmp_path: Path,
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    switches = {name for name in os.environ if name.startswith(("HF_", "TQDM_"))}
    environment = {name: value for name, value in os.environ.items() if name not in switches}
    environment |= {
        "HF_HOME": str(tmp_path / "hf"),
        "TMPDIR": str(temporary),
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "PYTHONHASHSEED": "7",
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _DRAW_ALL],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=environment,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = done.stdout.splitlines()
    found = json.loads(line)
    assert found["early"] == [], "reading a partition's text needs no partitioner"
    assert not found["touched"], "the global generators have moved"
    assert [path.name for path in tmp_path.rglob("*")] == ["tmp"]

    label = np.arange(60) % 4
    assert found["drawn"] == {
        name: [part.tolist() for part in parts]
        for name, parts in {
            "natural": [np.arange(60)[at::3] for at in range(3)],
            "equal": equal_parts(60, 7),
            "falling": falling_parts(60, 3, 20.0),
            "dirichlet": dirichlet_parts(label, 5, 0.5, 3),
            "class": class_parts(label, 5, 2),
        }.items()
    }


def test_parts_by_value_are_those_of_flowers_natural_id_partitioner() -> None:
    value = np.random.default_rng(0).choice(["vidir", "dias", "rosendahl"], size=50)
    theirs = NaturalIdPartitioner("value")
    theirs.dataset = Dataset.from_dict({"value": value, "at": np.arange(50)})
    names, parts = natural_parts(value)
    assert names == ("dias", "rosendahl", "vidir")
    assert theirs.num_partitions == len(parts)
    for index, part in enumerate(parts):
        assert part.tolist() == theirs.load_partition(index)[:]["at"]


def test_falling_parts_of_ratio_e_are_those_of_flowers_exponential_partitioner() -> None:
    theirs = ExponentialPartitioner(4)
    theirs.dataset = Dataset.from_dict({"at": np.arange(500)})
    parts = falling_parts(500, 4, float(np.exp(3)))
    rising = [theirs.load_partition(index)[:]["at"] for index in range(4)]
    assert [part.tolist() for part in parts] == rising[::-1]


def test_rows_too_few_for_the_last_part_are_refused() -> None:
    assert [len(part) for part in falling_parts(21, 2, 20.0)] == [20, 1]
    with pytest.raises(PartitionError, match="quantity:2: 20 lesions leave the last site none"):
        falling_parts(20, 2, 20.0)


def test_labels_are_dealt_round_and_round() -> None:
    label = np.repeat([0, 1, 2], 4)
    parts = class_parts(label, 3, 2)
    assert [sorted(set(label[part].tolist())) for part in parts] == [[0, 1], [0, 2], [1, 2]]
    assert [part.tolist() for part in parts] == [[0, 1, 4, 5], [8, 9, 2, 3], [6, 7, 10, 11]]


@pytest.mark.parametrize("package", ["flwr_datasets", "datasets"])
def test_a_package_that_is_not_there_is_named_with_what_to_install(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(PartitionError, match=rf"{package} is not.*pip install 'dermafed\[simulat"):
        equal_parts(3, 2)
