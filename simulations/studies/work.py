"""What the models of a fit share: the bench, federations over it, and what each took."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.preprocessing import StandardScaler

from client.learning_rows import treated
from client.node import learner_folds
from client.site import Site, make_site
from common.errors import StudyError
from common.imbalance import UNTREATED, Resampled, Treatment, read_treatment
from common.learners import read_settings
from common.learners.base import SiteData
from common.metadata import read_fusion
from common.metadata.late import late_stack
from common.model import Model, load_model
from common.settings import RunSettings
from common.split import Split
from simulations.local_grid import LocalGrid
from simulations.run_app import run_app
from simulations.studies.class_weight import with_class_weight
from simulations.studies.lab import Bench

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from simulations.studies.tuned_models import Tuned

# Flower's own node is number 1.
FIRST_NODE_ID = 2
# Variance along a direction that is rounding of zero, as a share of the largest.
_FLAT = 1e-11


@dataclass(frozen=True)
class Cost:
    """What a model took.

    Attributes
    ----------
    federations, rounds, bytes_up, bytes_down : int
        Over all federations that it needed.
    seconds : float
        Of one core.
    model_bytes : int
        Of all models' arrays.
    milliseconds : float
        To predict one image of which the features are at hand, by all models.
    """

    federations: int = 0
    rounds: int = 0
    bytes_up: int = 0
    bytes_down: int = 0
    seconds: float = 0.0
    model_bytes: int = 0
    milliseconds: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        """Add up."""
        mine, theirs = vars(self), vars(other)
        return Cost(**{name: mine[name] + theirs[name] for name in mine})


@dataclass(frozen=True)
class Prediction:
    """A model's answers on a bench's test images.

    Attributes
    ----------
    probabilities : ndarray of float64, shape (n, k)
        Of each class.
    predicted : ndarray of intp, shape (n,)
        The model's own choice, which rounding may part from the largest probability.
    cost : Cost
        What it took.
    validation : float, optional
        Balanced accuracy on validation images, where that chose the best round.
    """

    probabilities: NDArray[np.float64]
    predicted: NDArray[np.intp]
    cost: Cost = field(default_factory=Cost)
    validation: float | None = None


@dataclass
class Work:
    """A bench with what several of its models share: a federation is done once.

    Attributes
    ----------
    bench : Bench
        The fit's share of the lab.
    scratch : Path
        Folder from which runs that were stopped go on.
    model, cost, result
        Of the federated head, once it is learned.
    tuned : Tuned or None
        The federation's fine-tuning, once it is done.
    """

    bench: Bench
    scratch: Path
    model: Model | None = None
    cost: Cost = field(default_factory=Cost)
    result: dict[str, Any] = field(default_factory=dict)
    tuned: Tuned | None = None

    @property
    def test(self) -> NDArray[np.intp]:
        """The test images, as positions in the cohort."""
        return self.bench.rows(Split.TEST, self.bench.tests)

    def federated(self) -> Model:
        """Give the model learned over the bench's sites."""
        if self.model is None:
            self.model, self.cost, self.result = federate_sites(self.bench, self.bench.trains)
        return self.model


def federate_sites(bench: Bench, sites: tuple[str, ...]) -> tuple[Model, Cost, dict[str, Any]]:
    """Run the ServerApp and the ClientApp over some sites of a bench.

    Raises
    ------
    DermafedError
        As the federation.
    """
    start = time.perf_counter()
    settings = _settings(bench, sites)
    nodes = {
        node: _site(bench, name, settings) for node, name in enumerate(sites, start=FIRST_NODE_ID)
    }
    with tempfile.TemporaryDirectory(prefix="dermafed-") as name:
        folder = Path(name)
        result = run_app(LocalGrid(nodes, settings), settings, folder)
        model = load_model(folder)
    seconds = time.perf_counter() - start
    size = sum(array.nbytes for array in model.arrays.values())
    cost = Cost(1, result["rounds"], result["bytes_up"], result["bytes_down"], seconds, size)
    return model, cost, result


def _settings(bench: Bench, sites: tuple[str, ...]) -> RunSettings:
    """Give the run's settings; few images have fewer principal components than are asked for."""
    learner, _, text = bench.fit.learner.partition(" ")
    assignments = with_class_weight(learner, text, bench.fit.class_weight)
    fusion = read_fusion(bench.fit.metadata)
    asked = getattr(read_settings(learner, text), "pca", 0)
    if asked and fusion.kind == "alone":
        # There is no image to find components of.
        del assignments["pca"]
    elif asked:
        # Images that are added span nothing new, though they count; those that are left span less.
        adds = read_treatment(bench.fit.imbalance).adds
        seen = replace(bench, fit=replace(bench.fit, imbalance="")) if adds else bench
        train = learning_data(seen, sites).x[:, : bench.image_x.shape[1]]
        assignments["pca"] = str(min(asked, _directions(train.astype(np.float64))))
    told = " ".join(f"{key}={value}" for key, value in assignments.items())
    if fusion.kind == "late":
        learner, told = late_stack(learner, told)
    return RunSettings(
        learner=learner,
        learner_settings=told,
        imbalance=bench.fit.imbalance,
        metadata=bench.fit.metadata,
        backbone=bench.backbone.name,
        split_seed=bench.fit.split_seed,
        # Intervals are made of the predictions, which the lab may see.
        draws=0,
    )


def learning_data(bench: Bench, sites: tuple[str, ...]) -> SiteData:
    """Give what sites learn from, in one place: their training images, each site's treated."""
    if not (bench.fit.imbalance or bench.fit.views):
        rows = bench.rows(Split.TRAIN, sites)
        return SiteData(bench.x[rows], bench.lab.cohort.y[rows])
    parts = [treated_at(bench, site).data for site in sites]
    return SiteData(
        np.concatenate([part.x for part in parts]), np.concatenate([part.y for part in parts])
    )


def treated_at(bench: Bench, site: str) -> Resampled:
    """Give what a site learns from instead of its training images alone, in the lab."""
    settings = RunSettings(
        learner=bench.fit.learner.partition(" ")[0],
        learner_settings=bench.fit.learner.partition(" ")[2],
        imbalance=bench.fit.imbalance,
        metadata=bench.fit.metadata,
        split_seed=bench.fit.split_seed,
    )
    found = _site(bench, site, settings).treated
    if found is None:
        raise StudyError(f"site {site}: no views and no treatment of imbalance in this fit")
    return found


def _directions(x: NDArray[np.float64]) -> int:
    """Count the directions that images span, up to rounding; at least 1."""
    if len(x) > x.shape[1]:
        return int(x.shape[1])
    z = StandardScaler().fit_transform(x)
    variance = np.linalg.eigvalsh(z @ z.T)
    return max(1, min(len(x) - 1, int((variance > _FLAT * variance[-1]).sum())))


def _site(bench: Bench, name: str, settings: RunSettings) -> Site:
    return site_of_rows(bench, name, bench.site_rows(name), settings)


def site_of_rows(bench: Bench, name: str, rows: NDArray[np.intp], settings: RunSettings) -> Site:
    """Make a site of some of the bench's images, as positions in the cohort."""
    treatment = read_treatment(settings.imbalance)
    site = make_site(
        name,
        bench.lab.cohort,
        rows,
        bench.image_x[rows],
        bench.backbone,
        split_seed=settings.split_seed,
        folds=learner_folds(settings),
        treatment=UNTREATED if bench.fit.views else treatment,
        fusion=read_fusion(settings.metadata),
        turn=bench.fit.turn,
    )
    return _with_views(site, bench, treatment) if bench.fit.views else site


def _with_views(site: Site, bench: Bench, treatment: Treatment) -> Site:
    """Let a site learn from views beside its training images; then comes the treatment."""
    data, count = site.part(Split.TRAIN), 1 + bench.fit.views
    views = bench.lab.view_features(bench.fit)[:, site.rows[site.member(Split.TRAIN)]]
    # Metadata are an image's, and those of its views.
    beside = data.x[:, views.shape[2] :]
    seen = SiteData(
        np.concatenate([data.x, *(np.concatenate([view, beside], axis=1) for view in views)]),
        np.tile(data.y, count),
        None if data.fold is None else np.tile(data.fold, count),
    )
    found = treated(seen, treatment, site.classes, site.disclosure, site.resample_key)
    return replace(site, treated=found or Resampled(seen, len(data)))


def only_class(bench: Bench, site: str) -> int | None:
    """Name the class of all of a site's training images; None where there are several."""
    seen = np.unique(bench.lab.cohort.y[bench.rows(Split.TRAIN, (site,))])
    if len(seen) == 0:
        raise StudyError(
            f"site {site}: no training image with split seed {bench.fit.split_seed} in partition "
            f"{bench.fit.partition}, so no model of it alone; give fewer sites or more images"
        )
    return int(seen[0]) if len(seen) == 1 else None
