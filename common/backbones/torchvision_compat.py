"""Let torchvision import beside a CPU build of torch.

Some registries serve a CPU build of torch but no torchvision built against it. torchvision then
fails on import, because it registers fake kernels for two detection operators that its own binary
would have declared. Declaring them first is enough for classification models and transforms;
``nms`` itself, detection and torchvision's JPEG decoder stay unavailable.
"""

from __future__ import annotations

import torch.library


def declare_detection_operators() -> torch.library.Library:
    """Declare ``torchvision::nms`` and ``torchvision::qnms`` where no binary has.

    Returns
    -------
    torch.library.Library
        Keep a reference to it for as long as torchvision is in use.
    """
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            signature = f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            library.define(signature)  # type: ignore[no-untyped-call]
    return library
