"""The registry of backbones."""

from __future__ import annotations

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
