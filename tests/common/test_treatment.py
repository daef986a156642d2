"""What a treatment of imbalance may be, as text; and with which other settings of a run it goes."""

from __future__ import annotations

import pytest

from common.errors import SettingsError
from common.finetuning.check import check_finetuning
from common.imbalance import KINDS, UNTREATED, Treatment, read_treatment
from common.imbalance.check import check_imbalance
from common.settings import RunSettings

ADDING = ("oversample", "smote", "borderline-smote", "adasyn")


@pytest.mark.parametrize("text", ["", "  ", "none"])
def test_nothing_is_no_treatment(text: str) -> None:
    assert read_treatment(text) == UNTREATED
    assert UNTREATED.text == ""
    assert not UNTREATED.adds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("smote", Treatment(kind="smote")),
        ("  smote  neighbours=3   seed=7 ", Treatment(kind="smote", neighbours=3, seed=7)),
        ("oversample ratio=0.5", Treatment(kind="oversample", ratio=0.5)),
        ("adasyn neighbours=5 ratio=1.0 seed=0", Treatment(kind="adasyn")),
    ],
)
def test_kind_and_settings_are_read_and_written_back(text: str, expected: Treatment) -> None:
    found = read_treatment(text)
    assert found == expected
    assert read_treatment(found.text) == found


def test_one_treatment_has_one_text() -> None:
    texts = ("smote seed=1 neighbours=4", "smote neighbours=4 ratio=1 seed=1")
    assert {read_treatment(text).text for text in texts} == {"smote neighbours=4 seed=1"}


@pytest.mark.parametrize("kind", KINDS)
def test_only_some_treatments_add_images(kind: str) -> None:
    assert read_treatment(kind).adds == (kind in ADDING)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("smoot", r"imbalance 'smoot' is unknown; choose one of: none, oversample, .*adasyn"),
        ("smote k=3", r"imbalance settings: k: unknown; known: kind, neighbours, ratio, seed"),
        ("smote 3", r"imbalance settings: '3' is not key=value"),
        ("smote kind=adasyn", r"imbalance settings: kind is given twice"),
        ("smote seed=1 seed=2", r"imbalance settings: seed is given twice"),
        ("smote neighbours=0", r"imbalance settings: neighbours: "),
        ("smote ratio=0", r"imbalance settings: ratio: "),
        ("smote ratio=1.5", r"imbalance settings: ratio: "),
        ("smote ratio=nan", r"imbalance settings: ratio: "),
        ("smote seed=-1", r"imbalance settings: seed: "),
        ("smote seed=4294967296", r"imbalance settings: seed: "),
        ("oversample neighbours=3", r"oversample has no neighbours"),
        ("none ratio=0.5", r"none has no ratio"),
    ],
)
def test_a_wrong_treatment_is_named(text: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        read_treatment(text)


def test_every_setting_is_documented() -> None:
    for name in Treatment.model_fields:
        assert f"\n    {name} : " in (Treatment.__doc__ or "")


def test_fine_tuning_refuses_a_treatment() -> None:
    settings = RunSettings(strategy="fedavg", imbalance="smote")
    with pytest.raises(SettingsError, match=r"imbalance smote: .* fine-tuning has its own"):
        check_finetuning(settings)
    check_finetuning(RunSettings(strategy="fedavg", imbalance="none"))


FOLDS = "folds=3 search=grid:0.1:10:3"


@pytest.mark.parametrize("kind", ADDING)
def test_images_are_not_added_where_guarded_sites_count_what_is_right(kind: str) -> None:
    settings = RunSettings(imbalance=kind, disclosure="guarded", learner_settings=FOLDS)
    with pytest.raises(SettingsError, match=rf"imbalance {kind}: not with folds at guarded"):
        check_imbalance(settings)


@pytest.mark.parametrize(
    ("kind", "disclosure", "folds"),
    [
        ("undersample", "guarded", FOLDS),
        ("none", "guarded", FOLDS),
        ("smote", "exact", FOLDS),
        ("smote", "guarded", ""),
    ],
)
def test_other_combinations_are_run(kind: str, disclosure: str, folds: str) -> None:
    settings = RunSettings.from_run_config(
        {"imbalance": kind, "disclosure": disclosure, "learner-settings": folds}
    )
    assert check_imbalance(settings).kind == kind
