"""Studies of fine-tuning: who teaches which network, which round is kept, how a stop is met."""

from __future__ import annotations

import gc
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file
from sklearn.metrics import balanced_accuracy_score
from torch import nn

import simulations.studies.tuned_models
from client.training.keep import Keep
from client.training.pixels import Pixels
from client.training.trainer import Trainer
from common.errors import OutputError
from common.finetuning.order import Order, Update
from common.split import split_groups
from server.checkpoint import Checkpoint, CheckpointFolder
from simulations.studies.fit import Fit, FitResult, load_result
from simulations.studies.lab import Lab, make_bench
from simulations.studies.models import run_fit
from tests.simulations.studies.study_lab import SITES, STAGED, load_trunk, make_picture_lab

if TYPE_CHECKING:
    from numpy.typing import NDArray

pytestmark = pytest.mark.usefixtures("one_thread")

RunHere = Callable[..., dict[str, Any]]
# Turned, these textures would be others.
STRAIGHT = "rotation=0 shift=0 zoom=0 precision=float32"
TRAIN = f"plan=all:2 steps=4 batch=16 lr=0.01 head_lr=0.05 label_smoothing=0 {STRAIGHT}"
PLAIN = (
    f"{STRAIGHT} flips=false brightness=0 contrast=0 saturation=0 hue=0 flip_average=false "
    "label_smoothing=0 logit_adjust=0 balance=none optimizer=sgd momentum=0 weight_decay=0 clip=0 "
    "schedule=constant"
)
# Steps so long that the validation gets worse again after some.
RATE, HEAD_RATE, MOST_ROUNDS = 3e-3, 0.3, 12
LEFT_OUT, OTHERS = SITES[0], SITES[1:]


@pytest.fixture(scope="module")
def pictured(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return make_picture_lab(tmp_path_factory.mktemp("pictured") / "images")


def fitted(
    lab: Lab, folder: Path, learner: str, *models: str, training: str = TRAIN, **changes: Any
) -> FitResult:
    return run_fit(
        make_bench(lab, Fit(learner, models, "-", 1, training=training, **changes)), folder
    )


def study_here(run_here: RunHere, out: Path, lab: Lab, learner: str, training: str) -> Any:
    given = {"backbone": STAGED.name, "learners": (learner,), "training": training}
    return run_here("fine-tuning", out, on=lab, **given)


def rows_of(lab: Lab, part: str) -> NDArray[np.intp]:
    return np.flatnonzero(split_groups(1, lab.cohort.group) == part)


def taught_otherwise(lab: Lab, site: str) -> Lab:
    """Permute the labels, and turn the order of the pictures, of all that a site may learn from."""
    cohort = lab.cohort
    learns = np.setdiff1d(np.flatnonzero(cohort.site == site), rows_of(lab, "test"))
    y, x, path = cohort.y.copy(), lab.x.copy(), np.array(cohort.path, dtype=object)
    y[learns] = np.random.default_rng(7).permutation(y[learns])
    x[learns], path[learns] = x[learns[::-1]], path[learns[::-1]]
    return replace(lab, x=x, cohort=replace(cohort, y=y, path=tuple(path)))


def best_round(run: Path) -> int:
    return int(json.loads((run / "result.json").read_text(encoding="utf-8"))["best_round"])


@pytest.mark.parametrize(
    ("learner", "models", "folder"),
    [
        ("fedavg", ("fine-tuned", "frozen head"), "federated"),
        ("baseline", ("pooled network",), "pooled"),
    ],
)
def test_a_site_that_is_left_out_teaches_nothing(
    learner: str, models: tuple[str, ...], folder: str, pictured: Lab, tmp_path: Path
) -> None:
    changed = taught_otherwise(pictured, LEFT_OUT)

    def predict(lab: Lab, name: str, trains: tuple[str, ...]) -> FitResult:
        return fitted(lab, tmp_path / name, learner, *models, trains=trains, tests=(LEFT_OUT,))

    without = [predict(lab, str(i), OTHERS) for i, lab in enumerate((pictured, changed))]
    takes_part = predict(changed, "takes part", SITES)
    before_it = predict(pictured, "took part", SITES)
    for model in models:
        first, second = (one.probabilities[model] for one in without)
        np.testing.assert_array_equal(first, second)
        # Where it takes part, it does teach.
        assert not np.array_equal(takes_part.probabilities[model], before_it.probabilities[model])
    assert best_round(tmp_path / "0" / folder / "run") > 0


def test_a_run_that_is_over_keeps_no_pixels_in_memory(pictured: Lab, tmp_path: Path) -> None:
    def decoded() -> int:
        return sum(bool(one._known) for one in gc.get_objects() if type(one) is Pixels)

    gc.collect()
    before = decoded()
    gc.disable()
    try:
        fitted(pictured, tmp_path, "fedavg", "frozen head")
        assert decoded() == before
    finally:
        gc.enable()


def test_a_sites_network_learns_from_its_own_images_alone(pictured: Lab, tmp_path: Path) -> None:
    first, second = (
        fitted(lab, tmp_path / str(i), "baseline", "local network")
        for i, lab in enumerate((pictured, taught_otherwise(pictured, LEFT_OUT)))
    )
    p, changed = (one.probabilities["local network"] for one in (first, second))
    for site in SITES:
        own = first.client == site
        assert own.any()
        assert np.array_equal(p[own], changed[own]) == (site != LEFT_OUT)
    assert first.about["costs"]["local network"]["federations"] == len(SITES)


def test_a_site_whose_training_images_have_one_class_predicts_that_class(
    pictured: Lab, tmp_path: Path
) -> None:
    cohort, test = pictured.cohort, rows_of(pictured, "test")
    y = np.where(cohort.site == OTHERS[0], 2, cohort.y)
    y[test] = cohort.y[test]
    lab = replace(pictured, cohort=replace(cohort, y=y))
    found = fitted(lab, tmp_path, "baseline", "local network", tests=OTHERS[:1])
    assert set(y[found.rows]) > {2}
    np.testing.assert_array_equal(
        found.probabilities["local network"], [[0.0, 0.0, 1.0]] * len(found.rows)
    )
    assert not tmp_path.joinpath("local-0").exists()


def test_the_pooled_network_is_that_of_one_site_with_all_images(
    pictured: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit, once both have one name: batches are drawn by it."""
    monkeypatch.setattr(simulations.studies.tuned_models, "_POOLED", "site-0")
    pooled = fitted(pictured, tmp_path / "a", "baseline", "pooled network")
    one = fitted(pictured, tmp_path / "b", "fedavg", "fine-tuned", partition="iid:1")
    assert set(one.client) == {"site-0"}
    np.testing.assert_array_equal(
        pooled.probabilities["pooled network"], one.probabilities["fine-tuned"]
    )
    assert pooled.about["validation"]["pooled network"] == one.about["validation"]["fine-tuned"]


def images_of(lab: Lab, rows: NDArray[np.intp]) -> torch.Tensor:
    pixels = np.stack([np.asarray(Image.open(lab.cohort.path[row])) for row in rows])
    return torch.from_numpy(pixels / np.float32(127.5) - np.float32(1)).permute(0, 3, 1, 2)


def exact_head(found: FitResult, lab: Lab) -> nn.Linear:
    """Solve for the linear map whose softmax are the frozen head's probabilities."""
    log = np.log(found.probabilities["frozen head"])
    x = np.column_stack([lab.x[found.rows].astype(np.float64), np.ones(len(log))])
    map_, *_ = np.linalg.lstsq(x, log - log.mean(axis=1, keepdims=True), rcond=None)
    head = nn.Linear(*map_[:-1].shape)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(map_[:-1].T))
        head.bias.copy_(torch.from_numpy(map_[-1]))
    return head


def softmax_of(trunk: nn.Module, head: nn.Linear, images: torch.Tensor) -> NDArray[np.float64]:
    with torch.no_grad():
        logits = head(trunk(images).mean((2, 3)))
    p: NDArray[np.float64] = logits.double().softmax(1).numpy()
    return p


def by_hand(lab: Lab, head: nn.Linear) -> tuple[list[float], list[NDArray[np.float64]]]:
    """Take full-batch steps in bare PyTorch; give the validation and the test images of each."""
    y, trunk = lab.cohort.y, load_trunk(2)
    train, validation, test = (rows_of(lab, part) for part in ("train", "validation", "test"))
    images, labels = images_of(lab, train), torch.from_numpy(y[train])
    groups = [{"params": trunk.parameters(), "lr": RATE}]
    groups.append({"params": head.parameters(), "lr": HEAD_RATE})
    optimizer = torch.optim.SGD(groups, lr=RATE)
    scores, predicted = [], []
    for number in range(MOST_ROUNDS + 1):
        if number:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(head(trunk(images).mean((2, 3))), labels)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        judged = softmax_of(trunk, head, images_of(lab, validation)).argmax(axis=1)
        scores.append(float(balanced_accuracy_score(y[validation], judged)))
        predicted.append(softmax_of(trunk, head, images_of(lab, test)))
    return scores, predicted


def rounds_until_worse(scores: list[float]) -> int:
    """Count rounds until one is worse than a round of training before it."""
    return next(n for n in range(2, len(scores)) if scores[n] < max(scores[1:n]) > scores[0])


def test_full_batch_steps_are_pytorchs_own_and_the_round_best_on_validation_is_kept(
    pictured: Lab, run_here: RunHere, tmp_path: Path
) -> None:
    """One step a round on all of a site's images: FedAvg over sites is then the pooled step."""
    training = f"steps=1 batch=0 lr={RATE} head_lr={HEAD_RATE} {PLAIN}"
    begun = f"plan=head:1 {training}"
    start = fitted(pictured, tmp_path / "start", "fedavg", "frozen head", training=begun)
    scores, predicted = by_hand(pictured, exact_head(start, pictured))
    rounds = rounds_until_worse(scores)
    best = max(range(rounds + 1), key=lambda number: (scores[number], number))
    assert 0 < best < rounds
    result = study_here(
        run_here, tmp_path / "out", pictured, "fedavg", f"plan=all:{rounds} {training}"
    )
    fits = [load_result(path) for path in (tmp_path / "out/fits").glob("*.safetensors")]
    found = {model: one for one in fits for model in one.probabilities}
    for model in ("fine-tuned", "pooled network"):
        np.testing.assert_array_equal(found[model].rows, rows_of(pictured, "test"))
        np.testing.assert_allclose(found[model].probabilities[model], predicted[best], atol=1e-4)
    about = {"condition": "all sites", "tests": [], "split_seed": 1}
    about["balanced_accuracy"] = pytest.approx(scores[best])
    assert result["validation"] == [
        {"learner": "baseline", "model": "pooled network", **about},
        {"learner": "fedavg", "model": "fine-tuned", **about},
    ]


def test_a_personal_head_predicts_at_its_own_site_and_the_exact_one_elsewhere(
    pictured: Lab, tmp_path: Path
) -> None:
    training = f"{TRAIN} flip_average=false"
    models = ("fine-tuned", "frozen head")
    found = fitted(pictured, tmp_path, "fedper", *models, training=training, trains=OTHERS)
    run = tmp_path / "federated/run"
    about = json.loads((run / "result.json").read_text(encoding="utf-8"))
    assert about["best_round"] > 0
    shared = nn.ModuleDict({"trunk": load_trunk(2)})
    sent = load_file(run / "network.safetensors")
    trained = {n: torch.from_numpy(a) for n, a in sent.items() if n.startswith("trunk.")}
    assert not shared.load_state_dict(trained, strict=False).unexpected_keys
    start = exact_head(found, pictured)
    heads = {LEFT_OUT: start}
    for site in OTHERS:
        kept = Keep(tmp_path / "federated/states", about["run"], site).load(about["best_round"])
        heads[site] = nn.Linear(8, 3)
        for name, tensor in heads[site].named_parameters():
            tensor.data.copy_(torch.from_numpy(kept[f"own|classifier.{name}"]))
    for site, head in heads.items():
        own = found.client == site
        images, told = images_of(pictured, found.rows[own]), found.probabilities["fine-tuned"][own]
        for other, wrong in heads.items():
            p = softmax_of(shared["trunk"], wrong, images)
            assert np.allclose(told, p, atol=1e-4) == (other == site), (site, other)
        assert len(told)
        assert np.abs(softmax_of(load_trunk(2), head, images) - told).max() > 1e-2


def test_a_study_that_is_stopped_in_each_run_goes_on_there_to_the_same_numbers(
    pictured: Lab, run_here: RunHere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pooled network, three sites' networks and a federation whose sites keep a state."""
    training = f"plan=all:3 steps=2 batch=8 lr=0.01 {STRAIGHT}"
    whole = study_here(run_here, tmp_path / "whole", pictured, "scaffold", training)
    save, finetune = CheckpointFolder.save, Trainer.finetune
    saved, stopped, trained = set[tuple[str, int]](), set[str](), Counter[tuple[str, str, int]]()

    def fails_once_in_round_2(folder: CheckpointFolder, checkpoint: Checkpoint) -> None:
        if checkpoint.round == 2 and checkpoint.run not in stopped:
            stopped.add(checkpoint.run)
            raise OutputError("the disk is full")
        save(folder, checkpoint)
        saved.add((checkpoint.run, checkpoint.round))

    def counted(trainer: Trainer, order: Order, arrays: Any) -> Update:
        trained[order.run, trainer.site.name, order.round] += 1
        return finetune(trainer, order, arrays)

    monkeypatch.setattr(CheckpointFolder, "save", fails_once_in_round_2)
    monkeypatch.setattr(Trainer, "finetune", counted)
    out, runs = tmp_path / "out", 5
    for attempt in range(runs):
        with pytest.raises(OutputError, match="disk is full"):
            study_here(run_here, out, pictured, "scaffold", training)
        assert len(stopped) == attempt + 1
        assert len(list(out.glob("fits/*.unfinished"))) == 1
    again = study_here(run_here, out, pictured, "scaffold", training)
    # Of each run but the round that was not kept, nothing was done twice, and no run began anew.
    assert {run for run, _, _ in trained} == stopped
    assert Counter(number for _, _, number in trained) == {1: 7, 2: 7, 3: 7}
    assert all(times == (2 if number == 2 else 1) for (_, _, number), times in trained.items())
    assert saved == {(run, number) for run in stopped for number in range(4)}
    for name in ("cells", "comparisons", "validation"):
        assert again[name] == whole[name]
    both = [tmp_path / name / "predictions.csv" for name in ("whole", "out")]
    assert both[0].read_bytes() == both[1].read_bytes()
    assert len(list((out / "fits").iterdir())) == again["fits"]["all"] == 3
