"""``dermafed data``: fetch, check or draw a cohort."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.table import Table
from rich.text import Text

from common.backbones import get_backbone
from common.cohort import Cohort, load_cohort
from common.console import messages, output, progress_bar, say
from common.errors import ImageError
from common.features import cores
from common.options import SplitSeed
from common.split import Split, split_groups

app = typer.Typer(
    name="data",
    add_completion=False,
    no_args_is_help=True,
    help="Fetch, check or draw a cohort.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def fetch(
    folder: Annotated[Path, typer.Argument(help="Where to put HAM10000.")],
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="I have read the licence and accept it.")
    ] = False,
    server: Annotated[
        str, typer.Option(help="A Dataverse that holds the dataset.")
    ] = "https://dataverse.harvard.edu",
) -> None:
    """Download HAM10000 from its publisher (2.8 GB); the same command resumes.

    Example:

      dermafed data fetch ham10000 --accept-licence
    """
    from common.sources.fetch import LICENCE, fetch_ham10000

    console = messages()
    say(console, LICENCE)
    with progress_bar(console, "asking the server") as bar:
        name = ""

        def report(file: str, done: int, total: int) -> None:
            nonlocal name
            if file != name:
                bar.describe(file)
                name = file
            bar(done, total)

        fetch_ham10000(folder, accept_licence=accept_licence, server=server, progress=report)
    say(console, f"HAM10000 is in {folder}")


@app.command()
def synthetic(
    folder: Annotated[Path, typer.Argument(help="Where to write the cohort.")],
    images: Annotated[int, typer.Option(help="Number of images.")] = 800,
    seed: Annotated[int, typer.Option(help="Seed of the drawing.")] = 0,
) -> None:
    """Draw a synthetic cohort in HAM10000's layout: no patient, no licence, no download.

    Example:

      dermafed data synthetic drawn --images 800
    """
    from common.sources.synthetic import write_synthetic

    console = messages()
    with progress_bar(console, "drawing") as bar:
        write_synthetic(folder, images=images, seed=seed, progress=bar)
    say(console, f"{images} images in {folder}")


@app.command()
def check(
    cohort: Annotated[Path, typer.Argument(help="Cohort folder or manifest.")],
    split_seed: SplitSeed = 1,
    open_images: Annotated[bool, typer.Option(help="Decode every image.")] = True,
) -> None:
    """Read a cohort as a run would, decode every image, and show what is there.

    Example:

      dermafed data check path/to/HAM10000
    """
    table = load_cohort(cohort)
    bad = _unreadable(table) if open_images else []
    console = messages()
    for problem in bad:
        say(console, problem)
    shown = output()
    shown.print(_summary(table, split_seed))
    for line in _remarks(table, split_seed):
        say(shown, line)
    if bad:
        raise ImageError(f"{table.root}: {len(bad)} image(s) cannot be read, named above")


def _unreadable(cohort: Cohort) -> list[str]:
    transform = get_backbone("efficientnet_lite0").transform

    def problem(path: Path) -> str:
        try:
            transform.pixels(path.read_bytes(), path)
        except ImageError as error:
            return str(error)
        except OSError as error:
            return f"{path}: {error.strerror}"
        return ""

    found = []
    with progress_bar(messages(), "decoding") as bar, ThreadPoolExecutor(cores()) as workers:
        for done, text in enumerate(workers.map(problem, cohort.path), start=1):
            bar(done, len(cohort))
            if text:
                found.append(text)
    return found


def _summary(cohort: Cohort, split_seed: int) -> Table:
    table = Table(title=Text(cohort.name), title_justify="left")
    table.add_column("site", no_wrap=True)
    split = split_groups(split_seed, cohort.group)
    parts = [part.value for part in Split]
    for name in ("images", "lesions", *cohort.classes, *parts):
        table.add_column(name, justify="right")

    def row(name: Text, member: np.ndarray) -> None:
        classes = np.bincount(cohort.y[member], minlength=len(cohort.classes))
        counts = [
            int(member.sum()),
            len(set(cohort.lesion[member].tolist())),
            *classes.tolist(),
            *(int((split[member] == part).sum()) for part in parts),
        ]
        table.add_row(name, *(f"{count:,}" for count in counts))

    for site in cohort.sites:
        row(Text(site), cohort.site == site)
    table.add_section()
    row(Text("all"), np.ones(len(cohort), dtype=np.bool_))
    return table


def _remarks(cohort: Cohort, split_seed: int) -> list[str]:
    remarks = []
    if not cohort.sites_known:
        remarks.append("sites are unknown: the table has no site column; partition site needs one")
    if not cohort.lesions_known:
        remarks.append("lesions are unknown: each image counts as a lesion of its own")
    train = split_groups(split_seed, cohort.group) == Split.TRAIN.value
    remarks.extend(
        f"site {site} has no training image with split seed {split_seed}"
        for site in cohort.sites
        if not train[cohort.site == site].any()
    )
    joined = len(set(cohort.lesion.tolist())) - len(set(cohort.group.tolist()))
    masks = sum(mask is not None for mask in cohort.mask)
    missing = int(np.isnan(cohort.age).sum())
    remarks.append(f"{joined} lesions joined to others by the list of duplicates")
    remarks.append(f"masks for {masks:,} of {len(cohort):,} images; age missing for {missing:,}")
    return remarks
