"""The Dockerfile and the compose file: parsed by a linter each, and as closed as they say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.conftest import PROJECT

FOLDER = PROJECT / "deploy/docker"
DOCKERFILE = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
IGNORE = (FOLDER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()


def _lint(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = Path(sys.executable).with_name(program)
    if not path.exists():
        pytest.skip(f"{program} is not installed; it is one of the dev extras")
    command = [str(path), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    text = (FOLDER / "compose.yaml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)["services"]
    return found


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    done = _lint("hadolint", "--failure-threshold", "style", str(FOLDER / "Dockerfile"))
    assert done.returncode == 0, done.stdout


def test_the_compose_file_is_of_the_compose_specification() -> None:
    schema = ("--builtin-schema", "vendor.compose-spec")
    done = _lint("check-jsonschema", *schema, str(FOLDER / "compose.yaml"))
    assert done.returncode == 0, done.stdout


def test_images_take_the_project_s_packages_and_nothing_else_of_its_folder() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, flags=re.MULTILINE)
    sources = {name for line in copied for name in line.split()}
    assert IGNORE[1] == "*"
    assert sources == {line[1:] for line in IGNORE if line.startswith("!")}
    assert {"client", "common", "server", "simulations", "constraints.txt"} < sources
    assert all((PROJECT / name).exists() for name in sources)


def test_no_image_runs_as_root() -> None:
    last = [
        re.findall(r"^USER (.+)$", stage, flags=re.MULTILINE)[-1]
        for stage in re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[2:]
    ]
    assert last == ["10001", "10001"]


@pytest.mark.parametrize("name", ["coordinator", "site"])
def test_a_service_can_write_its_volume_only_and_gain_no_right(
    services: dict[str, Any], name: str
) -> None:
    service = services[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "devices"} & service.keys()
    assert service["volumes"][0] == f"{name}:/var/lib/dermafed"
    # Each service's programs are stopped in order, which takes 15 seconds a program at most.
    assert service["stop_grace_period"] == "90s"
    assert service["build"]["target"] == name


def test_a_site_opens_no_port_and_reads_its_cohort_only(services: dict[str, Any]) -> None:
    site = services["site"]
    assert not {"ports", "expose"} & site.keys()
    (cohort,) = site["volumes"][1:]
    assert cohort["target"] == "/cohort"
    assert cohort["read_only"] is True
    assert cohort["bind"] == {"create_host_path": False}
    assert not set(site["networks"]) & set(services["coordinator"]["networks"])


def test_a_coordinator_opens_the_one_port_only(services: dict[str, Any]) -> None:
    assert services["coordinator"]["ports"] == ["8443:8443"]
    assert len(services["coordinator"]["volumes"]) == 1
