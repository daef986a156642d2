"""Features of several stages: means and standard deviations over places, by NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from common.backbones import get_backbone
from common.backbones.packaged_lite import load_trunk
from common.backbones.pooling import PooledLevels

LITE0 = "efficientnet_lite0"


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.from_numpy(
        np.random.default_rng(0).uniform(-1, 1, (3, 3, 48, 64)).astype(np.float32)
    )


@pytest.mark.parametrize(
    ("name", "levels", "kept"),
    [
        (f"{LITE0}+levels:1", 1, 9),
        (f"{LITE0}+levels:6", 6, 9),
        (f"{LITE0}+levels:5+truncate:8+view:64x48", 5, 8),
        (f"{LITE0}+levels:2+truncate:2", 2, 2),
    ],
)
def test_levels_are_means_and_deviations_of_the_last_stages_maps(
    name: str, levels: int, kept: int, images: torch.Tensor
) -> None:
    backbone = get_backbone(name)
    maps, x = [], images
    with torch.inference_mode():
        for stage in load_trunk(LITE0, kept):
            x = stage(x)
            maps.append(x.numpy().astype(np.float64))
        found = backbone.load_network()(images).numpy()
    wanted = [one.mean((2, 3)) for one in maps[-levels:]]
    wanted += [one.std((2, 3)) for one in maps[-levels:]]
    assert found.shape == (3, backbone.dimension)
    np.testing.assert_allclose(found, np.concatenate(wanted, axis=1), atol=2e-4)


def test_an_even_map_has_no_deviation() -> None:
    level = PooledLevels(nn.Sequential(nn.Identity()), 1)
    np.testing.assert_array_equal(
        level(torch.full((1, 2, 7, 5), 300.0)).numpy(), [[300.0, 300.0, 0.0, 0.0]]
    )


def test_a_mirror_image_counts_as_much() -> None:
    plain, both = (get_backbone(f"{LITE0}{flip}+levels:3+view:64x48") for flip in ("", "+flip"))
    x = torch.from_numpy(np.random.default_rng(1).uniform(-1, 1, (1, 3, 48, 64)).astype(np.float32))
    with torch.inference_mode():
        network = plain.load_network()
        wanted = (network(x) + network(x.flip(3))) / 2
        np.testing.assert_allclose(both.load_network()(x), wanted, atol=1e-5)


def test_levels_have_an_identity_of_their_own_and_are_not_fine_tuned() -> None:
    names = (LITE0, f"{LITE0}+levels:5", f"{LITE0}+levels:6", f"{LITE0}+levels:5+truncate:8")
    assert len({get_backbone(name).fingerprint for name in names}) == 4
    assert get_backbone(f"{LITE0}+levels:5").stages == 0
