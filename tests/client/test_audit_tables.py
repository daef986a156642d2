"""Confounding, cells and metadata, against scikit-learn, SciPy and counts by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2_contingency
from scipy.stats.contingency import association
from sklearn.metrics import roc_auc_score

from client.audit.assignment import Assignment, by_lesion
from client.audit.cells import check_cells
from client.audit.confounding import check_confounding, cramers_v, site_alone_auc, table
from client.audit.finding import Severity
from client.audit.metadata import check_metadata
from common.cohort import Cohort, load_cohort


def bergsma(counts: np.ndarray) -> float:
    """The corrected V, from SciPy's chi-squared, as the paper's formulas have it."""
    n, (r, k) = counts.sum(), counts.shape
    chi2 = chi2_contingency(counts, correction=False).statistic
    phi2 = max(0.0, chi2 / n - (r - 1) * (k - 1) / (n - 1))
    r_tilde, k_tilde = r - (r - 1) ** 2 / (n - 1), k - (k - 1) ** 2 / (n - 1)
    return float(np.sqrt(phi2 / min(r_tilde - 1, k_tilde - 1)))


@pytest.mark.parametrize("seed", range(5))
def test_the_corrected_v_is_bergsmas(seed: int) -> None:
    counts = np.random.default_rng(seed).integers(1, 40, (4, 7))
    assert cramers_v(counts) == pytest.approx(bergsma(counts), rel=1e-12)


def test_the_correction_vanishes_with_many_images_and_matters_with_few() -> None:
    few = np.array([[3, 1, 2], [1, 2, 2], [2, 2, 1]])
    plain = association(few, method="cramer", correction=False)
    assert plain > 0.2
    assert cramers_v(few) == 0.0
    many = few * 100_000
    assert cramers_v(many) == pytest.approx(plain, rel=1e-4)


def test_v_is_one_for_a_class_a_site_and_passes_over_empty_rows() -> None:
    assert cramers_v(np.array([[900, 0], [0, 900]])) == pytest.approx(1.0, abs=1e-3)
    counts = np.array([[10, 30], [25, 5]])
    padded = np.array([[10, 0, 30], [0, 0, 0], [25, 0, 5]])
    assert cramers_v(padded) == cramers_v(counts)
    assert cramers_v(np.array([[4, 5]])) == 0.0
    assert cramers_v(np.array([[0, 4], [0, 5]])) == 0.0


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=2, max_size=60))
def test_the_auc_of_the_site_alone_is_scikit_learns(rows: list[tuple[int, bool]]) -> None:
    site = np.array([s for s, _ in rows], dtype=np.intp)
    positive = np.array([p for _, p in rows])
    found = site_alone_auc(site, positive)
    if positive.all() or not positive.any():
        assert found is None
        return
    score = np.array([positive[site == s].mean() for s in site])
    assert found == pytest.approx(roc_auc_score(positive, score), abs=1e-12)


def test_a_table_counts_pairs() -> None:
    counts = table(np.array([0, 2, 2, 0]), np.array([1, 0, 0, 1]))
    assert counts.tolist() == [[0, 2], [0, 0], [2, 0]]


@pytest.fixture
def load(write_cohort: Callable[..., Path]) -> Callable[..., Cohort]:
    def make(rows: list[dict[str, str]]) -> Cohort:
        return load_cohort(write_cohort(rows))

    return make


def rows_of(counts: dict[tuple[str, str], int], **more: str) -> list[dict[str, str]]:
    return [{"dataset": site, "dx": dx, **more} for (site, dx), n in counts.items()
            for _ in range(n)]  # fmt: skip


def test_a_class_of_one_site_only_is_a_warning_with_its_auc(load: Callable[..., Cohort]) -> None:
    cohort = load(rows_of({("one", "mel"): 8, ("one", "nv"): 2, ("two", "nv"): 10}))
    classes, sources = check_confounding(cohort)
    assert classes.severity is Severity.WARNING
    # 8 mel at one site, 2 of 12 others there: AUC = (10 + 0.5 * 2) / 12.
    assert classes.examples == ("mel 0.92", "nv 0.92")
    assert sources.examples == ("one 100% histo", "two 100% histo")


def test_sites_with_the_same_classes_are_not_confounded(load: Callable[..., Cohort]) -> None:
    rows = rows_of({("one", "mel"): 6, ("one", "nv"): 6, ("two", "mel"): 6, ("two", "nv"): 6})
    for number, row in enumerate(rows):
        row["dx_type"] = "histo" if number % 2 else "follow_up"
    found = check_confounding(load(rows))
    assert [(f.severity, f.count) for f in found] == [(Severity.INFO, 0)] * 2
    assert all("V 0.00" in finding.message for finding in found)


def test_one_site_is_not_measured_for_confounding(load: Callable[..., Cohort]) -> None:
    (found,) = check_confounding(load([{}, {}]))
    assert (found.severity, found.count) == (Severity.INFO, 0)


def test_empty_and_small_cells_are_named_in_all_and_in_the_test_part(
    load: Callable[..., Cohort],
) -> None:
    cohort = load(rows_of({("one", "mel"): 5, ("one", "nv"): 4, ("two", "nv"): 6}))
    part = np.array(["test"] * 5 + ["train"] * 4 + ["test"] + ["train"] * 5)
    found = check_cells(cohort, Assignment("split", part))
    assert all(finding.severity is Severity.WARNING for finding in found)
    empty, few, empty_test, few_test = found
    # Of 14 cells of two sites and seven classes, three hold an image.
    assert empty.count == 11
    assert {"two mel", "one akiec"} <= set(empty.examples)
    assert few.examples == ("one nv: 4",)
    assert (empty_test.count, "one nv" in empty_test.examples) == (12, True)
    assert few_test.examples == ("two nv: 1",)
    without_test = Assignment("split", np.array(["train"] * 15))
    assert check_cells(cohort, without_test) == [empty, few]


def test_missing_metadata_is_counted_by_site(load: Callable[..., Cohort]) -> None:
    rows = rows_of({("one", "nv"): 20, ("two", "nv"): 20})
    rows[0]["age"] = rows[25]["age"] = rows[26]["age"] = ""
    rows[3]["sex"] = "unknown"
    found = check_metadata(load(rows))
    age, sex, mask = found
    assert (age.severity, age.count, age.examples) == (Severity.WARNING, 3, ("one: 1", "two: 2"))
    assert (sex.severity, sex.count, sex.examples) == (Severity.INFO, 1, ("one: 1",))
    # No mask was written; localisation and the source of the label are complete.
    assert mask.message == "mask missing for 40 of 40 images"


def test_ham10000_shows_its_known_traps(ham10000: Path) -> None:
    """Numbers from the data's own description, not from this code."""
    cohort = load_cohort(ham10000)
    classes, sources = check_confounding(cohort)
    aucs = dict(text.split() for text in classes.examples)
    assert [aucs[name] for name in ("akiec", "nv", "bcc", "mel")] == [
        "0.87",
        "0.79",
        "0.78",
        "0.73",
    ]
    assert sources.examples == (
        *("rosendahl 100% histo", "vidir_molemax 94% follow_up", "vienna_dias 100% histo"),
    )
    empty, few, *_ = check_cells(cohort, by_lesion(cohort, 1))
    assert empty.examples == ("vidir_molemax akiec", "vienna_dias akiec")
    assert few.examples == (
        *("rosendahl vasc: 3", "vidir_molemax bcc: 2", "vienna_dias df: 4", "vienna_dias vasc: 3"),
    )
    counts = {f.message.split()[0]: f.count for f in check_metadata(cohort)}
    assert counts == {"age": 57, "sex": 57, "localisation": 234}
