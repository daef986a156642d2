"""Frozen image networks that turn a picture into a feature vector."""

from common.backbones.registry import Backbone, backbone_names, get_backbone

__all__ = ["Backbone", "backbone_names", "get_backbone"]
