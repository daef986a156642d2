"""``dermafed coordinator``: what it writes, and the commands of Flower's that it shows."""

from __future__ import annotations

import shlex
import sys
import tomllib
from pathlib import Path

import pytest
import typer
from flwr.cli.run.run import run as flwr_run
from flwr.supercore.cli.flower_superexec import _parse_args as superexec_parser
from flwr.superlink.cli.flower_superlink import _parse_args_run_superlink as superlink_parser
from typer.testing import CliRunner

from common.cli import app
from common.deployment.invitation import read_invitation
from common.errors import DeploymentError, SettingsError, TrustError
from common.settings import RunSettings
from common.trust import new_site_key
from server.deployment import setup
from server.deployment.programs import coordinator_services
from server.deployment.registry import Member, write_registry
from server.deployment.settings import (
    CoordinatorFile,
    read_coordinator_file,
    write_coordinator_file,
)

# Flower's own packing of a bundle.
pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")
BIN = Path(sys.executable).parent


@pytest.fixture(autouse=True)
def _tiny_backbone() -> None:
    """Leave the backbones as they are: a run is checked against the one that it names."""


def _coordinator(*arguments: str) -> str:
    """Run the command, and give what it prints on standard output."""
    done = CliRunner().invoke(app, ["coordinator", *arguments], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A coordinator without a proxy, so that none needs to be installed."""
    path = tmp_path / "a coordinator"
    _coordinator("init", "--host", "fed.example.org", "--folder", str(path))
    file = path / "coordinator.toml"
    text = file.read_text(encoding="utf-8").replace('nginx = "nginx"', 'nginx = ""')
    file.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def invited(folder: Path) -> Path:
    members = [Member(site=f"site-{n}", node_id=n, key=f"key {n}") for n in (1, 2, 3)]
    write_registry(folder / "sites.json", tuple(members))
    return folder


def _assert_no_secret(folder: Path, text: str) -> None:
    secret = (folder / "superexec.secret").read_bytes()
    assert secret.hex() not in text
    assert secret.decode("latin-1") not in text
    for name in ("authority.key", "server.key"):
        for line in (folder / name).read_text(encoding="utf-8").splitlines():
            assert line not in text


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_init_says_where_things_are_and_writes_what_was_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / "coordinator"
    shown = _coordinator(
        *("init", "--host", "fed.example.org", "--folder", str(folder), "--port", "9443"),
        *("--federation", "three hospitals", "--flower-port", "9444", "--page-port", "9445"),
        *("--listen", "192.0.2.1"),
    )
    found = read_coordinator_file(folder)
    assert found.model_dump() == {
        "federation": "three hospitals",
        "host": "fed.example.org",
        "listen": "192.0.2.1",
        "port": 9443,
        "flower_port": 9444,
        "page_port": 9445,
        "nginx": "nginx",
    }
    assert str(folder / "authority.key") in shown
    assert "fed.example.org:9443" in shown
    _assert_no_secret(folder, shown)


@pytest.mark.parametrize(
    ("option", "value"),
    [("--host", "a b"), ("--port", "0"), ("--listen", "here"), ("--federation", "<b>")],
)
def test_init_with_a_wrong_setting_names_it_and_writes_nothing(
    tmp_path: Path, option: str, value: str
) -> None:
    arguments = ["init", "--host", "a", "--folder", str(tmp_path / "c"), option, value]
    with pytest.raises(SettingsError, match=option.removeprefix("--")):
        _coordinator(*arguments)
    assert list(tmp_path.iterdir()) == []


def test_the_settings_are_read_as_written(tmp_path: Path) -> None:
    settings = CoordinatorFile(host="2001:db8::7", listen="[::]", port=9443, federation="a b")
    write_coordinator_file(tmp_path, settings)
    assert read_coordinator_file(tmp_path) == settings
    assert settings.listen == "::"
    assert settings.address == "[2001:db8::7]:9443"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("port = 8443", "host: Field required"),
        ('host = "a"\nport = 70000', "port: "),
        ('host = "a;b"', "host: "),
        ('host = "a"\nlisten = "everywhere"', "listen: "),
        ('host = "a"\nlisten = "0.0.0.0; }"', "listen: "),
        ('host = "a"\nprot = 1', "prot: "),
        ("host = ", "Invalid value"),
    ],
)
def test_a_wrong_setting_is_named_with_its_file(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "coordinator.toml").write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=f"coordinator.toml: .*{named}"):
        read_coordinator_file(tmp_path)


def test_start_shows_exactly_the_commands_that_it_would_run(folder: Path) -> None:
    before = _files(folder)
    shown = _coordinator("start", "--dry-run", "--folder", str(folder))
    superlink, superexec, page = (shlex.split(line) for line in shown.splitlines())
    assert superlink == [
        str(BIN / "flower-superlink"),
        *("--ssl-certfile", f"{folder}/server.pem"),
        *("--ssl-keyfile", f"{folder}/server.key"),
        *("--ssl-ca-certfile", f"{folder}/authority.pem"),
        *("--isolation", "process"),
        *("--database", f"{folder}/superlink.db"),
        "--enable-supernode-auth",
        *("--superexec-auth-secret-file", f"{folder}/superexec.secret"),
        *("--host", "127.0.0.1"),
        *("--port", "8444"),
        "--disable-runtime-dependency-installation",
    ]
    assert superexec == [
        str(BIN / "flower-superexec"),
        *("--runtime-api-address", "127.0.0.1:8444"),
        *("--root-certificates", f"{folder}/authority.pem"),
        *("--superexec-auth-secret-file", f"{folder}/superexec.secret"),
    ]
    assert page == [sys.executable, "-m", "server.deployment", str(folder)]
    _assert_no_secret(folder, shown)
    assert _files(folder) == before


def test_flowers_own_parsers_accept_the_commands(folder: Path) -> None:
    shown = _coordinator("start", "--dry-run", "--folder", str(folder))
    superlink, superexec, _ = (shlex.split(line)[1:] for line in shown.splitlines())
    found = superlink_parser().parse_args(superlink)
    assert found.enable_supernode_auth is True
    assert found.insecure is False
    assert (found.host, found.port) == ("127.0.0.1", 8444)
    assert superexec_parser().parse_args(superexec).insecure is False


def test_run_shows_exactly_the_command_that_it_would_run(invited: Path) -> None:
    shown = _coordinator(
        *("run", "--dry-run", "--folder", str(invited), "--name", "first"),
        *("--learner", "logistic", "--set", "pca=8", "--set", "tolerance=1e-6"),
        *("--quorum", "2", "--deadline", "30", "--retries", "5", "--draws", "0"),
    )
    config = invited / "runs" / "first.run.toml"
    (line,) = shown.splitlines()
    command = shlex.split(line)
    assert command == [
        *(str(BIN / "flwr"), "run", f"{invited}/bundle", "--run-config", str(config)),
        *("dermafed", "--format", "json"),
    ]
    _assert_no_secret(invited, shown + config.read_text(encoding="utf-8"))
    found = RunSettings.from_run_config(tomllib.loads(config.read_text(encoding="utf-8")))
    assert found == RunSettings(
        learner="logistic",
        learner_settings="pca=8 tolerance=1e-6",
        disclosure="guarded",
        sites=3,
        quorum=2,
        deadline=30.0,
        retries=5,
        draws=0,
        registry=f"{invited}/sites.json",
        out=f"{invited}/runs/first",
    )
    # Nothing was submitted, so there is nothing to go on with.
    with pytest.raises(DeploymentError, match="run first: not known; known: none"):
        _coordinator("run", "--resume", "first", "--folder", str(invited))


def test_flowers_own_command_accepts_the_run(invited: Path) -> None:
    shown = _coordinator("run", "--dry-run", "--folder", str(invited), "--name", "first")
    flwr = typer.Typer()
    flwr.command()(flwr_run)
    context = typer.main.get_command(flwr).make_context("run", shlex.split(shown)[2:])
    assert context.params["app"] == f"{invited}/bundle"
    assert context.params["superlink"] == "dermafed"
    assert list(context.params["run_config_overrides"]) == [f"{invited}/runs/first.run.toml"]


def test_a_run_without_an_invited_site_is_refused(folder: Path) -> None:
    before = _files(folder)
    with pytest.raises(DeploymentError, match="no site is invited"):
        _coordinator("run", "--dry-run", "--folder", str(folder))
    assert _files(folder) == before


@pytest.mark.parametrize("name", ["../x", "a/b", "/tmp/x", ".x", "a b", "x" * 101])
def test_a_hostile_name_of_a_run_writes_nothing(invited: Path, name: str) -> None:
    before = _files(invited.parent)
    with pytest.raises(DeploymentError, match="give a name of letters, digits"):
        _coordinator("run", "--dry-run", "--folder", str(invited), "--name", name)
    assert _files(invited.parent) == before


@pytest.mark.parametrize("command", ["start", "run", "sites", "status", "invite"])
def test_a_folder_without_a_coordinator_is_named_with_the_remedy(
    tmp_path: Path, command: str
) -> None:
    own = ["dias", "--key", "dias.pub"] if command == "invite" else []
    with pytest.raises(
        SettingsError,
        match=r"coordinator\.toml: missing; name its folder",
    ):
        _coordinator(command, *own, "--folder", str(tmp_path / "none"))


def test_invite_writes_an_invitation_without_a_secret(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(setup, "flwr", lambda *_: {"success": True, "node-id": "7"})
    setup.prepare_start(folder, read_coordinator_file(folder))
    private, public = new_site_key()
    key = tmp_path / "site.pub"
    key.write_bytes(public)
    _coordinator("invite", "dias", "--key", str(key), "--folder", str(folder))
    path = tmp_path / "dias.invitation.toml"
    found = read_invitation(path)
    assert (found.site, found.address) == ("dias", "fed.example.org:8443")
    _assert_no_secret(folder, path.read_text(encoding="utf-8"))
    with pytest.raises(TrustError, match="No such file"):
        _coordinator("invite", "modern", "--key", "none.pub", "--folder", str(folder))
    key.write_bytes(private)
    with pytest.raises(TrustError, match="this is a private key"):
        _coordinator("invite", "modern", "--key", str(key), "--folder", str(folder))
    _coordinator("remove", "dias", "--folder", str(folder))
    assert (folder / "sites.json").read_text(encoding="utf-8") == "[]"


def test_stopping_what_does_not_run_says_so(folder: Path) -> None:
    done = CliRunner().invoke(app, ["coordinator", "stop", "--folder", str(folder)])
    assert (done.exit_code, done.stderr.strip()) == (0, "stopped: nothing was running")


def test_a_proxy_that_is_not_installed_is_named_with_the_remedy(folder: Path) -> None:
    with pytest.raises(DeploymentError, match="no-such-nginx: not installed"):
        coordinator_services(folder, CoordinatorFile(host="fed.example.org", nginx="no-such-nginx"))
    own = coordinator_services(folder, CoordinatorFile(host="fed.example.org", nginx=""))
    assert [service.name for service in own] == ["superlink", "superexec", "page"]


@pytest.mark.parametrize(
    ("listen", "port"), [("0.0.0.0", 9443), ("127.0.0.1", 9443), ("192.0.2.1", 0), ("::", 0)]
)
def test_the_supervisor_waits_for_a_proxy_only_where_it_can_see_it(
    folder: Path, listen: str, port: int
) -> None:
    # Any program will do: none is started here.
    settings = CoordinatorFile(
        host="fed.example.org", listen=listen, port=9443, nginx=sys.executable
    )
    proxy = coordinator_services(folder, settings)[-1]
    assert (proxy.name, proxy.port) == ("proxy", port)
    assert proxy.command[0] == sys.executable
