"""Any network of timm, by its name and the SHA-256 of its weights file.

timm publishes no checksums, so the name carries one: it tells every site of a federation which file
to use, and makes the fingerprint of its features.
"""

from __future__ import annotations

import functools
import importlib
import math
import re
import warnings
from typing import TYPE_CHECKING, Any, Final

from common.backbones.backbone import Backbone
from common.backbones.reference import Reference
from common.backbones.registry import TIMM_NAME
from common.backbones.weights import PublishedFile, file_sha256
from common.errors import SettingsError, WeightsError
from common.transform import Transform

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image
    from torch import nn

_WITHOUT_CHECKSUM: Final = re.compile(r"timm:([A-Za-z0-9_][A-Za-z0-9_.-]*)")
_HUB: Final = "https://huggingface.co"


@functools.cache
def describe(base: str) -> Backbone:
    """Describe a network of timm; imports timm, and torch with it.

    Parameters
    ----------
    base : str
        ``timm:NAME@SHA256``, the checksum being of the weights file.

    Raises
    ------
    SettingsError
        If timm is not installed or has no such network, or one that cannot be used, or the checksum
        is missing.
    """
    match = TIMM_NAME.fullmatch(base) or _WITHOUT_CHECKSUM.fullmatch(base)
    if match is None:
        raise SettingsError(f"backbone {base!r}: write timm:NAME@SHA256, with 64 digits")
    name, *checksum = match.groups()
    timm = import_timm(base)
    if not timm.is_model(name.partition(".")[0]):
        raise SettingsError(f"backbone {base!r}: timm {timm.__version__} has no model {name}")
    try:
        config = timm.get_pretrained_cfg(name)
    except RuntimeError:  # no weights of this tag
        config = None
    if config is None or not config.hf_hub_id:
        raise SettingsError(f"backbone {base!r}: timm publishes no weights of this name")
    weights = PublishedFile(
        f"timm-{name}.safetensors", f"{_HUB}/{config.hf_hub_id}/resolve/main/model.safetensors"
    )
    if not checksum:
        raise SettingsError(f"backbone {base!r}: {_which(base, weights)}")
    transform = _transform(base, config)
    fixed = (transform.size, transform.size)
    return Backbone(
        name=base,
        dimension=_dimension(timm, name, transform.size),
        weights_sha256=checksum[0],
        licence=str(config.license or "unknown"),
        module=f"common.backbones.timm_models:{base}",
        transform=transform,
        weights=weights,
        sides=fixed if config.fixed_input_size else (32, 2048),
    )


def load_network(base: str) -> nn.Module:
    """Build the network for features.

    Raises
    ------
    WeightsError
        If the weights are missing, not those of the checksum, or another network's.
    """
    from common.backbones.states import for_extraction

    network: Any = _load_whole(base)
    network.reset_classifier(0)
    return for_extraction(network)


def reference(base: str, picture: Image.Image, features: NDArray[np.float32]) -> Reference:
    """Give the features that timm's own whole network and transform have for a picture.

    Raises
    ------
    WeightsError
        As `load_network`.
    """
    import torch

    network: Any = _load_whole(base)
    data = importlib.import_module("timm.data")
    transform = data.create_transform(**data.resolve_model_data_config(network))
    with torch.inference_mode():
        maps = network.eval().forward_features(transform(picture)[None])
        wanted: NDArray[np.float32] = network.forward_head(maps, pre_logits=True)[0].numpy()
    return Reference("timm's own network", features, wanted)


def _load_whole(base: str) -> nn.Module:
    """Let timm load the verified file, renaming old tensors as it knows how to."""
    from common.backbones.states import check_finite

    backbone = describe(base)
    path, name = backbone.weights_path(), base.removeprefix("timm:").partition("@")[0]
    try:
        network: nn.Module = import_timm(base).create_model(
            name, pretrained=True, pretrained_cfg_overlay={"file": str(path)}
        )
    except (KeyError, OSError, RuntimeError, ValueError) as error:
        first = str(error).partition("\n")[0]
        raise WeightsError(f"{path}: timm cannot load it as {name} ({first})") from error
    check_finite(network, path)
    return network


def import_timm(base: str) -> ModuleType:
    """Import timm, which a backbone asks for.

    Raises
    ------
    SettingsError
        If it is not installed.
    """
    from common.backbones.torchvision_compat import import_torchvision

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what they say of themselves is no concern of a user
            import_torchvision()
            return importlib.import_module("timm")
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"backbone {base!r}: timm is not installed; pip install 'dermafed[backbones]'"
        ) from error


def _which(base: str, weights: PublishedFile) -> str:
    """Say which checksum to write, or where to put the file that has it."""
    path = weights.locate()
    if path.is_file():
        return f"say which weights: those here are {base}@{file_sha256(path)}"
    return f"say which weights: {base}@SHA256, of the file {weights.url}, as {path}"


def _transform(base: str, config: Any) -> Transform:  # noqa: ANN401
    _, height, width = config.input_size
    if config.crop_mode != "center" or height != width:
        raise SettingsError(f"backbone {base!r}: does not look at a central square")
    if config.interpolation not in ("bicubic", "bilinear"):
        raise SettingsError(f"backbone {base!r}: resizes by {config.interpolation}")
    return Transform(
        width,
        _channels(config.mean),
        _channels(config.std),
        resize=math.floor(width / config.crop_pct),
        interpolation=config.interpolation,
    )


def _channels(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = values
    return float(red), float(green), float(blue)


def _dimension(timm: ModuleType, name: str, side: int) -> int:
    import torch

    with torch.device("meta"):
        network = timm.create_model(name, pretrained=False, num_classes=0).eval()
        return int(network(torch.zeros(1, 3, side, side)).shape[1])
