"""From a matplotlib figure to SVG that stands within a page: text as text, the same bytes again."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Units of the drawing: on a phone of 360 px a figure of this width keeps about its size.
WIDTH = 340.0
TEXT, SMALL = 10.5, 9.5
_UNITS_PER_INCH = 72.0

# Okabe and Ito, Color Universal Design, 2008: those of contrast 3:1 or more on white, in turn.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#000000", "#B0568B", "#8C6D00", "#4B4B9F")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES: tuple[Any, ...] = (
    "solid",
    (0, (5, 2)),
    (0, (1, 1.5)),
    (0, (6, 2, 1, 2)),
    (0, (3, 1, 1, 1, 1, 1)),
    (0, (8, 3)),
    (0, (2, 4)),
)
INK, FAINT = "#1a1a1a", "#b8b8b8"

_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "dermafed",
    "text.parse_math": False,
    "axes.unicode_minus": True,
    # Ships with matplotlib and is wide: what fits in it fits in the reader's own font.
    "font.family": "DejaVu Sans",
    "font.size": TEXT,
    "axes.titlesize": TEXT,
    "axes.labelsize": TEXT,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#5a5a5a",
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "path.simplify": False,
}
_NO_METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))


@dataclass(frozen=True)
class Drawing:
    """A figure.

    Attributes
    ----------
    svg : str
        One ``svg`` element, escaped and without any address.
    width : float
        In units; a page must not show it much narrower.
    """

    svg: str
    width: float


def draw(width: float, height: float, label: str, paint: Callable[[Figure], None]) -> Drawing:
    """Draw a figure.

    Parameters
    ----------
    width, height : float
        In units of about a CSS pixel.
    label : str
        What it shows, for those who cannot see it; no two figures of a page share one.
    paint : callable
        Draws on the figure that it is given.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    stream = io.StringIO()
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # A site's name may be in any script; the reader's browser has the glyphs.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(
            figsize=(width / _UNITS_PER_INCH, height / _UNITS_PER_INCH),
            layout=ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03),
        )
        figure.patch.set_visible(False)
        paint(figure)
        figure.savefig(stream, format="svg", metadata=_NO_METADATA)
    return Drawing(_inline(stream.getvalue(), label), width)


def printable(text: str) -> str:
    """Replace what no XML may hold and nobody can read."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def wrapped(text: str, width: int, lines: int = 3) -> str:
    """Break a label into lines of at most `width` characters, after blanks and joints."""
    folded = [""]
    for piece in re.findall(r"[^\s_·:/-]+[\s_·:/-]*|[\s_·:/-]+", printable(text)):
        if folded[-1] and len((folded[-1] + piece).rstrip()) > width:
            folded.append("")
        folded[-1] += piece
    cut = [_shortened(line.strip(), width) for line in folded]
    if len(cut) > lines:
        cut = [*cut[: lines - 1], _shortened(f"{cut[lines - 1]} …", width)]
    return "\n".join(cut)


def _shortened(line: str, width: int) -> str:
    return line if len(line) <= width else f"{line[: width - 1]}…"


def _inline(document: str, label: str) -> str:
    """Strip a document to one element that can stand in HTML beside others."""
    # A name may hold characters that no XML may.
    legal = re.sub(r"[^\t\n\r -\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]", "\ufffd", document)
    root = ET.fromstring(legal)  # noqa: S314 - matplotlib wrote it
    digest = blake2b(f"{label}\n{document}".encode(), digest_size=6).hexdigest()
    for parent in root.iter():
        parent.tag = parent.tag.rpartition("}")[2]
        attributes = {name.rpartition("}")[2]: value for name, value in parent.attrib.items()}
        parent.attrib.clear()
        parent.attrib.update(attributes)
        parent.tail = None if parent.tail is None or not parent.tail.strip() else parent.tail
        if parent.text is not None and not parent.text.strip():
            parent.text = None
        for child in list(parent):
            if child.tag.rpartition("}")[2] in ("metadata", "style"):
                parent.remove(child)
    used = set(re.findall(r"#([\w.-]+)", " ".join(_references(root))))
    for element in root.iter():
        _rename(element, used, digest)
        for name in ("d", "x", "y", "transform", "points"):
            if name in element.attrib:
                element.set(name, _rounded(element.attrib[name]))
        if "style" in element.attrib:
            element.set("style", re.sub(r"font-family:[^;]*;? ?", "", element.attrib["style"]))
    _, _, width, height = root.attrib["viewBox"].split()
    root.attrib.clear()
    root.attrib.update(
        {
            "viewBox": f"0 0 {width} {height}",
            "width": width,
            "height": height,
            "role": "img",
            "aria-label": printable(label),
        }
    )
    return ET.tostring(root, encoding="unicode", method="xml")


def _references(root: ET.Element) -> list[str]:
    names = ("href", "clip-path", "style")
    return [
        element.attrib[name] for element in root.iter() for name in names if name in element.attrib
    ]


def _rename(element: ET.Element, used: set[str], digest: str) -> None:
    """Give what is referred to a name of its own in the page; drop all other names."""
    name = element.attrib.pop("id", None)
    if name in used:
        element.set("id", f"{digest}-{name}")
    for key, reference in (("href", "#"), ("clip-path", "url(#"), ("style", "url(#")):
        if key in element.attrib:
            changed = element.attrib[key].replace(reference, f"{reference}{digest}-")
            element.set(key, changed)


def _rounded(numbers: str) -> str:
    """Keep hundredths of a unit: no eye sees less, and a page is half as large."""
    flat = re.sub(r"\s+", " ", numbers.strip())
    return re.sub(
        r"-?\d+\.\d+", lambda found: f"{float(found.group()):.2f}".rstrip("0").rstrip("."), flat
    )
