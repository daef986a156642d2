"""What is known of torchvision's networks before torch is imported.

The weights are torchvision's first of each network (``IMAGENET1K_V1``). Second ones score higher
on ImageNet, but were trained with label smoothing and mixed images, which makes frozen features
worse for other tasks (Kornblith et al., NeurIPS 2021). A file's name ends with the first eight
digits of its SHA-256, which is torchvision's own checksum; the whole ones here begin with them.
"""

from __future__ import annotations

from typing import NamedTuple

from common.backbones.backbone import Backbone
from common.backbones.weights import PublishedFile
from common.transform import Interpolation, Transform

_ADDRESS = "https://download.pytorch.org/models/"
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_MOST = 2048


class _Entry(NamedTuple):
    name: str
    dimension: int
    file: str
    sha256: str
    crop: int = 224
    resize: int = 256
    interpolation: Interpolation = "bilinear"
    sides: tuple[int, int] = (32, _MOST)


_ENTRIES = (
    _Entry(
        "resnet18",
        512,
        "resnet18-f37072fd.pth",
        "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec",
    ),
    _Entry(
        "resnet50",
        2048,
        "resnet50-0676ba61.pth",
        "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
    ),
    _Entry(
        "vgg16",
        512,
        "vgg16-397923af.pth",
        "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
    ),
    _Entry(
        "densenet121",
        1024,
        "densenet121-a639ec97.pth",
        "a639ec97d7c33b07ae66f0b5fb7d0192f95a3b11b7576c66c0126c2a727c4395",
    ),
    _Entry(
        "efficientnet_b0",
        1280,
        "efficientnet_b0_rwightman-7f5810bc.pth",
        "7f5810bc96def8f7552d5b7e68d53c4786f81167d28291b21c0d90e1fca14934",
        interpolation="bicubic",
    ),
    _Entry(
        "inception_v3",
        2048,
        "inception_v3_google-0cc3c7bd.pth",
        "0cc3c7bd75056d25e46cba549dc184522069b81e9787eff6df84f397bd52a5ef",
        crop=299,
        resize=342,
        sides=(75, _MOST),
    ),
    _Entry(
        "googlenet",
        1024,
        "googlenet-1378be20.pth",
        "1378be20a8e875cf1568b8a71654e704449655e34711a959a38b04fb34905cef",
    ),
    _Entry(
        "mobilenet_v3_large",
        960,
        "mobilenet_v3_large-8738ca79.pth",
        "8738ca797c879b547d18bbd15da5736ff2557b2036a9af72225393ca61759a04",
    ),
    _Entry(
        "convnext_tiny",
        768,
        "convnext_tiny-983f1562.pth",
        "983f1562536e84ff750a1576fb08e54de751dbf2e17c0d8a4a13704341fdcd3d",
        resize=236,
    ),
    _Entry(
        "vit_b_16",
        768,
        "vit_b_16-c867db91.pth",
        "c867db91d3e12c6cbadabb610d73c24a546bf82d8c03a9fea34f43a712ddb0e9",
        sides=(224, 224),  # its position embeddings are of these places
    ),
    _Entry(
        "swin_t",
        768,
        "swin_t-704ceda3.pth",
        "704ceda373461b0a224fcdddd75cd2a5e9f8064512ed47adbddef7f343fd147b",
        resize=232,
        interpolation="bicubic",
    ),
)


def torchvision_backbones() -> tuple[Backbone, ...]:
    """Describe torchvision's networks; each is seen as torchvision's own weights want it."""
    return tuple(
        Backbone(
            name=entry.name,
            dimension=entry.dimension,
            weights_sha256=entry.sha256,
            licence="BSD-3-Clause",
            module=f"common.backbones.torchvision_models:{entry.name}",
            transform=Transform(
                entry.crop,
                _MEAN,
                _STD,
                resize=entry.resize,
                interpolation=entry.interpolation,
            ),
            weights=PublishedFile(entry.file, _ADDRESS + entry.file),
            sides=entry.sides,
        )
        for entry in _ENTRIES
    )
