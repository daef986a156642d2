"""What a backbone itself costs, beside any head on it: bytes, and milliseconds an image."""

from __future__ import annotations

import time
from statistics import median

from common.backbones import get_backbone

_PASSES = 7


def network_cost(name: str) -> dict[str, float]:
    """Measure a backbone on one core of this machine.

    Parameters
    ----------
    name : str
        Of the backbone, with what changes it.

    Returns
    -------
    dict of str to float
        ``bytes`` of its weights in memory, and ``milliseconds`` from the pixels of one image to its
        feature: the median of a few passes.

    Raises
    ------
    WeightsError
        If the weights are missing or are not the published ones.
    """
    import torch

    backbone = get_backbone(name)
    network = backbone.load_network()
    # What the pixels are does not matter to the time.
    image = torch.zeros(1, 3, *backbone.transform.shape)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seconds = []
        with torch.inference_mode():
            for _ in range(_PASSES):
                start = time.perf_counter()
                network(image)
                seconds.append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(before)
    tensors = (*network.parameters(), *network.buffers())
    return {
        "bytes": float(sum(tensor.numel() * tensor.element_size() for tensor in tensors)),
        "milliseconds": 1e3 * median(seconds),
    }
