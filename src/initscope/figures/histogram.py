"""How a parameter's values are spread after training: one histogram a condition, drawn as lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from initscope.base.quantities import counted, percent
from initscope.figures.curves import Band, band_of, draw_mean, draw_seeds, staggered
from initscope.figures.drawing import Cell, Columns, Drawing, columns_of
from initscope.figures.groups import median, shown
from initscope.figures.note import draw_note
from initscope.figures.page import open_page
from initscope.figures.style import INK, SMALL_PT, looks
from initscope.figures.values import alike, kept_values, zero_percent
from initscope.figures.words import data_of, listed, training_of
from initscope.records.results import Results
from initscope.records.run import FloatArray

BINS = 30
LIMIT = 1.5
_TOLD_PERCENT = 1.0  # above it, what lies beyond the limits is told beside the condition
_MARKED_PERCENT = 0.3  # markers along the empty tails would say nothing
_COLUMNS = ("condition", "bin_centre", "n", "share_percent", "share_low", "share_high")


@dataclass(frozen=True, kw_only=True, eq=False)
class Spread:
    """The histograms of one condition: `shares` Float "run bin" in percent of the entries."""

    condition: str
    shares: FloatArray
    std: float
    zeros_percent: float
    outside_percent: float
    size: int

    @property
    def band(self) -> Band:
        """Mean over runs with its interval, a point a bin."""
        return band_of(self.shares)


def histogram_shares(values: FloatArray) -> FloatArray:
    """Returns the share of `values` in each of the 30 bins of -1.5..1.5, in percent of all values.

    What lies outside is in no bin, so the shares sum to 100 only where nothing does.
    """
    counts, _ = np.histogram(values, bins=BINS, range=(-LIMIT, LIMIT))
    return 100.0 * counts / values.size


def bin_centres() -> FloatArray:
    """Returns the centres of the bins."""
    edges = np.linspace(-LIMIT, LIMIT, BINS + 1)
    return (edges[:-1] + edges[1:]) / 2


def draw_histogram(results: Results, name: str, conditions: Sequence[str], parameter: str) -> Drawing:
    """Returns the figure of the values of `parameter` after training, for those of `conditions` that were run.

    Arguments: `name` of the drawing; `conditions` keys of the study; `parameter` a path such as "hidden1.weight".
    """
    keys = shown(results, conditions)
    spreads = [spread for key in keys if (spread := _spread(results, key, parameter)) is not None]
    runs = [run for key in keys for run in results.of(key)]
    about = f"Values of {parameter} after {training_of(runs)} on {data_of(results)}"
    if not spreads:
        reason = f"The values of {parameter} after training were not kept for these runs, or no run finished."
        return draw_note(name, f"{parameter} after training was not kept", about, reason)
    title = _title(spreads, parameter)
    behind = sorted({len(spread.shares) for spread in spreads})
    seeds = counted(behind[0], "seed") if len(behind) == 1 else f"{behind[0]} to {behind[-1]} seeds"
    subtitle = f"{about}, {seeds}{' a condition' if len(spreads) > 1 else ''}; {BINS} bins of width 0.1"
    page = open_page(title, subtitle, left=0.95)
    axes = page.whole()
    _draw(axes, results, spreads)
    axes.set_xlabel(f"value of an entry of {parameter}", fontsize=SMALL_PT + 1)
    axes.set_ylabel(f"share of its {spreads[0].size:,} entries (%)", fontsize=SMALL_PT + 1)
    caption = (
        f"{subtitle}, drawn as lines through the bins' centres. Thin: every seed; bold: mean over seeds; band: 95 % t "
        "interval of that mean. An exact zero counts in the bin from 0 to 0.1. Entries beyond ±1.5 are in no bin: "
        + "; ".join(f"{spread.condition} {spread.outside_percent:.1f} %" for spread in spreads)
        + "."
    )
    return Drawing(
        name=name, figure=page.figure, title=title, caption=caption, alt=_alt(spreads, title), columns=_columns(spreads)
    )


def _spread(results: Results, condition: str, parameter: str) -> Spread | None:
    values = kept_values(results, condition, parameter, "final")
    if not values:
        return None
    every = list(values.values())
    return Spread(
        condition=condition,
        shares=np.stack([histogram_shares(entry) for entry in every]),
        std=median(float(entry.std()) for entry in every),
        zeros_percent=float(np.mean([zero_percent(entry) for entry in every])),
        outside_percent=float(np.mean([100.0 * np.mean(np.abs(entry) > LIMIT) for entry in every])),
        size=every[0].size,
    )


def _draw(axes: Axes, results: Results, spreads: Sequence[Spread]) -> None:
    styles, x = looks(results.study), bin_centres()
    handles = []
    for place, spread in enumerate(spreads):
        look = styles[spread.condition]
        draw_seeds(axes, x, spread.shares, look.colour)
        band = spread.band
        marks = [i for i in staggered(BINS, place, len(spreads), most=15) if band.mean[i] > _MARKED_PERCENT]
        line = draw_mean(axes, x, band, look, marks=marks)
        line.set_zorder(4.0 + 0.01 * place)
        label = f"{spread.condition}, n = {len(spread.shares)}\n" + "\n".join(_details(spread))
        handles.append(
            Line2D(
                [], [], color=look.colour, linewidth=2.2, marker=look.marker, markersize=6.5, markeredgecolor="white",
                label=label,
            )
        )
    axes.set_xlim(-LIMIT, LIMIT)
    axes.set_xticks(np.arange(-LIMIT, LIMIT + 0.1, 0.5))
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.legend(
        handles=handles, loc="upper right", frameon=True, framealpha=0.9, edgecolor="none", fontsize=SMALL_PT,
        labelcolor=INK, labelspacing=0.9, handlelength=2.2,
    )  # fmt: skip


def _details(spread: Spread) -> list[str]:
    told = spread.outside_percent > _TOLD_PERCENT
    return [_detail(spread), *([f"{percent(spread.outside_percent)} beyond ±{LIMIT}"] if told else [])]


def _detail(spread: Spread) -> str:
    if spread.zeros_percent == 100.0:
        return "every entry is exactly 0"
    zeros = f", {spread.zeros_percent:.1f} % exactly 0" if spread.zeros_percent >= 0.05 else ""
    return f"standard deviation {_three(spread.std)}{zeros}"


def _three(value: float) -> str:
    return f"{value:#.3g}".rstrip(".") if value else "0"


def _title(spreads: Sequence[Spread], parameter: str) -> str:
    def word(spread: Spread) -> str:
        if spread.zeros_percent == 100.0:
            return "is still exactly zero everywhere"
        return f"has a standard deviation of {_three(spread.std)}"

    parts = [f"{text} in {listed(names)}" for names, text in alike([(s.condition, word(s)) for s in spreads])]
    start = "has a standard deviation of"
    if len(parts) > 1 and all(text.startswith(start) for text in parts):
        parts = [parts[0], *("of" + text.removeprefix(start) for text in parts[1:])]
    return f"After training, {parameter} {listed(parts)}"


def _alt(spreads: Sequence[Spread], title: str) -> str:
    parts = []
    for spread in spreads:
        band = spread.band
        peak = int(np.nanargmax(band.mean)) if np.isfinite(band.mean).any() else 0
        highest = f"highest bin around {bin_centres()[peak]:.2f} with {band.mean[peak]:.1f} % of the entries"
        told = [*_details(spread), *([highest] if band.mean[peak] > 0 else [])]
        parts.append(f"{spread.condition} (n = {len(spread.shares)}): {', '.join(told)}")
    return f"Histogram drawn as lines. {title}. {'; '.join(parts)}."


def _columns(spreads: Sequence[Spread]) -> Columns:
    rows: list[dict[str, Cell]] = []
    for spread in spreads:
        band = spread.band
        for i, centre in enumerate(bin_centres()):
            values = (float(band.mean[i]), float(band.low[i]), float(band.high[i]))
            row = (spread.condition, round(float(centre), 10), int(band.n[i]), *values)
            rows += [dict(zip(_COLUMNS, row, strict=True))]
    return columns_of(_COLUMNS, rows)
