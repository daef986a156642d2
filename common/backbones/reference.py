"""Matching a backbone to a reference output, before its features are believed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from common.backbones.registry import get_backbone
from common.errors import WeightsError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from common.backbones.backbone import Backbone

# Of the largest number; sums in another order differ by 1e-6 to 1e-5.
TOLERANCE: Final = 1e-3


class Reference(NamedTuple):
    """What a module's ``reference(picture, features)`` gives to be compared.

    Attributes
    ----------
    against : str
        Where the wanted numbers come from.
    found, wanted : ndarray, of one shape
        From the features, and from elsewhere.
    """

    against: str
    found: NDArray[np.float32]
    wanted: NDArray[np.float32]


@dataclass(frozen=True)
class Match:
    """How well a backbone matches its reference.

    Attributes
    ----------
    name : str
        The backbone's, without what changes it.
    against : str
        Where the reference comes from.
    values : int
        How many numbers were compared.
    difference : float
        The largest difference, as a part of the largest number.
    """

    name: str
    against: str
    values: int
    difference: float


def match_reference(name: str) -> Match:
    """Run a fixed picture through a backbone and compare with its reference output.

    Parameters
    ----------
    name : str
        Of a backbone; what changes it is left aside.

    Raises
    ------
    WeightsError
        If the weights are not there, or the outputs differ.
    SettingsError
        As `get_backbone`.
    """
    backbone = get_backbone(name.partition("+")[0])
    if backbone.weights is None:
        raise WeightsError(f"backbone {backbone.name}: has no reference output to be matched to")
    picture = reference_picture()
    features = picture_features(backbone, picture)
    reference: Reference = backbone.call("reference", picture, features)
    largest = float(np.abs(reference.wanted).max())
    off = float(np.abs(reference.found - reference.wanted).max()) / largest if largest else np.inf
    if not off <= TOLERANCE:
        raise WeightsError(
            f"backbone {backbone.name}: differs by {off:.1e} from {reference.against}, at most "
            f"{TOLERANCE:g} is allowed; do not use it on this machine"
        )
    return Match(backbone.name, reference.against, reference.wanted.size, off)


def reference_picture() -> Image.Image:
    """Draw a picture of 400 x 300 pixels, in whole numbers: the same on every machine."""
    from PIL import Image

    row, column = np.mgrid[:300, :400]
    board = 40 * ((row // 32 + column // 32) % 2)
    channels = [
        row * row // 97 + 3 * column,
        row * column // 61,
        (row + 2 * column) // 3 + board,
    ]
    return Image.fromarray((np.stack(channels, 2) % 256).astype(np.uint8))


def picture_features(backbone: Backbone, picture: Image.Image) -> NDArray[np.float32]:
    """Give one picture's features, of shape (dimension,)."""
    import torch

    network, transform = backbone.load_network(), backbone.transform
    x = torch.from_numpy(transform.fit(picture)[None].copy()).permute(0, 3, 1, 2)
    with torch.inference_mode():
        features: NDArray[np.float32] = network(transform.normalise(x.float().div_(255)))[0].numpy()
    return features
