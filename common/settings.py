"""The settings of a run: one list, checked in one place, the same for every runtime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from common.limits import DEFAULT_MINIMUM, MOST_DRAWS
from common.settings_file import check_settings_of


def _kebab(name: str) -> str:
    return name.replace("_", "-")


class RunSettings(BaseModel):
    """What a run is.

    The names are those of ``[tool.flwr.app.config]`` in ``pyproject.toml``, with dashes.

    Attributes
    ----------
    cohort : str
        The cohort's folder, for simulated sites; a real site names its own and ignores this.
    partition : str
        How simulated sites share the cohort: ``site``, ``iid:N``, ``dirichlet:ALPHA:N``,
        ``quantity:N`` or ``classes:K:N``; see `common.partition`.
    learner : str
        Key of `common.learners.LEARNERS`.
    learner_settings : str
        ``"key=value key=value"``, as the learner's own settings class says.
    imbalance : str
        ``"KIND key=value key=value"`` of `common.imbalance.Treatment`: what each site does against
        imbalance among its training images before it sums over them; empty for nothing.
    metadata : str
        ``"KIND key=value key=value"`` of `common.metadata.Fusion`: whether and how age, sex and
        localisation stand beside the image features; empty for images alone.
    backbone : str
        Name of a backbone.
    split_seed : int
        Seed of the split by lesion.
    seed : int
        Seed of everything else that is random: the partition.
    out : str
        Run folder that the coordinator writes.
    overwrite : bool
        Replace an existing run folder.
    skip_unreadable : bool
        Leave unreadable images out instead of failing.
    cache : str
        Feature cache folder; empty for the default.
    sites : int
        Sites to wait for before the run starts, until the deadline, after which a quorum is enough;
        0 for those online.
    quorum : int
        Sites that must answer each round; 0 for every site asked.
    deadline : float
        Seconds that a site may take to answer, and that nodes may take to come online.
    window : int
        Messages in flight or waiting to be added, at most.
    warm_start : str
        Run folder at the coordinator whose model an iterative learner starts from; empty for none.
    without : str
        Names of sites that have withdrawn, separated by commas; they are not asked.
    registry : str
        File at the coordinator that tells which node is which invited site; empty to believe
        what nodes say.
    disclosure : str
        ``exact`` or ``guarded``: what simulated sites withhold. A real site is always guarded, by
        its own node configuration.
    minimum_count : int
        Fewest images that a statistic of a guarded site may be over; a site may ask for more.
    draws : int
        Resamples of the sites' lesions behind each interval; 0 for no intervals, 200 at most,
        since many more link each image's results with each other.
    strategy : str
        Key of `common.finetuning.strategies.STRATEGIES`, to fine-tune the backbone after the
        learner's head; empty for the head alone.
    strategy_settings : str
        ``"key=value key=value"``, as the strategy's own settings class says.
    training : str
        ``"key=value key=value"`` of `common.finetuning.settings.TrainingSettings`.
    retries : int
        How often a site that was lost in mid-round is asked again, and how often a round of
        fine-tuning below the quorum is repeated before the run ends.
    checkpoint : str
        Folder of an unfinished run, from which it goes on, and which stays; empty for
        the run folder's name with ``.unfinished`` after it, which goes once the run is finished.
    tensorboard : str
        Folder at the coordinator for the numbers of each round of fine-tuning, as TensorBoard
        reads them; empty for none.
    mlflow : str
        URI of an MLflow tracking server for the same numbers; empty for none.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=_kebab, populate_by_name=True, strict=True
    )

    cohort: str = ""
    partition: str = "site"
    learner: str = "ridge"
    learner_settings: str = ""
    imbalance: str = ""
    metadata: str = ""
    backbone: str = "efficientnet_lite0"
    split_seed: int = Field(1, ge=0)
    seed: int = Field(0, ge=0)
    out: str = ""
    overwrite: bool = False
    skip_unreadable: bool = False
    cache: str = ""
    sites: int = Field(0, ge=0)
    quorum: int = Field(0, ge=0)
    deadline: float = Field(600.0, gt=0.0, allow_inf_nan=False)
    window: int = Field(16, ge=1, le=1024)
    warm_start: str = ""
    without: str = ""
    registry: str = ""
    disclosure: Literal["exact", "guarded"] = "exact"
    minimum_count: int = Field(DEFAULT_MINIMUM, ge=1)
    draws: int = Field(200, ge=0, le=MOST_DRAWS)
    strategy: str = ""
    strategy_settings: str = ""
    training: str = ""
    retries: int = Field(2, ge=0, le=100)
    checkpoint: str = ""
    tensorboard: str = ""
    mlflow: str = ""

    @property
    def withdrawn(self) -> tuple[str, ...]:
        """The sites of `without`."""
        return tuple(name.strip() for name in self.without.split(",") if name.strip())

    @property
    def unfinished(self) -> Path:
        """Folder of the unfinished run: `checkpoint`, or what is in its place."""
        if self.checkpoint:
            return Path(self.checkpoint)
        out = Path(self.out)
        return out.with_name(f"{out.name}.unfinished")

    @classmethod
    def from_run_config(cls, config: Mapping[str, object]) -> RunSettings:
        """Check a Flower run configuration.

        Raises
        ------
        SettingsError
            Naming every setting that is unknown or out of bounds.
        """
        return check_settings_of("run settings", cls, dict(config))

    def run_config(self) -> dict[str, bool | float | int | str]:
        """Give the settings as a Flower run configuration."""
        return self.model_dump(by_alias=True)
