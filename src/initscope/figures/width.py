"""Effective width: how many units of each hidden layer differ, and how many are dead, over the epochs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from initscope.base.quantities import counted, significant
from initscope.figures.curves import DASHED, SOLID, Dashes, draw_seeds
from initscope.figures.drawing import MOST_ROWS, Cell, Columns, Drawing, columns_of
from initscope.figures.groups import Group, groups_of
from initscope.figures.note import draw_note
from initscope.figures.page import Page, open_page, wrapped_name
from initscope.figures.style import INK, SMALL_PT, SOFT_INK, looks, mixed, whole_ticks
from initscope.figures.words import data_of, listed, seeds_behind, training_of
from initscope.records.results import Results
from initscope.records.run import FloatArray, RunRecord

Ink = tuple[float, float, float]
_VECTOR_SEEDS = 24
_MARKERS = ("o", "s", "^", "D", "v", "P")
_COLUMNS = (
    "condition", "group", "layer", "step", "epoch", "n", "distinct_units_median", "similar_groups_median",
    "dead_units_median", "units",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class Panel:
    """The probes of one group on one axis of steps; `distinct`, `similar` and `dead` are Float "run probe layer"."""

    group: Group
    steps: FloatArray
    epochs: FloatArray
    layers: tuple[str, ...]
    units: tuple[int, ...]
    distinct: FloatArray
    similar: FloatArray
    dead: FloatArray


def draw_width(results: Results) -> Drawing:
    """Returns the figure "effective_width": a panel a condition (a group where outcomes split), two lines a layer."""
    groups = [group for key in results.conditions for group in groups_of(results, key)]
    panels = [panel for group in groups if (panel := _panel(group)) is not None]
    about = (
        f"Distinct units (to the bit) and dead units of each hidden layer on {data_of(results)} over "
        f"{training_of(results.runs)}, {seeds_behind(results.runs)}"
    )
    if not panels:
        reason = "No probes of the hidden layers are stored for these runs, so distinct and dead units are not known."
        return draw_note("effective_width", "Distinct and dead units were not measured", about, reason)
    title = _title(panels)
    page = open_page(title, about, left=0.85, key=0.34)
    _draw_panels(page, results, panels)
    _draw_key(page, panels[0].layers)
    caption = (
        f"{about}. Solid: distinct units (rows of incoming weights with their bias), dashed: dead units (zero for "
        "every test sample), both in percent of the layer's width. Thin: every seed; bold: the median seed (of an even "
        "number the lower of the middle two, so that no line runs between seeds). A condition whose seeds split into "
        "learners and others has a panel for each."
    )
    return Drawing(
        name="effective_width",
        figure=page.figure,
        title=title,
        caption=caption,
        alt=_alt(title, panels),
        columns=_columns(panels),
    )


def _panel(group: Group) -> Panel | None:
    runs = [run for run in group.runs if run.probes is not None and run.probes.layers and run.probes.steps.size]
    if not runs:
        return None
    first = runs[0].probes
    assert first is not None
    steps = np.unique(np.concatenate([run.probes.steps for run in runs if run.probes is not None]))
    per_epoch = max((run.steps / run.epochs for run in runs if run.epochs), default=1.0) or 1.0
    same = [run for run in runs if run.probes is not None and run.probes.layers == first.layers]
    return Panel(
        group=group,
        steps=steps.astype(np.float64),
        epochs=steps / per_epoch,
        layers=first.layers,
        units=first.units,
        distinct=_table(same, steps, "distinct_units"),
        similar=_table(same, steps, "similar_groups"),
        dead=_table(same, steps, "dead_units"),
    )


def _table(runs: Sequence[RunRecord], steps: FloatArray, field: str) -> FloatArray:
    rows = []
    for run in runs:
        assert run.probes is not None
        table = np.full((len(steps), len(run.probes.layers)), np.nan)
        table[np.searchsorted(steps, run.probes.steps)] = getattr(run.probes, field)
        rows.append(table)
    return np.stack(rows)


def _draw_panels(page: Page, results: Results, panels: Sequence[Panel]) -> None:
    rows = 1 if len(panels) <= 2 else 2 if len(panels) <= 10 else 3
    columns = math.ceil(len(panels) / rows)
    gap_x, gap_y = 0.22, 0.66 if columns > 2 else 0.5
    width = (page.right - page.left - gap_x * (columns - 1)) / columns
    height = (page.top - page.bottom - gap_y * rows + 0.1) / rows
    for place, panel in enumerate(panels):
        row, column = divmod(place, columns)
        left = page.left + column * (width + gap_x)
        top = page.top - gap_y + 0.1 - row * (height + gap_y)
        axes = page.axes(left, top - height, left + width, top)
        _draw_panel(axes, results, panel, width)
        lowest = place + columns >= len(panels)
        axes.tick_params(labelleft=column == 0, labelbottom=lowest)
        if lowest:
            axes.set_xlabel("epoch", fontsize=SMALL_PT)
        if column == 0:
            axes.set_ylabel("units (%)", fontsize=SMALL_PT)


def _draw_panel(axes: Axes, results: Results, panel: Panel, width: float) -> None:
    look = looks(results.study)[panel.group.condition]
    lines = wrapped_name(panel.group.condition, width, SMALL_PT - 0.5)
    axes.set_title(
        "\n".join([*lines, panel.group.count]), loc="left", fontsize=SMALL_PT - 0.5, color=INK, pad=4, linespacing=1.1
    )
    depth = len(panel.layers)
    for place, units in enumerate(panel.units):
        ink = _shade(look.colour, place, depth)
        for values, dashes in ((panel.distinct, SOLID), (panel.dead, DASHED)):
            shares = 100.0 * values[:, :, place] / units
            draw_seeds(axes, panel.epochs, shares, look.colour, dashes, rasterized=len(shares) > _VECTOR_SEEDS)
            _draw_line(axes, panel.epochs, middle_seed(shares), ink, place, dashes)
    last = max(1, math.ceil(float(panel.epochs[-1])))
    axes.set_ylim(-4, 104)
    axes.set_yticks((0, 50, 100))
    axes.set_xlim(-0.03 * last, 1.03 * last)
    axes.set_xticks(whole_ticks(0, last, most=6))


def middle_seed(values: FloatArray) -> FloatArray:
    """Returns the lower median over runs at each point of `values`, Float "run point"; NaN where none was measured."""
    ordered = np.sort(values, axis=0)  # NaN last
    n = np.isfinite(values).sum(axis=0)
    found = np.take_along_axis(ordered, np.maximum(n - 1, 0)[None] // 2, axis=0)[0]
    return np.where(n > 0, found, np.nan)


def _draw_line(axes: Axes, x: FloatArray, middle: FloatArray, ink: Ink, place: int, dashes: Dashes) -> None:
    marked = [i for i, epoch in enumerate(x) if i == 0 or epoch >= 0.99]
    marked = marked[place % 3 :: 3] or marked
    axes.plot(
        x, middle, color=ink, linestyle=dashes, linewidth=1.8, marker=_MARKERS[place % len(_MARKERS)], markersize=4.5,
        markevery=marked, markeredgecolor="white", markeredgewidth=0.5, zorder=4.0, label="_middle",
    )  # fmt: skip


def _shade(colour: str, place: int, depth: int) -> Ink:
    share = place / max(depth - 1, 1)
    if share < 0.5:
        return mixed(colour, "#ffffff", 0.35 * (1 - share))
    return mixed(colour, "#000000", 0.9 * (share - 0.5))


def _draw_key(page: Page, layers: Sequence[str]) -> None:
    handles = [
        Line2D([], [], color=SOFT_INK, linewidth=1.8, linestyle=SOLID, label="distinct units"),
        Line2D([], [], color=SOFT_INK, linewidth=1.8, linestyle=DASHED, label="dead units"),
    ]
    handles += [
        Line2D(
            [], [], color=_shade("#8a8a8a", place, len(layers)), linewidth=1.8, marker=_MARKERS[place % len(_MARKERS)],
            markersize=5.5, markeredgecolor="white", label=layer,
        )
        for place, layer in list(enumerate(layers))[:5]
    ]  # fmt: skip
    page.key(handles, above=0.05)


def _ends(panel: Panel, values: FloatArray) -> list[float]:
    return [float(middle_seed(values[:, -1, place : place + 1])[0]) for place in range(len(panel.layers))]


def _title(panels: Sequence[Panel]) -> str:
    units = [np.asarray(panel.units, dtype=np.float64) for panel in panels]
    # A layer of one unit is always "one distinct unit"; it says nothing.
    single = [
        panel
        for panel, wide in zip(panels, units, strict=True)
        if bool(((panel.distinct[:, -1] == 1.0) & (wide > 1)).any(axis=1).all())
    ]
    dead = [
        panel for panel, wide in zip(panels, units, strict=True) if bool((panel.dead[:, -1] == wide).any(axis=1).all())
    ]
    parts = []
    if single:
        parts.append(f"{_some(single, panels)} with a hidden layer whose units are all copies of one")
    if dead:
        parts.append(f"{_some(dead, panels)} with a whole layer dead")
    if parts:
        return "; ".join(parts)
    return _quiet_title(panels)


def _quiet_title(panels: Sequence[Panel]) -> str:
    distinct = np.concatenate([(panel.distinct[:, -1] / panel.units).ravel() for panel in panels])
    dead = np.concatenate([(panel.dead[:, -1] == panel.units).any(axis=1) for panel in panels])
    known = all(np.isfinite(panel.dead[:, -1]).all() for panel in panels)
    names = list(dict.fromkeys(panel.group.condition for panel in panels))
    where = "every condition" if len(names) > 1 else names[0]
    low = float(distinct.min())
    start = "Not every layer's units were compared" if math.isnan(low) else f"In {where} {_width(low)}"
    if dead.any():
        return f"{start}; a whole layer dies in {dead.sum()} of {counted(dead.size, 'run')}"
    return start + (" and no whole layer dies" if known else "")


def _width(low: float) -> str:
    """Returns the clause on `low`, the smallest share of distinct units of any layer in any run."""
    if low == 1.0:
        return "all units stay distinct"
    least = f"at least {math.floor(100.0 * low)} %"  # rounded down: "at least" has to stay true
    return f"most units stay distinct ({least} of each layer)" if low > 0.5 else f"{least} of a layer's units differ"


def _some(found: Sequence[Panel], panels: Sequence[Panel]) -> str:
    names = [
        panel.group.condition if panel.group.name is None else f"{panel.group.condition} ({panel.group.count})"
        for panel in found
    ]
    total = len({panel.group.condition for panel in panels})
    unique = len({panel.group.condition for panel in found})
    start = listed(names) if len(names) <= 2 else f"{unique} of {total} conditions"
    return f"{start} {'ends' if len(names) == 1 else 'end'}"


def _alt(title: str, panels: Sequence[Panel]) -> str:
    parts = []
    for panel in panels:
        distinct, dead = _ends(panel, panel.distinct), _ends(panel, panel.dead)
        layers = [
            f"{layer} {significant(one)} distinct and {significant(other)} dead of {units}"
            for layer, one, other, units in zip(panel.layers, distinct, dead, panel.units, strict=True)
        ]
        parts.append(f"{panel.group.condition} ({panel.group.count}): {', '.join(layers)}")
    return f"Line charts over epochs, a panel a condition. {title}. At the end, the median seed: {'. '.join(parts)}."


def _columns(panels: Sequence[Panel]) -> Columns:
    rows: list[dict[str, Cell]] = []
    most = max(2, MOST_ROWS // max(sum(len(panel.layers) for panel in panels), 1))
    for panel in panels:
        for place, layer in enumerate(panel.layers):
            lines = [middle_seed(table[:, :, place]) for table in (panel.distinct, panel.similar, panel.dead)]
            n = np.isfinite(panel.distinct[:, :, place]).sum(axis=0)
            for i in _thinned(len(panel.steps), most):
                at = (int(panel.steps[i]), round(float(panel.epochs[i]), 4), int(n[i]))
                middles = (float(lines[0][i]), float(lines[1][i]), float(lines[2][i]))
                row = (panel.group.condition, panel.group.title, layer, *at, *middles, panel.units[place])
                rows += [dict(zip(_COLUMNS, row, strict=True))]
    return columns_of(_COLUMNS, rows)


def _thinned(n: int, most: int) -> list[int]:
    return sorted({int(place) for place in np.linspace(0, n - 1, min(n, most)).round()})
