"""The pooled oracle of a learner, of what tuning chose, of a vote or a stack, if there is one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from common.learners import read_settings
from common.learners.composed import FITTED
from common.learners.ensemble.blocks import ALL, METADATA, columns_of_block
from common.learners.ensemble.members import parse_member
from common.learners.ensemble.soft_vote import MembersSettings, SoftVoteSettings
from common.learners.ensemble.stack import StackSettings
from common.learners.ensemble.together import take
from common.learners.tuning.models import chosen_of, take_model
from common.learners.tuning.settings import TunedSettings
from common.metadata import UNFUSED, read_fusion
from common.model import Model
from simulations.oracle import Oracle, fit_oracle, has_oracle
from simulations.stack_oracle import stack_oracle

if TYPE_CHECKING:
    from numpy.typing import NDArray


def pooled_oracle(
    model: Model,
    x: NDArray[Any],
    y: NDArray[np.intp],
    train: NDArray[np.bool_],
    held: NDArray[np.bool_],
) -> Oracle | None:
    """Fit scikit-learn's counterpart of a model on pooled features.

    That of tuning is that of the settings chosen; of a soft vote, the mean of its members'; of a
    stack, and so of late fusion, a logistic regression over what its members' say. There is none of
    learners whose answers do not add up, nor of members that have chosen a setting, which the
    model does not tell.

    Parameters
    ----------
    model, x, y, train
        As `simulations.oracle.fit_oracle`.
    held : ndarray of bool, shape (n,)
        Validation images, which the last head of a stack is fitted on.
    """
    about = model.description
    if has_oracle(about.learner):
        return fit_oracle(model, x, y, train)
    settings = read_settings(about.learner, about.learner_settings)
    if isinstance(settings, TunedSettings):
        # Its coefficients are those of another model than the one compared.
        best = pooled_oracle(_chosen(model, settings), x, y, train, held)
        return None if best is None else replace(best, coef=None)
    if not isinstance(settings, SoftVoteSettings | StackSettings):
        return None
    members = settings.members_made()
    if settings.folds or not all(has_oracle(member.name) for member in members):
        return None
    oracles = _of_members(model, settings, x, y, train)
    if isinstance(settings, StackSettings):
        return stack_oracle(oracles, y, held, settings)
    votes = [oracle.probabilities for oracle in oracles]
    p: NDArray[np.float64] = np.average(votes, axis=0, weights=settings.shares)
    return Oracle(p, p.argmax(axis=1), None, all(oracle.converged for oracle in oracles))


def _of_members(
    model: Model,
    settings: MembersSettings,
    x: NDArray[Any],
    y: NDArray[np.intp],
    train: NDArray[np.bool_],
) -> list[Oracle]:
    """Fit each member's, of the block of columns that it sees."""
    about = model.description
    oracles, whole = [], about.problem
    for number, (text, member) in enumerate(
        zip(settings.described(), settings.members_made(), strict=True)
    ):
        block = member.block
        seen = x[:, columns_of_block(whole, block)]
        name, values = parse_member(text)
        values.pop("block", None)
        told = " ".join(f"{key}={value}" for key, value in values.items())
        one = replace(about, learner=name, learner_settings=told)
        if block != ALL:
            fusion = read_fusion(about.metadata) if block == METADATA else UNFUSED
            alone = fusion.model_copy(update={"kind": "alone"}).text if fusion.width else ""
            one = replace(one, metadata=alone, dimension=seen.shape[1])
        oracles.append(fit_oracle(Model(one, take(model.arrays, f"{number}:")), seen, y, train))
    return oracles


def _chosen(model: Model, settings: TunedSettings) -> Model:
    """Give what tuning has chosen as a model of its learner alone."""
    about, tried = model.description, settings.candidates_made()
    chosen = tried[chosen_of(model.arrays, len(tried))]
    learner = chosen.learner(about.problem)
    alone = replace(about, learner=chosen.name, learner_settings=chosen.text)
    return Model(alone, take_model(model.arrays, learner.state_spec(FITTED)))
