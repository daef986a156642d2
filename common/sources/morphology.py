"""What lesions of a class look like: a recipe each.

A class is ranges of size and pigment, and how often each structure occurs. Recipes overlap on
purpose; no structure belongs to one class alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from common.sources.canvas import Drawing, Lesion, Recipe
from common.sources.structures import STRUCTURES

if TYPE_CHECKING:
    from numpy.random import Generator

# fmt: off
RECIPES: Mapping[str, Recipe] = {
    "akiec": Recipe(
        (0.50, 0.85), (0.04, 0.14), (0.10, 0.45), (0.05, 0.45), (0.15, 0.50), (0.1, 0.4),
        {"scale": 0.60, "strawberry": 0.48, "dots": 0.45, "crust": 0.22, "waxy": 0.15,
         "network": 0.12, "tree": 0.08},
    ),
    "bcc": Recipe(
        (0.45, 0.80), (0.04, 0.14), (0.10, 0.45), (0.0, 0.45), (0.10, 0.42), (0.1, 0.4),
        {"tree": 0.55, "nests": 0.45, "crust": 0.35, "scale": 0.25, "veil": 0.10, "cysts": 0.12,
         "blotch": 0.12, "scar": 0.1, "dots": 0.08},
    ),
    "bkl": Recipe(
        (0.50, 0.88), (0.03, 0.14), (0.03, 0.22), (0.30, 1.0), (0.0, 0.25), (0.1, 0.6),
        {"cysts": 0.5, "comedones": 0.45, "ridges": 0.38, "waxy": 0.5, "network": 0.28,
         "globules": 0.15, "scale": 0.18, "veil": 0.1, "blotch": 0.25, "dots": 0.06},
    ),
    "df": Recipe(
        (0.45, 0.72), (0.01, 0.06), (0.20, 0.50), (0.20, 0.55), (0.05, 0.25), (0.05, 0.20),
        {"scar": 0.92, "network": 0.65, "globules": 0.1, "dots": 0.12},
    ),
    "mel": Recipe(
        (0.50, 0.95), (0.05, 0.20), (0.05, 0.22), (0.45, 1.45), (0.0, 0.25), (0.2, 0.8),
        {"network": 0.5, "globules": 0.4, "streaks": 0.35, "veil": 0.45, "regression": 0.35,
         "blotch": 0.55, "dots": 0.15, "comedones": 0.06, "scar": 0.05},
    ),
    "nv": Recipe(
        (0.40, 0.88), (0.02, 0.13), (0.08, 0.35), (0.35, 1.25), (0.0, 0.3), (0.05, 0.55),
        {"network": 0.6, "globules": 0.4, "blotch": 0.35, "streaks": 0.08, "cysts": 0.06,
         "veil": 0.08, "regression": 0.06, "comedones": 0.05, "waxy": 0.08},
    ),
    "vasc": Recipe(
        (0.35, 0.70), (0.03, 0.12), (0.06, 0.20), (0.0, 0.12), (0.50, 1.0), (0.1, 0.4),
        {"lacunae": 0.95, "veil": 0.10, "scar": 0.05, "scale": 0.08},
    ),
}
# fmt: on


def draw_lesion(dx: str, rng: Generator) -> Lesion:
    """Draw a lesion.

    Parameters
    ----------
    dx : str
        A class of HAM10000.
    rng : numpy.random.Generator
        Where every choice comes from.

    Raises
    ------
    KeyError
        If there is no recipe for `dx`.
    """
    recipe = RECIPES[dx]
    drawing = Drawing(recipe, rng)
    for name, chance in recipe.chance.items():
        if rng.random() < chance:
            STRUCTURES[name](drawing, rng)
    return drawing.finish()
