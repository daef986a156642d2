"""Whether a site answers a run: its own bounds against the run's settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from pydantic import TypeAdapter, ValidationError

from client.deployment.settings import Bounds
from common.backbones import TIMM_NAME, backbone_names
from common.errors import BoundsError, SettingsError
from common.finetuning.strategies import STRATEGIES
from common.imbalance import read_treatment
from common.learners import LEARNERS, SHIPPING, read_settings
from common.learners.ensemble.members import EnsembleSettings, learners_of
from common.learners.settings import LearnerSettings
from common.learners.tuning.settings import TunedSettings
from common.metadata import read_fusion
from common.metadata.check import refuse_of_lab
from common.settings import RunSettings


def check_bounds(bounds: Bounds, run: RunSettings) -> None:
    """Refuse a run that asks for more than the site allows.

    Raises
    ------
    BoundsError
        Naming the setting.
    SettingsError
        If the learner's settings are wrong.
    """
    _allow("learner", run.learner, bounds.learners)
    # An ensemble is no way round to a learner that the site does not allow.
    for member in learners_of(read_settings(run.learner, run.learner_settings)):
        _allow(f"learner {run.learner}: member", member, bounds.learners)
    check_learner(bounds, run.learner, run.learner_settings)
    _allow("backbone", run.backbone, bounds.backbones)
    if run.strategy:
        _allow("strategy", run.strategy, bounds.strategies)
    treatment = read_treatment(run.imbalance).text
    if treatment:
        allowed = tuple(read_treatment(text).text for text in bounds.imbalance)
        _allow("imbalance", treatment, allowed)
    fusion = read_fusion(run.metadata).text
    if fusion:
        _allow("metadata", fusion, tuple(read_fusion(text).text for text in bounds.metadata))
    if run.split_seed != bounds.split_seed:
        raise BoundsError(f"split-seed {run.split_seed}: this site allows {bounds.split_seed}")
    if run.draws > bounds.most_draws:
        raise BoundsError(f"draws {run.draws}: this site allows {bounds.most_draws}")


def check_learner(bounds: Bounds, learner: str, text: str) -> None:
    """Refuse settings of a learner, or of an ensemble's members, that the site does not allow.

    Raises
    ------
    BoundsError
        Naming the setting.
    SettingsError
        If the settings are wrong.
    """
    for name, part in _parts(learner, read_settings(learner, text)):
        for refused in bounds.refused:
            key, _, value = refused.partition("=")
            if key in type(part).model_fields and _text(getattr(part, key)) == value.lower():
                raise BoundsError(f"learner {name}: this site refuses {refused}")
        if part.folds > bounds.most_folds:
            raise BoundsError(
                f"learner {name}: folds={part.folds}: this site allows {bounds.most_folds}"
            )


def _parts(name: str, settings: LearnerSettings) -> Iterator[tuple[str, LearnerSettings]]:
    """Give settings, and those of the learners that they are of, each with what it is."""
    yield name, settings
    if isinstance(settings, EnsembleSettings):
        for member in settings.members_made():
            yield from _parts(f"{name}: member {member.name}", member.settings)
    if isinstance(settings, TunedSettings):
        for candidate in settings.candidates_made():
            yield from _parts(f"{name}: candidate {candidate.text}", candidate.settings)


def _text(value: object) -> str:
    return str(value).lower()


def refuse_unknown(bounds: Bounds) -> None:
    """Refuse bounds with a mistyped name: they would not mean what the site believes.

    Raises
    ------
    BoundsError
        Naming it.
    """
    for name, texts, read in (
        ("imbalance", bounds.imbalance, read_treatment),
        ("metadata", bounds.metadata, _deployable),
    ):
        try:
            for text in texts:
                read(text)
        except SettingsError as error:
            raise BoundsError(f"site.toml bounds.{name}: {error}") from error
    for text in bounds.refused:
        _check_refused(text)
    for name in bounds.learners:
        if name in SHIPPING:
            raise BoundsError(
                f"site.toml bounds.learners: {name} ships features of single images, and a site "
                "tells nothing over fewer than minimum_count; leave it out"
            )
    plain = [name.split("+")[0] for name in bounds.backbones]
    plain = [name for name in plain if not TIMM_NAME.fullmatch(name)]
    for what, named, known in (
        ("learners", bounds.learners, tuple(LEARNERS)),
        ("strategies", bounds.strategies, tuple(STRATEGIES)),
        ("backbones", plain, backbone_names()),
    ):
        unknown = sorted(set(named) - set(known))
        if unknown:
            raise BoundsError(
                f"site.toml bounds.{what}: {', '.join(unknown)} unknown; known: {', '.join(known)}"
            )


def _check_refused(text: str) -> None:
    """Refuse what could never be met, as ledger=yes: it would refuse nothing."""
    key, _, value = text.partition("=")
    kinds = [head.settings_type.model_fields for head, _ in LEARNERS.values()]
    fields = [kind[key] for kind in kinds if key in kind]
    if not fields:
        raise BoundsError(f"site.toml bounds.refused: {text!r}: no learner has a setting {key!r}")
    found = set()
    for field in fields:
        with suppress(ValidationError):
            # The type alone: other settings may have to go with it.
            found.add(_text(TypeAdapter[object](field.annotation or object).validate_python(value)))
    if value.lower() not in found:
        written = " or ".join(f"{key}={one}" for one in sorted(found)) or "another value"
        raise BoundsError(f"site.toml bounds.refused: {text!r} is never met; write {written}")


def _deployable(text: str) -> None:
    refuse_of_lab(read_fusion(text))


def _allow(setting: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        known = ", ".join(allowed) or "none"
        raise BoundsError(f"{setting} {value!r}: this site allows {known}")
