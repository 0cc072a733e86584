"""A bundle of curves: every seed faint, the mean bold, the t interval of the mean as a band."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from initscope.figures.style import Look, faintness
from initscope.records.run import FloatArray
from initscope.stats.intervals import mean_interval

SOLID: tuple[int, tuple[float, ...]] = (0, ())
DOTTED: tuple[int, tuple[float, ...]] = (0, (1.2, 1.4))
DASHED: tuple[int, tuple[float, ...]] = (0, (4.0, 1.8))
BAND_OPACITY = 0.18
BAND_RUNS = 3
"""Below this many runs no band is drawn: at two the t interval is thirteen standard errors wide on either side."""
Dashes = tuple[int, tuple[float, ...]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Band:
    """Mean over runs at each point, with its 95 % t interval and the number of runs measured there."""

    mean: FloatArray
    low: FloatArray
    high: FloatArray
    n: NDArray[np.int64]


def stacked(rows: Sequence[NDArray[np.floating]], length: int) -> FloatArray:
    """Returns the rows as one Float "run point" array; rows that are shorter are filled up with NaN."""
    table = np.full((len(rows), length), np.nan)
    for place, row in enumerate(rows):
        kept = np.asarray(row, dtype=np.float64)[:length]
        table[place, : kept.size] = np.where(np.isfinite(kept), kept, np.nan)
    return table


def band_of(values: NDArray[np.floating]) -> Band:
    """Returns the band of `values`, Float "run point"; NaN is left out point by point."""
    n = np.isfinite(values).sum(axis=0)
    intervals = [mean_interval(column) for column in values.T]
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(n > 0, np.nansum(values, axis=0) / np.maximum(n, 1), np.nan)
    low = np.array([interval.low for interval in intervals], dtype=np.float64)
    high = np.array([interval.high for interval in intervals], dtype=np.float64)
    return Band(mean=mean, low=low, high=high, n=n)


def draw_seeds(
    axes: Axes,
    x: NDArray[np.floating],
    values: NDArray[np.floating],
    colour: str,
    dashes: Dashes = SOLID,
    *,
    rasterized: bool = False,
) -> None:
    """Draws every row of `values` (Float "run point") as a thin, translucent curve over `x`: one artist for all.

    `rasterized` curves are a picture inside an SVG file, which is smaller where there are many with many points.
    """
    curves = []
    for row in values:
        points = np.column_stack([x, row])[np.isfinite(row)]
        if len(points):
            curves.append(points if len(points) > 1 else np.repeat(points, 2, axis=0))
    if not curves:
        return
    faint = LineCollection(curves, colors=[colour], linewidths=0.8, alpha=faintness(len(curves)), linestyles=[dashes])
    faint.set_zorder(2.0)
    faint.set_rasterized(rasterized)
    faint.set_label("_seeds")
    axes.add_collection(faint, autolim=True)


def draw_mean(
    axes: Axes,
    x: NDArray[np.floating],
    band: Band,
    look: Look,
    *,
    dashes: Dashes = SOLID,
    marks: Sequence[int] | None = None,
) -> Line2D:
    """Draws the band and the bold mean over `x`, with the condition's marker at the points `marks` (None is all).

    Markers of solid lines are filled, those of broken lines hollow, so that they differ where curves lie on each other.
    """
    enough = band.n >= BAND_RUNS
    if enough.any():
        axes.fill_between(
            x, band.low, band.high, where=enough.tolist(), color=look.colour, alpha=BAND_OPACITY, linewidth=0,
            zorder=3.0, label="_band",
        )  # fmt: skip
    at = list(marks) if marks is not None else list(range(len(x)))
    solid = dashes == SOLID
    (line,) = axes.plot(
        x, band.mean, color=look.colour, linewidth=2.2, linestyle=dashes, marker=look.marker, markevery=at,
        markersize=6.5 if solid else 5.5, markerfacecolor=look.colour if solid else "white",
        markeredgecolor="white" if solid else look.colour, markeredgewidth=0.8 if solid else 1.3, zorder=4.0,
        solid_capstyle="round", label="_mean",
    )  # fmt: skip
    return line


def staggered(n: int, place: int, of: int, most: int = 12) -> list[int]:
    """Returns indices of 0..n-1 for the markers of curve number `place` among `of` curves that may lie on each other.

    They are spaced so that no two curves mark the same point, as far as there are points enough.

    Example:
        >>> staggered(10, 0, 2), staggered(10, 1, 2)
        ([0, 2, 4, 6, 8], [1, 3, 5, 7, 9])
    """
    step = max(1, -(-n // most), min(of, (n + 1) // 2))
    return list(range(place * max(1, step // max(of, 1)) % step, n, step))


def spaced(n: int, most: int = 12) -> list[int]:
    """Returns at most about `most` evenly spaced indices of 0..n-1, the last one among them."""
    step = max(1, -(-n // most))
    return list(range((n - 1) % step, n, step)) if n else []
