"""The report on a terminal: what was checked, what is wrong, how to mend it, what was not judged, what to do next."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby

from initscope.base.quantities import counted, duration
from initscope.records.finding import Finding
from initscope.report.findings.code_lines import fold_code
from initscope.report.findings.printing import Printing, facts_text, measured, one_line, printable, sentence, tally

Span = tuple[str, str]
Line = tuple[Span, ...]
"""A line as pieces of text, each with a style of `STYLES`."""

STYLES = {
    "": "", "error": "1;31", "warn": "1;33", "info": "36", "good": "1;32", "bold": "1", "dim": "2", "fix": "32",
}  # fmt: skip
WORD = {"error": "error", "warn": "warn", "info": "info"}
HELD = "\N{NO-BREAK SPACE}"
LABEL, FOOT, LEAST = 10, 13, 60
PLACES, REASONS, NOTES, CODE_ROWS = 3, 4, 2, 8
"""The most places of one rule, reasons for not judging, remarks and lines of a cure that are shown."""


def text(printing: Printing) -> str:
    """Returns the report as text of `printing.width` columns, 60 at least; code that cannot be broken stays whole."""
    printing = replace(printing, width=max(LEAST, printing.width))
    lines = [*_head(printing)]
    grave = [one for one in printing.findings if one.severity != "info"]
    for _, group in groupby(grave, key=lambda one: (one.severity, one.code)):
        lines += [(), *_block(printing, list(group))]
    lines += _infos(printing, [one for one in printing.findings if one.severity == "info"])
    lines += _unjudged(printing)
    lines += [(), *_verdict(printing)]
    return "".join(f"{_painted(line, colour=printing.colour)}\n" for line in lines)


def _painted(line: Line, *, colour: bool) -> str:
    clean = [(printable(text), STYLES[style]) for text, style in line]
    if not colour:
        return "".join(text for text, _ in clean).rstrip()
    return "".join(f"\x1b[{code}m{text}\x1b[0m" if code else text for text, code in clean)


def _head(printing: Printing) -> Iterable[Line]:
    report = printing.report
    yield ((one_line(report.target), "bold"),)
    facts = facts_text(report.facts)
    if facts:
        for row in _wrapped(_joined(facts), printing.width):
            yield ((row, "dim"),)


def _block(printing: Printing, group: Sequence[Finding]) -> Iterable[Line]:
    """One rule at all its places; the cure is said once where it is the same everywhere."""
    first = group[0]
    count = f"  {len(group)} places" if len(group) > 1 else ""
    title = (f"{WORD[first.severity]:<7}", first.severity), (first.name, "bold"), (f"  {first.code}{count}", "dim")
    yield _right(title, printing.place(first) if len(group) == 1 else "", printing.width)
    shared = len({one.fix for one in group}) == 1
    for number, finding in enumerate(group[:PLACES]):
        whole = number == 0 or not shared
        yield from _place(printing, finding, alone=len(group) == 1, whole=whole, fix=not shared)
    if len(group) > PLACES:
        rest = [one.where[0] for one in group[PLACES:] if one.where]
        yield from _labelled("and at", _cut_list(rest, printing.width - LABEL - 2), printing.width)
    if shared:
        yield from _fix(first, printing.width)


def _place(printing: Printing, finding: Finding, *, alone: bool, whole: bool, fix: bool) -> Iterable[Line]:
    width = printing.width
    where = _cut_list(finding.where, width - LABEL - 2)
    place = "" if alone else printing.place(finding)
    if where or place:
        label = (f"  {'at':<{LABEL}}", "dim"), (where or printing.report.target, "")
        yield _right(label, place, width)
    yield from (((f"  {row}", ""),) for row in _wrapped(sentence(finding), width - 2))
    if not whole:
        return
    shown = measured(finding.evidence)
    if finding.confidence not in ("", "exact"):
        shown.append(one_line(finding.confidence))
    if shown:
        yield from _labelled("measured", _joined(shown), width, rows=3)
    for note in finding.notes[:NOTES]:
        yield from _labelled("note", one_line(note), width)
    if fix:
        yield from _fix(finding, width)


def _fix(finding: Finding, width: int) -> Iterable[Line]:
    rows = fold_code(printable(finding.fix), width=width - LABEL - 2)
    if len(rows) > CODE_ROWS:
        left = len(rows) - CODE_ROWS + 2
        rows = [*rows[: CODE_ROWS - 2], f"# ... {left} more lines: --fix-plan prints them all"]
    for number, row in enumerate(rows):
        yield ((f"  {'fix' if number == 0 else '':<{LABEL}}", "dim"), (row, "fix"))


def _infos(printing: Printing, found: Sequence[Finding]) -> Iterable[Line]:
    """Two lines at most a rule: where it spoke, and its message."""
    if found:
        yield ()
    for _, group in groupby(found, key=lambda one: one.code):
        ones = list(group)
        first, more = ones[0], f" and {len(ones) - 1} more" if len(ones) > 1 else ""
        where = f"  {first.where[0]}{more}" if first.where else more
        yield _right(((f"{WORD['info']:<7}", "info"), (first.name, ""), (where, "dim")), "", printing.width)
        yield from (((row, "dim"),) for row in _wrapped(sentence(first), printing.width, indent=7, rows=1))


def _unjudged(printing: Printing) -> Iterable[Line]:
    report = printing.report
    rows: list[Line] = []
    for failed in report.failed:
        rows += _foot("crashed", f"{failed.rule}: {one_line(failed.error)}", printing.width, style="error")
    by_reason: dict[str, list[str]] = {}
    for one in report.skipped:
        by_reason.setdefault(one_line(one.reason), []).append(one.rule)
    ordered = sorted(by_reason.items(), key=lambda pair: -len(pair[1]))
    for number, (reason, names) in enumerate(ordered[:REASONS]):
        said = f"{counted(len(names), 'rule')}: {reason} ({_cut_list(names, 60)})"
        rows += _foot("not checked" if number == 0 else "", said, printing.width)
    left = sum(len(names) for _, names in ordered[REASONS:])
    if left:
        rows += _foot("", f"{counted(left, 'more rule')}: --format json lists them", printing.width)
    if report.silenced:
        rows += _foot("silenced", _silenced(printing), printing.width)
    if rows:
        yield ()
        yield from rows


def _silenced(printing: Printing) -> str:
    reasons: dict[str, int] = {}
    for _, reason in printing.report.silenced:
        short = reason.partition(" at ")[0] if reason.startswith("follows from ") else reason
        reasons[short] = reasons.get(short, 0) + 1
    return "; ".join(f"{counted(number, 'finding')} ({one_line(reason)})" for reason, number in reasons.items())


def _verdict(printing: Printing) -> Iterable[Line]:
    report = printing.report
    seconds = report.facts.get("seconds")
    time = f" in {duration(float(seconds))}" if isinstance(seconds, int | float) else ""
    said = tally(report.findings) + (f", {counted(len(report.failed), 'rule')} crashed" if report.failed else "")
    rules = f" ({counted(printing.judged, 'rule')} judged{time})" if printing.judged is not None else ""
    style = "good" if report.ok and all(one.severity == "info" for one in report.findings) else _worst(printing)
    yield ((said, style), (rules, "dim"))
    grave = [one for one in printing.findings if one.severity != "info"]
    if grave:
        yield (("why   ", "dim"), (f"initscope explain {grave[0].name}", ""))
    if any(one.fix for one in grave) and printing.again:
        yield (("mend  ", "dim"), (f"{printing.again} --fix-plan", ""))


def _worst(printing: Printing) -> str:
    return "error" if not printing.report.ok else printing.findings[0].severity


def _right(left: tuple[Span, ...], right: str, width: int) -> Line:
    """A line with something at its right end, two blanks apart at least, below the width as far as it can be."""
    used = sum(len(text) for text, _ in left)
    if not right:
        return left
    return (*left, (" " * max(2, width - used - len(right)), ""), (right, "dim"))


def _labelled(label: str, said: str, width: int, *, rows: int | None = None) -> Iterable[Line]:
    for number, row in enumerate(_wrapped(said, width - LABEL - 2, rows=rows)):
        yield ((f"  {label if number == 0 else '':<{LABEL}}", "dim"), (row, ""))


def _foot(label: str, said: str, width: int, *, style: str = "dim") -> Iterable[Line]:
    for number, row in enumerate(_wrapped(said, width - FOOT, rows=2)):
        yield ((f"{label if number == 0 else '':<{FOOT}}", style), (row, style))


def _wrapped(said: str, width: int, *, indent: int = 0, rows: int | None = None) -> list[str]:
    lines = textwrap.wrap(
        said, width, initial_indent=" " * indent, subsequent_indent=" " * indent, break_on_hyphens=False,
        max_lines=rows, placeholder=" ...",
    )  # fmt: skip
    return [line.replace(HELD, " ") for line in lines]


def _joined(pieces: Sequence[str]) -> str:
    """Pieces with dots between them; short ones are not broken over lines."""
    return " \N{MIDDLE DOT} ".join(piece.replace(" ", HELD) if len(piece) < 50 else piece for piece in pieces)


def _cut_list(names: Sequence[str], width: int) -> str:
    """As many names as fit on a line, then how many more there are."""
    shown: list[str] = []
    for number, name in enumerate(names):
        left = len(names) - number - 1
        tail = f", and {left} more" if left else ""
        if shown and len(", ".join([*shown, name]) + tail) > width:
            return f"{', '.join(shown)}, and {left + 1} more"
        shown.append(name)
    return ", ".join(shown)
