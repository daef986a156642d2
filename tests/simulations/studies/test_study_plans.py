"""Which fits a study is made of, where they stand and what is compared: lists written by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from common.errors import PartitionError
from simulations.studies import STUDIES
from simulations.studies.base import Label, Pair, Plan
from simulations.studies.fit import Fit
from simulations.studies.groups import CLIENT, GROUPINGS, SKIN_TONE
from simulations.studies.heterogeneity import default_partitions, partition_of

PLAN = Plan(sites=("a", "b", "c"), learners=("ridge",), split_seeds=(5,), seed=9, largest=300)
FOUR = ("federated", "pooled", "local", "personalised")
NO_IMAGE = ("majority", "shortcut")


def test_each_study_stands_under_its_own_name_and_groups_by_what_there_is() -> None:
    assert list(STUDIES) == [
        *("leave-one-site-out", "cross-site", "heterogeneity", "fairness", "learning-curve"),
        *("fusion", "fine-tuning", "fine-tuning-left-out"),
    ]
    for name, study in STUDIES.items():
        assert study.name == name
        assert study.question.endswith("?")
        assert set(study.by) <= {*GROUPINGS, CLIENT, SKIN_TONE}
        assert study.by[0] == "all"


def test_leave_one_site_out_leaves_out_each_site_once() -> None:
    left, takes = "site left out", "site takes part"
    assert STUDIES["leave-one-site-out"].fits(PLAN) == [
        Fit("ridge", FOUR, left, 5, trains=("b", "c"), tests=("a",)),
        Fit("ridge", FOUR, left, 5, trains=("a", "c"), tests=("b",)),
        Fit("ridge", FOUR, left, 5, trains=("a", "b"), tests=("c",)),
        Fit("ridge", ("federated",), takes, 5),
        Fit("baseline", NO_IMAGE, left, 5, trains=("b", "c"), tests=("a",)),
        Fit("baseline", NO_IMAGE, left, 5, trains=("a", "c"), tests=("b",)),
        Fit("baseline", NO_IMAGE, left, 5, trains=("a", "b"), tests=("c",)),
        Fit("baseline", NO_IMAGE, takes, 5),
    ]


def test_cross_site_trains_at_each_site_alone_and_at_all() -> None:
    study = STUDIES["cross-site"]
    fits = study.fits(PLAN)
    assert fits == [
        Fit("ridge", ("federated",), "trained at a", 5, trains=("a",)),
        Fit("ridge", ("federated",), "trained at b", 5, trains=("b",)),
        Fit("ridge", ("federated",), "trained at c", 5, trains=("c",)),
        Fit("ridge", ("federated", "pooled", "personalised"), "trained at all sites", 5),
        Fit("baseline", NO_IMAGE, "trained at all sites", 5),
    ]
    assert study.label(fits[1], "federated") == Label(
        "local", "trained at b", {"partition": "site", "trained_at": "b"}
    )
    assert study.label(fits[3], "federated") == Label(
        "federated", "trained at all sites", {"partition": "site"}
    )


def test_fairness_is_one_federation_of_all_sites() -> None:
    assert STUDIES["fairness"].fits(PLAN) == [
        Fit("ridge", FOUR, "all sites", 5),
        Fit("baseline", NO_IMAGE, "all sites", 5),
    ]


def test_heterogeneity_is_a_federation_over_each_partition() -> None:
    study = STUDIES["heterogeneity"]
    fits = study.fits(replace(PLAN, partitions=("dirichlet:0.1:4", "look:3")))
    dirichlet = {"partition": "dirichlet:0.1:4", "seed": 9, "looks": False}
    look = {"partition": "iid:3", "seed": 9, "looks": True}
    assert fits == [
        Fit("ridge", FOUR, "dirichlet:0.1:4", 5, **dirichlet),  # type: ignore[arg-type]
        Fit("baseline", NO_IMAGE, "dirichlet:0.1:4", 5, **dirichlet),  # type: ignore[arg-type]
        Fit("ridge", FOUR, "look:3", 5, **look),  # type: ignore[arg-type]
        Fit("baseline", NO_IMAGE, "look:3", 5, **look),  # type: ignore[arg-type]
    ]
    assert study.label(fits[0], "local") == Label(
        "local",
        "dirichlet:0.1:4",
        {"partition": "dirichlet:0.1:4", "kind": "dirichlet", "alpha": 0.1},
    )
    assert study.label(fits[2], "local").about == {"partition": "iid:3", "kind": "look"}


def test_heterogeneity_has_partitions_of_every_kind_unless_told() -> None:
    names = default_partitions(3)
    assert names == (
        *("site", "iid:3", "dirichlet:0.1:3", "dirichlet:0.3:3", "dirichlet:1:3", "dirichlet:10:3"),
        *("quantity:3", "classes:2:3", "look:3"),
    )
    fits = STUDIES["heterogeneity"].fits(PLAN)
    assert [fit.condition for fit in fits[::2]] == list(names)
    assert [fit.learner for fit in fits[:2]] == ["ridge", "baseline"]


@pytest.mark.parametrize("text", ["moon:3", "look:", "look:many", "look:0", "look:dirichlet:1:3"])
def test_a_partition_that_is_none_is_named_as_it_was_given(text: str) -> None:
    with pytest.raises(PartitionError, match=f"'{text}'.*or look:N"):
        partition_of(text)


def test_the_learning_curve_limits_images_and_combines_sites() -> None:
    study = STUDIES["learning-curve"]
    fits = study.fits(replace(PLAN, images_per_site=(10, 1000)))
    everything = "all images of all sites"
    assert fits == [
        Fit("ridge", FOUR, "10 images a site", 5, seed=9, images_per_site=10),
        Fit("ridge", FOUR, "1000 images a site", 5, seed=9, images_per_site=1000),
        Fit("ridge", FOUR, everything, 5, seed=9),
        Fit("ridge", ("federated",), "1 site: a", 5, trains=("a",)),
        Fit("ridge", ("federated",), "1 site: b", 5, trains=("b",)),
        Fit("ridge", ("federated",), "1 site: c", 5, trains=("c",)),
        Fit("ridge", ("federated",), "2 sites: a, b", 5, trains=("a", "b")),
        Fit("ridge", ("federated",), "2 sites: a, c", 5, trains=("a", "c")),
        Fit("ridge", ("federated",), "2 sites: b, c", 5, trains=("b", "c")),
        Fit("baseline", NO_IMAGE, everything, 5, seed=9),
    ]
    assert study.label(fits[0], "local").about == {"partition": "site", "images_per_site": 10}
    assert study.label(fits[6], "federated").about == {
        "partition": "site",
        "sites": 2,
        "trained_at": "a, b",
    }


def test_limits_that_nobody_asked_for_are_those_that_limit_some_site() -> None:
    def limits(largest: int) -> list[int]:
        fits = STUDIES["learning-curve"].fits(replace(PLAN, largest=largest))
        return [fit.images_per_site for fit in fits if fit.images_per_site]

    assert limits(50) == []
    assert limits(300) == [50, 100]
    assert limits(5000) == [50, 100, 200, 400, 800]


def test_of_many_sites_each_begins_one_set_of_every_size() -> None:
    sites = tuple("abcdef")
    fits = STUDIES["learning-curve"].fits(replace(PLAN, sites=sites))
    sets = [fit.trains for fit in fits if fit.trains]
    assert len(sets) == 5 * 6
    assert len(set(sets)) == len(sets)
    for number in range(1, 6):
        of_size = [names for names in sets if len(names) == number]
        # Every site is in as many of them as any other.
        assert [sum(site in names for names in of_size) for site in sites] == [number] * 6
        assert all(list(names) == sorted(names) for names in of_size)


def test_fine_tuning_compares_strategies_with_pooled_local_and_frozen_models() -> None:
    plan = replace(PLAN, learners=("fedavg", "moon mu=2"), training="steps=3")
    same = {"seed": 14, "training": "steps=3"}
    assert STUDIES["fine-tuning"].fits(plan) == [
        Fit("baseline", ("pooled network",), "all sites", 5, **same),  # type: ignore[arg-type]
        Fit("baseline", ("local network",), "all sites", 5, **same),  # type: ignore[arg-type]
        *(
            Fit(name, ("fine-tuned", "frozen head"), "all sites", 5, **same)  # type: ignore[arg-type]
            for name in plan.learners
        ),
    ]
    without = replace(plan, local=False)
    assert len(STUDIES["fine-tuning"].fits(without)) == 3
    others = [pair.b[0] for pair in STUDIES["fine-tuning"].pairs(without)]
    assert others == ["pooled network", "frozen head"]
    left = STUDIES["fine-tuning-left-out"].fits(plan)
    assert [(fit.learner, fit.trains, fit.tests) for fit in left[:3]] == [
        (name, ("b", "c"), ("a",)) for name in ("baseline", *plan.learners)
    ]
    assert len(left) == 9


@pytest.mark.parametrize("name", STUDIES)
def test_no_two_fits_are_the_same_and_every_seed_and_learner_has_as_many(name: str) -> None:
    study = STUDIES[name]
    one = study.fits(PLAN)
    more = study.fits(replace(PLAN, learners=("ridge", "lda"), split_seeds=(5, 6)))
    of_learners = [fit for fit in one if fit.learner == "ridge"]
    assert len(set(more)) == len(more) == 2 * (len(one) + len(of_learners))
    assert set(one) < set(more)


@pytest.mark.parametrize("name", STUDIES)
def test_what_is_compared_has_fits_that_make_it(name: str) -> None:
    study = STUDIES[name]
    made = {
        (label.model, label.condition)
        for fit in study.fits(PLAN)
        for label in (study.label(fit, model) for model in fit.models)
    }
    pairs = study.pairs(PLAN)
    assert pairs
    assert len(set(pairs)) == len(pairs)
    for pair in pairs:
        assert {pair.a, pair.b} <= made
        assert pair.a != pair.b


def test_the_headlines_are_compared() -> None:
    left = ("federated", "site left out")
    pairs = STUDIES["leave-one-site-out"].pairs(PLAN)
    assert [pair.b for pair in pairs if pair.a == left] == [
        ("shortcut", "site left out"),
        ("majority", "site left out"),
        ("local", "site left out"),
        ("federated", "site takes part"),
    ]
    assert Pair(("personalised", "site left out"), left) in pairs
    both = ("federated", "trained at all sites")
    assert Pair(both, ("local", "trained at b")) in STUDIES["cross-site"].pairs(PLAN)
    assert Pair(("federated", "quantity:3"), ("local", "quantity:3")) in STUDIES[
        "heterogeneity"
    ].pairs(PLAN)
    assert Pair(("federated", "all sites"), ("local", "all sites")) in STUDIES["fairness"].pairs(
        PLAN
    )
    limited = ("federated", "50 images a site"), ("local", "50 images a site")
    assert Pair(*limited) in STUDIES["learning-curve"].pairs(PLAN)
