"""Metadata: age, sex and localisation as columns beside the image features, or instead of them."""

from common.metadata.encoding import encode, metadata_codes
from common.metadata.fusion import KINDS, UNFUSED, Fusion, read_fusion

__all__ = ["KINDS", "UNFUSED", "Fusion", "encode", "metadata_codes", "read_fusion"]
