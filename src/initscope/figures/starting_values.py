"""The values parameters start from in one seed, as crosses, shifted apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from initscope.figures.drawing import Cell, Columns, Drawing, columns_of
from initscope.figures.groups import shown
from initscope.figures.labels import spread
from initscope.figures.note import draw_note
from initscope.figures.page import Page, open_page, wrapped_name
from initscope.figures.style import INK, SMALL_PT, TEXT_PT, Look, looks, mixed
from initscope.figures.values import alike, described, flat_values, zero_percent
from initscope.figures.words import listed
from initscope.records.results import Results
from initscope.records.run import FloatArray

_COLUMNS = (
    "condition", "seed", "parameter", "shift", "entries", "minimum", "mean", "maximum", "std", "exact_zeros_percent",
)  # fmt: skip
_LABELS_IN = 2.9
_CONSTANT_CROSSES = 60
_GAP_IN = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Start:
    """The starting values of one parameter in one run, with the shift they are drawn at."""

    condition: str
    seed: int
    parameter: str
    shift: float
    values: FloatArray


def draw_starting_values(
    results: Results, name: str, conditions: Sequence[str], parameters: Sequence[str], shifts: Sequence[float]
) -> Drawing:
    """Returns the figure of the values that `parameters` start from in the first kept seed, one panel a condition.

    Arguments: `name` of the drawing; `conditions` keys of the study; `parameters` paths; `shifts` one a parameter,
    added to its values to set it apart (none at all is no shift).
    """
    keys = shown(results, conditions)
    panels = [found for key in keys if (found := _starts(results, key, parameters, shifts))]
    about = f"Starting values of {listed(parameters)}"
    if not panels:
        reason = f"The starting values of {listed(parameters)} were not kept for these runs."
        return draw_note(name, "The starting values were not kept", about, reason)
    title = _title(panels)
    seed = panels[0][0].seed
    shift = "each parameter is shifted by the number beside its name" if any(shifts) else "nothing is shifted"
    subtitle = f"Starting values in seed {seed}, a cross an entry, before any training; {shift}"
    page = open_page(title, subtitle, left=0.95, right=_LABELS_IN + 0.2, key=0.26 if len(panels) > 1 else 0.0)
    _draw_panels(page, results, panels)
    caption = (
        f"{subtitle}. Entries run from the parameter's first to its last; of a parameter whose entries are all equal "
        f"at most {_CONSTANT_CROSSES} crosses are drawn. The other seeds differ in the random draws and agree in what "
        "was set."
    )
    alt = f"Scatter of starting values. {title}. " + " ".join(_sentence(start) for panel in panels for start in panel)
    return Drawing(name=name, figure=page.figure, title=title, caption=caption, alt=alt, columns=_columns(panels))


def _starts(results: Results, condition: str, parameters: Sequence[str], shifts: Sequence[float]) -> list[Start]:
    offsets = list(shifts) if shifts else [0.0] * len(parameters)
    for run in results.of(condition):
        found = [
            Start(condition=condition, seed=run.seed, parameter=parameter, shift=shift, values=values)
            for parameter, shift in zip(parameters, offsets, strict=True)
            if (values := flat_values(results, condition, run.seed, parameter, "initial")) is not None and values.size
        ]
        if found:
            return found
    return []


def y_limits(panels: Sequence[Sequence[Start]]) -> list[tuple[float, float]]:
    """Returns the y limits of each panel.

    Shifts that span 1 or more give a unit below and above them: -1..3 for 0, 1, 2. With smaller shifts a panel shows
    what its own shifted values fill and a fifth more.
    """
    shifts = [start.shift for panel in panels for start in panel]
    if max(shifts) - min(shifts) >= 1.0:
        return [(min(shifts) - 1.0, max(shifts) + 1.0)] * len(panels)
    limits = []
    for panel in panels:
        values = np.concatenate([start.values[np.isfinite(start.values)] + start.shift for start in panel])
        low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
        half = max(0.2, 0.6 * (high - low))
        limits.append(((low + high) / 2 - half, (low + high) / 2 + half))
    return limits


def _draw_panels(page: Page, results: Results, panels: Sequence[Sequence[Start]]) -> None:
    styles = looks(results.study)
    height = (page.top - page.bottom - _GAP_IN * (len(panels) - 1)) / len(panels)
    for place, (panel, limits) in enumerate(zip(panels, y_limits(panels), strict=True)):
        top = page.top - place * (height + _GAP_IN)
        axes = page.axes(page.left, top - height, page.right, top)
        axes.set_ylim(*limits)
        axes.set_xlim(-2, 102)
        if len(panels) > 1:
            axes.set_title(panel[0].condition, loc="left", fontsize=TEXT_PT, color=INK, pad=5)
        axes.set_ylabel("value + shift" if any(start.shift for start in panel) else "value", fontsize=SMALL_PT + 1)
        _draw_panel(axes, panel, styles[panel[0].condition], height)
        if place == len(panels) - 1:
            axes.set_xlabel("position in the parameter, first to last entry (%)", fontsize=SMALL_PT + 1)
        else:
            axes.tick_params(labelbottom=False)


def _draw_panel(axes: Axes, panel: Sequence[Start], look: Look, height: float) -> None:
    inks = (look.colour, mixed(look.colour, "#000000", 0.55), INK)
    low, high = axes.get_ylim()
    # Few entries are drawn last and larger, else many would hide them.
    ordered = sorted(enumerate(panel), key=lambda pair: -pair[1].values.size)
    for place, start in ordered:
        x, y = _crosses(start)
        many = len(x) > 200
        axes.plot(
            x, y, linestyle="none", marker="+" if place % 2 else "x", color=inks[place % len(inks)],
            markersize=5.0 if many else 7.5, markeredgewidth=0.8 if many else 1.5, rasterized=many,
            label=f"_{start.parameter}",
        )  # fmt: skip
    _write_labels(axes, panel, height / (high - low))


def _crosses(start: Start) -> tuple[FloatArray, FloatArray]:
    n = start.values.size
    x = np.linspace(0.0, 100.0, n) if n > 1 else np.array([50.0])
    if np.ptp(start.values) == 0.0 and n > _CONSTANT_CROSSES:
        # Thousands of equal crosses would merge into a bar.
        x = np.linspace(0.0, 100.0, _CONSTANT_CROSSES)
    return x, start.values[: len(x)] + start.shift


def _write_labels(axes: Axes, panel: Sequence[Start], inch_per_unit: float) -> None:
    low, high = axes.get_ylim()
    lines = [_label(start) for start in panel]
    heights = [(text.count("\n") + 1) * SMALL_PT * 1.25 / 72 / inch_per_unit + 0.08 / inch_per_unit for text in lines]
    wanted = [float(np.nanmean(start.values)) + start.shift for start in panel]
    for text, y in zip(lines, spread(wanted, heights, low, high), strict=True):
        axes.annotate(
            text, (1.02, y), xycoords=axes.get_yaxis_transform(), fontsize=SMALL_PT, color=INK, va="center", ha="left",
            linespacing=1.15, annotation_clip=False,
        )  # fmt: skip


def _label(start: Start) -> str:
    shift = f" {start.shift:+g}".replace("-", "\N{MINUS SIGN}") if start.shift else ""
    name = "\n".join(wrapped_name(start.parameter + shift, _LABELS_IN - 0.2, SMALL_PT))
    entries = "1 entry" if start.values.size == 1 else f"{start.values.size:,} entries"
    return f"{name}\n{entries}, {described(start.values)}"


def _sentence(start: Start) -> str:
    count = f"{start.values.size:,} entries {described(start.values)}"
    return f"{start.condition}, {start.parameter}: {count}, drawn at a shift of {start.shift:g}."


def _title(panels: Sequence[Sequence[Start]]) -> str:
    if len(panels) == 1:
        parts = [
            f"{listed(names)} {'all ' if text.startswith('at') and len(names) > 1 else ''}{text}"
            for names, text in _texts(panels[0])
        ]
        return f"{panels[0][0].condition} starts with {listed(parts)}"
    clauses: list[str] = []
    before: list[str] = []
    for panel in panels:
        fixed = [(names, text) for names, text in _texts(panel) if text.startswith("at")]
        named = [name for names, _ in fixed for name in names]
        same = len(fixed) == 1 and named == before
        parts = [f"{'them' if same else listed(names)} {text}" for names, text in fixed] or ["every entry random"]
        clauses.append(f"{panel[0].condition} {'with' if clauses else 'starts with'} {listed(parts)}")
        before = named
    rest = "; what is not named is random" if any(_random(start) for panel in panels for start in panel) else ""
    return ", ".join(clauses) + rest


def _texts(panel: Sequence[Start]) -> list[tuple[list[str], str]]:
    return alike([(start.parameter, described(start.values)) for start in panel])


def _random(start: Start) -> bool:
    return not described(start.values).startswith("at")


def _columns(panels: Sequence[Sequence[Start]]) -> Columns:
    rows: list[dict[str, Cell]] = []
    for start in (start for panel in panels for start in panel):
        values = start.values
        range_ = (float(values.min()), float(values.mean()), float(values.max()))
        numbers = (*range_, float(values.std()), zero_percent(values))
        row = (start.condition, start.seed, start.parameter, start.shift, values.size, *numbers)
        rows += [dict(zip(_COLUMNS, row, strict=True))]
    return columns_of(_COLUMNS, rows)
