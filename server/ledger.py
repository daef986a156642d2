"""A run's ledger: each site's sums, kept, so that a model can be had without one or with another.

The coordinator has seen these sums in any case; a ledger keeps them. Whoever reads the ledger
learns what the coordinator can (see the README on what sums tell), so it is as private as they.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from common.errors import RunFolderError
from common.imbalance import read_treatment
from common.learners import make_learner
from common.learners.base import Contribution, Problem
from common.learners.class_gram import STAGE
from common.learners.settings import parse_assignments
from common.learners.total import Total
from common.ledger import ENDING, Entry, EntryDescription, load_entry, save_entry
from common.metadata import read_fusion
from common.model import DESCRIPTION_FILE, Model, load_model, save_model
from common.run_folder import new_run_folder
from common.settings import RunSettings
from common.site_info import SiteInfo
from common.versions import package_versions
from server.result import write_result

FOLDER = "ledger"


class Ledger:
    """Keeps the entries of a run while it goes.

    Parameters
    ----------
    out : Path
        The run's folder.
    settings : RunSettings
        The run.
    problem : Problem
        Classes and dimension.
    sites : dict of int to SiteInfo
        The sites that joined.
    """

    def __init__(
        self, out: Path, settings: RunSettings, problem: Problem, sites: dict[int, SiteInfo]
    ) -> None:
        self._folder, self._settings, self._problem = out / FOLDER, settings, problem
        self._sites = {info.site: info for info in sites.values()}

    def keep(self, site: str, stage: str, contribution: Contribution) -> None:
        """Write a site's entry; other stages' sums are not kept."""
        if stage != STAGE:
            return
        info = self._sites[site]
        about = EntryDescription(
            site=site,
            images=contribution.count,
            classes=self._problem.classes,
            dimension=self._problem.dimension,
            backbone_fingerprint=info.backbone,
            split_seed=self._settings.split_seed,
            withheld=info.withheld,
            imbalance=read_treatment(self._settings.imbalance).text,
            metadata=read_fusion(self._settings.metadata).text,
        )
        self._folder.mkdir(exist_ok=True)
        # A site's name may be no file's name.
        save_entry(self._path(site), Entry(about, contribution))

    def keep_only(self, sites: Collection[str]) -> None:
        """Remove the entries of sites that were lost and are not in the model."""
        for site in self._sites.keys() - set(sites):
            self._path(site).unlink(missing_ok=True)

    def _path(self, site: str) -> Path:
        index = list(self._sites).index(site)
        return self._folder / f"{index:05d}{ENDING}"


@dataclass(frozen=True)
class Change:
    """What became of a ledger.

    Attributes
    ----------
    sites : tuple of str
        The sites whose sums the new model is made of.
    images : int
        Their training images.
    """

    sites: tuple[str, ...]
    images: int


def change_ledger(
    run: Path,
    out: Path,
    *,
    withdraw: Sequence[str] = (),
    admit: Sequence[Path] = (),
    overwrite: bool = False,
) -> Change:
    """Make a run's model without some of its sites, or with new ones, asking no site.

    The remaining entries are added anew, so that nothing of a withdrawn one is left, not even
    rounding. The temperature needs the sites' validation images, so that the new model's
    probabilities are not calibrated.

    Parameters
    ----------
    run : Path
        Folder of a run that kept a ledger.
    out : Path
        Folder to write: the model and the ledger that it is made of.
    withdraw : sequence of str
        Sites to leave out.
    admit : sequence of Path
        Entries of new sites.
    overwrite : bool
        Replace an existing run folder.

    Raises
    ------
    RunFolderError
        If the run has no ledger, a site is not in it, or an entry does not fit.
    ContributionError
        If what remains makes no model.
    """
    model, paths = load_model(run), sorted((run / FOLDER).glob(f"*{ENDING}"))
    if not paths:
        raise RunFolderError(f"{run}: has no ledger; run it with the learner setting ledger=true")
    known = {load_entry(path).description.site: path for path in paths}
    unknown = sorted(set(withdraw) - set(known))
    if unknown:
        raise RunFolderError(f"{run}: no site {', '.join(unknown)}; its sites: {', '.join(known)}")
    chosen = {site: path for site, path in known.items() if site not in set(withdraw)}
    for path in admit:
        site = load_entry(path).description.site
        if site in chosen:
            raise RunFolderError(f"{path}: site {site} is in the ledger of {run} already")
        chosen[site] = path
    if not chosen:
        raise RunFolderError(f"{run}: no site would be left")
    with new_run_folder(out, overwrite=overwrite) as folder:
        total = Total()
        (folder / FOLDER).mkdir()
        for index, site in enumerate(sorted(chosen)):
            entry = load_entry(chosen[site])
            _check_fits(chosen[site], entry, model, run / DESCRIPTION_FILE)
            total.add(entry.contribution)
            shutil.copyfile(chosen[site], folder / FOLDER / f"{index:05d}{ENDING}")
        changed = _refit(model, total, tuple(sorted(chosen)))
        save_model(folder, changed)
        result = {
            "from": str(run),
            "withdrawn": sorted(withdraw),
            "sites": sorted(chosen),
            "images": total.count,
            "versions": package_versions(),
        }
        write_result(folder, result)
    return Change(tuple(sorted(chosen)), total.count)


def _check_fits(path: Path, entry: Entry, model: Model, like: Path) -> None:
    about, wanted = entry.description, model.description
    # Before the dimension, which they change.
    if about.metadata != wanted.metadata:
        raise RunFolderError(
            f"{path}: site {about.site}: is over {_columns(about.metadata)}, the model's over "
            f"{_columns(wanted.metadata)}; have it made anew by dermafed contribute --like {like}"
        )
    names = ("classes", "dimension", "backbone_fingerprint", "split_seed", "imbalance")
    for name in names:
        mine, theirs = getattr(about, name), getattr(wanted, name)
        if mine != theirs:
            raise RunFolderError(
                f"{path}: site {about.site}: its {name} is {mine!r}, the model's is {theirs!r}"
            )


def _columns(metadata: str) -> str:
    return f"metadata {metadata!r}" if metadata else "images alone"


def _refit(model: Model, total: Total, sites: tuple[str, ...]) -> Model:
    about = model.description
    assignments = {**parse_assignments(about.learner_settings), "calibrate": "none"}
    settings = " ".join(f"{key}={value}" for key, value in assignments.items())
    learner = make_learner(about.learner, about.problem, settings)
    state = learner.update(learner.start(), total.value())
    absent = np.flatnonzero(state.arrays["class_count"] == 0)
    description = replace(
        about,
        learner_settings=settings,
        classes_without_training_images=tuple(about.classes[i] for i in absent),
        sites=sites,
        versions=package_versions(),
    )
    return Model(description, state.arrays)
