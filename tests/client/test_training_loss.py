"""The loss of a batch is torch's cross-entropy, averaged so that those of sites add up."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot, sigmoid

from client.training.loss import LossSettings, classification_loss, mix
from common.errors import SettingsError
from common.finetuning.balance import class_shifts

WEIGHTS = (0.2, 3.0, 1.0, 0.5)


def settings(
    *,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
    class_weights: tuple[float, ...] | None = None,
) -> LossSettings:
    return LossSettings(label_smoothing, focal_gamma, 0.0, class_weights)


def batch(n: int = 12, classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(3)
    logits = torch.from_numpy(rng.normal(scale=2.0, size=(n, classes)))
    return logits, torch.from_numpy(rng.integers(0, classes, n))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_the_loss_is_the_mean_over_images_of_torchs_cross_entropy(
    smoothing: float, weights: tuple[float, ...] | None
) -> None:
    logits, labels = batch()
    found = classification_loss(
        logits, labels, settings(label_smoothing=smoothing, class_weights=weights)
    )
    weight = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    each = cross_entropy(logits, labels, weight, reduction="none", label_smoothing=smoothing)
    assert found.item() == pytest.approx(each.mean().item())
    if weights is not None:
        by_weight = cross_entropy(logits, labels, weight, label_smoothing=smoothing)
        assert found.item() != pytest.approx(by_weight.item(), rel=0.01)


def test_shifts_are_added_to_the_logits_alone_while_training() -> None:
    logits, labels = batch()
    shifts = (-0.5, -2.0, 0.0, -1.0)
    found = classification_loss(logits, labels, LossSettings(0.1, 0.0, 0.0, None, shifts))
    shifted = logits + torch.tensor(shifts, dtype=torch.float64)
    wanted = cross_entropy(shifted, labels, label_smoothing=0.1)
    assert found.item() == pytest.approx(wanted.item())
    with pytest.raises(SettingsError, match="3 class weights for 4 classes"):
        classification_loss(logits, labels, LossSettings(0.0, 0.0, 0.0, None, shifts[:3]))


def test_logits_learned_with_shifts_are_those_of_balanced_classes() -> None:
    """Without features, logits that learn n images of each class are log n; with shifts, equal."""
    counts = np.array([80, 15, 5, 0])
    labels = torch.from_numpy(np.repeat(np.arange(4), counts))
    shifts = tuple(class_shifts(counts, 0.0, 1.0).tolist())
    logits = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=100)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        rows = logits[None, :3].expand(len(labels), 3)
        found = classification_loss(rows, labels, LossSettings(0.0, 0.0, 0.0, None, shifts[:3]))
        found.backward()  # type: ignore[no-untyped-call]
        return found

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    learned = logits.detach()[:3]
    torch.testing.assert_close(learned, learned.mean().expand(3), atol=1e-5, rtol=0.0)
    assert shifts[3] == 0.0


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_probabilities_as_targets_are_smoothed_and_weighted_as_in_torch(
    weights: tuple[float, ...] | None,
) -> None:
    logits, _ = batch()
    target = torch.softmax(logits.flip(0), dim=1)
    found = classification_loss(
        logits, target, settings(label_smoothing=0.2, class_weights=weights)
    )
    weight = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    expected = cross_entropy(logits, target, weight, label_smoothing=0.2)
    assert found.item() == pytest.approx(expected.item())


def test_labels_and_their_one_hot_probabilities_have_the_same_loss() -> None:
    logits, labels = batch()
    chosen = settings(label_smoothing=0.1, focal_gamma=1.5, class_weights=WEIGHTS)
    hot = one_hot(labels, 4).to(logits.dtype)
    assert torch.equal(
        classification_loss(logits, labels, chosen), classification_loss(logits, hot, chosen)
    )


def test_weighted_losses_of_sites_add_up_to_that_of_all_images() -> None:
    logits, labels = batch()
    chosen = settings(class_weights=WEIGHTS, label_smoothing=0.1)
    order = labels.argsort()  # sites of few classes each, where weights would cancel
    sites = (order[:2], order[2:7], order[7:])
    parts = [classification_loss(logits[rows], labels[rows], chosen) for rows in sites]
    total = sum(len(rows) * part.item() for rows, part in zip(sites, parts, strict=True))
    assert total / len(labels) == pytest.approx(classification_loss(logits, labels, chosen).item())


def test_the_focal_loss_of_two_classes_is_lin_et_als_of_a_sigmoid() -> None:
    x = torch.tensor([-3.0, -0.5, 0.0, 1.2, 4.0], dtype=torch.float64)
    y = torch.tensor([1, 0, 1, 1, 0])
    p_true = torch.where(y == 1, sigmoid(x), 1.0 - sigmoid(x))
    expected = (-((1.0 - p_true) ** 2.0) * p_true.log()).mean()
    logits = torch.stack([torch.zeros_like(x), x], dim=1)
    found = classification_loss(logits, y, settings(focal_gamma=2.0))
    assert found.item() == pytest.approx(expected.item())


def test_the_focal_loss_by_hand_with_a_weight_and_a_soft_target() -> None:
    logits = torch.tensor([[0.7, 0.2, 0.1]], dtype=torch.float64).log()
    target = torch.tensor([[0.75, 0.25, 0.0]], dtype=torch.float64)
    found = classification_loss(
        logits, target, settings(focal_gamma=3.0, class_weights=(2.0, 1.0, 1.0))
    )
    expected = -2.0 * 0.75 * 0.3**3 * math.log(0.7) - 0.25 * 0.8**3 * math.log(0.2)
    assert found.item() == pytest.approx(expected)


def test_an_image_that_is_right_beyond_doubt_has_a_finite_gradient() -> None:
    logits = torch.tensor([[100.0, 0.0], [-100.0, 0.0]], requires_grad=True)
    loss = classification_loss(logits, torch.tensor([0, 0]), settings(focal_gamma=0.5))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == pytest.approx(50.0)
    assert logits.grad is not None
    assert logits.grad.tolist() == [pytest.approx([0.0, 0.0]), pytest.approx([-0.5, 0.5])]


def test_gradients_are_those_of_finite_differences() -> None:
    logits, labels = batch(5)
    chosen = settings(label_smoothing=0.1, focal_gamma=2.0, class_weights=WEIGHTS)
    assert torch.autograd.gradcheck(
        lambda x: classification_loss(x, labels, chosen), logits.requires_grad_()
    )


def test_half_precision_is_computed_in_single() -> None:
    logits, labels = batch()
    half = logits.to(torch.bfloat16)
    found = classification_loss(half, labels, settings(label_smoothing=0.1))
    assert found.dtype == torch.float32
    assert torch.equal(
        found, classification_loss(half.float(), labels, settings(label_smoothing=0.1))
    )


def test_as_many_weights_as_classes_are_needed() -> None:
    logits, labels = batch()
    with pytest.raises(SettingsError, match="2 class weights for 4 classes"):
        classification_loss(logits, labels, settings(class_weights=(1.0, 1.0)))


def images(n: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(2).random((n, 3, 4, 5), dtype=np.float32))


def test_mixing_by_nothing_leaves_images_labels_and_generator() -> None:
    rng = np.random.default_rng(0)
    pixels, labels = images(3), torch.tensor([2, 0, 1])
    mixed, targets = mix(pixels, labels, 4, 0.0, rng)
    assert torch.equal(mixed, pixels)
    assert targets.tolist() == [[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0]]
    assert rng.random() == np.random.default_rng(0).random()


def test_images_and_targets_are_mixed_by_one_share_and_with_one_partner() -> None:
    # Each image is a class of its own, so that its target tells share and partner.
    pixels = images(6)
    before = pixels.clone()
    mixed, targets = mix(pixels, torch.arange(6), 6, 0.4, np.random.default_rng(9))
    assert torch.equal(pixels, before)
    assert targets.sum(dim=1).tolist() == pytest.approx([1.0] * 6)
    assert torch.allclose(mixed, torch.einsum("ij,jchw->ichw", targets, pixels), atol=1e-6)
    alone = targets.diagonal() == 1.0
    assert not bool(alone.all())
    share = targets.diagonal()[~alone]
    assert 0.0 < share[0] < 1.0
    assert torch.allclose(share, share[0])
    others = targets - torch.diag(targets.diagonal())
    assert (others[~alone].count_nonzero(dim=1) == 1).all()
    assert targets.sum(dim=0).tolist() == pytest.approx([1.0] * 6)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_shares_have_the_moments_of_the_beta_distribution(alpha: float) -> None:
    rng = np.random.default_rng(1)
    pixels = torch.zeros(2, 3, 1, 1)
    drawn = []
    for _ in range(4000):
        _, targets = mix(pixels, torch.tensor([0, 1]), 2, alpha, rng)
        if targets[0, 0] != 1.0:  # not its own partner
            drawn.append(float(targets[0, 0]))
    assert 1700 < len(drawn) < 2300
    assert np.mean(drawn) == pytest.approx(0.5, abs=0.03)
    assert np.var(drawn) == pytest.approx(1.0 / (4.0 * (2.0 * alpha + 1.0)), rel=0.1)


def test_an_image_alone_is_mixed_with_itself() -> None:
    pixels = images(1)
    mixed, targets = mix(pixels, torch.tensor([1]), 3, 0.4, np.random.default_rng(0))
    assert torch.allclose(mixed, pixels)
    assert targets.tolist() == [[0.0, 1.0, 0.0]]
