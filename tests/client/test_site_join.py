"""``dermafed site join``, ``audit`` and ``check`` as their user meets them."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import common.backbones.registry
from client.deployment.audit import AUDIT_FILE
from client.deployment.leaving import statistics
from client.deployment.settings import SITE_FILE, read_site_file, write_site_file
from common.backbones import Backbone
from common.cohort import load_cohort
from common.deployment.running import STATE
from common.deployment.supervisor import PLAN
from common.trust import new_authority, new_site_key
from common.wire.bundle import code_hash
from tests.client.site_commands import AUTHORITY, SiteCommands


@pytest.fixture
def site(
    write_cached_cohort: Callable[..., Path],
    tiny_backbone: Backbone,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> SiteCommands:
    """A site that was just made, which answers with a small backbone."""
    monkeypatch.setattr(common.backbones.registry, "_BACKBONES", (tiny_backbone,))
    made = SiteCommands(tmp_path / "clinic", monkeypatch, capsys)
    root = write_cached_cohort({"dias": 40, "molemax": 9}, backbone=tiny_backbone)
    assert made.init(root)[0] == 0
    own = read_site_file(made.folder)
    bounds = own.bounds.model_copy(update={"backbones": ("tiny",)})
    write_site_file(made.folder, own.model_copy(update={"bounds": bounds}))
    return made


def openssl_fingerprint(pem: str) -> str:
    done = subprocess.run(
        ["openssl", "x509", "-noout", "-fingerprint", "-sha256"],
        input=pem,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip().partition("=")[2]


# join


def test_a_dry_run_prints_flowers_command_without_any_secret_and_runs_nothing(
    site: SiteCommands,
) -> None:
    code, shown, errors = site("join", site.invite(), "--dry-run")
    assert code == 0
    # What two people compare, as OpenSSL tells it.
    assert f"compare on the telephone: {openssl_fingerprint(AUTHORITY)}" in errors
    program, *options = shlex.split(shown)
    assert Path(program).name == "flower-supernode"
    folder = site.folder
    for option, value in {
        "--superlink": "coordinator.example:9092",
        "--root-certificates": str(folder / "authority.pem"),
        "--auth-supernode-private-key": str(folder / "site.key"),
        "--superexec-auth-secret-file": str(folder / "worker.secret"),
        "--isolation": "process",
        "--host": "127.0.0.1",
        "--port": "9094",
    }.items():
        assert options[options.index(option) + 1] == value
    assert "--insecure" not in options
    key = (folder / "site.key").read_text(encoding="utf-8").splitlines()
    assert not [line for line in key if line in shown]
    assert (folder / "worker.secret").read_bytes().hex() not in shown
    assert not [name for name in (PLAN, STATE, "logs") if (folder / name).exists()]


def test_what_an_invitation_tells_is_trusted_from_then_on(site: SiteCommands) -> None:
    site("join", site.invite(), "--dry-run")
    member = read_site_file(site.folder).membership
    assert member is not None
    assert (member.address, member.bundle) == ("coordinator.example:9092", "b" * 64)
    assert (member.authority, member.code) == (AUTHORITY, code_hash())
    assert (site.folder / "authority.pem").read_text(encoding="utf-8") == AUTHORITY
    # It is not needed again; and the same federation's next one is taken.
    assert site("join", "--dry-run")[0] == 0
    assert site("join", site.invite(bundle="c" * 64), "--dry-run")[0] == 0
    member = read_site_file(site.folder).membership
    assert member is not None
    assert member.bundle == "c" * 64


def _another_key() -> str:
    return new_site_key("dias")[1].decode()


@pytest.mark.parametrize(
    ("changes", "told", "remedy"),
    [
        ({"site": "molemax"}, "is for site molemax, this is dias", "ask the coordinator"),
        ({"key": _another_key()}, "is for another key than", "site.pub; send that file again"),
        ({"key": "none"}, "not a public key", "dermafed site init"),
        ({"code": "0" * 64}, "has other code (dermafed 9.9) than this site", "the same release"),
        ({"address": "coordinator.example"}, "address is wrong", "ask the coordinator"),
        ({"bundle": "short", "address": "h:0"}, "address, bundle is wrong", "ask the coordinator"),
    ],
)
def test_an_invitation_that_is_not_this_sites_is_refused_with_what_to_do(
    site: SiteCommands, changes: dict[str, str], told: str, remedy: str
) -> None:
    before = {path.name: path.read_bytes() for path in site.folder.iterdir()}
    error = site.refuse("join", site.invite(**changes), "--dry-run")
    assert told in error
    assert remedy in error.partition(told)[2]
    assert {path.name: path.read_bytes() for path in site.folder.iterdir()} == before


def test_what_is_no_invitation_is_refused(site: SiteCommands, tmp_path: Path) -> None:
    path = tmp_path / "it.toml"
    assert f"{path}: No such file" in site.refuse("join", path)
    for content in (b"\xff", b"site = ", b"site = 'dias'\n"):
        path.write_bytes(content)
        assert f"{path}: not an invitation; ask the coordinator" in site.refuse("join", path)
    assert "dermafed site join INVITATION" in site.refuse("join")
    invitation = site.invite()
    (site.folder / "site.pub").unlink()
    assert f"{site.folder / 'site.pub'}: No such file" in site.refuse("join", invitation)


@pytest.mark.parametrize("name", ["site.key", "worker.secret"])
def test_a_site_whose_private_files_others_may_read_does_not_start(
    site: SiteCommands, name: str
) -> None:
    site("join", site.invite(), "--dry-run")
    (site.folder / name).chmod(0o644)
    assert f"{name}: others may read it" in site.refuse("join", "--detach")
    assert not (site.folder / STATE).exists()


def test_another_federation_is_joined_only_after_leaving(site: SiteCommands) -> None:
    site("join", site.invite(), "--dry-run")
    invitation = site.invite(authority=new_authority("another").certificate.decode())
    assert "dermafed site leave" in site.refuse("join", invitation, "--dry-run")
    assert (site.folder / "authority.pem").read_text(encoding="utf-8") == AUTHORITY
    site("leave")
    assert site("join", invitation, "--dry-run")[0] == 0


# audit


def test_audit_prints_what_left_and_the_last_hash(site: SiteCommands) -> None:
    code, _, errors = site("audit")
    assert (code, errors) == (0, "0 lines, the chain is whole\n")
    for number in range(3):
        site.add_line(round=f"round-{number}")
    site.add_line(kind="query.join", sent=(), refused="BoundsError (under 5f)")
    code, shown, errors = site("audit")
    assert code == 0
    assert all(f"round-{number}" in shown for number in range(3))
    assert shown.count("1,578 bytes") == 3
    assert shown.count("BoundsError (under 5f)") == 1
    assert "float64" not in shown
    last = (site.folder / AUDIT_FILE).read_text(encoding="utf-8").splitlines()[-1]
    assert errors.splitlines() == [
        "4 lines, the chain is whole",
        f"last hash: {json.loads(last)['hash']}",
    ]
    _, shown, _ = site("audit", "--last", 2, "--statistics")
    assert "round-1" not in shown
    assert "gram float64 [7, 8]" in shown
    assert "round-0" in site("audit", "--last", 0)[1]


def test_audit_prints_how_many_images_what_left_was_over(site: SiteCommands) -> None:
    site.add_line(images=7315)
    site.add_line()
    site.add_line(sent=(), refused="BoundsError (under 5f)")
    _, shown, _ = site("audit")
    rows = [line.split("│") for line in shown.splitlines() if "train.contribute" in line]
    # A line of an earlier release tells the minimum alone, and of a refusal nothing left.
    assert [row[7].strip() for row in rows] == ["7315", ">= 5", ""]


def test_audit_of_a_trail_that_was_touched_exits_with_1(site: SiteCommands) -> None:
    for _ in range(3):
        site.add_line()
    path = site.folder / AUDIT_FILE
    path.write_bytes(path.read_bytes().replace(b'"bytes": 1576', b'"bytes": 1575', 2)[:-1] + b"\n")
    assert f"{path}: line 1 is not the one" in site.refuse("audit")
    assert f"{path}: line 1 is " in site("status")[2]


@pytest.mark.parametrize("text", ["[/nothing]", "[bold red]x", "[link=file:///etc]y", ":smile:"])
def test_a_coordinators_text_is_printed_as_it_is(site: SiteCommands, text: str) -> None:
    site.add_line(learner=text)
    code, shown, _ = site("audit")
    assert (code, text in shown) == (0, True)


# check


def test_check_prints_each_finding_and_what_would_leave(site: SiteCommands) -> None:
    code, shown, errors = site("check", "--learner", "ridge")
    assert (code, errors) == (0, "")
    assert "WRONG" not in shown
    assert "ok    cohort: 40 images, 7 classes" in shown
    own = read_site_file(site.folder)
    classes = load_cohort(own.cohort).classes
    listed = statistics("ridge", "tiny", classes, own.bounds, malignant=True)
    _, _, after = shown.partition("\nridge:\n")
    page, _, _ = after.partition(", if ")
    printed = [line.split("  ") for line in page.splitlines() if line.startswith("  ")]
    assert [[cell.strip() for cell in row if cell] for row in printed] == [
        [one.when, one.part, one.name, " x ".join(map(str, one.shape)), f"{one.bytes:,}", "5"]
        for one in listed
    ]
    # No terminal cuts a name.
    assert max(map(len, page.splitlines())) < 100
    assert "Learners answered: ncm, lda, ridge, logistic, svm" in shown
    assert "Fine-tuning answered: none" in shown
    assert "newton" not in shown


def test_check_lists_every_learner_and_strategy_that_the_site_allows(site: SiteCommands) -> None:
    code, shown, _ = site("check")
    assert code == 0
    names = [line for line in shown.splitlines() if line.endswith(":") and line[0] != " "]
    assert "each:" in names
    assert "lda, ridge:" in names
    assert "newton" in shown
    own = read_site_file(site.folder)
    few = own.bounds.model_copy(update={"learners": ("ncm",), "strategies": ("fedavg",)})
    write_site_file(site.folder, own.model_copy(update={"bounds": few}))
    code, shown, _ = site("check")
    # The small backbone has no stages, and it is said.
    assert code == 1
    assert "WRONG fine-tuning: backbone tiny: has no stages" in shown
    assert "\nncm:\n" in shown
    assert "gradient" not in shown.partition("class_sum")[0]
    assert "lda" not in shown.partition("Learners answered")[0]
    assert "Fine-tuning answered: fedavg" in shown


def test_check_exits_with_1_when_something_is_wrong(site: SiteCommands) -> None:
    (site.folder / "site.key").chmod(0o644)
    code, shown, _ = site("check")
    assert code == 1
    assert f"WRONG keys: {site.folder / 'site.key'}: others may read it" in shown
    # What would leave is told all the same.
    assert "What would leave this building" in shown


def test_check_of_a_site_without_its_cohort_exits_with_1(site: SiteCommands) -> None:
    cohort = read_site_file(site.folder).cohort
    cohort.rename(cohort.with_name("moved"))
    code, shown, errors = site("check")
    assert (code, errors) == (1, "")
    assert f"WRONG cohort: {cohort}" in shown
    assert "What would leave" not in shown


def test_check_of_a_learner_that_there_is_not_says_which_there_are(site: SiteCommands) -> None:
    code, _, errors = site("check", "--learner", "logistc")
    assert (code, errors.count("\n")) == (1, 1)
    assert "choose one of: ncm, lda, ridge, logistic, svm" in errors


def test_a_site_that_allows_no_backbone_is_told_so(site: SiteCommands) -> None:
    path = site.folder / SITE_FILE
    text = path.read_text(encoding="utf-8").replace('"tiny"', "")
    path.write_text(text, encoding="utf-8")
    assert f"{path}: bounds.backbones: " in site.refuse("check")
