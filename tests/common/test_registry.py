"""The registry of backbones."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from common.backbones import backbone_names, get_backbone
from common.errors import SettingsError


def test_every_backbone_is_found_by_its_name() -> None:
    assert "efficientnet_lite0" in backbone_names()
    assert len(set(backbone_names())) == len(backbone_names())
    for name in backbone_names():
        assert get_backbone(name).name == name


def test_an_unknown_backbone_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(SettingsError, match="backbone 'alexnet' is unknown") as caught:
        get_backbone("alexnet")
    assert all(name in str(caught.value) for name in backbone_names())


def test_the_fingerprint_changes_with_all_that_a_feature_depends_on() -> None:
    backbone = get_backbone("efficientnet_lite0")
    others = [
        replace(backbone, name="other"),
        replace(backbone, dimension=1),
        replace(backbone, weights_sha256="0" * 64),
        replace(backbone, transform=replace(backbone.transform, size=225)),
    ]
    assert len({one.fingerprint for one in (backbone, *others)}) == 5
    assert replace(backbone, licence="MIT").fingerprint == backbone.fingerprint
    int(backbone.fingerprint, 16)
    assert len(backbone.fingerprint) == 64


def test_features_that_were_kept_stay_valid() -> None:
    """The default backbone's features belong to this fingerprint since they were first kept."""
    backbone = get_backbone("efficientnet_lite0")
    assert backbone.transform.key == "centre-square,bicubic,224,mean=0.5,std=0.5"
    assert backbone.fingerprint.startswith("2fa2f0f468d1e4761e47")


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("resnet18+flip+crops:5", "give crops, flip, levels, truncate and view in this order"),
        ("resnet18+flip+flip", "each once"),
        ("resnet18+crops:4", "'crops:4' is not crops:5, flip"),
        ("resnet18+flip:2", "'flip:2' is not"),
        ("resnet18+truncate:2", "has no stages, so it is not truncated"),
        ("efficientnet_lite1+truncate:9", "truncate takes 1 to 8 stages"),
        ("resnet18+levels:2", "has no stages, so it has no levels"),
        ("efficientnet_lite1+levels:10", "levels takes 1 to 9 stages"),
        ("efficientnet_lite1+levels:7+truncate:6", "levels takes 1 to 6 stages"),
        ("efficientnet_lite1+levels:0", "'levels:0' is not"),
        ("vit_b_16+view:256x256", "sides are 224 to 224"),
        ("inception_v3+view:74x100", "sides are 75 to 2048"),
        ("timm:resnet18@123", "write timm:NAME@SHA256, with 64 digits"),
        ("timm:../../etc@" + "0" * 64, "write timm:NAME@SHA256"),
    ],
)
def test_a_change_that_a_backbone_cannot_take_is_refused(name: str, match: str) -> None:
    with pytest.raises(SettingsError, match=match):
        get_backbone(name)


def test_another_view_of_torchvisions_networks_shows_the_margin() -> None:
    backbone = get_backbone("resnet18+view:320x240")
    assert backbone.transform.shape == (240, 320)
    assert backbone.transform.resize is None
    assert backbone.transform.interpolation == "bilinear"


def test_looking_backbones_up_imports_no_torch() -> None:
    code = (
        "import sys\n"
        "from common.backbones import backbone_names, get_backbone\n"
        "prints = {get_backbone(name + '+crops:5+flip').fingerprint for name in backbone_names()}\n"
        "print(len(prints) == len(backbone_names()) > 13)\n"
        "print([m for m in ('torch', 'torchvision', 'timm', 'pooch') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n") == ["True", "[]", ""]
