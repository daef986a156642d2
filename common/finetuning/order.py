"""What a coordinator asks of a site in a round of fine-tuning, and what it answers with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.split import Split

if TYPE_CHECKING:
    from common.learners.base import Arrays


@dataclass(frozen=True)
class Order:
    """What is asked.

    Attributes
    ----------
    run : str
        The run's identity, 32 hexadecimal digits: what a site keeps between rounds is kept by it.
    round : int
        The round, from 1; in an evaluation, the one whose weights come with it, from 0.
    state_round : int
        The round in which the site's answer counted last; 0 for none. The site goes on from what
        it kept then, so that a round that is repeated finds what it found before.
    best_round : int
        That of the site's state that goes with the best weights so far, which it keeps too.
    part : Split
        The part of the split.
    class_counts : tuple of int
        Training images of each class, over all sites.
    """

    run: str
    round: int
    state_round: int
    best_round: int
    part: Split
    class_counts: tuple[int, ...]


@dataclass(frozen=True)
class Update:
    """What a site answers.

    Attributes
    ----------
    arrays : mapping of str to ndarray of float32
        The weights after local training, and their companions.
    steps : int
        Steps of the optimiser that it took.
    loss : float
        Mean loss over the images that it trained on; for q-FedAvg, before any step.
    """

    arrays: Arrays
    steps: int
    loss: float
