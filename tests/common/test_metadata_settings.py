"""What a run may ask of metadata, and what does not go together."""

from __future__ import annotations

import pytest

from common.errors import SettingsError
from common.learners import make_learner
from common.learners.base import Problem
from common.metadata import UNFUSED, read_fusion
from common.metadata.check import check_metadata, refuse_of_lab
from common.metadata.late import late_stack
from common.settings import RunSettings

COLUMNS = 25


@pytest.mark.parametrize(
    ("text", "written", "width"),
    [
        ("", "", 0),
        ("none", "", 0),
        ("early", "early", COLUMNS),
        ("early scale=1.0", "early", COLUMNS),
        ("early columns=sex,age scale=4", "early scale=4.0 columns=age,sex", 9),
        ("late", "late", COLUMNS),
        ("alone columns=localisation", "alone columns=localisation", 16),
        ("early sites=4 columns=none", "early columns=none sites=4", 4),
        ("alone sites=4", "alone sites=4", COLUMNS + 4),
    ],
)
def test_one_text_stands_for_one_way_to_join(text: str, written: str, width: int) -> None:
    fusion = read_fusion(text)
    assert (fusion.text, fusion.width) == (written, width)
    assert read_fusion(fusion.text).text == written


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("middle", "metadata 'middle' is unknown; choose one of: none, early, late, alone"),
        ("early kind=late", "kind is given twice"),
        ("none scale=2", "none has no scale"),
        ("late scale=2", "late has no scale"),
        ("early scale=0", "scale"),
        ("early scale=nan", "scale"),
        ("early columns=age,age", "columns: give each of age, sex, localisation once"),
        ("early columns=weight", "columns"),
        ("early columns=none", "columns=none leaves no column"),
        ("early sites=-1", "sites"),
        ("early colour=1", "colour: unknown"),
    ],
)
def test_what_is_wrong_is_refused_by_name(text: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        read_fusion(text)


def test_the_problem_counts_what_comes_from_images_first() -> None:
    early = read_fusion("early scale=3").problem(("a", "b"), 10)
    assert early == Problem(("a", "b"), 10 + COLUMNS, COLUMNS, 3.0)
    assert early.images == 10
    assert read_fusion("alone").problem(("a", "b"), 10).images == 0
    assert UNFUSED.problem(("a", "b"), 10) == Problem(("a", "b"), 10)
    with pytest.raises(SettingsError, match="25 columns, but 3 in all"):
        read_fusion("early").over(("a", "b"), 3)


@pytest.mark.parametrize(
    ("learner", "text", "settings"),
    [
        ("ridge", "", "members=ridge:block=images,ridge:block=metadata"),
        (
            "logistic",
            "pca=8 alpha_per_image=0.2",
            (
                "members=logistic:pca=8:alpha_per_image=0.2:block=images,"
                "logistic:alpha_per_image=0.2:block=metadata"
            ),
        ),
        (
            "ridge",
            "folds=3 search=grid:1:10:4",
            (
                "members=ridge:search=grid:1:10:4:block=images,"
                "ridge:search=grid:1:10:4:block=metadata folds=3"
            ),
        ),
    ],
)
def test_late_fusion_of_a_head_is_a_stack_of_one_over_each_block(
    learner: str, text: str, settings: str
) -> None:
    made = late_stack(learner, text)
    assert made == ("stack", settings)
    make_learner(*made[:1], read_fusion("late").problem(("a", "b"), 30), made[1])
    # What says already what each member sees stays as it is.
    assert late_stack(*made) == made


@pytest.mark.parametrize(
    ("learner", "text", "says"),
    [
        ("soft-vote", "", "has members of its own"),
        ("ridge", "ledger=true", "no ledger"),
        ("stack", "members=ridge:block=images", "none sees the block metadata"),
        ("stack", "members=ridge:block=left", "block 'left' is unknown"),
        ("local-vote", "base=ridge:block=images", "block"),
    ],
)
def test_what_cannot_be_fused_late_is_refused(learner: str, text: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        late_stack(learner, text)


BLOCKS = "members=ridge:block=images,ridge:block=metadata"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"metadata": "late"}, "ridge sees all columns at once; take stack"),
        ({"learner": "stack", "learner_settings": BLOCKS}, "give metadata=late"),
        ({"metadata": "early", "strategy": "fedavg"}, "is for heads alone"),
        (
            {"metadata": "early", "imbalance": "undersample", "disclosure": "guarded"},
            "could be alone with its metadata",
        ),
        ({"metadata": "alone", "disclosure": "guarded"}, "scores without images would tell"),
        ({"metadata": "early", "learner": "forest", "disclosure": "guarded"}, "trees or bags"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        check_metadata(RunSettings.model_validate(settings))


def test_columns_of_sites_and_metadata_alone_are_for_the_lab() -> None:
    with pytest.raises(SettingsError, match="alone: not at guarded sites"):
        refuse_of_lab(read_fusion("alone"))
    refuse_of_lab(read_fusion("early"))
    with pytest.raises(SettingsError, match="sites is for the lab"):
        refuse_of_lab(read_fusion("early sites=4"))


def test_a_member_sees_a_block_only_where_there_are_two() -> None:
    for problem in (Problem(("a", "b"), 30), Problem(("a", "b"), 25, 25)):
        with pytest.raises(SettingsError, match="no two blocks"):
            make_learner("stack", problem, BLOCKS)
    with pytest.raises(SettingsError, match="pca=6, but features have 5 dimensions without meta"):
        make_learner("ridge", Problem(("a", "b"), 30, 25), "pca=6")
