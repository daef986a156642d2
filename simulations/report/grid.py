"""A table of numbers: what a figure is drawn from, and what stands under it to be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from simulations.report.numbers import Sentence, Shown, Tally


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes
    ----------
    label : str
        The row's heading.
    cells : tuple of (Shown or None)
        None where there is nothing to show.
    note : Sentence
        What stands under the heading, such as how many lesions the row rests on.
    """

    label: str
    cells: tuple[Shown | None, ...]
    note: Sentence = ()

    @property
    def note_text(self) -> str:
        """The note without its marks."""
        return "".join(
            piece.text if isinstance(piece, Tally) else str(piece) for piece in self.note
        )

    @property
    def empty(self) -> bool:
        """Whether no cell has a value."""
        return all(cell is None or cell.value is None for cell in self.cells)

    @property
    def shared(self) -> Mapping[str, str]:
        """What all the row's numbers have in common, to be told once."""
        places = [cell.where for cell in self.cells if cell is not None]
        if not places:
            return {}
        return {
            name: value
            for name, value in places[0].items()
            if all(place.get(name) == value for place in places)
        }

    def own(self, cell: Shown) -> Mapping[str, str]:
        """Tell what one number does not share with its row."""
        shared = self.shared
        return {name: value for name, value in cell.where.items() if name not in shared}


@dataclass(frozen=True)
class Grid:
    """Rows and columns of numbers.

    Attributes
    ----------
    caption : str
        What the numbers are.
    corner : str
        Heading of the column of row labels.
    columns : tuple of str
        Headings of the others.
    rows : tuple of Row
        Each as long as `columns`.
    """

    caption: str
    corner: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def empty(self) -> bool:
        """Whether no cell has a value."""
        return all(row.empty for row in self.rows)

    @property
    def few(self) -> bool:
        """Whether any interval is marked as likely too narrow."""
        return any(cell is not None and cell.few for row in self.rows for cell in row.cells)

    def trimmed(self) -> Grid:
        """Leave out rows and columns without any value."""
        rows = [row for row in self.rows if not row.empty]
        kept = [
            column
            for column in range(len(self.columns))
            if any(_has_value(row.cells[column]) for row in rows)
        ]
        return Grid(
            self.caption,
            self.corner,
            tuple(self.columns[column] for column in kept),
            tuple(
                Row(row.label, tuple(row.cells[column] for column in kept), row.note)
                for row in rows
            ),
        )


def _has_value(cell: Shown | None) -> bool:
    return cell is not None and cell.value is not None
