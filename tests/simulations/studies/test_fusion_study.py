"""The study of fusion: each condition sees what its name says, and the gains are told apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from common.errors import SettingsError, StudyError
from common.metadata import encode, metadata_codes
from common.metrics import make_interval
from simulations.report.loading import load_run
from simulations.report.page import make_page, render
from simulations.studies.base import Plan
from simulations.studies.cells import COMPARED, Evaluated
from simulations.studies.fit import Fit
from simulations.studies.fusion import LATE, NAMES, conditions
from simulations.studies.fusion_gain import gains
from simulations.studies.lab import Lab, make_bench
from simulations.studies.models import run_fit
from tests.simulations.studies.conftest import RunHere
from tests.simulations.studies.study_lab import SITES, options

PLAN = Plan(SITES, ("ridge",), (1,))
WANTED = {
    "images alone": "i",
    "metadata alone": "m",
    "site alone": "s",
    "images and site": "is",
    "images and metadata, early": "im",
    "images, metadata and site": "ims",
}


def _columns(lab: Lab, blocks: str) -> Any:
    cohort = lab.cohort
    codes = metadata_codes(cohort.age, cohort.sex, cohort.localisation)
    every = {
        "i": lab.x,
        "m": encode(codes, ("age", "sex", "localisation")),
        "s": OneHotEncoder(sparse_output=False).fit_transform(cohort.site[:, None]),
    }
    return np.hstack([every[block] for block in blocks]).astype(np.float64)


@pytest.mark.parametrize("condition", WANTED)
def test_a_condition_is_the_pooled_fit_of_the_columns_that_its_name_says(
    condition: str, lab: Lab
) -> None:
    fit = Fit("ridge", ("federated", "pooled"), "-", 1, metadata=conditions(PLAN)[condition])
    bench = make_bench(lab, fit)
    result = run_fit(bench, Path())
    train, x = bench.split == "train", _columns(lab, WANTED[condition])
    scaler = StandardScaler().fit(x[train])
    ridge = RidgeClassifier(alpha=float(train.sum()), class_weight="balanced")
    ridge.fit(scaler.transform(x[train]), lab.cohort.y[train])
    wanted = ridge.predict(scaler.transform(x[result.rows]))
    np.testing.assert_array_equal(result.predicted["federated"], wanted)
    assert result.about["differ"] == 0


@pytest.mark.parametrize("learner", ["ridge", "logistic pca=3"])
def test_late_fusion_has_the_pooled_stack_beside_it_and_equals_it(learner: str, lab: Lab) -> None:
    metadata = conditions(PLAN)[LATE]
    bench = make_bench(lab, Fit(learner, ("federated", "pooled"), "-", 1, metadata=metadata))
    result, y = run_fit(bench, Path()), lab.cohort.y
    train, held = bench.split == "train", bench.split == "validation"
    said = []
    for block in "im":
        x = _columns(lab, block)
        z = StandardScaler().fit(x[train]).transform(x)
        if learner == "ridge":
            head: Any = RidgeClassifier(alpha=float(train.sum()), class_weight="balanced")
            p = softmax(head.fit(z[train], y[train]).decision_function(z), axis=1)
        else:
            z = PCA(3, svd_solver="full").fit(z[train]).transform(z) if block == "i" else z
            c = 1.0 / (0.1 * train.sum())
            head = LogisticRegression(C=c, class_weight="balanced", tol=1e-10, max_iter=10_000)
            p = head.fit(z[train], y[train]).predict_proba(z)
        said.append(np.log(p))
    x = np.hstack(said)
    z = StandardScaler().fit(x[held]).transform(x)
    c = 1.0 / (0.1 * held.sum())
    last = LogisticRegression(C=c, class_weight="balanced", tol=1e-10, max_iter=10_000)
    wanted = last.fit(z[held], y[held]).predict_proba(z[result.rows])
    for model in ("federated", "pooled"):
        np.testing.assert_allclose(result.probabilities[model], wanted, atol=1e-5)
        np.testing.assert_array_equal(result.predicted[model], wanted.argmax(axis=1))
    assert result.about["differ"] == 0


def test_metadata_alone_see_no_image(lab: Lab) -> None:
    fit = Fit("logistic pca=4", ("federated",), "-", 1, metadata="alone")
    blind = Lab(lab.cohort, lab.backbone_name, np.zeros_like(lab.x), {})
    seeing, unseeing = (
        run_fit(make_bench(one, fit), Path()).probabilities["federated"] for one in (lab, blind)
    )
    np.testing.assert_array_equal(seeing, unseeing)


def test_columns_of_sites_need_the_number_that_the_cohort_has(lab: Lab) -> None:
    with pytest.raises(SettingsError, match="sites=2, but cohort has 3 acquisition sites"):
        make_bench(lab, Fit("ridge", ("federated",), "-", 1, metadata="early sites=2"))


def test_the_study_compares_on_the_same_images_and_its_report_tells_the_gain(
    run_here: RunHere, tmp_path: Path
) -> None:
    result = run_here("fusion", tmp_path / "run", learners=("ridge",))
    assert all(one["differ"] == 0 for one in result["exactness"])
    assert {one["condition"] for one in result["exactness"]} == conditions(PLAN).keys()
    pooled = {cell["condition"] for cell in result["cells"] if cell["model"] == "pooled"}
    assert LATE in pooled
    found = {
        (cell["condition"], cell["group"]): cell["metrics"]["macro_auc"][0]
        for cell in result["cells"]
        if cell["model"] == "federated"
    }
    (over_all,) = (
        one for one in result["gains"] if (one["metric"], one["over"]) == ("macro_auc", "all")
    )
    gain = found[NAMES.fused, "all"] - found[NAMES.images, "all"]
    rest = found[NAMES.fused_site, "all"] - found[NAMES.images_site, "all"]
    assert over_all["gain"][0] == pytest.approx(gain)
    assert over_all["remaining"][0] == pytest.approx(rest)
    assert over_all["through_site"][0] == pytest.approx(gain - rest)
    (over_sites,) = (
        one for one in result["gains"] if (one["metric"], one["over"]) == ("macro_auc", "sites")
    )
    each = [found[NAMES.fused, site] - found[NAMES.images, site] for site in SITES]
    assert over_sites["gain"][0] == pytest.approx(np.mean(each))
    # The report reads the file that was written, and finds every gain in it.
    written = json.loads((tmp_path / "run" / "result.json").read_text())
    assert written["gains"] == result["gains"]
    page = render(make_page([load_run(tmp_path / "run")], images=False))
    assert "What metadata add" in page
    assert 'data-kind="through_site"' in page


def _evaluated(value: float, draws: list[float]) -> Evaluated:
    values = np.array([value, *draws])
    known = {(by, one): {group: values} for one in COMPARED for by, group in BY}
    return Evaluated([], [], known)


BY = (("all", "all"), ("site", "graz"))


def _gains(images: float, fused: float, images_site: float, fused_site: float) -> dict[str, Any]:
    noise = np.random.default_rng(3).normal(size=200) * 0.01
    found = {
        ("ridge", "federated", name): _evaluated(value, (value + noise).tolist())
        for name, value in (
            (NAMES.images, images),
            (NAMES.fused, fused),
            (NAMES.images_site, images_site),
            (NAMES.fused_site, fused_site),
        )
    }
    return {one["metric"]: one for one in gains(("ridge",), found, NAMES) if one["over"] == "all"}


def test_the_share_is_what_of_a_gain_is_lost_once_the_site_is_known() -> None:
    both = _gains(0.50, 0.60, 0.58, 0.62)
    one = both["macro_auc"]
    # By hand: a gain of 0.10, of which 0.04 are left. The resamples' noise is common to all.
    assert one["gain"] == pytest.approx([0.10, 0.10, 0.10])
    assert one["site_gain"] == pytest.approx([0.08, 0.08, 0.08])
    assert one["remaining"] == pytest.approx([0.04, 0.04, 0.04])
    assert one["through_site"] == pytest.approx([0.06, 0.06, 0.06])
    assert one["share"] == pytest.approx([0.6, 0.6, 0.6])
    # Thresholds move with the site, rankings do not: of a share of correct answers there is none.
    assert both["balanced_accuracy"] == {
        **one,
        "metric": "balanced_accuracy",
        "share": [None, None, None],
    }


@pytest.mark.parametrize("fused", [0.50, 0.45])
def test_without_a_sure_gain_there_is_no_share_of_it(fused: float) -> None:
    assert _gains(0.50, fused, 0.58, 0.62)["macro_auc"]["share"] == [None, None, None]
    assert make_interval(np.array([0.0])).low is None


def test_what_the_study_cannot_fuse_is_refused(tmp_path: Path) -> None:
    for text in ("late", "alone", "early sites=3"):
        with pytest.raises(StudyError, match="give early"):
            options(tmp_path, metadata=text).check()
    with pytest.raises(StudyError, match="studies of fine-tuning"):
        options(tmp_path, metadata="early", learners=()).check(tunes=True)


def test_other_studies_give_every_head_the_metadata_and_baselines_none(lab: Lab) -> None:
    del lab
    chosen = options(Path("out"), metadata="early scale=2")
    fits = [Fit("ridge", ("federated",), "-", 1), Fit("baseline", ("majority",), "-", 1)]
    assert [one.metadata for one in chosen.treated(fits)] == ["early scale=2.0", ""]
    assert [one.metadata for one in chosen.treated(fits, fused=True)] == ["", ""]
    early = conditions(Plan(SITES, ("ridge",), (1,), metadata="early scale=2.0"))
    assert early[NAMES.fused] == "early scale=2.0"
    assert early[NAMES.fused_site] == "early scale=2.0 sites=3"
    assert early[NAMES.images_site] == "early scale=2.0 columns=none sites=3"
