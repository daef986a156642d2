"""Small run folders of every study, as the studies write them, from drawn predictions."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.cohort import Cohort, load_cohort
from common.split import split_groups
from simulations.studies.base import Pair, Study, plain_label
from simulations.studies.cells import evaluate
from simulations.studies.groups import GROUPINGS
from simulations.studies.image_table import make_image_table
from simulations.studies.result import (
    comparisons,
    describe_cohort,
    write_json,
    write_predictions,
)
from simulations.studies.series import Repetition, Series

DRAWS, SPLIT_SEEDS = 40, (1, 2)
# A site may be called anything; the last one lacks a class.
SITES = ("vienna_dias", "<script>alert(1)</script>", 'a & "b" $x_1$')
CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
# How sure the drawn model is of the truth, against noise of one.
_SIGNAL = {"majority": 0.0, "shortcut": 0.5, "local": 1.0, "personalised": 1.7}
_BY = {
    "leave-one-site-out": ("all", "site"),
    "cross-site": ("all", "site"),
    "heterogeneity": ("all", "client"),
    "learning-curve": ("all", "site"),
    "simulate": ("all", "site", "client"),
    "compare": ("all", "site"),
    "fairness": ("all", "site", "sex", "age_band", "localisation", "skin_tone"),
}
Json = dict[str, Any]
About = Mapping[str, str | int | float]
# Learner, model, condition and what it is about.
Name = tuple[str, str, str, About]


def write_small_cohort(
    folder: Path, write_table: Callable[..., Path], write_image: Callable[..., Path]
) -> Path:
    """Write 600 images of noise at three sites, two of a lesion now and then."""
    draw = np.random.default_rng(7)
    rows = []
    for number in range(600):
        site = SITES[number % 3]
        choices = CLASSES[:-1] if site == SITES[-1] else CLASSES
        lesion = number if number % 10 else max(0, number - 3)
        label = CLASSES[4 + number % 2] if number // 3 % 2 else str(draw.choice(choices))
        rows.append(
            {
                "image_id": f"ISIC_{number:04d}",
                "lesion_id": f"HAM_{lesion:04d}",
                "dx": label,
                "dataset": site,
                "sex": str(draw.choice(["male", "female"])),
                "age": str(draw.integers(20, 90)),
                "localization": str(draw.choice(["back", "face", "<b>toe</b>"])),
            }
        )
        write_image(folder / "images" / f"ISIC_{number:04d}.jpg", number, 40, 30)
    write_table(folder / "HAM10000_metadata.csv", rows)
    return folder


def write_run(folder: Path, cohort_folder: Path, study: str, *, variant: str = "") -> Path:
    """Write a run folder.

    Parameters
    ----------
    folder : Path
        Where to.
    cohort_folder : Path
        From `write_small_cohort`.
    study : str
        Name of the study.
    variant : str
        Another one draws other predictions of the same images.
    """
    cohort = load_cohort(cohort_folder)
    tones = np.array(["light", "dark", "unknown"])[np.arange(len(cohort)) % 3]
    groupings = {**{name: of(cohort) for name, of in GROUPINGS.items()}, "skin_tone": tones}
    table = make_image_table(cohort, groupings, draws=DRAWS, seed=0)
    names = _names(study)
    series = [_series(cohort, name, variant) for name in names]
    found = {one.name: evaluate(one, table, _BY[study]) for one in series}
    learners = learners_of(study)
    described = Study(study, "", learners, _BY[study], lambda _: [], plain_label, lambda _: [])
    folder.mkdir(parents=True)
    # A simulation tells of training images, too.
    written = [_series(cohort, name, variant, all_rows=study == "simulate") for name in names]
    write_predictions(folder / "predictions.csv", cohort, groupings, written)
    result: Json = {
        "kind": "study",
        "study": study,
        "question": f"Does <i>{study}</i> hold?",
        "settings": {
            "cohort": str(cohort_folder),
            "learners": list(learners),
            "split_seeds": list(SPLIT_SEEDS),
            "draws": DRAWS,
            "seed": 0,
            "backbone": "efficientnet_lite0",
            **_SETTINGS.get(study, {}),
        },
        "cohort": describe_cohort(cohort),
        "cells": [cell for one in series for cell in found[one.name].cells],
        "fairness": [entry for one in series for entry in found[one.name].fairness],
        "comparisons": comparisons(described.by, _pairs(study), learners, found),
        "exactness": _exactness(series),
        "costs": [
            {
                "learner": one.learner,
                "model": one.model,
                "condition": one.condition,
                "federations": 3,
                "rounds": 6.0,
                "bytes_up": 3.5e6,
                "bytes_down": 1.2e6,
                "seconds": 1.25,
            }
            for one in series
        ],
        "notes": ["ISIC_9999 <b>left out</b>"],
        "seconds": {"features": 1.0, "fits": 2.0},
        "machine": "2 cores",
        "versions": {"python": "3.11.2", "numpy": "2.0.0"},
    }
    write_json(folder / "result.json", result)
    return folder


def learners_of(study: str) -> tuple[str, ...]:
    """Name the learners; two studies have two."""
    several = ("leave-one-site-out", "compare")
    return ("ridge", "logistic pca=128") if study in several else ("ridge",)


def _names(study: str) -> list[Name]:
    names: list[Name] = []
    for learner in learners_of(study):
        for model, condition, about in _models(study):
            names.append((learner, model, condition, about))
    main = {
        "leave-one-site-out": ("site left out", "site takes part"),
        "cross-site": ("trained at all sites",),
        "heterogeneity": ("site", "dirichlet:0.1:3"),
        "learning-curve": ("all images of all sites",),
        "compare": ("any features",),
    }.get(study, ("all sites",))
    baselines = ("majority", "shortcut")
    return [*names, *(("baseline", model, one, {}) for one in main for model in baselines)]


def _models(study: str) -> list[tuple[str, str, About]]:
    alone = ("local", "personalised")
    nothing: About = {}
    if study == "leave-one-site-out":
        conditions = ("site left out", "site takes part")
        both = [(model, condition, nothing) for condition in conditions for model in _BOTH]
        return [*both, *((model, "site left out", nothing) for model in alone)]
    if study == "cross-site":
        about: dict[str, About] = {f"trained at {site}": {"trained_at": site} for site in SITES}
        matrix = [("local", name, about[name]) for name in about]
        return [*matrix, *((model, "trained at all sites", nothing) for model in _BOTH)]
    if study == "heterogeneity":
        about = {"site": {"kind": "site"}}
        for alpha in (0.1, 1.0):
            about[f"dirichlet:{alpha:g}:3"] = {"kind": "dirichlet", "alpha": alpha}
        return [(model, name, about[name]) for model in (*_BOTH, *alone) for name in about]
    if study == "learning-curve":
        about = {f"{n} images a site": {"images_per_site": n} for n in (10, 40)}
        limits = [(model, name, about[name]) for model in (*_BOTH, "local") for name in about]
        about = {f"1 site: {site}": {"sites": 1, "trained_at": site} for site in SITES}
        sets = [("federated", name, about[name]) for name in about]
        whole: About = {"images_per_site": 0}
        return [*limits, *((m, "all images of all sites", whole) for m in _BOTH), *sets]
    if study == "compare":
        about = {
            f"{backbone}, {treatment}": {"backbone": backbone, "treatment": treatment}
            for backbone in ("one", "two")
            for treatment in ("none", "smote")
        }
        return [("federated", name, about[name]) for name in about]
    return [(model, "all sites", nothing) for model in (*_BOTH, *alone)]


_BOTH = ("federated", "pooled")
_SETTINGS: Mapping[str, Json] = {
    "compare": {"backbones": ["one", "two"], "treatments": ["none", "smote"], "turns": 5}
}


def _pairs(study: str) -> list[Pair]:
    if study == "leave-one-site-out":
        out = ("federated", "site left out")
        return [
            Pair(out, ("shortcut", "site left out")),
            Pair(out, ("local", "site left out")),
            Pair(out, ("federated", "site takes part")),
            Pair(("personalised", "site left out"), out),
        ]
    if study == "cross-site":
        together = ("federated", "trained at all sites")
        return [Pair(together, ("local", f"trained at {site}")) for site in SITES]
    if study == "compare":
        first = ("federated", "one, none")
        others = [Pair(("federated", "one, smote"), first), Pair(("federated", "two, none"), first)]
        return [*others, Pair(first, ("shortcut", "any features"))]
    if study in ("fairness", "simulate"):
        return [Pair(("federated", "all sites"), ("shortcut", "all sites"))]
    return []


def _series(cohort: Cohort, name: Name, variant: str, *, all_rows: bool = False) -> Series:
    learner, model, condition, about = name
    # The pooled fit is the federated one, as the exact learners' is.
    source = "federated" if model == "pooled" else model
    seed = zlib.crc32(f"{learner} {source} {condition} {variant}".encode())
    signal = _SIGNAL.get(model, 1.4)
    repetitions = []
    for split_seed in SPLIT_SEEDS:
        draw = np.random.default_rng([seed, split_seed])
        every = draw.normal(size=(len(cohort), len(CLASSES)))
        every[np.arange(len(cohort)), cohort.y] += signal
        if model == "majority":
            every = np.tile(np.arange(len(CLASSES), dtype=np.float64), (len(cohort), 1))
        rows = np.arange(len(cohort)) if all_rows else _test_rows(cohort, split_seed)
        scores = every[rows]
        p = np.exp(scores)
        p = (p / p.sum(axis=1, keepdims=True)).astype(np.float32)
        repetitions.append(
            Repetition(split_seed, rows, cohort.site[rows], p, p.argmax(axis=1).astype(np.intp))
        )
    return Series(learner, model, condition, about, tuple(repetitions))


def _test_rows(cohort: Cohort, split_seed: int) -> Any:
    return np.flatnonzero(split_groups(split_seed, cohort.group) == "test")


def _exactness(series: Sequence[Series]) -> list[Json]:
    of = {one.name: one for one in series}
    found = []
    for one in series:
        if one.model != "federated" or (one.learner, "pooled", one.condition) not in of:
            continue
        pooled = of[one.learner, "pooled", one.condition]
        pairs = list(zip(one.repetitions, pooled.repetitions, strict=True))
        found.append(
            {
                "learner": one.learner,
                "condition": one.condition,
                "predictions": sum(len(a.rows) for a, _ in pairs),
                "differ": sum(int((a.predicted != b.predicted).sum()) for a, b in pairs),
            }
        )
    return found
