"""The gradient map: which parameter receives how much gradient at the start, condition by condition."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, to_rgb
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FuncFormatter

from initscope.figures.drawing import Cell, Columns, Drawing, columns_of
from initscope.figures.groups import median
from initscope.figures.note import draw_note
from initscope.figures.page import Page, open_page, width_in, wrapped_name
from initscope.figures.style import INK, SMALL_PT, SOFT_INK, mixed, readable_on
from initscope.figures.words import data_of, listed, seeds_behind
from initscope.records.results import Results
from initscope.records.run import Probes

_NAMES_IN = 1.55
ZERO_COLOUR = "#f7dfd0"
_HATCH, _HATCH_INK = "////", "#c98a63"
_COLUMNS = ("condition", "parameter", "n", "gradient_norm_median", "exact_zero_runs")
_MOST_NAMES = 20


@dataclass(frozen=True, kw_only=True)
class GradientCell:
    """One parameter in one condition at step 0: median gradient norm over `n` runs (NaN: not measured)."""

    condition: str
    parameter: str
    n: int
    norm: float
    zero_runs: int

    @property
    def zero(self) -> bool:
        """Whether the gradient is exactly zero in every run, or in so many that the median is zero."""
        return self.n > 0 and (self.zero_runs == self.n or self.norm == 0.0)


def draw_gradient_map(results: Results) -> Drawing:
    """Returns the figure "gradient_map": a row a condition, a column a parameter (model order), norms as log colour."""
    cells = gradient_cells(results)
    about = (
        f"Euclidean norm of each parameter's gradient on the first batch of {results.data.name}, before any update; "
        f"median over {seeds_behind(results.runs).removesuffix(' a condition')}"
    )
    if not any(cell.n for row in cells for cell in row):
        reason = "No probe at step 0 is stored for these runs, so the gradients at the start are not known."
        return draw_note("gradient_map", "The gradients at the start were not measured", about, reason)
    title = _title(cells)
    page = open_page(title, about, left=_NAMES_IN + 0.45, right=1.25, bottom=0.95, key=0.34)
    axes = page.whole(grid="")
    _set_axes(page, axes, cells)
    _draw_cells(page, axes, cells)
    caption = (
        f"{about}, on {data_of(results)}. Hatched: the gradient is exactly zero, so the first update cannot move the "
        "parameter; an empty cell was not measured. The colour scale is logarithmic."
    )
    return Drawing(
        name="gradient_map",
        figure=page.figure,
        title=title,
        caption=caption,
        alt=_alt(title, cells),
        columns=_columns(cells),
    )


def _columns(cells: Sequence[Sequence[GradientCell]]) -> Columns:
    rows: list[dict[str, Cell]] = []
    for cell in (cell for row in cells for cell in row):
        values: tuple[Cell, ...] = (cell.condition, cell.parameter, cell.n, cell.norm, cell.zero_runs)
        rows += [dict(zip(_COLUMNS, values, strict=True))]
    return columns_of(_COLUMNS, rows)


def gradient_cells(results: Results) -> list[list[GradientCell]]:
    """Returns the cells, a list a condition; the parameters are those of the first probe found, in model order."""
    probes = {key: _starts(results, key) for key in results.conditions}
    names = next((probe.parameters for found in probes.values() for probe in found), ())
    return [[_cell(key, name, found) for name in names] for key, found in probes.items()]


def _starts(results: Results, condition: str) -> list[Probes]:
    return [
        run.probes
        for run in results.of(condition)
        if run.probes is not None and run.probes.steps.size and run.probes.steps[0] == 0
    ]


def _cell(condition: str, parameter: str, probes: Sequence[Probes]) -> GradientCell:
    own = [(probe, probe.parameters.index(parameter)) for probe in probes if parameter in probe.parameters]
    norms = [float(probe.gradient_norm[0, place]) for probe, place in own]
    zeros = [float(probe.gradient_zero[0, place]) for probe, place in own]
    return GradientCell(
        condition=condition,
        parameter=parameter,
        n=sum(math.isfinite(norm) for norm in norms),
        norm=median(norms),
        zero_runs=sum(zero == 1.0 and math.isfinite(norm) for zero, norm in zip(zeros, norms, strict=True)),
    )


def _set_axes(page: Page, axes: Axes, cells: Sequence[Sequence[GradientCell]]) -> None:
    names, keys = [cell.parameter for cell in cells[0]], [row[0].condition for row in cells]
    axes.set_xlim(0, len(names))
    axes.set_ylim(len(keys), 0)
    axes.set_yticks(np.arange(len(keys)) + 0.5, ["\n".join(wrapped_name(key, _NAMES_IN, SMALL_PT)) for key in keys])
    room = (page.right - page.left) / len(names) - 0.08
    lines = [wrapped_name(name, room, SMALL_PT) for name in names]
    upright = all(width_in(line, SMALL_PT) <= room for parts in lines for line in parts)
    every = max(1, math.ceil(len(names) / _MOST_NAMES)) if not upright else 1
    if upright and any(len(parts) > 1 for parts in lines):  # then every name breaks at its dots
        dotted = [tuple(re.findall(r"[^.]*\.|[^.]+", name)) for name in names]
        lines = [broken if len(parts) == 1 else parts for parts, broken in zip(lines, dotted, strict=True)]
    texts = ["\n".join(parts) if upright else name for parts, name in zip(lines, names, strict=True)]
    axes.set_xticks(np.arange(0, len(names), every) + 0.5, texts[::every], rotation=0 if upright else 90)
    axes.tick_params(axis="both", length=0, pad=6)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)


def _draw_cells(page: Page, axes: Axes, cells: Sequence[Sequence[GradientCell]]) -> None:
    norms = [cell.norm for row in cells for cell in row if not cell.zero and cell.norm > 0]
    low, high = (min(norms), max(norms)) if norms else (0.1, 1.0)
    norm = LogNorm(low / 1.5, high * 1.5) if high <= 3 * low else LogNorm(low, high)
    colours = colormaps["cividis"]
    room = (page.right - page.left) / len(cells[0])
    for y, row in enumerate(cells):
        for x, cell in enumerate(row):
            if cell.n == 0:
                continue
            fill = to_rgb(ZERO_COLOUR if cell.zero else colours(float(norm(cell.norm))))
            axes.add_patch(
                Rectangle(
                    (x + 0.03, y + 0.04), 0.94, 0.92, facecolor=fill, linewidth=0, edgecolor=_HATCH_INK,
                    hatch=_HATCH if cell.zero else None, label="_zero" if cell.zero else "_norm",
                )
            )  # fmt: skip
            _write_cell(axes, x, y, cell, room, readable_on(fill))
    if norms:
        _draw_scale(page, ScalarMappable(norm=norm, cmap=colours))
    _draw_key(page, cells)


def compact(value: float) -> str:
    """Returns a positive number with two significant digits, as short as it can be read: 0.053, 1300, 2.1e-5.

    Example:
        >>> compact(1310.0), compact(0.0531), compact(2.12e-05), compact(68_000.0)
        ('1300', '0.053', '2.1e-5', '6.8e4')
    """
    if not math.isfinite(value):
        return "not finite"
    mantissa, exponent = f"{value:.1e}".split("e")
    if -4 < int(exponent) < 4:
        return f"{float(f'{value:.1e}'):.{max(0, 1 - int(exponent))}f}"
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"


def _write_cell(axes: Axes, x: int, y: int, cell: GradientCell, room: float, ink: str) -> None:
    some = cell.zero_runs if 0 < cell.zero_runs < cell.n else 0
    first = "0" if cell.zero else compact(cell.norm)
    text = f"{first}\n0 in {cell.zero_runs} of {cell.n}" if some else first
    if max(width_in(line, SMALL_PT) for line in text.split("\n")) > room - 0.06:
        text = first
    if width_in(text.split("\n")[0], SMALL_PT) > room - 0.06:
        return
    box = {"facecolor": ZERO_COLOUR, "edgecolor": "none", "pad": 1.5} if cell.zero else None
    axes.text(
        x + 0.5, y + 0.5, text, fontsize=SMALL_PT, color=ink, ha="center", va="center", linespacing=1.1, bbox=box
    )


def _tick(value: float, _: int | None) -> str:
    return f"{value:g}" if 1e-4 <= value < 1e5 else compact(value)


def _draw_scale(page: Page, scale: ScalarMappable) -> None:
    axes = page.axes(page.right + 0.25, page.bottom, page.right + 0.42, page.top, grid="")
    bar = page.figure.colorbar(scale, cax=axes)
    bar.set_label("gradient norm at step 0", fontsize=SMALL_PT)
    bar.ax.tick_params(labelsize=SMALL_PT, colors=SOFT_INK, labelcolor=INK)
    bar.ax.minorticks_off()
    bar.ax.yaxis.set_major_formatter(FuncFormatter(_tick))
    bar.outline.set_visible(False)


def _draw_key(page: Page, cells: Sequence[Sequence[GradientCell]]) -> None:
    handles = []
    if any(cell.zero for row in cells for cell in row):
        zero = Patch(facecolor=ZERO_COLOUR, edgecolor=_HATCH_INK, hatch=_HATCH, linewidth=0, label="exactly zero")
        handles.append(zero)
    handles.append(Patch(facecolor=mixed("#7b7b78", "#ffffff", 0.1), linewidth=0, label="norm, see scale"))
    page.key(handles, above=0.05)


def _title(cells: Sequence[Sequence[GradientCell]]) -> str:
    reached = {row[0].condition: [cell.parameter for cell in row if not cell.zero and cell.n] for row in cells}
    stuck = {row[0].condition: sum(cell.zero for cell in row) for row in cells}
    total = len(cells)
    worst = max(stuck.values())
    if worst == 0:
        norms = [cell.norm for row in cells for cell in row if cell.n]
        conditions = "all " + str(total) + " conditions" if total > 1 else cells[0][0].condition
        between = f"norms run from {compact(min(norms))} to {compact(max(norms))}"
        return f"Every parameter receives a gradient at the start in {conditions}; {between}"
    names = [key for key, count in stuck.items() if count == worst]
    whose = listed(names) if len(names) <= 2 else f"{len(names)} of {total} conditions"
    alive = reached[names[0]]
    same = all(reached[key] == alive for key in names)
    if same and len(alive) <= 2:
        what = {0: "no parameter receives", 1: f"only {listed(alive)} receives", 2: f"only {listed(alive)} receive"}
        first = f"At the start {what[len(alive)]} a gradient in {whose}"
    else:
        first = f"At the start {worst} of {len(cells[0])} parameters receive no gradient in {whose}"
    full = sum(count == 0 for count in stuck.values())
    return f"{first}; {full} of {total} conditions reach every parameter" if total > 1 else first


def _alt(title: str, cells: Sequence[Sequence[GradientCell]]) -> str:
    parts = []
    for row in cells:
        zeros = [cell.parameter for cell in row if cell.zero]
        norms = [cell.norm for cell in row if cell.n and not cell.zero]
        spread = f", the other norms from {compact(min(norms))} to {compact(max(norms))}" if norms else ""
        parts.append(f"{row[0].condition}: exactly zero in {listed(zeros) if zeros else 'no parameter'}{spread}")
    return f"Table of gradient norms at step 0, parameters by conditions. {title}. {'. '.join(parts)}."
