"""Run settings."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from common.errors import SettingsError
from common.settings import RunSettings

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


def test_the_project_file_lists_every_setting_with_its_default() -> None:
    listed = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["tool"]["flwr"]["app"]["config"]
    defaults = RunSettings().run_config()
    assert listed == defaults
    assert {k: type(v) for k, v in listed.items()} == {k: type(v) for k, v in defaults.items()}


def test_every_setting_is_documented() -> None:
    documentation = RunSettings.__doc__
    assert documentation is not None
    for name in RunSettings.model_fields:
        assert f"\n    {name} : " in documentation


def test_settings_survive_a_run_configuration() -> None:
    changed = {"learner-settings": "pca=8", "quorum": 3, "overwrite": True, "disclosure": "guarded"}
    run = RunSettings.from_run_config(changed)
    assert (run.learner_settings, run.quorum, run.overwrite) == ("pca=8", 3, True)
    assert run.disclosure == "guarded"
    assert RunSettings.from_run_config(run.run_config()) == run
    assert RunSettings.from_run_config({}) == RunSettings()


@pytest.mark.parametrize("draws", [0, 200])
def test_a_run_may_ask_for_no_resample_or_as_many_as_are_allowed(draws: int) -> None:
    assert RunSettings.from_run_config({"draws": draws}).draws == draws


def test_a_whole_number_is_a_float() -> None:
    assert RunSettings.from_run_config({"deadline": 60}).deadline == 60.0


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("learning-rate", 0.1),
        ("alpha", 1.0),
        ("cohort", 5),
        ("overwrite", "true"),
        ("overwrite", 1),
        ("seed", "1"),
        ("seed", 1.5),
        ("seed", True),
        ("seed", -1),
        ("split-seed", -1),
        ("alpha-per-image", 1.0),
        ("learner", 1),
        ("learner-settings", 0.5),
        ("disclosure", "open"),
        ("disclosure", True),
        ("minimum-count", 2.5),
        ("deadline", 0),
        ("deadline", float("inf")),
        ("window", 0),
        ("window", 1025),
        ("quorum", -1),
        ("sites", -1),
        ("minimum-count", 0),
        ("draws", -1),
        ("draws", 201),
        ("draws", 2.5),
        ("draws", True),
    ],
)
def test_a_wrong_setting_is_named(key: str, value: Any) -> None:
    with pytest.raises(SettingsError, match=f"^run settings: {key}: ") as caught:
        RunSettings.from_run_config({key: value})
    assert str(caught.value).isprintable()


def test_every_wrong_setting_is_named_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        RunSettings.from_run_config({"window": 0, "colour": "red", "seed": "x", "quorum": 1})
    assert all(f"{name}: " in str(caught.value) for name in ("window", "colour", "seed"))
    assert "quorum" not in str(caught.value)
