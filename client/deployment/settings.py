"""A site's own file, ``site.toml``: what it holds, what it allows, and whom it has joined."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

from common.limits import DEFAULT_MINIMUM, MOST_DRAWS
from common.settings_file import read_settings_file, settings_text
from common.whole_file import whole_file

SITE_FILE = "site.toml"
_ABOUT = "dermafed site join and site leave write this file anew, and keep its values alone."
# What `client.node` asks of a key.
_KEY_LENGTH = 16


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Bounds(_Part):
    """What a run may ask of the site.

    What is said here of each stands above it in ``site.toml``.

    Attributes
    ----------
    learners : tuple of str
        Learners that are answered, by name; dermafed site init lists those whose answers add up.
    backbones : tuple of str
        Backbones that are answered, by name; at least one.
    strategies : tuple of str
        Strategies of fine-tuning that are answered, by name: weights tell more than sums.
    imbalance : tuple of str
        Treatments of imbalance that are answered, each with its settings, as smote neighbours=3;
        each is one more set of sums over the same images.
    metadata : tuple of str
        Ways to use age, sex and localisation that are answered, each with its settings, as
        early scale=4: sums then tell how many images have which of them.
    refused : tuple of str
        Settings that are refused of any learner, as ledger=true or kernel=nystroem.
    most_folds : int
        Most folds that a learner may choose by: each adds sums over a part of the images.
    split_seed : int
        The only split that is answered: the sums of many splits tell single images apart.
    minimum_count : int
        Fewest images that a number which leaves may be over, 2 or more; a run may ask for more.
    most_draws : int
        Most resamples behind an interval that a run may ask for.
    most_messages : int
        Most messages of one run that are answered.
    most_runs : int
        Most runs that are answered, of all in the audit trail; 0 for any number.
    """

    learners: tuple[str, ...] = ()
    backbones: tuple[str, ...] = Field(("efficientnet_lite0",), min_length=1)
    strategies: tuple[str, ...] = ()
    imbalance: tuple[str, ...] = ()
    metadata: tuple[str, ...] = ()
    refused: tuple[str, ...] = ("ledger=true",)
    most_folds: int = Field(10, ge=0, le=100)
    split_seed: int = Field(1, ge=0)
    minimum_count: int = Field(DEFAULT_MINIMUM, ge=2)
    most_draws: int = Field(MOST_DRAWS, ge=0, le=MOST_DRAWS)
    most_messages: int = Field(500, ge=1)
    most_runs: int = Field(0, ge=0)


class Membership(_Part):
    """The federation that the site has joined.

    What is said here of each stands above it in ``site.toml``.

    Attributes
    ----------
    address : str
        Host and port of the coordinator.
    authority : str
        Certificate of the federation's authority, PEM.
    bundle : str
        SHA-256 of the only app bundle that the site answers under.
    code : str
        Hash of the code that the bundle was made of, which the site must have installed.
    """

    address: str = Field(pattern=r"^[A-Za-z0-9.:\[\]-]+:[0-9]{1,5}$")
    authority: str
    bundle: str = Field(pattern="^[0-9a-f]{64}$")
    code: str = Field(pattern="^[0-9a-f]{64}$")

    @field_validator("address")
    @classmethod
    def _port(cls, address: str) -> str:
        if not 1 <= int(address.rpartition(":")[2]) <= 65535:
            raise ValueError("its port must be 1 to 65535")
        return address


class SiteFile(_Part):
    """A site.

    What is said here of each stands above it in ``site.toml``.

    Attributes
    ----------
    site : str
        The site's name in the federation, and in its cohort where that tells sites apart.
    cohort : Path
        Folder of the images, or a manifest: an absolute path.
    cache : Path or None
        Folder of the features, an absolute path; where it is not set, the user's own cache.
    resample_key : str
        Secret by which lesions are resampled for intervals, of 16 characters or more: sites that
        share lesions agree on one, which the coordinator must not know. Empty for the site's own.
    port : int
        Port on loopback by which the site's two programs talk to each other.
    metrics_port : int
        Port on loopback where Prometheus reads metrics; 0 for none.
    threads : int
        Threads to fine-tune with; 0 for one a core. Of sums, the bits do not depend on it.
    bounds : Bounds
        What the site allows: a run that asks for more is refused.
    membership : Membership or None
        The coordinator that is trusted: of the invitation, by dermafed site join.
    """

    site: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    cohort: Path
    cache: Path | None = None
    resample_key: str = ""
    port: int = Field(9094, ge=1, le=65535)
    metrics_port: int = Field(0, ge=0, le=65535)
    threads: int = Field(0, ge=0, le=1024)
    bounds: Bounds = Bounds()
    membership: Membership | None = None

    @field_validator("cohort", "cache")
    @classmethod
    def _absolute(cls, folder: Path | None) -> Path | None:
        if folder is not None and not folder.is_absolute():
            raise ValueError("give an absolute path")
        return folder

    @field_validator("resample_key")
    @classmethod
    def _long(cls, key: str) -> str:
        if key and len(key) < _KEY_LENGTH:
            raise ValueError(f"give {_KEY_LENGTH} characters or more")
        return key

    def node_config(self) -> dict[str, bool | float | int | str]:
        """Give what `client.node` opens the site by."""
        config: dict[str, bool | float | int | str] = {
            "site": self.site,
            "cohort": str(self.cohort),
            "minimum-count": self.bounds.minimum_count,
            "split-seed": self.bounds.split_seed,
        }
        if self.cache is not None:
            config["cache"] = str(self.cache)
        if self.resample_key:
            config["resample-key"] = self.resample_key
        return config


def read_site_file(folder: Path) -> SiteFile:
    """Read ``site.toml``.

    Raises
    ------
    SettingsError
        If it is missing, or naming what in it is wrong.
    """
    return read_settings_file(folder / SITE_FILE, SiteFile, "dermafed site init")


def write_site_file(folder: Path, site: SiteFile) -> None:
    """Write ``site.toml``, for its owner alone: it may hold a key."""
    folder.mkdir(parents=True, exist_ok=True)
    text = settings_text(_ABOUT, site)
    with whole_file(folder / SITE_FILE) as path:
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")
