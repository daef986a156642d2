"""``dermafed data``: fetch, audit or draw a cohort."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from common.backbones import get_backbone
from common.cohort import load_cohort
from common.console import messages, output, progress_bar, say
from common.errors import OutputError
from common.options import Overwrite, SplitSeed

app = typer.Typer(
    name="data",
    add_completion=False,
    no_args_is_help=True,
    help="Fetch, audit or draw a cohort.",
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
    split_file: Annotated[
        Path | None,
        typer.Option(help="Audit this split: a CSV with image_id and split (train, val, test)."),
    ] = None,
    open_images: Annotated[bool, typer.Option(help="Decode every image.")] = True,
    near_duplicates: Annotated[
        bool, typer.Option(help="Compare images of different lesions.")
    ] = True,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write all findings to this file.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Audit a cohort and its split; a leak or an error ends with exit code 1.

    Looks for lesions and near-duplicates on two sides of the split, damaged
    images, sites that give the class away, empty cells, missing metadata.
    It runs at the site, on its own images, and shows their ids.

    Example:

      dermafed data check path/to/HAM10000

      dermafed data check path/to/HAM10000 --split-file runs/x/predictions.csv

      dermafed data check path/to/HAM10000 --json audit.json
    """
    from client.audit.assignment import by_lesion, from_file
    from client.audit.pictures import open_pictures
    from client.audit.report import (
        example_lines,
        findings_table,
        summary_table,
        verdict_line,
        write_json,
    )
    from client.audit.run import audit, require_sound

    if json_file is not None:
        _check_json(json_file, overwrite=overwrite)
    table = load_cohort(cohort)
    split = from_file(table, split_file) if split_file else by_lesion(table, split_seed)
    console = messages()
    pictures = None
    if open_images:
        with progress_bar(console, "decoding") as bar:
            pictures = open_pictures(table, likeness=near_duplicates, progress=bar)
        for problem in pictures.problem:
            say(console, problem)
    input_size = min(get_backbone("efficientnet_lite0").transform.shape)
    with progress_bar(console, "comparing") as bar:
        findings = audit(table, split, pictures, input_size=input_size, progress=bar)
    shown = output()
    shown.print(summary_table(table, split))
    shown.print(findings_table(findings))
    for line in example_lines(findings):
        say(shown, line)
    say(shown, verdict_line(split, findings))
    if json_file is not None:
        write_json(json_file, table, split, findings)
    require_sound(table, split, findings)


def _check_json(path: Path, *, overwrite: bool) -> None:
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; name a file with --json")
    if path.exists() and not overwrite:
        raise OutputError(f"{path}: exists already; choose another --json or give --overwrite")
