"""The option that commands ask for a treatment by."""

from __future__ import annotations

from typing import Annotated

import typer

from common.imbalance.treatment import KINDS

ImbalanceTreatment = Annotated[
    str,
    typer.Option(
        help=f"Against imbalance, at each site before it sums: {', '.join(KINDS[1:])}; with "
        "settings as 'smote neighbours=3 ratio=0.5'."
    ),
]
