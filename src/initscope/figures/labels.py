"""Labels at curve ends, moved apart where they would overlap, each tied to its end by a thin line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from initscope.figures.curves import SOLID, Dashes
from initscope.figures.page import Page, wrapped_name
from initscope.figures.style import INK, SMALL_PT, SOFT_INK, Look

_GAP_IN = 0.1
_CHIP_IN = 0.34
_ABOVE_IN, _BELOW_IN = 0.15, 0.12
LABEL_WIDTH_IN = 2.05


@dataclass(frozen=True, kw_only=True)
class EndLabel:
    """`name` (a condition) and `detail` beside the end of a curve at height `y` (data; NaN where the curve is empty).

    Where it is not `tied`, no line leads from the curve's end to it: the label is an entry of a key.
    """

    name: str
    detail: str
    y: float
    look: Look
    dashes: Dashes = SOLID
    tied: bool = True


def spread(wanted: Sequence[float], heights: Sequence[float], low: float, high: float) -> list[float]:
    """Returns centres near `wanted` so that boxes of these `heights` neither overlap nor leave low..high.

    Boxes keep their order; those that would overlap form a block around the mean of what its members want. Where all
    together are higher than the room, they are stacked from `high` downwards and overhang `low`.

    Example:
        >>> spread([5.0, 5.0], [1.0, 1.0], 0.0, 10.0)
        [4.5, 5.5]
    """
    order = sorted(range(len(wanted)), key=lambda place: wanted[place])
    blocks: list[tuple[float, float, list[int]]] = []
    for place in order:
        members, height = [place], heights[place]
        centre = _inside(wanted[place], height, low, high)
        while blocks and blocks[-1][0] + blocks[-1][1] / 2 > centre - height / 2 + 1e-12:
            _, below_height, below = blocks.pop()
            members, height = below + members, below_height + height
            centre = _inside(_block_centre(members, wanted, heights), height, low, high)
        blocks.append((centre, height, members))
    centres = [0.0] * len(wanted)
    for centre, height, members in blocks:
        edge = centre - height / 2
        for place in members:
            centres[place] = edge + heights[place] / 2
            edge += heights[place]
    return centres


def _block_centre(members: Sequence[int], wanted: Sequence[float], heights: Sequence[float]) -> float:
    total, edge, sum_of_bottoms = sum(heights[place] for place in members), 0.0, 0.0
    for place in members:
        sum_of_bottoms += wanted[place] - heights[place] / 2 - edge
        edge += heights[place]
    return sum_of_bottoms / len(members) + total / 2


def _inside(centre: float, height: float, low: float, high: float) -> float:
    return min(max(centre, low + height / 2), high - height / 2)


def draw_end_labels(page: Page, axes: Axes, x: float, labels: Sequence[EndLabel]) -> None:
    """Draws the labels in the page's right margin; `x` (data) is where the curves end. Many labels are set smaller."""
    low, high = axes.get_ylim()
    per_inch = (high - low) / (page.top - page.bottom)
    room = page.top + _ABOVE_IN - _BELOW_IN
    names = [wrapped_name(label.name, LABEL_WIDTH_IN, SMALL_PT) for label in labels]
    rows = sum(len(lines) + 1 for lines in names)
    tight = rows * _line_in(SMALL_PT) + len(labels) * _GAP_IN > room
    gap = _GAP_IN / 5 if tight else _GAP_IN
    size = max(9.0, SMALL_PT * min(1.0, (room - len(labels) * gap) / max(rows * _line_in(SMALL_PT), 0.1)))
    heights = [((len(lines) + 1) * _line_in(size) + gap) * per_inch for lines in names]
    wanted = [label.y if math.isfinite(label.y) else (low + high) / 2 for label in labels]
    bounds = low - (page.bottom - _BELOW_IN) * per_inch, high + _ABOVE_IN * per_inch
    centres = spread(wanted, heights, *bounds)
    x_per_inch = float(np.diff(axes.get_xlim())[0]) / (page.right - page.left)
    for label, lines, centre in zip(labels, names, centres, strict=True):
        _draw_chip(axes, x, x_per_inch, label, centre)
        axes.text(
            x + (0.26 + _CHIP_IN) * x_per_inch, centre, "\n".join([*lines, label.detail]), fontsize=size, color=INK,
            va="center", ha="left", linespacing=1.15, clip_on=False,
        )  # fmt: skip


def _line_in(size: float) -> float:
    return size * 1.22 / 72.0


def _draw_chip(axes: Axes, x: float, x_per_inch: float, label: EndLabel, centre: float) -> None:
    chip = x + 0.22 * x_per_inch
    if label.tied and math.isfinite(label.y):
        axes.plot(
            [x, chip], [label.y, centre], color=SOFT_INK, linewidth=0.6, clip_on=False, zorder=1.5, label="_leader"
        )
    axes.plot(
        [chip, chip + 0.28 * x_per_inch], [centre, centre], color=label.look.colour, linewidth=2.4,
        linestyle=label.dashes, marker=label.look.marker, markersize=6.0, markevery=[1], markeredgecolor="white",
        markeredgewidth=0.7, clip_on=False, zorder=4.0, label="_chip",
    )  # fmt: skip
