"""The visual language: which colour and marker a condition has, sizes, inks, and the look of an axis."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from initscope.records.study import Study

HEIGHT_IN = 6.0
WIDTH_IN = 6.0 * 1.618
TITLE_PT, TEXT_PT, SMALL_PT = 15.0, 11.5, 10.5
INK, SOFT_INK, CHANCE_INK, GRID_INK = "#1a1a1a", "#4d4d4d", "#6e6e6e", "#e4e4e4"
BASELINE = "#0072B2"
# Okabe-Ito without its blue, ordered so that conditions shown together lie far apart; its yellow, invisible on white
# paper (contrast 1.3), is drawn darker. The last two are for studies of more than eight conditions.
OTHERS = ("#D55E00", "#009E73", "#56B4E9", "#9A8500", "#E69F00", "#000000", "#CC79A7", "#7F7F7F", "#882255")
BASELINE_MARKER = "o"
OTHER_MARKERS = ("s", "^", "D", "v", "P", "X", "<", ">", "p", "*", "h")

HOUSE = {
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "sans-serif"],
    "font.size": TEXT_PT,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.unicode_minus": True,
    "text.parse_math": False,
    "path.simplify": True,
    "hatch.linewidth": 0.6,
}


@dataclass(frozen=True, kw_only=True)
class Look:
    """How a condition is drawn in every figure: a colour and a marker that repeats it in black and white."""

    colour: str
    marker: str


@contextmanager
def house() -> Iterator[None]:
    """Within it matplotlib's settings are this house's; afterwards they are what they were."""
    with matplotlib.rc_context(HOUSE):  # type: ignore[arg-type]  # the stubs want a literal key type
        yield


def looks(study: Study) -> dict[str, Look]:
    """Returns every condition's look. It follows the study's order alone, whatever was run or is shown."""
    found = {study.baseline: Look(colour=BASELINE, marker=BASELINE_MARKER)}
    others = [key for key in study.conditions if key != study.baseline]
    for place, key in enumerate(others):
        colour, marker = OTHERS[place % len(OTHERS)], OTHER_MARKERS[place % len(OTHER_MARKERS)]
        found[key] = Look(colour=colour, marker=marker)
    return found


def mixed(colour: str, other: str, share: float) -> tuple[float, float, float]:
    """Returns `colour` with `share` (0..1) of `other` mixed in."""
    first, second = to_rgb(colour), to_rgb(other)
    red, green, blue = ((1 - share) * a + share * b for a, b in zip(first, second, strict=True))
    return red, green, blue


def readable_on(colour: tuple[float, ...]) -> str:
    """Returns black or white, whichever reads better on `colour` (red, green, blue in 0..1)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000000" if luminance > 0.179 else "#ffffff"


def faintness(n: int) -> float:
    """Returns the opacity of one seed's curve among `n`: every seed stays visible, the mean stays on top."""
    return float(min(0.5, max(0.16, 1.1 / max(n, 1) ** 0.5)))


def plain_axes(axes: Axes, *, grid: str = "y") -> None:
    """Gives the axes the house look: no top and right spine, a pale grid along `grid` ("x", "y" or "")."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(SOFT_INK)
        axes.spines[side].set_linewidth(0.8)
    axes.tick_params(labelsize=SMALL_PT, colors=SOFT_INK, labelcolor=INK, width=0.8, length=3.5)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(True, axis="x" if grid == "x" else "y", color=GRID_INK, linewidth=0.8)


def whole_ticks(low: int, high: int, most: int = 11) -> list[int]:
    """Returns at most `most` whole numbers from `low` to `high` at a round step; both ends where that fits.

    Example:
        >>> whole_ticks(1, 10), whole_ticks(1, 40)
        ([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], [1, 5, 10, 15, 20, 25, 30, 35, 40])
    """
    steps = (factor * 10**power for power in range(9) for factor in (1, 2, 5))
    step = next(step for step in steps if (high - low) // step + 1 <= most)
    ticks = [tick for tick in range(low - low % step, high + 1, step) if tick >= low]
    return ticks if step == 1 or low in ticks else [low, *ticks]
