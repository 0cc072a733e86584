"""Accuracy curves: training solid, test dotted, every seed faint, the mean of each group bold with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from initscope.base.quantities import percent, percent_interval
from initscope.figures.curves import (
    BAND_OPACITY,
    BAND_RUNS,
    DOTTED,
    SOLID,
    Band,
    band_of,
    draw_mean,
    draw_seeds,
    spaced,
    stacked,
    staggered,
)
from initscope.figures.drawing import MOST_ROWS, Cell, Columns, Drawing, columns_of
from initscope.figures.groups import Group, ends_of, groups_of, shown
from initscope.figures.labels import EndLabel, draw_end_labels
from initscope.figures.page import Page, open_page
from initscope.figures.smoothing import LEAST_EPOCHS, smoothed
from initscope.figures.style import CHANCE_INK, SMALL_PT, SOFT_INK, Look, looks, whole_ticks
from initscope.figures.words import chance_of, data_of, ends_sentence, seeds_behind, training_of
from initscope.records.results import Results
from initscope.records.run import FloatArray, RunRecord

_COLUMNS = (
    "condition", "group", "seed", "epoch", "n", "train_accuracy_percent", "train_low", "train_high",
    "test_accuracy_percent", "test_low", "test_high",
)  # fmt: skip


def draw_accuracies(results: Results, name: str, conditions: Sequence[str]) -> Drawing:
    """Returns the figure of training and test accuracy over epochs for those of `conditions` that were run.

    A condition whose runs split into learners and runs at chance is drawn as groups with a mean and a band each. The
    columns hold the unsmoothed means by epoch and every seed's last values, as far as they fit.

    Arguments: `name` of the drawing; `conditions` keys of the study, in the order of the labels.
    """
    keys = shown(results, conditions)
    ends = ends_of(results, keys)
    runs = [run for key in keys for run in results.of(key)]
    groups = [group for key in keys for group in groups_of(results, key)]
    title = ends_sentence(ends, results.study.baseline)
    subtitle = f"Accuracy on {data_of(results)} over {training_of(runs)}, {seeds_behind(runs)}; {_smoothing(runs)}"
    page = open_page(title, subtitle, right=2.75, key=0.34)
    axes = page.whole()
    _set_axes(axes, max((run.epochs for run in runs), default=1))
    _draw_chance(axes, chance_of(results))
    _draw_key(page, diverged=any(run.status == "diverged" for run in runs))
    draw_groups(axes, results, runs, groups)
    draw_end_labels(page, axes, axes.get_xlim()[1], _labels(results, groups, direct=len(keys) <= 4))
    caption = (
        f"{subtitle}. Solid: training accuracy, the mean over the epoch's batches before each update; dotted: test "
        "accuracy after the epoch. Thin: every seed; bold: mean over seeds; band: 95 % t interval of that mean (none "
        f"below {BAND_RUNS} seeds). The percentages beside the names are medians of the last test accuracy; the "
        "numbers in the table are not smoothed."
    )
    return Drawing(
        name=name,
        figure=page.figure,
        title=title,
        caption=caption,
        alt=_alt(results, title, groups),
        columns=_columns(groups),
    )


def _smoothing(runs: Sequence[RunRecord]) -> str:
    if max((run.epochs for run in runs), default=0) < LEAST_EPOCHS:
        return "curves are not smoothed"
    return "each curve is averaged with its neighbouring epochs"


def draw_groups(axes: Axes, results: Results, runs: Sequence[RunRecord], groups: Sequence[Group]) -> None:
    """Draws every run faint and every group's mean and band bold."""
    styles = looks(results.study)
    epochs = max((run.epochs for run in runs), default=1)
    x = np.arange(1, epochs + 1, dtype=np.float64)
    for condition in dict.fromkeys(run.condition for run in runs):
        own = [run for run in runs if run.condition == condition]
        _draw_faint(axes, x, own, styles[condition])
    for place, group in enumerate(groups):
        for part, (kind, dashes) in enumerate((("train", SOLID), ("test", DOTTED))):
            marks = staggered(epochs, 2 * place + part, 2 * len(groups))
            values = smoothed(curves(group.runs, kind, epochs))
            if np.isfinite(values).any():
                line = draw_mean(axes, x, band_of(values), styles[group.condition], dashes=dashes, marks=marks)
                line.set_zorder(4.0 + 0.01 * place)


def _draw_faint(axes: Axes, x: FloatArray, runs: Sequence[RunRecord], look: Look) -> None:
    for kind, dashes in (("train", SOLID), ("test", DOTTED)):
        values = smoothed(curves(runs, kind, len(x)))
        draw_seeds(axes, x, values, look.colour, dashes)
        for run, row in zip(runs, values, strict=True):
            finite = np.flatnonzero(np.isfinite(row))
            if run.status == "diverged" and finite.size:
                axes.plot(x[finite[-1]], row[finite[-1]], "x", color=look.colour, markersize=7, label="_diverged")


def curves(runs: Sequence[RunRecord], kind: str, epochs: int) -> FloatArray:
    """Returns the accuracies of `kind` ("train" or "test") in percent, Float "run epoch", NaN where not measured."""
    if kind == "train":
        return stacked([run.history.train_accuracy_percent for run in runs], epochs)
    return stacked([run.history.test_accuracy_percent for run in runs], epochs)


def _set_axes(axes: Axes, epochs: int) -> None:
    axes.set_ylim(0, 100)
    margin = 0.02 * max(epochs - 1, 1)
    axes.set_xlim(1 - margin, epochs + margin) if epochs > 1 else axes.set_xlim(0.5, 1.5)
    axes.set_xticks(whole_ticks(1, epochs))
    axes.set_yticks(range(0, 101, 20))
    axes.set_xlabel("epoch", fontsize=SMALL_PT + 1)
    axes.set_ylabel("accuracy (%)", fontsize=SMALL_PT + 1)


def _draw_chance(axes: Axes, chance: float) -> None:
    if not math.isfinite(chance):
        return
    axes.axhline(chance, color=CHANCE_INK, linestyle=(0, (1, 2.5)), linewidth=1.4, zorder=1.8, label="_chance")
    # Above the line: runs at chance answer one class or another, so their curves lie on it or below.
    axes.text(
        0.995, chance + 1.0, f"largest class share {percent(chance)}", fontsize=SMALL_PT, color=SOFT_INK, ha="right",
        va="bottom", transform=axes.get_yaxis_transform(), zorder=5.0,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.8},
    )  # fmt: skip


def _draw_key(page: Page, *, diverged: bool) -> None:
    handles: list[Line2D | Patch] = [
        Line2D([], [], color=SOFT_INK, linewidth=2.4, linestyle=SOLID, label="training"),
        Line2D([], [], color=SOFT_INK, linewidth=2.4, linestyle=DOTTED, label="test"),
        Line2D([], [], color=SOFT_INK, linewidth=0.8, alpha=0.6, label="one seed"),
        Patch(facecolor=SOFT_INK, alpha=BAND_OPACITY, label="95 % t interval of the mean over seeds"),
    ]
    if diverged:
        handles.append(Line2D([], [], color=SOFT_INK, linestyle="none", marker="x", markersize=7, label="diverged"))
    page.key(handles, above=0.06)


def _labels(results: Results, groups: Sequence[Group], *, direct: bool) -> list[EndLabel]:
    styles = looks(results.study)
    found = []
    for place, group in enumerate(groups):
        epochs = max((run.epochs for run in group.runs), default=0)
        ends = smoothed(curves(group.runs, "test", epochs))[:, -1] if epochs else np.array([])
        ends = ends[np.isfinite(ends)]
        y = float(ends.mean()) if ends.size else math.nan
        middle = f": {percent(group.median_percent)}" if math.isfinite(group.median_percent) else ""
        look = styles[group.condition]
        # Above four conditions the ends crowd: then the labels are a key, top to bottom in the order of the study.
        at = y if direct else 100.0 - 100.0 * (place + 0.5) / len(groups)
        found.append(EndLabel(name=group.condition, detail=f"{group.count}{middle}", y=at, look=look, tied=direct))
    return found


def _alt(results: Results, title: str, groups: Sequence[Group]) -> str:
    parts = []
    for group in groups:
        finals = stacked([np.array([run.final_test_accuracy_percent]) for run in group.runs], 1)
        band = band_of(finals)
        text = percent_interval(float(band.mean[0]), float(band.low[0]), float(band.high[0]))
        parts.append(f"{group.condition} ({group.count}): mean test accuracy after the last epoch {text}")
    chance = chance_of(results)
    end = f" The largest class share is {percent(chance)}." if math.isfinite(chance) else ""
    return f"Line chart of accuracy in percent over epochs. {title}. {'; '.join(parts)}.{end}"


def _columns(groups: Sequence[Group]) -> Columns:
    rows: list[dict[str, Cell]] = []
    most = max(1, MOST_ROWS // (2 * max(len(groups), 1)))
    for group in groups:
        epochs = max((run.epochs for run in group.runs), default=0)
        train, test = band_of(curves(group.runs, "train", epochs)), band_of(curves(group.runs, "test", epochs))
        for i in spaced(epochs, most):
            rows += [_row(group, "mean", i + 1, int(test.n[i]), _at(train, i), _at(test, i))]
    if len(rows) + sum(group.n for group in groups) <= MOST_ROWS:
        for group in groups:
            for run in group.runs:
                train_end, test_end = run.final_train_accuracy_percent, run.final_test_accuracy_percent
                rows += [_row(group, run.seed, run.epochs, 1, _alone(train_end), _alone(test_end))]
    return columns_of(_COLUMNS, rows)


def _at(band: Band, i: int) -> tuple[float, float, float]:
    return float(band.mean[i]), float(band.low[i]), float(band.high[i])


def _alone(value: float) -> tuple[float, float, float]:
    return value, math.nan, math.nan


def _row(
    group: Group, seed: Cell, epoch: int, n: int, train: tuple[float, float, float], test: tuple[float, float, float]
) -> dict[str, Cell]:
    values = (group.condition, group.title, seed, epoch, n, *train, *test)
    return dict(zip(_COLUMNS, values, strict=True))
