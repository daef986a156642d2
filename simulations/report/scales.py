"""Conditions that lie on a scale, such as images a site: what ``about`` tells of them."""

from __future__ import annotations

from simulations.report.facts import Facts

IMAGES, SITES, ALPHA = "images_per_site", "sites", "alpha"
# What is counted. A scale with one condition a step gives a curve.
TITLES = {
    IMAGES: "images a site",
    SITES: "sites",
    ALPHA: "Dirichlet concentration (small is skewed)",
}


def conditions_on(facts: Facts, scale: str) -> list[tuple[float, str]]:
    """List the conditions that vary on a scale, ascending; of equal ones all, by name.

    Zero stands for no limit, which is no place on a scale.
    """
    found: dict[str, float] = {}
    for cell in facts.study.cells:
        x = cell.about.get(scale)
        if isinstance(x, int | float) and x > 0:
            found[cell.condition] = float(x)
    return sorted((x, condition) for condition, x in found.items())
