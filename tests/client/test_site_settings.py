"""A site's own file and bounds: what is written is read, and what is wrong is named."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from client.deployment.bounds import check_bounds, refuse_unknown
from client.deployment.programs import site_services
from client.deployment.settings import (
    SITE_FILE,
    Bounds,
    Membership,
    SiteFile,
    read_site_file,
    write_site_file,
)
from client.node import NODE_SETTINGS
from common.errors import BoundsError, SettingsError
from common.finetuning.strategies import STRATEGIES
from common.learners import LEARNERS
from common.settings import RunSettings

MEMBER = {"address": "h.example:9092", "authority": "pem", "bundle": "a" * 64, "code": "b" * 64}

_NAMES = st.lists(st.text(max_size=20), max_size=4).map(tuple)
_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
_PATHS = _TEXT.map(lambda text: Path("/", text))
_HEX = st.text("0123456789abcdef", min_size=64, max_size=64)
_BOUNDS = st.builds(
    Bounds,
    learners=_NAMES,
    backbones=_NAMES.filter(bool),
    strategies=_NAMES,
    refused=_NAMES,
    most_folds=st.integers(0, 100),
    split_seed=st.integers(0, 2**63 - 1),
    minimum_count=st.integers(2, 10_000),
    most_draws=st.integers(0, 200),
    most_messages=st.integers(1, 10_000),
    most_runs=st.integers(0, 10_000),
)
_MEMBERS = st.builds(
    Membership,
    address=st.from_regex(r"\A[A-Za-z0-9.-]{1,30}:[1-5][0-9]{0,4}\Z"),
    authority=_TEXT,
    bundle=_HEX,
    code=_HEX,
)
_SITES = st.builds(
    SiteFile,
    site=st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z"),
    cohort=_PATHS,
    cache=st.none() | _PATHS,
    resample_key=st.just("") | st.text(st.characters(codec="utf-8"), min_size=16, max_size=40),
    port=st.integers(1, 65535),
    metrics_port=st.integers(0, 65535),
    threads=st.integers(0, 1024),
    bounds=_BOUNDS,
    membership=st.none() | _MEMBERS,
)


@given(site=_SITES)
def test_what_is_written_is_read_back(
    site: SiteFile, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("site")
    write_site_file(folder, site)
    assert read_site_file(folder) == site


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_the_file_is_its_owners_alone_also_when_it_replaces_an_open_one(
    tmp_path: Path, umask: int
) -> None:
    (tmp_path / SITE_FILE).write_text("", encoding="utf-8")
    (tmp_path / SITE_FILE).chmod(0o666)
    before = os.umask(umask)
    try:
        write_site_file(tmp_path, SiteFile(site="dias", cohort=Path("/data")))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / SITE_FILE).stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == [SITE_FILE]


def test_a_site_allows_no_learner_and_no_fine_tuning_unless_it_says_so(tmp_path: Path) -> None:
    (tmp_path / SITE_FILE).write_text('site = "dias"\ncohort = "/data"\n', encoding="utf-8")
    bounds = read_site_file(tmp_path).bounds
    assert (bounds.learners, bounds.strategies) == ((), ())
    with pytest.raises(BoundsError, match=r"learner 'ridge': this site allows none"):
        check_bounds(bounds, RunSettings())


@pytest.mark.parametrize(
    ("setting", "wrong"),
    [
        ("sites", {"sites": "dias"}),
        ("bounds.learner", {"bounds": {"learner": ["ridge"]}}),
        ("membership.key", {"membership": {**MEMBER, "key": "x"}}),
        ("site", {"site": "our clinic"}),
        ("site", {"site": ""}),
        ("site", {"site": "-dias"}),
        ("site", {"site": "dias\n"}),
        ("site", {"site": "../dias"}),
        ("site", {"site": "d" * 65}),
        ("site", {"site": "Universitätsspital"}),
        ("cohort", {"cohort": "data"}),
        ("cache", {"cache": "~/cache"}),
        ("port", {"port": 0}),
        ("port", {"port": 65536}),
        ("metrics_port", {"metrics_port": -1}),
        ("threads", {"threads": -1}),
        ("resample_key", {"resample_key": "fifteen letters"}),
        ("bounds.minimum_count", {"bounds": {"minimum_count": 1}}),
        ("bounds.minimum_count", {"bounds": {"minimum_count": -5}}),
        ("bounds.minimum_count", {"bounds": {"minimum_count": 2.5}}),
        ("bounds.backbones", {"bounds": {"backbones": []}}),
        ("bounds.learners", {"bounds": {"learners": "ridge"}}),
        ("bounds.split_seed", {"bounds": {"split_seed": -1}}),
        ("bounds.most_draws", {"bounds": {"most_draws": 201}}),
        ("bounds.most_messages", {"bounds": {"most_messages": 0}}),
        ("bounds.most_runs", {"bounds": {"most_runs": -1}}),
        ("membership.address", {"membership": {**MEMBER, "address": "h.example"}}),
        ("membership.address", {"membership": {**MEMBER, "address": "h.example:99999"}}),
        ("membership.address", {"membership": {**MEMBER, "address": "h.example:0"}}),
        ("membership.address", {"membership": {**MEMBER, "address": "h example:9092"}}),
        ("membership.bundle", {"membership": {**MEMBER, "bundle": "A" * 64}}),
        ("membership.code", {"membership": {**MEMBER, "code": ""}}),
    ],
)
def test_what_is_wrong_in_the_file_is_named(
    tmp_path: Path, setting: str, wrong: dict[str, Any]
) -> None:
    right = {"site": "dias", "cohort": "/data", "membership": MEMBER}
    path = tmp_path / SITE_FILE
    path.write_text(tomli_w.dumps(right), encoding="utf-8")
    read_site_file(tmp_path)
    path.write_text(tomli_w.dumps({**right, **wrong}), encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        read_site_file(tmp_path)
    assert str(caught.value).startswith(f"{path}: {setting}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"site = ", b"\xff\xfe", b"site = 'dias'\n"])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / SITE_FILE).write_bytes(content)
    with pytest.raises(SettingsError, match=SITE_FILE):
        read_site_file(tmp_path)


def test_a_missing_file_tells_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="dermafed site init"):
        read_site_file(tmp_path)


def test_a_resample_key_is_not_in_the_error_about_it(tmp_path: Path) -> None:
    content = {"site": "dias", "cohort": "/data", "resample_key": "hush-hush"}
    (tmp_path / SITE_FILE).write_text(tomli_w.dumps(content), encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        read_site_file(tmp_path)
    assert "hush" not in str(caught.value)


def test_a_node_is_opened_by_the_sites_own_settings_and_no_unknown_one() -> None:
    site = SiteFile(
        site="dias",
        cohort=Path("/data"),
        cache=Path("/cache"),
        resample_key="sixteen letters!",
        bounds=Bounds(split_seed=7, minimum_count=9),
    )
    assert site.node_config() == {
        "site": "dias",
        "cohort": "/data",
        "cache": "/cache",
        "resample-key": "sixteen letters!",
        "minimum-count": 9,
        "split-seed": 7,
    }
    assert set(site.node_config()) == set(NODE_SETTINGS)
    plain = SiteFile(site="dias", cohort=Path("/data"))
    assert set(NODE_SETTINGS) - set(plain.node_config()) == {"cache", "resample-key"}


# Bounds

ALLOWED = Bounds(
    learners=("ridge", "lda"),
    backbones=("efficientnet_lite0", "efficientnet_lite0+truncate:6"),
    strategies=("fedavg",),
    split_seed=3,
    most_draws=50,
)
ASKED: dict[str, Any] = {"learner": "ridge", "split_seed": 3, "draws": 50}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"learner": "lda"},
        {"backbone": "efficientnet_lite0+truncate:6"},
        {"strategy": "fedavg"},
        {"draws": 0},
    ],
)
def test_a_run_within_the_bounds_is_allowed(change: dict[str, Any]) -> None:
    check_bounds(ALLOWED, RunSettings(**{**ASKED, **change}))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"learner": "logistic"}, "learner 'logistic': this site allows ridge, lda"),
        ({"learner": "Ridge"}, "learner 'Ridge': this site allows ridge, lda"),
        ({"learner": ""}, "learner '': this site allows ridge, lda"),
        ({"backbone": "tiny"}, "backbone 'tiny': this site allows efficientnet_lite0, "),
        ({"backbone": "efficientnet_lite0+truncate:7"}, "backbone 'efficientnet_lite0+truncate:7'"),
        ({"backbone": "efficientnet_lite0+view:8x8"}, "backbone 'efficientnet_lite0+view:8x8'"),
        ({"strategy": "fedprox"}, "strategy 'fedprox': this site allows fedavg"),
        ({"split_seed": 1}, "split-seed 1: this site allows 3"),
        ({"split_seed": 4}, "split-seed 4: this site allows 3"),
        ({"draws": 51}, "draws 51: this site allows 50"),
        ({"learner_settings": "ledger=true"}, "learner ridge: this site refuses ledger=true"),
        ({"learner_settings": "ledger=True"}, "learner ridge: this site refuses ledger=true"),
        ({"learner_settings": "ledger=1"}, "learner ridge: this site refuses ledger=true"),
        (
            {"learner_settings": "folds=11 search=grid:1:10:2"},
            "learner ridge: folds=11: this site allows 10",
        ),
    ],
)
def test_a_run_outside_the_bounds_is_refused_with_the_setting_named(
    change: dict[str, Any], told: str
) -> None:
    with pytest.raises(BoundsError) as caught:
        check_bounds(ALLOWED, RunSettings(**{**ASKED, **change}))
    assert str(caught.value).startswith(told)


@pytest.mark.parametrize(
    ("learner", "settings", "named"),
    [
        ("soft-vote", "members=ridge,forest:trees=5", "forest"),
        ("stack", "members=forest", "forest"),
        ("local-vote", "base=svm:pca=4", "svm"),
        ("balanced-bagging", "", "logistic"),
        ("tuned", "learner=forest space=trees=5", "forest"),
        ("tuned", "learner=ridge space=pca=1;kernel=none|rff", ""),
    ],
)
def test_an_ensemble_is_no_way_round_to_a_learner_that_is_not_allowed(
    learner: str, settings: str, named: str
) -> None:
    asked = {**ASKED, "learner": learner, "learner_settings": settings}
    some = ALLOWED.model_copy(update={"learners": (learner, "ridge")})
    if not named:
        check_bounds(some, RunSettings(**asked))
        return
    with pytest.raises(BoundsError) as caught:
        check_bounds(some, RunSettings(**asked))
    wanted = f"learner {learner}: member '{named}': this site allows {learner}, ridge"
    assert str(caught.value) == wanted
    check_bounds(
        some.model_copy(update={"learners": (learner, "ridge", named)}), RunSettings(**asked)
    )


def test_settings_of_an_ensembles_members_are_bounded_too() -> None:
    bounds = Bounds(learners=("soft-vote", "ridge", "lda"), refused=("kernel=rff", "pca=8"))
    run: dict[str, Any] = {"learner": "soft-vote", "learner_settings": "members=lda,ridge:pca=9"}
    check_bounds(bounds, RunSettings(**run))
    for member in ("ridge:pca=8", "ridge:kernel=rff"):
        with pytest.raises(BoundsError, match=r"soft-vote: member ridge: this site refuses "):
            check_bounds(
                bounds, RunSettings(**{**run, "learner_settings": f"members=lda,{member}"})
            )
    searched = "members=lda,ridge:search=grid:1:10:2 folds=6"
    with pytest.raises(BoundsError, match=r"soft-vote.*: folds=6: this site allows 5"):
        check_bounds(
            bounds.model_copy(update={"most_folds": 5}),
            RunSettings(**{**run, "learner_settings": searched}),
        )


def test_settings_of_what_is_tuned_are_bounded_too() -> None:
    bounds = Bounds(learners=("tuned", "soft-vote", "ridge"), refused=("pca=8",), most_folds=3)
    run: dict[str, Any] = {"learner": "tuned"}

    def tune(text: str) -> None:
        check_bounds(bounds, RunSettings(**run, learner_settings=text))

    tune("learner=ridge folds=3 space=pca=4|9")
    with pytest.raises(BoundsError, match=r"tuned: candidate pca=8: this site refuses pca=8"):
        tune("learner=ridge folds=3 space=pca=4|8")
    with pytest.raises(BoundsError, match=r"tuned: folds=4: this site allows 3"):
        tune("learner=ridge folds=4 space=pca=4|9")
    with pytest.raises(BoundsError, match=r"candidate .*: member ridge: this site refuses pca=8"):
        tune("learner=soft-vote folds=3 space=members=ridge:pca=8|ridge:pca=9")


def test_a_site_may_refuse_no_setting_of_a_learner() -> None:
    bounds = ALLOWED.model_copy(update={"refused": (), "most_folds": 100})
    for settings in ("ledger=true", "folds=50 search=grid:1:10:2"):
        check_bounds(bounds, RunSettings(**ASKED, learner_settings=settings))


def test_no_site_can_allow_what_ships_features() -> None:
    with pytest.raises(BoundsError, match="knn ships features of single images"):
        refuse_unknown(Bounds(learners=("ridge", "knn")))
    asked = {**ASKED, "learner": "knn", "learner_settings": "ships_features=yes"}
    with pytest.raises(BoundsError, match="learner 'knn': this site allows"):
        check_bounds(ALLOWED, RunSettings(**asked))


def test_every_learner_and_strategy_that_there_is_may_be_allowed() -> None:
    refuse_unknown(
        Bounds(refused=("ledger=true", "kernel=nystroem", "pca=8", "alpha_per_image=0.1"))
    )
    refuse_unknown(ALLOWED)
    refuse_unknown(Bounds(learners=tuple(LEARNERS), strategies=tuple(STRATEGIES)))
    refuse_unknown(Bounds(backbones=(f"timm:resnet18.a1_in1k@{'0' * 64}+flip", "vit_b_16+flip")))


@pytest.mark.parametrize(
    ("bounds", "told"),
    [
        (Bounds(learners=("ridge", "logistc")), "bounds.learners: logistc unknown; known: ncm, "),
        (Bounds(learners=("Ridge",)), "bounds.learners: Ridge unknown"),
        (Bounds(refused=("leger=true",)), "bounds.refused: 'leger=true': no learner has a setting"),
        (
            Bounds(refused=("ledger=yes",)),
            "bounds.refused: 'ledger=yes' is never met; write ledger=true",
        ),
        (Bounds(refused=("ledger",)), "bounds.refused: 'ledger' is never met"),
        (
            Bounds(refused=("alpha_per_image=1e-1",)),
            "bounds.refused: 'alpha_per_image=1e-1' is never met; write alpha_",
        ),
        (
            Bounds(refused=("kernel=nystrom",)),
            "bounds.refused: 'kernel=nystrom' is never met; write another value",
        ),
        (Bounds(strategies=("fedavgg",)), "bounds.strategies: fedavgg unknown; known: fedavg"),
        (Bounds(backbones=("efficientnet",)), "bounds.backbones: efficientnet unknown"),
        (Bounds(backbones=("lite+truncate:6",)), "bounds.backbones: lite unknown"),
        (Bounds(backbones=("timm:resnet18+flip",)), "bounds.backbones: timm:resnet18 unknown"),
    ],
)
def test_a_mistyped_name_in_the_bounds_is_refused_with_what_is_known(
    bounds: Bounds, told: str
) -> None:
    with pytest.raises(BoundsError) as caught:
        refuse_unknown(bounds)
    assert str(caught.value).startswith(f"site.toml {told}")


def test_a_site_trains_with_the_threads_that_it_names_and_with_all_if_it_names_none(
    tmp_path: Path,
) -> None:
    site = SiteFile(site="dias", cohort=Path("/data"), membership=Membership(**MEMBER))
    for threads, told in [(0, None), (3, "3")]:
        supernode, worker = site_services(tmp_path, site.model_copy(update={"threads": threads}))
        assert worker.environment.get("OMP_NUM_THREADS") == told
        assert "OMP_NUM_THREADS" not in supernode.environment


def test_a_port_of_a_site_that_is_taken_is_named_with_its_setting_and_file(tmp_path: Path) -> None:
    site = SiteFile(
        site="dias",
        cohort=Path("/data"),
        port=9194,
        metrics_port=9195,
        membership=Membership(**MEMBER),
    )
    supernode, worker = site_services(tmp_path, site)
    file = tmp_path / SITE_FILE
    assert supernode.port_setting == f"port in {file}"
    for service, port, setting in ((supernode, 9194, "port"), (worker, 9195, "metrics_port")):
        told = service.meanings["Errno 98"]
        assert told.startswith(f"port {port} is taken by another program")
        assert told.endswith(f"choose another {setting} in {file}")
