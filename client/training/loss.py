"""The loss of a batch: cross-entropy with label smoothing, class weights, focus; and MixUp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from common.errors import SettingsError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class LossSettings:
    """What the loss is made of; `common.finetuning.settings` bounds the values.

    Attributes
    ----------
    label_smoothing : float
        Share of each target that is spread over all classes.
    focal_gamma : float
        Exponent of the focal loss; 0 for cross-entropy.
    mixup : float
        Both parameters of the Beta distribution of `mix`; 0 for none.
    class_weights : tuple of float or None
        One a class, from `common.finetuning.balance.class_weights`; None where all weigh 1.
    class_shifts : tuple of float or None
        One a class, from `common.finetuning.balance.class_shifts`: what is added to the logits
        before the loss (Menon et al., ICLR 2021, equation 10); None for nothing.
    """

    label_smoothing: float
    focal_gamma: float
    mixup: float
    class_weights: tuple[float, ...] | None
    class_shifts: tuple[float, ...] | None = None


def classification_loss(
    logits: torch.Tensor, target: torch.Tensor, settings: LossSettings
) -> torch.Tensor:
    r"""Give the mean loss of the images of a batch.

    An image's loss is :math:`-\sum_c w_c q_c (1 - p_c)^\gamma \log p_c`, where :math:`p` is the
    softmax of its logits and :math:`q` its smoothed target. It is cross-entropy where
    :math:`\gamma = 0` (``torch.nn.functional.cross_entropy`` with ``reduction="none"``), and the
    focal loss for one class a label (Lin et al. 2017, equations 4 and 5, for softmax).

    With weights, the sum is still divided by the number of images, where torch would divide by the
    sum of their labels' weights. Means over sites' batches, weighted by images, thus add up to the
    mean over all images. Divided by its own weights, a site with one class would train as if there
    were no weights.

    Parameters
    ----------
    logits : float tensor (n, k)
        Half precision is computed in float32.
    target : integer tensor (n,) or float tensor (n, k)
        Labels, or probabilities of the classes.
    settings : LossSettings
        `mixup` is left to `mix`.

    Returns
    -------
    float tensor ()
        In nats.

    Raises
    ------
    SettingsError
        If there are not as many class weights, or shifts, as classes.
    """
    import torch

    classes = logits.shape[1]
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if settings.class_shifts is not None:
        logits = logits + logits.new_tensor(_one_each(settings.class_shifts, classes))
    log_p = torch.log_softmax(logits, dim=1)
    hard = target.ndim == 1
    q = torch.nn.functional.one_hot(target, classes) if hard else target
    smoothing = settings.label_smoothing
    terms = (q.to(log_p.dtype) * (1.0 - smoothing) + smoothing / classes) * -log_p
    if settings.focal_gamma:
        # Never 0, where a power below 1 has no gradient.
        others = (-torch.expm1(log_p)).clamp_min(torch.finfo(log_p.dtype).eps)
        terms = terms * others**settings.focal_gamma
    if settings.class_weights is not None:
        terms = terms * log_p.new_tensor(_one_each(settings.class_weights, classes))
    return terms.sum(dim=1).mean()


def _one_each(values: tuple[float, ...], classes: int) -> tuple[float, ...]:
    if len(values) != classes:
        raise SettingsError(f"{len(values)} class weights for {classes} classes; give one each")
    return values


def mix(
    images: torch.Tensor,
    labels: torch.Tensor,
    classes: int,
    alpha: float,
    rng: np.random.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mix each image and its label with another of the batch (MixUp, Zhang et al. 2018, section 2).

    One share a batch is drawn from Beta(alpha, alpha), and one order of partners. An image may be
    its own partner, as the only one of a batch always is.

    Parameters
    ----------
    images : float tensor (n, 3, height, width)
        Left as they are.
    labels : int64 tensor (n,)
        Classes of the images.
    classes : int
        How many there are.
    alpha : float
        0 leaves images and labels as they are, and draws nothing.
    rng : numpy.random.Generator
        Draws.

    Returns
    -------
    images : float tensor (n, 3, height, width)
    targets : tensor (n, classes)
        Probabilities, of the images' dtype.
    """
    import torch

    targets = torch.nn.functional.one_hot(labels, classes).to(images.dtype)
    if not alpha:
        return images, targets
    share = float(rng.beta(alpha, alpha))
    partner = torch.from_numpy(rng.permutation(len(images))).to(images.device)
    return torch.lerp(images[partner], images, share), torch.lerp(targets[partner], targets, share)
