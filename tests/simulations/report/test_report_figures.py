"""Figures: text as text, legible on every colour, the numbers of their tables."""

from __future__ import annotations

import re
from itertools import product

import matplotlib as mpl
import pytest

from simulations.report.figures.confusion import confusion
from simulations.report.figures.curves import Axes, Series, curves
from simulations.report.figures.dot_plot import dot_plot
from simulations.report.figures.heat_map import bare, heat_map, ink_on
from simulations.report.figures.reliability import reliability
from simulations.report.figures.svg import COLOURS, WIDTH, Drawing, wrapped
from simulations.report.grid import Grid, Row
from simulations.report.numbers import Shown
from simulations.report.schema import Reliability, Triple

HOSTILE = '<b>& "x" $\\frac{1}{2}$\x07 \N{CJK UNIFIED IDEOGRAPH-76AE}'


def grid(rows: int = 2, columns: int = 3, label: str = "row") -> Grid:
    def cell(y: int, x: int) -> Shown:
        value = (1 + y + x) / 10
        return Shown((value, value - 0.05, value + 0.05), {"metric": "m"}, few=x == 1)

    return Grid(
        "A caption",
        "corner",
        tuple(f"column {x}" for x in range(columns)),
        tuple(Row(f"{label} {y}", tuple(cell(y, x) for x in range(columns))) for y in range(rows)),
    )


def texts(drawing: Drawing) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", drawing.svg)


def every_figure(label: str) -> list[Drawing]:
    triple: Triple = (0.5, 0.4, 0.6)
    line = Series(label, (0.1, 1.0), (triple, (0.6, None, None)))
    reliable = Reliability(confidence=[0.5] * 15, accuracy=[triple] * 15, images=[3.0] * 15)
    return [
        heat_map(grid(label=label), label),
        dot_plot(grid(label=label), label),
        curves([line], Axes(label, label, logarithmic=True), label),
        reliability(reliable, label),
        confusion([[3, 1], [0, 0]], (label, "other"), label),
    ]


@pytest.mark.parametrize("number", range(5))
def test_any_name_is_drawn_as_text_and_is_no_markup(number: int) -> None:
    svg = every_figure(HOSTILE)[number].svg
    assert "<b>" not in svg
    assert "\x07" not in svg
    assert "&lt;b&gt;&amp;" in svg
    assert svg.startswith("<svg ")
    assert not re.search(r"https?:|<script|<style|<image|<metadata", svg)


@pytest.mark.parametrize("number", range(5))
def test_drawing_again_gives_the_same_bytes(number: int) -> None:
    assert every_figure("a")[number].svg == every_figure("a")[number].svg


def test_names_within_two_figures_differ_though_they_look_alike() -> None:
    one, other = (confusion([[3, 1], [0, 2]], ("a", "b"), label) for label in ("x", "y"))
    assert not set(re.findall(r' id="([^"]+)"', one.svg)) & set(
        re.findall(r' id="([^"]+)"', other.svg)
    )
    for drawing in (one, other):
        names = set(re.findall(r' id="([^"]+)"', drawing.svg))
        assert set(re.findall(r'href="#([^"]+)"', drawing.svg)) <= names
        assert set(re.findall(r"url\(#([^)]+)\)", drawing.svg)) <= names


def test_a_heat_map_tells_value_and_interval_in_each_cell() -> None:
    found = texts(heat_map(grid(), "scale"))
    for y, x in product(range(2), range(3)):
        value = (1 + y + x) / 10
        mark = "†" if x == 1 else ""
        assert f"{value:.2f}"[1:] + mark in found
        assert f"{value - 0.05:.2f}"[1:] + "–" + f"{value + 0.05:.2f}"[1:] in found


def test_a_heat_map_draws_what_has_no_value() -> None:
    empty = Grid("c", "", ("a", "b"), (Row("r", (None, Shown((0.5, None, None), {}))),))
    assert "50" not in "".join(texts(heat_map(empty, "s"))).replace(".50", "", 1)


def test_a_confusion_matrix_tells_images_and_shares() -> None:
    found = texts(confusion([[3, 1], [0, 1200]], ("a", "b"), "label"))
    assert {"3", "75%", "1", "25%", "1,200", "100%"} <= set(found)


def _luminance(colour: tuple[float, ...]) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(a: float, b: float) -> float:
    return (max(a, b) + 0.05) / (min(a, b) + 0.05)


@pytest.mark.parametrize("name", ["viridis", "Blues"])
def test_text_on_every_colour_has_enough_contrast(name: str) -> None:
    for step in range(256):
        shade = mpl.colormaps[name](step)
        ink = 0.0 if ink_on(shade) == "black" else 1.0
        assert _contrast(_luminance(shade), ink) >= 4.5


@pytest.mark.parametrize("colour", COLOURS)
def test_lines_stand_out_from_paper(colour: str) -> None:
    channels = tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    assert _contrast(_luminance(channels), 1.0) >= 3.0


@pytest.mark.parametrize("number", range(5))
def test_no_text_is_smaller_than_nine_on_a_phone(number: int) -> None:
    drawing = every_figure("a")[number]
    sizes = [float(size) for size in re.findall(r"font-size: ([\d.]+)px", drawing.svg)]
    sizes += [float(size) for size in re.findall(r"font: (?:[\w ]*? )?([\d.]+)px", drawing.svg)]
    # A phone of 360 px leaves 334 px beside its margins.
    assert drawing.width == WIDTH
    assert sizes
    assert min(sizes) * 334 / drawing.width >= 9.0


def test_wide_matrices_grow_instead_of_shrinking_their_text() -> None:
    assert heat_map(grid(columns=20), "s").width > 20 * 40
    names = tuple(f"c{i}" for i in range(20))
    assert confusion([[1] * 20] * 20, names, "l").width > 20 * 35


def test_labels_are_broken_at_joints_and_cut_where_there_are_none() -> None:
    assert wrapped("vidir_molemax", 9) == "vidir_\nmolemax"
    assert wrapped("short", 9) == "short"
    assert wrapped("a b c", 3) == "a b\nc"
    assert wrapped("abcdefghijkl", 5) == "abcd…"
    assert max(map(len, wrapped("one two three four five", 6, 2).splitlines())) <= 6
    assert len(wrapped("one two three four five", 6, 2).splitlines()) == 2


def test_numbers_in_cells_drop_the_zero_and_keep_the_sign() -> None:
    assert bare(0.456) == ".46"
    assert bare(-0.1) == "\N{MINUS SIGN}.10"
    assert bare(1.0) == "1.00"
    assert bare(10.0) == "10.00"
