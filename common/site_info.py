"""What a site tells about itself when it joins: counts and identities, nothing of an image."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SiteInfo:
    """A site as it registers.

    Attributes
    ----------
    site : str
        Its name.
    images, lesions : int
        How many it holds.
    train, validation, test : int
        Images in each part of the split that it sums over.
    classes : tuple of str
        Class names, in order.
    malignant : tuple of str
        The malignant ones; empty where the cohort does not tell.
    backbone : str
        Fingerprint of the backbone its features come from.
    split_seed : int
        Seed of its split.
    withheld : tuple of str
        What its disclosure policy keeps back, as ``part:class`` or ``part:class:fold``; the
        counts are without it.
    added : int
        How many of `train` a treatment of imbalance has added; negative if it takes images away.
    """

    site: str
    images: int
    lesions: int
    train: int
    validation: int
    test: int
    classes: tuple[str, ...]
    malignant: tuple[str, ...]
    backbone: str
    split_seed: int
    withheld: tuple[str, ...] = ()
    added: int = 0
