"""Outcomes: the final test accuracy of every seed of every condition, and the shares that learned."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from initscope.base.quantities import percent
from initscope.figures.drawing import MOST_ROWS, Cell, Columns, Drawing, columns_of
from initscope.figures.groups import ends_of, groups_of
from initscope.figures.page import Page, open_page, wrapped_name
from initscope.figures.style import CHANCE_INK, INK, SMALL_PT, SOFT_INK, looks
from initscope.figures.words import chance_of, data_of, ends_sentence, seeds_behind
from initscope.records.results import Results
from initscope.records.run import FloatArray
from initscope.stats.outcomes import Outcome, OutcomeShares, Share, classify, outcome_shares
from initscope.stats.summary import final_accuracies

_NAMES_IN = 1.55
_COLUMN_IN = 0.98
_AT_CHANCE = "within four binomial standard errors of some class's share"
_GOLDEN = 0.6180339887498949
_COLUMNS = ("condition", "seed", "outcome", "final_test_accuracy_percent")
_SUMMARY_COLUMNS = (
    "condition", "n", "learned", "partly", "at_chance", "minimum_percent", "median_percent", "maximum_percent",
)  # fmt: skip


def draw_outcomes(results: Results) -> Drawing:
    """Returns the figure "outcomes": a row a condition, a point a seed, and the three shares as text at the right.

    The columns hold every seed's final test accuracy, or, above 400 runs, one row a condition.
    """
    keys = results.conditions
    title = ends_sentence(ends_of(results, keys), results.study.baseline) if keys else "No run is there yet"
    about = (
        f"Final test accuracy of every seed on {data_of(results)}, {seeds_behind(results.runs)}; "
        "right: shares with 95 % Wilson intervals"
    )
    subtitle = f"{about}; at chance: {_AT_CHANCE}"
    shares = _shares(results)
    other = any(share.counts["diverged"] + share.counts["failed"] + share.counts["unknown"] for share in shares)
    width = _COLUMN_IN * (4 if other else 3) + 0.15
    page = open_page(title, subtitle, left=_NAMES_IN + 0.45, right=width + 0.15, key=0.38)
    axes = page.whole(grid="x")
    _set_axes(axes, keys)
    for row, key in enumerate(keys):
        _draw_row(axes, results, row, key)
    _draw_lines(page, axes, results)
    _write_shares(page, axes, shares, other=other)
    caption = (
        f"{about}. A point is one seed, moved up or down only to be seen; a bar is the median (of learners and "
        f"of the others where outcomes split). At chance: {_AT_CHANCE} of "
        "the run's held-out set; learned: at least half the way from chance to the median of "
        f"{results.study.baseline}; partly: the others. Failed runs are not counted in the shares."
    )
    return Drawing(
        name="outcomes",
        figure=page.figure,
        title=title,
        caption=caption,
        alt=_alt(title, shares),
        columns=_columns(results),
    )


def jitter(n: int) -> FloatArray:
    """Returns n offsets in -0.5..0.5 that fill the range evenly and are the same at every call."""
    return np.asarray((np.arange(n) * _GOLDEN + 0.5) % 1.0 - 0.5, dtype=np.float64)


def _shares(results: Results) -> list[OutcomeShares]:
    outcomes = classify(results)
    return [outcome_shares(key, [outcomes[key, run.seed] for run in results.of(key)]) for key in results.conditions]


def _set_axes(axes: Axes, keys: Sequence[str]) -> None:
    axes.set_xlim(0, 100)
    axes.set_xticks(range(0, 101, 20))
    axes.set_xlabel("test accuracy after the last epoch (%)", fontsize=SMALL_PT + 1)
    axes.set_ylim(max(len(keys), 1) - 0.5, -0.5)
    names = ["\n".join(wrapped_name(key, _NAMES_IN, SMALL_PT)) for key in keys]
    axes.set_yticks(range(len(keys)), names)
    axes.tick_params(axis="y", length=0, pad=8)
    axes.spines["left"].set_visible(False)
    for row in range(1, len(keys)):
        axes.axhline(row - 0.5, color="#eeeeee", linewidth=0.8, zorder=1.0, label="_between")


def _draw_row(axes: Axes, results: Results, row: int, key: str) -> None:
    look = looks(results.study)[key]
    values = np.array(list(final_accuracies(results.of(key)).values()), dtype=np.float64)
    if not values.size:
        axes.text(50, row, "no finished run", fontsize=SMALL_PT, color=SOFT_INK, ha="center", va="center")
        return
    size = 6.5 if values.size <= 24 else 4.6
    axes.plot(
        values, row + 0.56 * jitter(values.size), linestyle="none", marker=look.marker, markersize=size,
        color=look.colour, alpha=0.75, markeredgecolor="white", markeredgewidth=0.5, zorder=3.0, clip_on=False,
        label=f"_{key}",
    )  # fmt: skip
    # A median a group: one for all would stand in the gap between learners and the others.
    for middle in (group.median_percent for group in groups_of(results, key)):
        axes.plot([middle, middle], [row - 0.36, row + 0.36], color=INK, linewidth=1.8, zorder=4.0, label="_median")


def _draw_lines(page: Page, axes: Axes, results: Results) -> None:
    classes = len(results.data.class_values)
    lines = [(100.0 / classes, f"guessing {percent(100.0 / classes)}", (0, (4, 2)), "right")] if classes else []
    chance = chance_of(results)
    if math.isfinite(chance):
        lines.append((chance, f"largest class share {percent(chance)}", (0, (1, 2)), "left"))
    for value, _, dashes, _ in lines:
        axes.axvline(value, color=CHANCE_INK, linestyle=dashes, linewidth=1.3, zorder=1.8, label="_chance")
    words = " | ".join(text for _, text, _, _ in lines)
    if lines:
        axes.annotate(
            words, (min(value for value, *_ in lines), 1.0), xycoords=axes.get_xaxis_transform(), xytext=(-4, 4),
            textcoords="offset points", fontsize=SMALL_PT - 0.5, color=SOFT_INK, ha="left", va="bottom",
        )  # fmt: skip


def _write_shares(page: Page, axes: Axes, shares: Sequence[OutcomeShares], *, other: bool) -> None:
    heads = ["learned", "partly", "at chance", *(["other"] if other else [])]
    per_inch = 100.0 / (page.right - page.left)
    for place, head in enumerate(heads):
        x = 100.0 + (0.15 + (place + 0.5) * _COLUMN_IN) * per_inch
        axes.annotate(
            head, (x, 1.0), xycoords=axes.get_xaxis_transform(), xytext=(0, 4), textcoords="offset points",
            fontsize=SMALL_PT, fontweight="bold", color=INK, ha="center", va="bottom", annotation_clip=False,
        )  # fmt: skip
        for row, share in enumerate(shares):
            parts = (share.learned, share.partly, share.at_chance)
            text = _text(parts[place]) if place < 3 else _others(share)
            axes.text(
                x, row, text, fontsize=SMALL_PT - 0.5, color=INK, ha="center", va="center", linespacing=1.15,
                clip_on=False,
            )  # fmt: skip


def _text(share: Share) -> str:
    if share.n == 0:
        return "not known"
    return f"{share.count} of {share.n}\n[{100 * share.interval.low:.0f}, {100 * share.interval.high:.0f}] %"


def _others(share: OutcomeShares) -> str:
    kinds: tuple[Outcome, ...] = ("diverged", "failed", "unknown")
    return "\n".join(f"{share.counts[kind]} {kind}" for kind in kinds if share.counts[kind])


def _alt(title: str, shares: Sequence[OutcomeShares]) -> str:
    parts = []
    for share in shares:
        interval = share.learned.interval
        bounds = f"{100 * interval.low:.0f} to {100 * interval.high:.0f} %"
        learned = f"; 95 % Wilson interval of the share that learned {bounds}" if interval.known else ""
        counts = ", ".join(f"{count} {kind}" for kind, count in share.counts.items() if count)
        parts.append(f"{share.condition}: {counts or 'no run'}{learned}")
    return f"Strip plot, a point a seed. {title}. {'. '.join(parts)}."


def _columns(results: Results) -> Columns:
    outcomes = classify(results)
    rows: list[dict[str, Cell]] = []
    if len(results.runs) <= MOST_ROWS:
        for run in results.runs:
            row = (run.condition, run.seed, outcomes[run.condition, run.seed], run.final_test_accuracy_percent)
            rows += [dict(zip(_COLUMNS, row, strict=True))]
        return columns_of(_COLUMNS, rows)
    for share in _shares(results):
        values = np.array(list(final_accuracies(results.of(share.condition)).values()) or [math.nan])
        numbers = (float(values.min()), float(np.median(values)), float(values.max()))
        counts = (share.counts["learned"], share.counts["partly"], share.counts["at chance"])
        rows += [dict(zip(_SUMMARY_COLUMNS, (share.condition, share.n, *counts, *numbers), strict=True))]
    return columns_of(_SUMMARY_COLUMNS, rows)
