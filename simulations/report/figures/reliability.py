"""Whether a probability means what it says: accuracy by confidence, and how many images each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulations.report.figures.curves import known_points
from simulations.report.figures.svg import COLOURS, FAINT, INK, WIDTH, Drawing, draw
from simulations.report.schema import Reliability

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_HEIGHT = 300.0


def reliability(curve: Reliability, label: str) -> Drawing:
    """Draw one reliability curve.

    Parameters
    ----------
    curve : Reliability
        By bin of confidence.
    label : str
        What the figure shows.
    """

    def paint(figure: Figure) -> None:
        upper, lower = figure.subplots(
            2, 1, sharex=True, gridspec_kw={"height_ratios": (4, 1), "hspace": 0.05}
        )
        upper.plot([0, 1], [0, 1], linestyle=(0, (4, 3)), color=INK, linewidth=1)
        x, value, low, high = known_points(curve.confidence, curve.accuracy)
        upper.plot(x, value, "o-", color=COLOURS[0], markersize=4, linewidth=1.5)
        upper.fill_between(x, low, high, color=COLOURS[0], alpha=0.18, linewidth=0)
        upper.set(xlim=(0, 1), ylim=(0, 1), ylabel="share predicted right")
        bins = len(curve.images)
        lower.bar(
            [(index + 0.5) / bins for index in range(bins)],
            curve.images,
            width=0.9 / bins,
            color=COLOURS[0],
        )
        lower.set(xlabel="confidence (probability of the predicted class)", ylabel="images")
        lower.yaxis.get_major_locator().set_params(nbins=3)
        upper.tick_params(labelbottom=False)
        for panel in (upper, lower):
            panel.grid(color=FAINT, linewidth=0.5)
            panel.set_axisbelow(True)
        figure.align_ylabels()

    return draw(WIDTH, _HEIGHT, label, paint)
