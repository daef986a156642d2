"""The model artefact: ``model.safetensors`` beside ``model.json``, no pickle."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from common.errors import ContributionError, RunFolderError, SettingsError
from common.learners import make_learner
from common.learners.base import Arrays, Head, Problem, State
from common.learners.checked import check_arrays
from common.learners.composed import FITTED
from common.metadata import read_fusion
from common.model_files import load_model_files, read_description_file, save_model_files

WEIGHTS_FILE, DESCRIPTION_FILE = "model.safetensors", "model.json"


@dataclass(frozen=True)
class ModelDescription:
    """What ``model.json`` holds.

    Attributes
    ----------
    learner : str
        Key of `common.learners.LEARNERS`.
    learner_settings : str
        What was set for it, as ``"key=value key=value"``.
    chosen : float or None
        Value of the searched setting, where there was a search.
    classes : tuple of str
        All classes, in the order of the model's rows.
    classes_without_training_images : tuple of str
        Those that the model never predicts.
    dimension : int
        Length of a feature vector, metadata included.
    backbone, backbone_fingerprint : str
        What the features come from.
    split_seed : int
        Seed of the split it was trained on.
    sites : tuple of str
        The sites whose sums it is made of.
    versions : dict of str to str
        Of the packages that computed it.
    imbalance : str
        What the sites did against imbalance, as `common.imbalance.Treatment.text`.
    metadata : str
        How metadata stand beside the image features, as `common.metadata.Fusion.text`.
    """

    learner: str
    learner_settings: str
    chosen: float | None
    classes: tuple[str, ...]
    classes_without_training_images: tuple[str, ...]
    dimension: int
    backbone: str
    backbone_fingerprint: str
    split_seed: int
    sites: tuple[str, ...]
    versions: dict[str, str]
    imbalance: str = ""
    metadata: str = ""

    @property
    def problem(self) -> Problem:
        """What is learned.

        Raises
        ------
        SettingsError
            If the metadata cannot be what they are said to be.
        """
        return read_fusion(self.metadata).over(self.classes, self.dimension)


@dataclass(frozen=True)
class Model:
    """A fitted model.

    Attributes
    ----------
    description : ModelDescription
        Everything but numbers.
    arrays : mapping of str to ndarray
        The learner's last state.
    """

    description: ModelDescription
    arrays: Arrays

    def head(self) -> Head:
        """Make the classifier."""
        about = self.description
        learner = make_learner(about.learner, about.problem, about.learner_settings)
        return learner.head(State(FITTED, self.arrays, done=True))


def save_model(folder: Path, model: Model) -> None:
    """Write a model into a folder that exists."""
    description, weights = folder / DESCRIPTION_FILE, folder / WEIGHTS_FILE
    save_model_files(description, weights, asdict(model.description), model.arrays)


def read_description(path: Path) -> ModelDescription:
    """Read a ``model.json``.

    Raises
    ------
    RunFolderError
        If it is missing or damaged.
    """
    return read_description_file(path, ModelDescription, "give a run's model.json")


def load_model(folder: Path) -> Model:
    """Read a model and check it.

    Raises
    ------
    RunFolderError
        If the folder holds no model or a damaged one.
    """
    description, weights = folder / DESCRIPTION_FILE, folder / WEIGHTS_FILE
    hint = f"{folder} is not the folder of a finished run"
    about, arrays = load_model_files(description, weights, ModelDescription, hint)
    try:
        learner = make_learner(about.learner, about.problem, about.learner_settings)
    except SettingsError as error:
        raise RunFolderError(f"{description}: {error}") from error
    try:
        check_arrays(arrays, learner.state_spec(FITTED))
    except ContributionError as error:
        raise RunFolderError(f"{weights}: {error}") from error
    return Model(about, arrays)
