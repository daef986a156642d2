"""Frozen image networks that turn a picture into a feature vector."""

from common.backbones.backbone import Backbone
from common.backbones.registry import TIMM_NAME, backbone_names, get_backbone

__all__ = ["TIMM_NAME", "Backbone", "backbone_names", "get_backbone"]
