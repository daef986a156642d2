"""What travels, as Flower records: the one place of `common` that knows Flower."""

from common.wire.packed import pack_arrays, unpack_arrays
from common.wire.records import SITE_ERROR_CODE, count_bytes, error_reply
from common.wire.sums import (
    CONTRIBUTE,
    EVALUATE,
    JOIN,
    decode_contribution,
    decode_site_info,
    decode_stage,
    decode_state,
    encode_contribution,
    encode_site_info,
    encode_state,
)
from common.wire.training import (
    FINETUNE,
    JUDGE,
    decode_order,
    decode_update,
    encode_order,
    encode_update,
)

__all__ = [
    "CONTRIBUTE",
    "EVALUATE",
    "FINETUNE",
    "JOIN",
    "JUDGE",
    "SITE_ERROR_CODE",
    "count_bytes",
    "decode_contribution",
    "decode_order",
    "decode_site_info",
    "decode_stage",
    "decode_state",
    "decode_update",
    "encode_contribution",
    "encode_order",
    "encode_site_info",
    "encode_state",
    "encode_update",
    "error_reply",
    "pack_arrays",
    "unpack_arrays",
]
