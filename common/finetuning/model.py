"""The fine-tuned model's artefact: ``network.safetensors`` beside ``network.json``, no pickle."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from common.backbones import get_backbone
from common.errors import ContributionError, RunFolderError, SettingsError
from common.finetuning.network import FineTunedNetwork, build_network, specify, write_tensors
from common.finetuning.strategies import CLASSIFIER, training_of
from common.finetuning.travel import Travel
from common.learners.base import Arrays, ArraySpec
from common.learners.checked import check_arrays
from common.model_files import load_model_files, save_model_files

WEIGHTS_FILE, DESCRIPTION_FILE = "network.safetensors", "network.json"


@dataclass(frozen=True)
class NetworkDescription:
    """What ``network.json`` holds.

    Attributes
    ----------
    backbone, backbone_fingerprint : str
        What it was fine-tuned from; arrays that are not in the artefact are as it has them.
    classes : tuple of str
        All classes, in the order of the classifier's rows.
    strategy, strategy_settings, training : str
        As in `common.settings.RunSettings`.
    depth : int
        Stages that were trained, counted from the classifier.
    round : int
        The round whose weights these are; 0 for those before the first.
    split_seed : int
        Seed of the split it was trained on.
    sites : tuple of str
        The sites that trained it.
    versions : dict of str to str
        Of the packages that computed it.
    """

    backbone: str
    backbone_fingerprint: str
    classes: tuple[str, ...]
    strategy: str
    strategy_settings: str
    training: str
    depth: int
    round: int
    split_seed: int
    sites: tuple[str, ...]
    versions: dict[str, str]


@dataclass(frozen=True)
class NetworkModel:
    """A fine-tuned model.

    Attributes
    ----------
    description : NetworkDescription
        Everything but numbers.
    arrays : mapping of str to ndarray of float32
        What travelled, and the classifier; where a strategy keeps that at the sites, it is the
        exact head that all of them began with.
    """

    description: NetworkDescription
    arrays: Arrays

    def network(self) -> FineTunedNetwork:
        """Build the network with these weights, in evaluation mode.

        Raises
        ------
        WeightsError
            If the backbone's weights are missing or are not the published ones.
        """
        about = self.description
        network = build_network(get_backbone(about.backbone), len(about.classes))
        write_tensors(dict(network.state_dict(keep_vars=True)), self.arrays)
        return network


def network_spec(
    network: FineTunedNetwork, depth: int, strategy: str, training: str
) -> dict[str, ArraySpec]:
    """Describe the arrays of an artefact.

    Raises
    ------
    SettingsError
        If there is no such strategy or setting.
    """
    classifier = specify(
        {n: t for n, t in network.state_dict().items() if n.startswith(CLASSIFIER)}
    )
    norm = training_of(strategy, training).norm
    return {**Travel(network, depth, norm, strategy).weights, **classifier}


def save_network(folder: Path, model: NetworkModel) -> None:
    """Write a model into a folder that exists."""
    description, weights = folder / DESCRIPTION_FILE, folder / WEIGHTS_FILE
    save_model_files(description, weights, asdict(model.description), model.arrays)


def load_network(folder: Path) -> NetworkModel:
    """Read a model and check it.

    Raises
    ------
    RunFolderError
        If the folder holds no fine-tuned model, a damaged one, or one of another backbone.
    WeightsError
        If the backbone's weights are missing or are not the published ones.
    """
    description, weights = folder / DESCRIPTION_FILE, folder / WEIGHTS_FILE
    hint = f"{folder} holds no finished fine-tuning run"
    about, arrays = load_model_files(description, weights, NetworkDescription, hint)
    try:
        backbone = get_backbone(about.backbone)
        if backbone.fingerprint != about.backbone_fingerprint:
            raise RunFolderError(f"{description}: is of other weights of {about.backbone}")
        if not 0 <= about.depth <= backbone.stages:
            raise RunFolderError(f"{description}: damaged: depth {about.depth}")
        network = build_network(backbone, len(about.classes))
        spec = network_spec(network, about.depth, about.strategy, about.training)
    except SettingsError as error:
        raise RunFolderError(f"{description}: {error}") from error
    try:
        check_arrays(arrays, spec)
    except ContributionError as error:
        raise RunFolderError(f"{weights}: {error}") from error
    return NetworkModel(about, arrays)
