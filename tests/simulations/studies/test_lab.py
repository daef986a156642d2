"""What a fit may learn from: no lesion it is tested on, and no image of a site left out."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from common.cohort import Cohort
from common.split import Split
from simulations.studies import STUDIES
from simulations.studies.base import Plan
from simulations.studies.fit import Fit
from simulations.studies.lab import Bench, Lab, make_bench
from tests.simulations.studies.study_lab import SITES

DRAWN = ("iid:4", "dirichlet:0.5:4", "quantity:3", "classes:2:3")


def learned(bench: Bench) -> set[int]:
    """List all images that any model of a fit learns from or is tuned on."""
    sites = tuple({*bench.trains, *bench.tests})
    parts = (Split.TRAIN, Split.VALIDATION)
    return {int(row) for part in parts for row in bench.rows(part, sites)}


def lesions(cohort: Cohort, rows: Any) -> set[str]:
    return set(cohort.group[sorted(rows)].tolist())


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("partition", ["site", *DRAWN])
def test_no_lesion_that_is_tested_on_is_learned_from_at_any_site(
    partition: str, seed: int, lab: Lab
) -> None:
    bench = make_bench(lab, Fit("ridge", ("federated",), "-", seed, partition=partition, seed=seed))
    tested = bench.rows(Split.TEST, bench.tests)
    assert len(tested)
    assert not lesions(lab.cohort, learned(bench)) & lesions(lab.cohort, tested)
    # Nothing is lost, either: every image is of one part.
    assert len(learned(bench)) + len(tested) == len(lab.cohort)


def test_joined_ids_of_one_lesion_stay_together(lab: Lab) -> None:
    twins = np.isin(lab.cohort.lesion, ("HAM_0003", "HAM_0007"))
    assert len(set(lab.cohort.lesion[twins].tolist())) == 2
    for seed in range(20):
        bench = make_bench(lab, Fit("ridge", ("federated",), "-", seed, partition="iid:5"))
        assert len(set(bench.split[twins].tolist())) == 1
        assert len(set(bench.client[twins].tolist())) == 1


@pytest.mark.parametrize("left_out", SITES)
def test_nothing_of_the_site_left_out_is_learned_from(left_out: str, lab: Lab) -> None:
    (study,) = [STUDIES["leave-one-site-out"]]
    fits = study.fits(Plan(SITES, ("ridge",), (1, 2)))
    found = [fit for fit in fits if fit.tests == (left_out,)]
    # One of the learner and one of the baselines, for each seed.
    assert len(found) == 4
    for fit in found:
        bench = make_bench(lab, fit)
        train = [
            *bench.rows(Split.TRAIN, bench.trains),
            *bench.rows(Split.VALIDATION, bench.trains),
        ]
        tested = bench.rows(Split.TEST, bench.tests)
        assert set(lab.cohort.site[train].tolist()) == set(SITES) - {left_out}
        assert set(lab.cohort.site[tested].tolist()) == {left_out}
        assert not lesions(lab.cohort, train) & lesions(lab.cohort, tested)
        # The other sites do hold other images of lesions of the site left out; such lesions are
        # what could leak.
    shared = lesions(lab.cohort, np.flatnonzero(lab.cohort.site == SITES[0]))
    assert shared & lesions(lab.cohort, np.flatnonzero(lab.cohort.site == SITES[1]))


@pytest.mark.parametrize("partition", DRAWN)
def test_a_drawn_site_holds_whole_lesions_and_another_seed_draws_others(
    partition: str, lab: Lab
) -> None:
    def client(seed: int) -> list[str]:
        fit = Fit("ridge", ("federated",), "-", 1, partition=partition, seed=seed)
        return [str(site) for site in make_bench(lab, fit).client]

    held: dict[str, set[str]] = {}
    for group, site in zip(lab.cohort.group.tolist(), client(0), strict=True):
        held.setdefault(group, set()).add(site)
    assert all(len(sites) == 1 for sites in held.values())
    assert client(0) == client(0) != client(1)


def test_a_limit_takes_whole_lesions_at_most_so_many_and_a_larger_one_the_same_and_more(
    lab: Lab,
) -> None:
    limits = (3, 10, 25, 60, 10_000)

    def bench(limit: int) -> Bench:
        return make_bench(lab, Fit("ridge", ("federated",), "-", 2, seed=4, images_per_site=limit))

    whole = bench(0)
    size = {
        (site, group): images
        for (site, group), images in Counter(
            zip(lab.cohort.site.tolist(), lab.cohort.group.tolist(), strict=True)
        ).items()
    }
    before: set[int] = set()
    for limit in limits:
        limited = bench(limit)
        np.testing.assert_array_equal(
            limited.rows(Split.TEST, SITES), whole.rows(Split.TEST, SITES)
        )
        for site in SITES:
            train = limited.rows(Split.TRAIN, (site,))
            all_of_site = len(whole.rows(Split.TRAIN, (site,)))
            # A lesion has three images at most (four where two ids are joined).
            assert min(limit, all_of_site) - 4 < len(train) <= min(limit, all_of_site)
            for part in (Split.TRAIN, Split.VALIDATION):
                rows = limited.rows(part, (site,))
                for group, images in Counter(lab.cohort.group[rows].tolist()).items():
                    assert images == size[site, group]
        assert before <= learned(limited)
        before = learned(limited)
    assert before == learned(whole)


def test_a_limit_holds_validation_images_back_in_the_same_measure(lab: Lab) -> None:
    fit = Fit("ridge", ("federated",), "-", 2, images_per_site=20)
    limited, whole = make_bench(lab, fit), make_bench(lab, Fit("ridge", ("federated",), "-", 2))
    few, all_of_them = (len(one.rows(Split.VALIDATION, SITES)) for one in (limited, whole))
    assert 0 < few < all_of_them / 2


def test_another_seed_limits_to_other_lesions(lab: Lab) -> None:
    def taken(seed: int) -> set[int]:
        return learned(
            make_bench(lab, Fit("ridge", ("federated",), "-", 2, seed=seed, images_per_site=20))
        )

    assert taken(0) == taken(0) != taken(1)


def test_sites_that_change_their_looks_use_the_changed_features_and_no_others_do(
    lab: Lab,
) -> None:
    changed = Lab(lab.cohort, lab.backbone_name, lab.x, {"iid:3": lab.x + 1})
    looks = Fit("ridge", ("federated",), "look:3", 1, partition="iid:3", looks=True)
    plain = Fit("ridge", ("federated",), "iid:3", 1, partition="iid:3")
    np.testing.assert_array_equal(make_bench(changed, looks).x, lab.x + 1)
    np.testing.assert_array_equal(make_bench(changed, plain).x, lab.x)
    np.testing.assert_array_equal(
        make_bench(changed, looks).client, make_bench(changed, plain).client
    )
