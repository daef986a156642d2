"""Import torchvision, also beside a CPU build of torch.

Some registries serve a CPU build of torch but no torchvision built against it. torchvision's
binary then does not load, and its import fails, because it registers fake kernels for two
detection operators that the binary would have declared. Declaring them is enough for
classification models and transforms; ``nms`` itself, detection and torchvision's JPEG decoder
stay unavailable. Where the binary loads, nothing may be declared: torch would abort the process.
"""

from __future__ import annotations

import functools
import importlib
import sys
from types import ModuleType

import torch.library

_OPERATORS = ("nms", "qnms")


@functools.cache
def import_torchvision() -> ModuleType:
    """Import torchvision; call it before anything else does, timm for one.

    Raises
    ------
    ModuleNotFoundError
        If torchvision is not installed.
    RuntimeError
        If its import fails for another reason than the missing operators.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    # The declarations live as long as this object does, so the module keeps it.
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name in _OPERATORS:
        signature = f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        library.define(signature)  # type: ignore[no-untyped-call]
    torchvision = importlib.import_module("torchvision")
    torchvision.__dict__["_operators_declared_by_dermafed"] = library
    return torchvision
