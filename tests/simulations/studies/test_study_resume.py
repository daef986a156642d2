"""Going on where a study stopped: nothing is made twice, and nothing is different for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import RunFolderError, StudyError
from simulations.studies.lab import Lab
from tests.simulations.studies.conftest import REAL_DRAWS, REAL_OPTIONS
from tests.simulations.studies.study_lab import with_features

RunHere = Callable[..., dict[str, Any]]
NUMBERS = ("cells", "fairness", "comparisons", "exactness")
STUDY = "leave-one-site-out"


def numbers(result: dict[str, Any]) -> str:
    """Write down, bit for bit, what does not tell of seconds."""
    return json.dumps({name: result[name] for name in NUMBERS})


def fit_files(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (out / "fits").glob("*.safetensors")}


def test_what_was_done_before_an_interruption_is_kept_and_the_result_is_the_same(
    run_here: RunHere, tmp_path: Path
) -> None:
    whole = run_here(STUDY, tmp_path / "whole")
    assert whole["fits"] == {"all": 8, "this_time": 8}
    with pytest.raises(KeyboardInterrupt):
        run_here(STUDY, tmp_path / "out", stop_after=3)
    kept = fit_files(tmp_path / "out")
    assert len(kept) == 3
    assert not (tmp_path / "out" / "result.json").exists()
    again = run_here(STUDY, tmp_path / "out")
    assert again["fits"] == {"all": 8, "this_time": 5}
    assert numbers(again) == numbers(whole)
    assert kept.items() <= fit_files(tmp_path / "out").items()
    for name in ("predictions.csv",):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert run_here(STUDY, tmp_path / "out")["fits"]["this_time"] == 0


def test_another_seed_makes_only_its_own_fits(run_here: RunHere, tmp_path: Path) -> None:
    run_here(STUDY, tmp_path, split_seeds=(1,))
    both = run_here(STUDY, tmp_path, split_seeds=(1, 2))
    assert both["fits"] == {"all": 16, "this_time": 8}
    assert {len(cell["images"]) for cell in both["cells"] if cell["by"] == "all"} == {2}


def test_resamples_belong_to_no_fit(run_here: RunHere, tmp_path: Path) -> None:
    few = run_here(STUDY, tmp_path, draws=0)
    assert {tuple(m[1:]) for c in few["cells"] for m in c["metrics"].values()} == {(None, None)}
    more = run_here(STUDY, tmp_path, draws=30)
    assert more["fits"]["this_time"] == 0
    values = [[m[0] for c in r["cells"] for m in c["metrics"].values()] for r in (few, more)]
    assert values[0] == pytest.approx(values[1], rel=1e-12)


def test_changed_features_or_learners_are_fitted_anew(
    run_here: RunHere, lab: Lab, tmp_path: Path
) -> None:
    run_here(STUDY, tmp_path)
    # Baselines are of the same name, whatever the learner is.
    other = run_here(STUDY, tmp_path, learners=("ridge alpha_per_image=2",))
    assert other["fits"] == {"all": 8, "this_time": 4}
    changed = with_features(lab, np.arange(1), lab.x[:1] + 1)
    assert run_here(STUDY, tmp_path, on=changed)["fits"] == {"all": 8, "this_time": 8}
    assert run_here(STUDY, tmp_path)["fits"]["this_time"] == 0


def test_one_more_partition_makes_only_its_own_fits(
    run_here: RunHere, lab: Lab, tmp_path: Path
) -> None:
    run_here("heterogeneity", tmp_path, partitions=("iid:3",))
    looks = replace(lab, looks={"iid:3": lab.x + np.float32(0.5)})
    more = run_here("heterogeneity", tmp_path, on=looks, partitions=("iid:3", "look:3"))
    assert more["fits"] == {"all": 4, "this_time": 2}


def test_a_damaged_file_is_named_and_made_again_once_deleted(
    run_here: RunHere, tmp_path: Path
) -> None:
    whole = run_here(STUDY, tmp_path)
    path = sorted((tmp_path / "fits").iterdir())[2]
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(RunFolderError, match=f"{path.name}: damaged .*delete it"):
        run_here(STUDY, tmp_path)
    path.unlink()
    again = run_here(STUDY, tmp_path)
    assert again["fits"]["this_time"] == 1
    assert numbers(again) == numbers(whole)


def test_the_folder_of_fits_may_be_deleted(run_here: RunHere, tmp_path: Path) -> None:
    whole = run_here(STUDY, tmp_path)
    for path in (tmp_path / "fits").iterdir():
        path.unlink()
    (tmp_path / "fits").rmdir()
    assert numbers(run_here(STUDY, tmp_path)) == numbers(whole)


def test_another_studys_folder_is_refused_and_kept(run_here: RunHere, tmp_path: Path) -> None:
    run_here(STUDY, tmp_path)
    before = (tmp_path / "result.json").read_bytes()
    with pytest.raises(StudyError, match=f"holds the study {STUDY}; choose another --out"):
        run_here("fairness", tmp_path)
    assert (tmp_path / "result.json").read_bytes() == before


def test_a_folder_that_is_no_studys_is_refused_and_kept(run_here: RunHere, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(StudyError, match=r"is not a study's folder; choose another --out"):
        run_here(STUDY, tmp_path)
    with pytest.raises(StudyError, match=r"thesis\.txt"):
        run_here(STUDY, tmp_path / "thesis.txt")
    with pytest.raises(StudyError, match=r"thesis\.txt/below: cannot be used"):
        run_here(STUDY, tmp_path / "thesis.txt" / "below")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_a_folder_whose_name_is_damaged_is_refused(
    text: str, run_here: RunHere, tmp_path: Path
) -> None:
    (tmp_path / "study.json").write_text(text, encoding="utf-8")
    with pytest.raises(StudyError, match=str(tmp_path)):
        run_here(STUDY, tmp_path)
    assert not (tmp_path / "fits").exists()


def test_the_same_seed_gives_the_same_files_and_another_draws_other_sites(
    run_here: RunHere, tmp_path: Path
) -> None:
    def predictions(name: str, seed: int) -> bytes:
        run_here("heterogeneity", tmp_path / name, partitions=("quantity:3",), seed=seed)
        return (tmp_path / name / "predictions.csv").read_bytes()

    first = predictions("a", 0)
    assert first == predictions("b", 0)
    assert first != predictions("c", 1)


def test_a_killed_command_goes_on_where_it_was(
    real_study: Callable[[str], Path], cohort: Path, shared_cache: Path, tmp_path: Path
) -> None:
    """The real command, killed as the system kills when memory is short: it can tidy nothing up."""
    whole = json.loads((real_study(STUDY) / "result.json").read_text(encoding="utf-8"))
    out = tmp_path / "out"
    command = [Path(sys.executable).parent / "dermafed", "study", STUDY, cohort, "--out", out]
    command += [*REAL_OPTIONS[STUDY], "--draws", REAL_DRAWS]
    arguments = list(map(str, command))
    environment = {**os.environ, "DERMAFED_CACHE": str(shared_cache)}
    process = subprocess.Popen(
        arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    )
    end = time.monotonic() + 200
    while len(list(out.glob("fits/*.safetensors"))) < 3:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = fit_files(out)
    assert 3 <= len(kept) < whole["fits"]["all"]
    assert not (out / "result.json").exists()
    done = subprocess.run(
        arguments, capture_output=True, text=True, timeout=250, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert f"{len(kept)} of {whole['fits']['all']} fits are done already" in done.stderr
    again = json.loads((out / "result.json").read_text(encoding="utf-8"))
    assert again["fits"]["this_time"] == whole["fits"]["all"] - len(kept)
    assert kept.items() <= fit_files(out).items()
    assert numbers(again) == numbers(whole)
    predictions = (folder / "predictions.csv" for folder in (out, real_study(STUDY)))
    assert len({path.read_bytes() for path in predictions}) == 1
