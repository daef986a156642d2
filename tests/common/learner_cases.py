"""What tests of the learners share: images, partitions of them over sites, and rounds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from hypothesis import strategies as st

from common.learners import learner_of
from common.learners.base import Learner, Problem, SiteData, State
from common.learners.checked import check_arrays
from common.learners.federate import fit_sites
from common.learners.total import Total
from common.one_thread import one_blas_thread

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from common.learners.linear_head import LinearHead

    Head = TypeVar("Head", bound=LinearHead)

CLASSES = ("akiec", "bcc", "mel", "nv", "vasc")
SHARES = np.array([0.08, 0.2, 0.12, 0.5, 0.1])

Sites = dict[str, SiteData]


@dataclass(frozen=True, eq=False)
class Pooled:
    """Features and labels of all images, and some that no site has."""

    x: NDArray[np.float32]
    y: NDArray[np.intp]
    classes: tuple[str, ...]
    probe: NDArray[np.float32]

    @property
    def problem(self) -> Problem:
        return Problem(self.classes, self.x.shape[1])

    def sites(self, site_of: NDArray[Any]) -> Sites:
        """Spread images over sites; a number that no image has is an empty site."""
        members = [site_of == site for site in range(int(site_of.max(initial=0)) + 1)]
        return {f"{i:03}": SiteData(self.x[own], self.y[own]) for i, own in enumerate(members)}


@cache
def pooled(seed: int, n: int, dimension: int, classes: int) -> Pooled:
    """Draw correlated features of uneven classes, with scales over four decades and offsets."""
    rng = np.random.default_rng(seed)
    shares = SHARES[:classes] / SHARES[:classes].sum()
    y = rng.choice(classes, size=n, p=shares)
    # At least two of each.
    y[: 2 * classes] = np.tile(np.arange(classes), 2)
    rng.shuffle(y)
    mixing = rng.normal(size=(dimension, dimension)) / np.sqrt(dimension)
    centres = 0.7 * rng.normal(size=(classes, dimension))
    scale, offset = 10.0 ** rng.uniform(-2, 2, dimension), 3.0 * rng.normal(size=dimension)

    def features(labels: NDArray[Any], spread: float) -> NDArray[np.float32]:
        noise = rng.normal(size=(2, len(labels), dimension))
        z = centres[labels] + spread * (noise[0] @ mixing + 0.3 * noise[1])
        x: NDArray[np.float32] = ((z + offset) * scale).astype(np.float32)
        x.setflags(write=False)
        return x

    x, probe = features(y, 1.0), features(rng.integers(0, classes, 400), 2.0)
    y.setflags(write=False)
    return Pooled(x, y.astype(np.intp), CLASSES[:classes], probe)


def _acquisition_sites(data: Pooled) -> NDArray[Any]:
    """Four sites of unequal size, three of which lack a class."""
    allowed = np.ones((4, len(data.classes)))
    allowed[1, -1] = allowed[2, 0] = allowed[3, 1] = 0.0
    share = np.array([0.5, 0.3, 0.15, 0.05])[:, None] * allowed
    rng = np.random.default_rng(0)
    return np.array([rng.choice(4, p=share[:, c] / share[:, c].sum()) for c in data.y])


def _identical_sites(data: Pooled) -> NDArray[Any]:
    return np.random.default_rng(0).permutation(len(data.y)) % 10


def _dirichlet_sites(data: Pooled) -> NDArray[Any]:
    """A hundred sites with their own class shares each; many are empty or have one class."""
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.full(100, 0.1), size=len(data.classes))
    site_of = np.array([rng.choice(100, p=shares[c]) for c in data.y])
    counts = [np.unique(data.y[site_of == site]).size for site in range(100)]
    assert counts.count(0) >= 20
    assert counts.count(1) >= 10
    return site_of


PARTITIONS: Mapping[str, Callable[[Pooled], NDArray[Any]]] = {
    "acquisition": _acquisition_sites,
    "one": lambda data: np.zeros(len(data.y), dtype=np.intp),
    "iid": _identical_sites,
    "dirichlet": _dirichlet_sites,
    "image": lambda data: np.arange(len(data.y)),
}


def fit(head: Head, data: Pooled, sites: Sites) -> Head:
    """Federate; the head that was given is the one that is fitted."""
    state = fit_sites(learner_of(head, data.problem), sites)
    return head.set_fitted(state.arrays, np.array(data.classes))


def run(
    learner: Learner, sites: Sites, names: Iterable[str] | None = None
) -> tuple[State, list[str]]:
    """Run, checking all that is sent; `names` tells in which order sites are added, and how often.

    Returns
    -------
    State, list of str
        The last state, and the stage of every round.
    """
    order = sorted(sites) if names is None else list(names)
    state, stages = learner.start(), []
    while not state.done:
        check_arrays(state.arrays, learner.state_spec(state.stage))
        total = Total()
        for name in order:
            sums = learner.contribute(sites[name], state)
            assert sums.count == len(sites[name])
            check_arrays(sums.arrays, learner.contribution_spec(state.stage), sums.count)
            with one_blas_thread():
                learner.verify(state.stage, sums)
            total.add(sums)
        stages.append(state.stage)
        state = learner.update(state, total.value())
    check_arrays(state.arrays, learner.state_spec(state.stage))
    return state, stages


def largest(sites: Sites) -> str:
    return max(sites, key=lambda name: len(sites[name]))


@st.composite
def federations(draw: st.DrawFn) -> tuple[Pooled, Sites]:
    """Images over sites, some of them empty; some images lie at two sites, as pooled."""
    data = pooled(
        draw(st.integers(0, 1000)),
        n=draw(st.integers(40, 90)),
        dimension=draw(st.integers(2, 12)),
        classes=draw(st.integers(2, 5)),
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    number = draw(st.integers(1, 6))
    copies = rng.integers(0, len(data.y), draw(st.integers(0, 30)))
    index = np.concatenate([np.arange(len(data.y)), copies])
    data = Pooled(data.x[index], data.y[index], data.classes, data.probe)
    site_of = rng.choice(number, size=len(index), p=rng.dirichlet(np.full(number, 0.5)))
    sites = data.sites(site_of)
    sites["empty"] = SiteData(data.x[:0], data.y[:0])
    return data, sites
