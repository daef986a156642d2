"""Leakage by lesion: which splits let a lesion stand on two sides."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from client.audit.assignment import Assignment, by_lesion, from_file
from client.audit.finding import Finding, Severity
from client.audit.straddling import check_lesions, check_published_duplicates, check_sites
from common.cohort import Cohort, load_cohort
from common.errors import CohortError
from common.split import split_groups

Load = Callable[..., Cohort]


@pytest.fixture
def load(write_cohort: Callable[..., Path]) -> Load:
    """Load a cohort of the rows given, with a list of joined images."""

    def make(
        rows: Sequence[Mapping[str, str]], pairs: Sequence[tuple[str, str]] = (), **options: object
    ) -> Cohort:
        folder = write_cohort(rows, **options)
        if pairs:
            lines = ["image_a,image_b", *(",".join(pair) for pair in pairs)]
            (folder / "duplicate_pairs.csv").write_text("\n".join(lines), encoding="utf-8")
        return load_cohort(folder)

    return make


@pytest.fixture
def five(load: Load) -> Cohort:
    """Images 0 and 1 of lesion A, 2 to 4 of B, 5 of C, 6 of D; C and D are joined."""
    lesions = "AABBBCD"
    return load([{"lesion_id": lesion} for lesion in lesions], [("ISIC_5", "ISIC_6")])


def parts(text: str) -> Assignment:
    """Write a part a letter: r train, v validation, e test, - unnamed."""
    names = {"r": "train", "v": "validation", "e": "test", "-": ""}
    return Assignment("split", np.array([names[letter] for letter in text], dtype="<U10"))


def of(findings: list[Finding], severity: Severity) -> list[Finding]:
    return [finding for finding in findings if finding.severity is severity]


def test_an_image_level_split_is_a_leak_with_its_lesions_and_images_counted(five: Cohort) -> None:
    (leak,) = of(check_lesions(five, parts("rereere")), Severity.LEAK)
    assert (leak.count, leak.examples) == (3, ("A", "B", "C"))
    assert "4 of 4 test images (100.0%) share a lesion with training" in leak.message
    # A and B are on both sides, C and D in the test part: images 1, 3 and 4 of five leak.
    (leak,) = of(check_lesions(five, parts("rereeee")), Severity.LEAK)
    assert (leak.count, leak.examples) == (2, ("A", "B"))
    assert "3 of 5 test images (60.0%) share a lesion with training" in leak.message


def test_a_split_by_lesion_has_no_leak_and_says_so(five: Cohort) -> None:
    for seed in range(20):
        found = check_lesions(five, by_lesion(five, seed))
        assert [(f.severity, f.count) for f in found] == [(Severity.INFO, 0)]
        assert found[0].message == f"0 of 3 lesions straddle the split by lesion, seed {seed}"


@pytest.mark.parametrize(
    ("text", "sides"),
    [
        ("rvrrrrr", "in training and in validation"),
        ("vervvvv", "in validation and in test"),
        ("rerrrrr", "in training and in test"),
    ],
)
def test_a_leak_between_any_two_parts_is_found(five: Cohort, text: str, sides: str) -> None:
    leaks = of(check_lesions(five, parts(text)), Severity.LEAK)
    assert any(sides in leak.message for leak in leaks)


def test_joined_duplicates_on_two_sides_are_a_leak(five: Cohort) -> None:
    # Lesion by lesion this split is clean; only the list of duplicates tells that C is D.
    apart = parts("rrrrrre")
    (leak,) = check_published_duplicates(five, apart)
    assert (leak.severity, leak.count, leak.examples) == (Severity.LEAK, 1, ("C D",))
    (by_group,) = of(check_lesions(five, apart), Severity.LEAK)
    assert by_group.examples == ("C",)
    (together,) = check_published_duplicates(five, parts("rrrrree"))
    assert (together.severity, together.count) == (Severity.INFO, 1)
    assert "joins 2 lesion ids to 1 lesion" in together.message


def test_a_cohort_without_joined_lesions_says_so(load: Load) -> None:
    (found,) = check_published_duplicates(load([{}, {}]), parts("re"))
    assert (found.severity, found.count) == (Severity.INFO, 0)


def test_images_that_a_split_does_not_name_are_told_and_leak_nothing(five: Cohort) -> None:
    found = check_lesions(five, parts("r-rrree"))
    assert not of(found, Severity.LEAK)
    assert any("does not name 1 of 7 images" in finding.message for finding in found)
    (joined,) = check_published_duplicates(five, parts("rrrrre-"))
    assert joined.severity is Severity.INFO


def test_a_lesion_at_two_sites_is_a_warning_that_names_it(load: Load) -> None:
    rows = [
        {"lesion_id": lesion, "dataset": site}
        for lesion, site in [("A", "one"), ("A", "two"), ("B", "two"), ("C", "one"), ("D", "two")]
    ]
    cohort = load(rows, [("ISIC_3", "ISIC_4")])
    (found,) = check_sites(cohort, parts("rrrrr"))
    assert (found.severity, found.count) == (Severity.WARNING, 2)
    assert found.examples == ("A one two", "C one two")
    assert "leaving one site out" in found.message


def test_a_site_without_a_training_image_is_named(load: Load) -> None:
    cohort = load([{"dataset": "one"}, {"dataset": "two"}])
    (found,) = check_sites(cohort, parts("re"))
    assert (found.severity, found.examples) == (Severity.WARNING, ("two",))


def test_unknown_sites_and_lesions_are_told(load: Load, tmp_path: Path) -> None:
    columns = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")
    cohort = load([{}, {}], columns=columns)
    assert "sites are unknown" in check_sites(cohort, parts("rr"))[0].message
    (tmp_path / "cohort" / "cohort.toml").write_text(
        'name = "n"\ntable = "HAM10000_metadata.csv"\nimages = ["images"]\n'
        'classes = ["nv", "mel"]\n[columns]\ndiagnosis = "dx"\n',
        encoding="utf-8",
    )
    found = check_lesions(load_cohort(tmp_path / "cohort"), parts("re"))
    (warning,) = of(found, Severity.WARNING)
    assert "lesions are unknown" in warning.message


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_a_split_file_may_repeat_an_image_and_have_other_columns(
    five: Cohort, tmp_path: Path
) -> None:
    lines = [
        *("\ufeffy_true,split,image_id", "nv,train,ISIC_0", "nv,Val,ISIC_1", "nv,train,ISIC_0"),
        *("nv,validation,ISIC_2", "nv,test,ISIC_3.jpg"),
    ]
    found = from_file(five, write(tmp_path / "split.csv", *lines))
    assert found.part.tolist() == ["train", *["validation"] * 2, "test", "", "", ""]


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        (["image_id,split", "ISIC_0,train", "OTHER,test"], ["row 3", "'OTHER'"]),
        (["image_id,split", "ISIC_0,holdout"], ["row 2", "'holdout'", "train"]),
        (
            ["image_id,split", "ISIC_0,train", "ISIC_0,test"],
            ["row 3", "ISIC_0", "test here and in train above"],
        ),
        (["image_id,part", "ISIC_0,train"], ["column split", "image_id, part"]),
        (["image_id,split,split", "ISIC_0,train,test"], ["column split"]),
        (["image_id,split", "ISIC_0"], ["row 2", "1 fields"]),
        (["image_id,split"], ["no row"]),
        (["image_id,split", '"ISIC_0,train'], ["not a CSV file"]),
    ],
)
def test_a_wrong_split_file_is_named_with_its_row(
    five: Cohort, tmp_path: Path, lines: list[str], wanted: list[str]
) -> None:
    path = write(tmp_path / "split.csv", *lines)
    with pytest.raises(CohortError) as caught:
        from_file(five, path)
    assert all(text in str(caught.value) for text in [str(path), *wanted])


def test_a_split_file_that_cannot_be_read_is_named(five: Cohort, tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(CohortError, match=str(path)):
            from_file(five, path)


def test_our_own_split_of_ham10000_has_no_leak_for_any_seed(ham10000: Path) -> None:
    cohort = load_cohort(ham10000)
    for seed in range(1, 6):
        found = check_lesions(cohort, by_lesion(cohort, seed))
        assert [(f.severity, f.count) for f in found] == [(Severity.INFO, 0)]
        assert check_published_duplicates(cohort, by_lesion(cohort, seed))[0].count == 20


def test_an_image_level_split_of_ham10000_leaks_as_plain_sets_count(ham10000: Path) -> None:
    cohort = load_cohort(ham10000)
    image_level = Assignment("images", split_groups(1, cohort.image_id))
    train = {g for g, p in zip(cohort.group, image_level.part, strict=True) if p == "train"}
    test = [g for g, p in zip(cohort.group, image_level.part, strict=True) if p == "test"]
    leaked = [group for group in test if group in train]
    share = len(leaked) / len(test)
    assert 0.33 < share < 0.43
    leak = check_lesions(cohort, image_level)
    (found,) = [f for f in of(leak, Severity.LEAK) if "training and in test" in f.message]
    assert found.count == len(set(leaked))
    assert f"{len(leaked):,} of {len(test):,} test images ({share:.1%})" in found.message


def test_a_split_by_lesion_id_alone_pulls_published_pairs_of_ham10000_apart(ham10000: Path) -> None:
    cohort = load_cohort(ham10000)
    blind = Assignment("blind", split_groups(1, cohort.lesion))
    part_of = dict(zip(cohort.lesion.tolist(), blind.part.tolist(), strict=True))
    pairs = (ham10000 / "duplicate_pairs.csv").read_text(encoding="utf-8").splitlines()[1:]
    lesion_of = dict(zip(cohort.image_id.tolist(), cohort.lesion.tolist(), strict=True))
    apart = sum(
        part_of[lesion_of[a]] != part_of[lesion_of[b]]
        for a, b in (line.split(",")[:2] for line in pairs)
    )
    (found,) = check_published_duplicates(cohort, blind)
    assert (found.severity, found.count) == (Severity.LEAK, apart)
    assert apart > 3
