"""What the terminal shows when a study ends: one table, the answer, the report's path and the next command."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from initscope.base.quantities import percent
from initscope.records.results import Results
from initscope.report.answer import answer
from initscope.report.differences import difference_text
from initscope.report.why import explain
from initscope.stats.summary import ConditionSummary, summarise

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

WIDEST, GAP, LEAST_NAME = 100, 2, 18
HEADER = ("condition", "n", "learned", "test accuracy (%)", "to baseline (points)")
ASCII = str.maketrans({"−": "-", "…": "~", "→": ">"})


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of the summary: its text and whether it is a heading, a row of numbers or the reason under it."""

    text: str
    kind: str


def summary_lines(results: Results, *, width: int = WIDEST) -> tuple[Line, ...]:
    """Returns the table line by line: a heading, then two lines a condition, its numbers and one line of why.

    No line is longer than `width` or 100 columns. Where the numbers with their intervals do not fit beside a readable
    name, the intervals are left out.
    """
    return _lines(results, summarise(results), min(width, WIDEST))


def _lines(results: Results, rows: Sequence[ConditionSummary], width: int) -> tuple[Line, ...]:
    table = [HEADER, *(_cells(row) for row in rows)]
    if _others(table) + LEAST_NAME > width:
        table = [HEADER, *(_short_cells(row) for row in rows)]
    sizes = [max(len(cells[column]) for cells in table) for column in range(len(HEADER))]
    sizes[0] = max(1, min(sizes[0], width - _others(table)))
    lines = [Line(text=_line(HEADER, sizes)[:width], kind="heading")]
    for row, cells in zip(rows, table[1:], strict=True):
        lines.append(Line(text=_line(cells, sizes)[:width], kind="numbers"))
        lines.append(Line(text=_cut("  " + explain(results, row.condition).headline, width), kind="why"))
    return tuple(lines)


def summary_table(results: Results, *, width: int = WIDEST) -> Text:
    """Returns `summary_lines` as a rich text: the heading bold, the reasons dim. Colour carries nothing of its own."""
    return _styled(summary_lines(results, width=width))


def _styled(lines: Sequence[Line]) -> Text:
    from rich.text import Text

    styles = {"heading": "bold", "numbers": "", "why": "dim"}
    texts = [Text(line.text, style=styles[line.kind]) for line in lines]
    return Text("\n", no_wrap=True, overflow="crop").join(texts)


def print_summary(results: Results, console: Console, report_path: str | None, next_command: str | None) -> None:
    """Prints the table, the answer in one sentence, the report's path and the next command.

    Arguments: `console` decides width, colour and encoding; `report_path` and `next_command` are printed on lines of
    their own, whole, so that they can be copied; None leaves them out.
    """
    from rich.text import Text

    def put(text: Text, *, whole: bool = False) -> None:
        shown = text if console.encoding.lower().startswith("utf") else _ascii(text)
        console.print(shown, soft_wrap=whole, highlight=False, markup=False)

    rows = summarise(results)
    put(_styled(_lines(results, rows, min(console.width, WIDEST))), whole=True)
    put(Text(""))
    put(Text(answer(results, rows)))
    put(Text(""))
    for label, text in (("report", report_path), ("next", next_command)):
        if text is not None:
            put(Text.assemble((f"{label:<8}", "dim"), text), whole=True)


def _ascii(text: Text) -> Text:
    # One sign for one sign, so that styles keep their places.
    plain = text.copy()
    plain.plain = text.plain.translate(ASCII)
    return plain


def _cells(row: ConditionSummary) -> tuple[str, ...]:
    share = row.outcomes.learned
    learned = "not known"
    if math.isfinite(share.share):
        low, high = 100 * share.interval.low, 100 * share.interval.high
        learned = f"{share.count}/{share.n}  {percent(100 * share.share, digits=0)} [{low:.0f}, {high:.0f}]"
    accuracy = f"{row.median:.1f}" if math.isfinite(row.median) else "not measured"
    spread = f" ({row.minimum:.1f} to {row.maximum:.1f})" if row.n_measured > 1 else ""
    return (row.condition, str(row.n), learned, accuracy + spread, difference_text(row))


def _short_cells(row: ConditionSummary) -> tuple[str, ...]:
    name, n, learned, accuracy, difference = _cells(row)
    return (name, n, learned.partition("  ")[0], accuracy.partition(" (")[0], difference.partition(" [")[0])


def _others(table: list[tuple[str, ...]]) -> int:
    return sum(GAP + max(len(cells[column]) for cells in table) for column in range(1, len(HEADER)))


def _line(cells: tuple[str, ...], sizes: list[int]) -> str:
    name, *numbers = cells
    aligned = [_cut(name, sizes[0]).ljust(sizes[0])]
    aligned += [text.rjust(size) for text, size in zip(numbers, sizes[1:], strict=True)]
    return (" " * GAP).join(aligned).rstrip()


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"
