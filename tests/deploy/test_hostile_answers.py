"""A site that answers wrongly, with its real key and beside its real SuperNode.

Each test ends by the model: it is the others', to the last bit of a simulation that has never
heard of the site, or there is none.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy.conftest import LEARNER, SITES, Federation, same_model
from tests.deploy.hostile_site import answering_wrongly, members_and_left_out, simulate_without
from tests.deploy.hostile_worker import DONE

# A federation of its own, for minutes.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]
SITE = "vidir_modern"
OTHERS = set(SITES) - {SITE}
# Long enough for a site that is slow because the machine is busy.
DEADLINE, LATE = 60.0, 65.0
WITH_DEADLINE = ("--deadline", str(DEADLINE))


@pytest.fixture(scope="module")
def others(federation: Federation) -> Path:
    """A simulation of the other sites alone."""
    return simulate_without(federation, SITE)


@pytest.mark.parametrize(
    ("fault", "options", "reason"),
    [
        ("nan", (), "holds NaN or infinity"),
        ("shape", (), "shape ("),
        ("count", (), "images were registered"),
        ("hang", WITH_DEADLINE, "no reply within 60 s"),
        ("late", WITH_DEADLINE, "no reply within 60 s"),
    ],
)
def test_a_site_that_answers_wrongly_is_left_out_by_name_and_leaves_no_trace_in_the_model(
    federation: Federation,
    trained: Path,
    others: Path,
    tmp_path: Path,
    fault: str,
    options: tuple[str, ...],
    reason: str,
) -> None:
    with answering_wrongly(federation, SITE, fault, tmp_path, seconds=LATE):
        done = federation.run(fault, *LEARNER, "--quorum", "3", *options)
    assert done.returncode == 0, done.stderr
    run = federation.result(fault)
    members, left_out = members_and_left_out(run)
    assert members == OTHERS
    assert left_out.keys() == {SITE}
    assert reason in left_out[SITE]
    assert same_model(run, others)
    assert not same_model(run, trained)
    # A late answer left the site while the run was still on.
    answered = (tmp_path / DONE).stat().st_mtime
    assert answered < (run / "result.json").stat().st_mtime


def test_where_every_site_must_answer_a_wrong_answer_ends_the_run_without_a_model(
    federation: Federation, trained: Path, tmp_path: Path
) -> None:
    with answering_wrongly(federation, SITE, "nan", tmp_path):
        done = federation.run("below", *LEARNER, "--quorum", "4")
    assert (tmp_path / DONE).exists()
    assert done.returncode == 1
    assert f"{SITE}: " in done.stderr
    assert not federation.result("below").exists()
    assert not list(federation.coordinator.rglob("below*/model.safetensors"))


def test_of_two_replies_to_one_message_the_first_counts_and_the_second_is_never_read(
    federation: Federation, trained: Path, tmp_path: Path
) -> None:
    with answering_wrongly(federation, SITE, "twice", tmp_path):
        done = federation.run("twice", *LEARNER)
    assert (tmp_path / DONE).exists()
    assert done.returncode == 0, done.stderr
    members, left_out = members_and_left_out(federation.result("twice"))
    assert (members, left_out) == (set(SITES), {})
    assert same_model(federation.result("twice"), trained)
