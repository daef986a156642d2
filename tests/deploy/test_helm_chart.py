"""The chart: rendered by Helm, checked against Kubernetes' schemas, and as closed as it says."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.sources.synthetic import write_synthetic
from tests.deploy.conftest import DERMAFED, PROJECT

CHART = PROJECT / "deploy/helm/dermafed"
SITE: dict[str, Any] = {
    "image": {"repository": "registry.example.org/dermafed-site"},
    "site": {
        "name": "our-clinic",
        "cohort": {"persistentVolumeClaim": {"claimName": "dermoscopy", "readOnly": True}},
    },
}
COORDINATOR: dict[str, Any] = {
    "role": "coordinator",
    "image": {"repository": "registry.example.org/dermafed-coordinator", "tag": "0.1.0"},
    "coordinator": {"host": "fed.example.org"},
}
_INVITED = {**SITE["site"], "invitation": 'site = "our-clinic"\n'}
CASES: dict[str, dict[str, Any]] = {
    "site that waits": SITE,
    "site that was invited": {**SITE, "site": _INVITED},
    "site that has joined": {**SITE, "site": {**_INVITED, "join": True}},
    "coordinator": COORDINATOR,
    "coordinator behind a proxy": {
        **COORDINATOR,
        "image": {**COORDINATOR["image"], "pullSecrets": ["one", "two"]},
        "storage": {"size": "5Gi", "className": "fast"},
        "coordinator": {
            "host": "fed.example.org",
            "sites": ["192.0.2.0/24", "198.51.100.0/24"],
            "service": {"type": "ClusterIP", "annotations": {"example.org/pool": "inner"}},
        },
    },
}
REFUSED: dict[str, dict[str, Any]] = {
    "no name": {**SITE, "site": {"cohort": SITE["site"]["cohort"]}},
    "no cohort": {**SITE, "site": {"name": "our-clinic"}},
    "a cohort that could be written": {
        **SITE,
        "site": {"name": "a", "cohort": {"persistentVolumeClaim": {"claimName": "dermoscopy"}}},
    },
    "joining without an invitation": {**SITE, "site": {**SITE["site"], "join": True}},
    "no host": {**COORDINATOR, "coordinator": {}},
    # An empty list of addresses would mean all of them.
    "no address of a site": {**COORDINATOR, "coordinator": {"host": "a", "sites": []}},
    "a setting that is unknown": {**SITE, "replicas": 2},
    "another role": {**SITE, "role": "both"},
}


def _helm(folder: Path, values: dict[str, Any], *command: str) -> subprocess.CompletedProcess[str]:
    helm = shutil.which("helm")
    if helm is None:
        pytest.skip("helm is not installed: tests/deploy/install-helm FOLDER-OF-PATH")
    (folder / "values.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    return subprocess.run(
        [helm, *command, str(CHART), "--values", str(folder / "values.yaml")],
        env={**os.environ, "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def _rendered(folder: Path, case: str) -> list[dict[str, Any]]:
    done = _helm(folder, CASES[case], "template", "our")
    assert done.returncode == 0, done.stderr
    (folder / "rendered.yaml").write_text(done.stdout, encoding="utf-8")
    return [found for found in yaml.safe_load_all(done.stdout) if found]


def _one(found: list[dict[str, Any]], kind: str) -> Any:
    (one,) = (each for each in found if each["kind"] == kind)
    return one


def _pod(found: list[dict[str, Any]]) -> dict[str, Any]:
    pod: dict[str, Any] = _one(found, "StatefulSet")["spec"]["template"]["spec"]
    return pod


@pytest.mark.parametrize("case", CASES)
def test_helm_and_kubernetes_schemas_find_nothing(case: str, tmp_path: Path) -> None:
    linted = _helm(tmp_path, CASES[case], "lint", "--strict")
    assert linted.returncode == 0, linted.stdout + linted.stderr
    _rendered(tmp_path, case)
    program = Path(sys.executable).with_name("kubernetes-validate")
    if not program.exists():
        pytest.skip("kubernetes-validate is not installed; it is one of the dev extras")
    # The oldest that the chart is for, and a new one.
    for version in ("1.29", "1.37"):
        done = subprocess.run(
            [program, "--strict", "-k", version, tmp_path / "rendered.yaml"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_values_are_refused_before_anything_is_installed(case: str, tmp_path: Path) -> None:
    done = _helm(tmp_path, REFUSED[case], "template", "our")
    assert done.returncode != 0
    assert "specifications of the schema" in done.stderr


@pytest.mark.parametrize("case", CASES)
def test_a_pod_is_restricted_and_has_no_account(case: str, tmp_path: Path) -> None:
    found = _rendered(tmp_path, case)
    pod = _pod(found)
    assert pod["automountServiceAccountToken"] is False
    assert _one(found, "ServiceAccount")["automountServiceAccountToken"] is False
    security = pod["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    # A key that its group may read is refused, by dermafed itself.
    assert security["fsGroupChangePolicy"] == "OnRootMismatch"
    for container in (*pod["initContainers"], *pod["containers"]):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert _one(found, "StatefulSet")["spec"]["replicas"] == 1


@pytest.mark.parametrize("case", CASES)
def test_a_site_is_called_by_nobody_and_a_coordinator_on_one_port(
    case: str, tmp_path: Path
) -> None:
    found = _rendered(tmp_path, case)
    policy = _one(found, "NetworkPolicy")["spec"]
    labels = _one(found, "StatefulSet")["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"] == labels
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    if case.startswith("site"):
        assert policy["ingress"] == []
        assert {port["port"] for rule in policy["egress"] for port in rule["ports"]} == {53, 8443}
        assert not [one for one in found if one["kind"] == "Service"]
        mounts = {one["name"]: one for one in _pod(found)["containers"][0]["volumeMounts"]}
        assert mounts["cohort"]["readOnly"] is True
    else:
        assert policy["egress"] == []
        (rule,) = policy["ingress"]
        assert rule["ports"] == [{"protocol": "TCP", "port": 8443}]
        assert rule["from"]
        service = _one(found, "Service")["spec"]
        assert [port["port"] for port in service["ports"]] == [8443]
        assert service["selector"] == labels


def test_nothing_leaves_a_site_that_has_not_been_told_to_join(tmp_path: Path) -> None:
    commands = {}
    for case in CASES:
        (main,) = _pod(_rendered(tmp_path, case))["containers"]
        commands[case] = main.get("args") or main["command"]
    assert "join" not in " ".join(commands["site that waits"] + commands["site that was invited"])
    assert commands["site that has joined"] == ["site", "join"]
    assert commands["coordinator"] == ["coordinator", "start"]


@pytest.mark.parametrize(
    ("case", "made"),
    [("site that waits", "site/site.key"), ("coordinator", "coordinator/authority.key")],
)
def test_the_first_start_makes_the_key_and_a_later_one_leaves_it(
    case: str, made: str, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    if "site" in case:
        write_synthetic(tmp_path / "drawn", images=100, seed=3)
    # What there is in place of a mounted folder, and a site of this cohort.
    here = {"/cohort": str(tmp_path / "drawn"), "our-clinic": "rosendahl"}
    (init,) = _pod(_rendered(tmp_path, case))["initContainers"]
    command = [here.get(part, part.replace("/cohort", here["/cohort"])) for part in init["command"]]
    path = f"{DERMAFED.parent}{os.pathsep}{os.environ['PATH']}"
    keys = []
    for _ in range(2):
        done = subprocess.run(
            command,
            cwd=state,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        keys.append((state / made).read_bytes())
    assert keys[0] == keys[1]


def test_the_chart_is_of_this_release() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    assert chart["appVersion"] == project["project"]["version"]
