"""Age, sex and localisation as columns of a fixed vocabulary.

What columns there are depends on nothing that a site holds, so that every site makes the same ones
and no vocabulary travels. Each value becomes a code, and a code a row of a table; the last code of
each variable is "missing" and has a column of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from common.cohort import UNKNOWN
from common.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from common.cohort import Cohort

SEXES = ("female", "male")
# Those of HAM10000.
LOCALISATIONS = (
    "abdomen",
    "acral",
    "back",
    "chest",
    "ear",
    "face",
    "foot",
    "genital",
    "hand",
    "lower extremity",
    "neck",
    "scalp",
    "trunk",
    "upper extremity",
)
# Ages count by the decade, the last one open: the middle stands for all of it.
DECADES = 9
# A line in age that may bend here, in years.
KNOTS = (30.0, 50.0, 70.0)
_CENTURY = 100.0
# How tables write that they do not know.
_MISSING = ("", UNKNOWN, "nan", "na", "n/a")


@dataclass(frozen=True)
class Variable:
    """A variable's codes and what columns they make.

    Attributes
    ----------
    columns : tuple of str
        Names of the columns.
    table : ndarray of float32, shape (codes, columns)
        A row a code; the last is "missing".
    """

    columns: tuple[str, ...]
    table: NDArray[np.float32]

    @property
    def missing(self) -> int:
        """The code of a missing value."""
        return len(self.table) - 1


def _age() -> Variable:
    middle = 10.0 * np.arange(DECADES) + 5.0
    bends = [np.maximum(middle - knot, 0.0) for knot in KNOTS]
    table = np.zeros((DECADES + 1, 2 + len(KNOTS)), dtype=np.float32)
    table[:-1, :-1] = np.stack([middle, *bends], axis=1) / _CENTURY
    table[-1, -1] = 1.0
    return Variable(("age", *(f"age over {knot:.0f}" for knot in KNOTS), "age missing"), table)


def _one_hot(name: str, values: tuple[str, ...]) -> Variable:
    columns = tuple(f"{name} {value}" for value in (*values, "other", "missing"))
    return Variable(columns, np.eye(len(columns), dtype=np.float32))


# In this order they stand in `metadata_codes` and beside the image features.
VARIABLES: Mapping[str, Variable] = {
    "age": _age(),
    "sex": _one_hot("sex", SEXES),
    "localisation": _one_hot("localisation", LOCALISATIONS),
}


def metadata_codes(
    age: NDArray[np.float64], sex: NDArray[np.str_], localisation: NDArray[np.str_]
) -> NDArray[np.intp]:
    """Code metadata, a value out of the vocabulary as "other".

    Parameters
    ----------
    age : ndarray of float64, shape (n,)
        Years from 0; NaN where missing.
    sex, localisation : ndarray of str, shape (n,)
        In lower case; ``"unknown"`` or nothing where missing.

    Returns
    -------
    ndarray of intp, shape (n, 3)
        In the order of `VARIABLES`.
    """
    decade = np.minimum(np.nan_to_num(age) // 10.0, DECADES - 1).astype(np.intp)
    decade[np.isnan(age)] = DECADES
    return np.stack([decade, _codes(sex, SEXES), _codes(localisation, LOCALISATIONS)], axis=1)


def _codes(values: NDArray[np.str_], known: Sequence[str]) -> NDArray[np.intp]:
    index = {value: code for code, value in enumerate(known)}
    index.update(dict.fromkeys(_MISSING, len(known) + 1))
    return np.array([index.get(value, len(known)) for value in values.tolist()], dtype=np.intp)


def codes_of(cohort: Cohort, rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Code the metadata of some of a cohort's images: intp, shape (n, 3)."""
    return metadata_codes(cohort.age[rows], cohort.sex[rows], cohort.localisation[rows])


def encode(codes: NDArray[np.intp], variables: Sequence[str]) -> NDArray[np.float32]:
    """Make the columns of some variables: float32, shape (n, columns).

    Parameters
    ----------
    codes : ndarray of intp, shape (n, 3)
        Of `metadata_codes`.
    variables : sequence of str
        Keys of `VARIABLES`; their columns stand in the order of `VARIABLES`.
    """
    blocks = [np.zeros((len(codes), 0), dtype=np.float32)]
    for position, (name, variable) in enumerate(VARIABLES.items()):
        if name in variables:
            blocks.append(variable.table[codes[:, position]])
    return np.hstack(blocks)


def site_columns(cohort: Cohort, rows: NDArray[np.intp], sites: int) -> NDArray[np.float32]:
    """Make a column a site, for the lab alone: float32, shape (n, sites).

    Raises
    ------
    SettingsError
        If the cohort has another number of sites.
    """
    if len(cohort.sites) != sites:
        raise SettingsError(
            f"metadata: sites={sites}, but {cohort.root} has {len(cohort.sites)} acquisition sites"
        )
    if not sites:
        return np.zeros((len(rows), 0), dtype=np.float32)
    return np.eye(sites, dtype=np.float32)[np.searchsorted(cohort.sites, cohort.site[rows])]
