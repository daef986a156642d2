"""Frozen image networks that turn a picture into a feature vector."""

from common.backbones.backbone import Backbone
from common.backbones.registry import TIMM, backbone_names, get_backbone

__all__ = ["TIMM", "Backbone", "backbone_names", "get_backbone"]
