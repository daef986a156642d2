"""The documents say of every learner that there is what leaves a site, stage by stage."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from common.learners import LEARNERS, SHIPPING, make_learner
from common.learners.base import Problem
from common.split import Split

TEXT = (Path(__file__).parents[2] / "docs" / "learners.md").read_text(encoding="utf-8")
PROBLEM = Problem(("bcc", "mel", "nv"), 400)
SEARCH = "folds=3 search=grid:0.1:1:2"
# Settings by which a learner goes through other stages than by default.
SETTINGS: dict[str, tuple[str, ...]] = {
    "ncm": ("", "ledger=true", "pca=4"),
    "lda": ("", "shrinkage=0.5 ledger=true", SEARCH, "calibrate=temperature"),
    "ridge": ("", "ledger=true", SEARCH),
    "logistic": ("", "pca=4", SEARCH, "calibrate=vector", "l1_ratio=0.5"),
    "svm": ("", "pca=4", SEARCH),
    "xgboost": ("", "patience=2", "method=cyclic"),
    "knn": ("ships_features=yes",),
}
# Whose stages are those of the learners that they are made of, and which these are.
MADE_OF = {
    "soft-vote": "members=ridge,logistic",
    "stack": "members=ridge,logistic",
    "balanced-bagging": "base=ridge",
    "tuned": "learner=ridge space=alpha_per_image=1|2 folds=3",
}


def _rows() -> dict[str, tuple[str, str]]:
    """Read what each learner is said to send, over training and over validation images."""
    table = TEXT.partition("### By learner")[2].partition("\n## ")[0]
    found = re.findall(r"^\| `([a-z-]+)` \| (.*?) \| (.*?) \| .* \|$", table, re.MULTILINE)
    assert len(found) == len({name for name, *_ in found})
    return {name: (train, held) for name, train, held in found}


def _kind(stage: str) -> str:
    """Give a stage's name without candidate, fold or member."""
    own = re.sub(r"^(fold|refit):\d+:", "", stage)
    return own.partition(":")[0]


def _of(name: str, settings: str) -> set[tuple[str, Split]]:
    learner = make_learner(name, PROBLEM, settings)
    return {(_kind(stage), learner.part(stage)) for stage in learner.stages}


def test_every_learner_has_its_row_in_the_table_of_what_leaves_a_site() -> None:
    assert list(_rows()) == [*LEARNERS, *SHIPPING]


@pytest.mark.parametrize("name", [*LEARNERS, *SHIPPING])
def test_a_row_names_the_stages_that_its_learner_goes_through(name: str) -> None:
    train, held = _rows()[name]
    stages = set().union(*(_of(name, one) for one in SETTINGS.get(name, (MADE_OF.get(name, ""),))))
    if name in MADE_OF:
        assert (
            "what each member sends" in train
            or "what its head sends" in train
            or ("what the learner sends" in train)
        )
        stages -= _of("ridge", "") | _of("logistic", "")
    said = {
        *((one, Split.TRAIN) for one in re.findall(r"`([a-z_-]+)`", train)),
        *((one, Split.VALIDATION) for one in re.findall(r"`([a-z_-]+)`", held)),
    }
    assert stages <= said
    # Nor does it name others, but for settings.
    assert {one for one, _ in said} - {one for one, _ in stages} <= {"ledger", "patience"}
