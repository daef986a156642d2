"""The numbers of a page as a reader's program finds them: by their data attributes."""

from __future__ import annotations

from dataclasses import dataclass
from html.parser import HTMLParser

VOID = {"meta", "img", "br", "link", "hr", "input"}


@dataclass(frozen=True)
class Number:
    """One displayed number.

    Attributes
    ----------
    where : dict of str to str
        Attributes of the element and of those around it, without ``data-``.
    part : str
        Which part: ``value``, ``low``, ``high`` or another.
    text : str
        What is displayed.
    """

    where: dict[str, str]
    part: str
    text: str

    @property
    def value(self) -> float:
        return float(self.text.replace("\N{MINUS SIGN}", "-").replace(",", ""))

    @property
    def precision(self) -> float:
        """Half of the last digit that is displayed."""
        return 0.5 * 10.0 ** -len(self.text.partition(".")[2])

    def get(self, name: str) -> str:
        return self.where.get(name, "")


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.stack: list[tuple[str, dict[str, str]]] = []
        self.numbers: list[Number] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in VOID:
            return
        data = {k.removeprefix("data-"): v or "" for k, v in attrs if k.startswith("data-")}
        self.stack.append((tag, data))
        if "part" in data:
            self.text = ""

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_endtag(self, tag: str) -> None:
        opened, data = self.stack.pop()
        assert opened == tag, f"{opened} is closed by {tag}"
        if "part" in data:
            where = {k: v for _, outer in self.stack for k, v in outer.items()} | data
            part = where.pop("part")
            self.numbers.append(Number(where, part, self.text))


def shown_numbers(page: str) -> list[Number]:
    """Find all numbers of a page."""
    parser = _Parser()
    parser.feed(page)
    parser.close()
    assert not parser.stack, "an element is not closed"
    return parser.numbers
