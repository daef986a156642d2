"""How a run joins metadata and image features: ``"early scale=4"``, checked in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from common.errors import SettingsError
from common.learners.base import Problem
from common.learners.settings import check_settings, parse_assignments
from common.metadata.encoding import VARIABLES, encode, site_columns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from common.cohort import Cohort

Kind = Literal["none", "early", "late", "alone"]
KINDS: tuple[str, ...] = get_args(Kind)
_OF = "metadata"
_NO_VARIABLE = "none"
_MOST_SITES = 1_000


class Fusion(BaseModel):
    """A way to join them and its settings.

    Attributes
    ----------
    kind : str
        ``none``: images alone; ``early``: one head sees both blocks of columns; ``late``: a head
        sees each, and a last one sees what the two say; ``alone``: metadata and no image.
    scale : float
        Of ``early``: what the metadata columns are multiplied by after standardisation. With a
        penalty on coefficients, a larger one penalises those of metadata less.
    columns : str
        Variables of `common.metadata.encoding.VARIABLES`, with commas between them; ``none`` for
        none of them, beside `sites`.
    sites : int
        Number of the cohort's acquisition sites, to add a column for each; 0 for no such columns.
        For the lab: it tells what the site alone gives away, and no site ever answers it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind = "none"
    scale: float = Field(1.0, gt=0.0, le=1e6)
    columns: str = ",".join(VARIABLES)
    sites: int = Field(0, ge=0, le=_MOST_SITES)

    @model_validator(mode="after")
    def _only_what_it_uses(self) -> Self:
        given = self.model_fields_set - {"kind"}
        if self.kind == "none" and given:
            raise ValueError(f"none has no {', '.join(sorted(given))}")
        if "scale" in given and self.kind != "early":
            raise ValueError(f"{self.kind} has no scale; it is for early")
        return self

    @model_validator(mode="after")
    def _columns_are_known(self) -> Self:
        named = self.columns.split(",")
        if self.columns == _NO_VARIABLE:
            if not self.sites:
                raise ValueError("columns=none leaves no column")
        elif len(set(named)) != len(named) or set(named) - VARIABLES.keys():
            raise ValueError(f"columns: give each of {', '.join(VARIABLES)} once at most, or none")
        return self

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables that make columns, in the columns' order."""
        return tuple(name for name in VARIABLES if name in self.columns.split(","))

    @property
    def width(self) -> int:
        """Number of metadata columns."""
        if self.kind == "none":
            return 0
        return sum(len(VARIABLES[name].columns) for name in self.variables) + self.sites

    @property
    def text(self) -> str:
        """What `read_fusion` reads, one text for one way; empty for none."""
        if self.kind == "none":
            return ""
        own = self.model_copy(update={"columns": ",".join(self.variables) or _NO_VARIABLE})
        changed = [
            f"{name}={getattr(own, name)}"
            for name, field in type(self).model_fields.items()
            if name != "kind" and getattr(own, name) != field.default
        ]
        return " ".join([self.kind, *changed])

    def problem(self, classes: tuple[str, ...], image_dimension: int) -> Problem:
        """Give the problem over both blocks, from the dimension of image features."""
        images = 0 if self.kind == "alone" else image_dimension
        return self.over(classes, images + self.width)

    def over(self, classes: tuple[str, ...], dimension: int) -> Problem:
        """Give the problem over both blocks, from their common dimension.

        Raises
        ------
        SettingsError
            If that is less than the metadata columns.
        """
        if dimension < self.width:
            raise SettingsError(
                f"metadata {self.kind}: {self.width} columns, but {dimension} in all"
            )
        return Problem(classes, dimension, self.width, self.scale)

    def columns_of(
        self, cohort: Cohort, rows: NDArray[np.intp], codes: NDArray[np.intp]
    ) -> NDArray[np.float32]:
        """Make the metadata columns of some of a cohort's images.

        Parameters
        ----------
        cohort : Cohort
            The table, for its sites.
        rows : ndarray of intp, shape (n,)
            The images.
        codes : ndarray of intp, shape (n, 3)
            Their metadata, as the site lets it be seen.

        Returns
        -------
        ndarray of float32, shape (n, width)

        Raises
        ------
        SettingsError
            If the cohort has another number of sites than `sites`.
        """
        block = encode(codes, self.variables)
        return np.hstack([block, site_columns(cohort, rows, self.sites)]) if self.sites else block

    def join(self, x: NDArray[np.float32], columns: NDArray[np.float32]) -> NDArray[np.float32]:
        """Put image features and metadata columns side by side, or take these alone."""
        if self.kind == "none":
            return x
        return columns if self.kind == "alone" else np.hstack([x, columns])


UNFUSED = Fusion()


def read_fusion(text: str) -> Fusion:
    """Read ``"KIND key=value key=value"``; nothing, or ``none``, is images alone.

    Raises
    ------
    SettingsError
        Naming the kind that is unknown, or each setting that is unknown or out of bounds.
    """
    kind, _, settings = text.strip().partition(" ")
    if not kind:
        return UNFUSED
    if kind not in KINDS:
        raise SettingsError(f"{_OF} {kind!r} is unknown; choose one of: {', '.join(KINDS)}")
    values = parse_assignments(settings, _OF)
    if "kind" in values:
        raise SettingsError(f"{_OF} settings: kind is given twice")
    return check_settings(Fusion, {"kind": kind, **values}, _OF)
