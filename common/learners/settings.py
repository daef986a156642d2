"""Settings of learners: what ``--set key=value`` accepts, checked in one place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from common.errors import SettingsError
from common.learners.search import parse_search

ClassWeight = Literal["balanced", "none"]
Priors = Literal["empirical", "uniform"]
Calibration = Literal["none", "temperature", "vector"]
Scale = Literal["deviation", "pareto", "none"]


class LearnerSettings(BaseModel):
    """What every learner has.

    Attributes
    ----------
    folds : int
        Folds by lesion for choosing a setting; 0 for no choice.
    ledger : bool
        Whether the coordinator keeps each site's sums, so that one can be taken out again.
    """

    # Whether folds hold equal shares of each class.
    stratified: ClassVar[bool] = False

    model_config = ConfigDict(frozen=True, extra="forbid")

    folds: int = Field(0, ge=0, le=100)
    ledger: bool = False

    def uncalibrated(self) -> Self:
        """Give the settings of a fit for which nothing is held out to calibrate on."""
        return self


class FrontSettings(BaseModel):
    """What is done to features before a head sees them.

    Attributes
    ----------
    scale : str
        What centred features are divided by: their ``deviation``; its square root (``pareto``),
        by which features that hardly vary weigh less; or nothing (``none``).
    pca : int
        Principal components of the scaled features to keep; 0 for all features.
    kernel : str
        Approximate a Gaussian kernel: ``none``, ``rff`` (random Fourier features) or
        ``nystroem`` (needs `pca`).
    components : int
        Length of the features that a kernel map makes.
    gamma : float
        Of the kernel ``exp(-gamma |a - b|^2)``; 0 for one over the features' total variance.
    kernel_seed : int
        Seed of the kernel map.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    scale: Scale = "deviation"
    pca: int = Field(0, ge=0)
    kernel: Literal["none", "rff", "nystroem"] = "none"
    components: int = Field(512, ge=1, le=16_384)
    gamma: float = Field(0.0, ge=0.0, allow_inf_nan=False)
    kernel_seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _landmarks_need_components(self) -> Self:
        if self.kernel == "nystroem" and not self.pca:
            raise ValueError("kernel=nystroem needs pca=K, since landmarks are drawn there")
        return self


class HeadSettings(FrontSettings, LearnerSettings):
    """What every linear head has.

    Attributes
    ----------
    calibrate : str
        How scores become probabilities: a federated ``temperature`` fitted on the validation
        images, a ``vector`` of one a class, or ``none``.
    folds : int
        Folds by lesion for choosing the searched setting; 0 for no choice.
    search : str
        Values to choose from: ``grid:LOW:HIGH:COUNT`` (evenly on a logarithmic scale) or
        ``random:LOW:HIGH:COUNT`` (drawn so).
    search_seed : int
        Seed of a random search.
    ledger : bool
        Sites send sums that depend on nothing but their own images, and the coordinator keeps each
        site's: one can then be taken out, or a new one added, without asking the others.
    """

    calibrate: Calibration = "none"
    search: str = ""
    search_seed: int = Field(0, ge=0)

    def tried(self, value: float) -> list[float]:
        """Give the searched setting's values, largest first; `value` alone without a search."""
        return parse_search(self.search, self.search_seed).tolist() if self.search else [value]

    def uncalibrated(self) -> Self:
        """Give the settings of a fit for which nothing is held out to calibrate on."""
        return self.model_copy(update={"calibrate": "none"})

    @model_validator(mode="after")
    def _a_ledger_is_of_sums_alone(self) -> Self:
        if self.ledger and (self.folds or self.kernel != "none"):
            raise ValueError("ledger goes with neither folds nor kernel")
        return self

    @model_validator(mode="after")
    def _folds_and_search(self) -> Self:
        if bool(self.search) != bool(self.folds):
            raise ValueError("folds and search belong together, as folds=5 search=grid:1e-3:10:12")
        if self.folds == 1:
            raise ValueError("folds must be at least 2")
        if self.search:
            parse_search(self.search, self.search_seed)
        return self


Settings = TypeVar("Settings", bound=BaseModel)


def check_settings(
    kind: type[Settings], values: Mapping[str, object], of: str = "learner"
) -> Settings:
    """Check settings.

    Parameters
    ----------
    kind : type
        What they must be.
    values : mapping of str to object
        By name.
    of : str
        Whose settings they are, for messages.

    Raises
    ------
    SettingsError
        Naming each setting that is unknown or out of bounds, and those that there are.
    """
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        problems = []
        for item in error.errors():
            name = ".".join(map(str, item["loc"]))
            if item["type"] == "extra_forbidden":
                known = ", ".join(kind.model_fields)
                problems.append(f"{name}: unknown; known: {known}")
            else:
                problems.append(f"{name}: {item['msg']}" if name else str(item["msg"]))
        raise SettingsError(f"{of} settings: {'; '.join(problems)}") from error


def parse_assignments(text: str, of: str = "learner") -> dict[str, str]:
    """Read ``"key=value key=value"``; `of` tells whose settings they are.

    Raises
    ------
    SettingsError
        If an item has no ``=``, or a key comes twice.
    """
    values: dict[str, str] = {}
    for item in text.split():
        key, sign, value = item.partition("=")
        if not sign or not key or not value:
            raise SettingsError(f"{of} settings: {item!r} is not key=value")
        if key in values:
            raise SettingsError(f"{of} settings: {key} is given twice")
        values[key] = value
    return values
