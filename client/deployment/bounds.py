"""Whether a site answers a run: its own bounds against the run's settings."""

from __future__ import annotations

from client.deployment.settings import Bounds
from common.backbones import TIMM_NAME, backbone_names
from common.errors import BoundsError, SettingsError
from common.finetuning.strategies import STRATEGIES
from common.imbalance import read_treatment
from common.learners import LEARNERS, read_settings
from common.learners.ensemble.members import learners_of
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


def _deployable(text: str) -> None:
    refuse_of_lab(read_fusion(text))


def _allow(setting: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        known = ", ".join(allowed) or "none"
        raise BoundsError(f"{setting} {value!r}: this site allows {known}")
