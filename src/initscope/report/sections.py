"""The parts of the report as plain values: what a template writes, already worked out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from initscope.base.quantities import counted, percent, percent_interval, significant
from initscope.figures.drawing import Cell, Drawing
from initscope.figures.style import looks
from initscope.records.results import Results
from initscope.report.condition_text import describe
from initscope.report.differences import difference_text
from initscope.report.strip import strip
from initscope.report.why import Explanation, explain
from initscope.stats.outcomes import Outcome, Share, classify
from initscope.stats.paired import MINIMUM_PAIRS
from initscope.stats.summary import ConditionSummary


@dataclass(frozen=True, kw_only=True)
class ConditionPart:
    """One condition: its row of the table and its section. Texts are plain, `strip` is our own SVG."""

    key: str
    colour: str
    is_baseline: bool
    about: str
    done: str
    n: str
    learned: str
    shares: tuple[tuple[str, str], ...]
    accuracy: str
    accuracy_range: str
    difference: str
    significance: str
    strip: Markup
    why: Explanation
    figures: tuple[Drawing, ...]
    elsewhere: tuple[tuple[str, str], ...]


def condition_parts(
    results: Results, rows: Sequence[ConditionSummary], drawings: Sequence[Drawing]
) -> tuple[ConditionPart, ...]:
    """Returns one part a condition, in the study's order, each with the figures that belong to it."""
    placed, colours, outcomes = placement(results, drawings), looks(results.study), classify(results)
    parts = []
    for row in rows:
        runs = results.of(row.condition)
        ends = [outcomes[run.condition, run.seed] for run in runs]
        parts.append(
            ConditionPart(
                key=row.condition,
                colour=colours[row.condition].colour,
                is_baseline=row.is_baseline,
                about=results.study.about.get(row.condition, ""),
                done=describe(results.study.conditions[row.condition]),
                n=str(row.n),
                learned=learned_text(row),
                shares=_shares(row),
                accuracy=percent(row.median) if math.isfinite(row.median) else "not measured",
                accuracy_range=_range(row),
                difference=difference_text(row),
                significance=_significance(row),
                strip=strip(runs, ends),
                why=explain(results, row.condition),
                figures=tuple(drawing for drawing in drawings if placed.get(drawing.name) == row.condition),
                elsewhere=_elsewhere(results, row.condition, drawings, placed),
            )
        )
    return tuple(parts)


def placement(results: Results, drawings: Sequence[Drawing]) -> dict[str, str]:
    """Returns figure name -> the condition it stands with: the last one it shows, so that all have been introduced.

    A figure that the study does not declare belongs to a condition where its numbers are of that one alone.
    """
    order = {key: index for index, key in enumerate(results.conditions)}
    placed = {}
    for drawing in drawings:
        spec = results.study.figures.get(drawing.name)
        shown = [key for key in spec.conditions if key in order] if spec else _only_condition(drawing, results)
        if shown:
            placed[drawing.name] = max(shown, key=order.__getitem__)
    return placed


def learned_text(row: ConditionSummary) -> str:
    """Returns "4/10 · 40.0 % [16.8, 68.7]"; "not known" where the outcomes are not."""
    share = row.outcomes.learned
    return f"{share.count}/{share.n} · {_share(share)}" if math.isfinite(share.share) else "not known"


@dataclass(frozen=True, kw_only=True)
class NumbersTable:
    """The numbers behind a figure as text: `numeric` marks the columns to align right, `left_out` counts rows cut."""

    header: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[str, ...], ...]
    left_out: int


def numbers_table(drawing: Drawing, *, most: int) -> NumbersTable:
    """Returns the drawing's columns as rows of text, at most `most` of them."""
    columns = drawing.columns
    count = len(next(iter(columns.values()), ()))
    shown = [[cell_text(value) for value in column[:most]] for column in columns.values()]
    return NumbersTable(
        header=tuple(columns),
        numeric=tuple(all(not isinstance(value, str) for value in column) for column in columns.values()),
        rows=tuple(zip(*shown, strict=True)),
        left_out=max(0, count - most),
    )


def cell_text(value: Cell) -> str:
    """Returns a float with four significant digits, a NaN as "not measured", whole numbers and text as they are."""
    if isinstance(value, float):
        return "not measured" if math.isnan(value) else significant(value, digits=4)
    return str(value)


def _only_condition(drawing: Drawing, results: Results) -> list[str]:
    found = {str(value) for value in drawing.columns.get("condition", ())}
    alone = len(found) == 1 and len(results.conditions) > 1
    return [key for key in results.conditions if key in found] if alone else []


def _elsewhere(
    results: Results, condition: str, drawings: Sequence[Drawing], placed: dict[str, str]
) -> tuple[tuple[str, str], ...]:
    if condition == results.study.baseline:
        return ()
    specs = results.study.figures
    shown = [drawing for drawing in drawings if drawing.name in specs and condition in specs[drawing.name].conditions]
    return tuple((drawing.name, placed[drawing.name]) for drawing in shown if placed[drawing.name] != condition)


def _share(share: Share) -> str:
    return percent_interval(100 * share.share, 100 * share.interval.low, 100 * share.interval.high)


def _shares(row: ConditionSummary) -> tuple[tuple[str, str], ...]:
    named = (("learned", row.outcomes.learned), ("partly", row.outcomes.partly), ("at chance", row.outcomes.at_chance))
    known = [
        (name, f"{share.count} of {share.n}: {_share(share)}") for name, share in named if math.isfinite(share.share)
    ]
    rest: tuple[Outcome, ...] = ("diverged", "failed", "unknown")
    counts = [(name, counted(row.outcomes.counts[name], "run")) for name in rest if row.outcomes.counts[name]]
    return (*known, *counts)


def _range(row: ConditionSummary) -> str:
    if not math.isfinite(row.minimum) or row.n_measured < 2:
        return ""
    return f"{row.minimum:.1f} to {row.maximum:.1f}"


def _significance(row: ConditionSummary) -> str:
    if row.paired is None:
        return ""
    if row.paired.n < MINIMUM_PAIRS:
        return f"{counted(row.paired.n, 'pair')}: no significance claimed"
    return f"{row.paired.n} pairs, p {'<' if row.p_holm < 0.001 else '='} {max(row.p_holm, 0.001):.3f} after Holm"
