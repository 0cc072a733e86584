"""The report: one HTML file that needs no network, no script and no other file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from initscope.base.quantities import counted
from initscope.figures.drawing import MOST_ROWS, Drawing
from initscope.records.results import Results
from initscope.report.answer import answer, question
from initscope.report.atomic import write_atomically
from initscope.report.embedding import Embedded
from initscope.report.limits import limits, mixed
from initscope.report.method import protocol, provenance, sessions, statistics
from initscope.report.naming import listed
from initscope.report.sections import condition_parts, numbers_table, placement
from initscope.report.start_checks import agreement, checked_seeds, foretold
from initscope.stats.summary import summarise

LARGEST_BYTES = 4_900_000
"""A page stays under 5 MB."""
PARAMETER = r"\w+(?:\.\w+)*\.(?:weight|bias|\*)"
POWER = re.compile(r"(?<![\w.])(\d(?:\.\d+)?)e([+-])0*(\d+)\b")
FEWER_ROWS = (MOST_ROWS + 100, 100, 20)
"""Rows of each figure's numbers, tried in this order when all figures are as light as they get."""


def write_report(results: Results, folder: Path, *, figures: Sequence[Drawing]) -> Path:
    """Writes report.html into `folder` and returns its path.

    Arguments: `figures` the drawings to show, in reading order.
    Raises: EnvironmentFault where the folder cannot be written.
    """
    return write_atomically(folder / "report.html", report_html(results, figures=figures).encode())


def report_html(results: Results, *, figures: Sequence[Drawing], largest_bytes: int = LARGEST_BYTES) -> str:
    """Returns the report as HTML of at most `largest_bytes`.

    Figures are SVG; while the page is too heavy, the heaviest become PNG, then their tables of numbers are cut and say
    so.
    """
    drawings = tuple(figures)
    embedded, context = Embedded(drawings), _context(results, drawings)
    page = _render(context, embedded, most=FEWER_ROWS[0])
    while len(page.encode()) > largest_bytes and embedded.lighten():
        page = _render(context, embedded, most=FEWER_ROWS[0])
    for most in FEWER_ROWS[1:]:
        if len(page.encode()) > largest_bytes:
            page = _render(context, embedded, most=most)
    return page


def code_names(text: str, *, names: Sequence[str]) -> Markup:
    """Returns `text` escaped, with every whole name of `names` and every parameter path in it set as code.

    Parameter paths are dotted words that end in weight, bias or *. A space before a percent sign does not break, and
    1e-07 becomes a power of ten.

    Example:
        >>> code_names("a-b learned & a did not", names=["a", "a-b"])
        Markup('<code>a-b</code> learned &amp; <code>a</code> did not')
    """
    longest_first = [re.escape(name) for name in sorted(names, key=len, reverse=True)]
    either = "|".join([*longest_first, PARAMETER])
    pieces = re.split(rf"(?<![\w.-])({either})(?![\w-]|\.\w)", text)
    return Markup("").join(
        Markup("<code>{}</code>").format(piece) if index % 2 else _numbers(piece) for index, piece in enumerate(pieces)
    )


def _numbers(text: str) -> Markup:
    kept = str(escape(text.replace(" %", "\N{NO-BREAK SPACE}%")))
    return Markup(POWER.sub(_power, kept))  # escaped above; what is put in is digits


def _power(found: re.Match[str]) -> str:
    digits, sign, exponent = found.groups()
    times = "" if digits == "1" else f"{digits}\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}"
    return f"{times}10<sup>{'−' if sign == '-' else ''}{exponent}</sup>"


def code_quotes(text: str) -> Markup:
    """Returns `text` escaped, with what stands in double quotes set as code instead.

    Example:
        >>> code_quotes('"hidden1.weight" = 0')
        Markup('<code>hidden1.weight</code> = 0')
    """
    pieces = text.split('"')
    return Markup("").join(
        Markup("<code>{}</code>").format(piece) if index % 2 else escape(piece) for index, piece in enumerate(pieces)
    )


def _context(results: Results, drawings: tuple[Drawing, ...]) -> dict[str, Any]:
    rows = summarise(results)
    placed = placement(results, drawings)
    study, table = results.study, foretold(results, rows)
    return {
        "title": study.title or study.name,
        "question": question(results),
        "answer": answer(results, rows),
        "extent": _extent(results),
        "conditions": condition_parts(results, rows, drawings),
        "foretold": table,
        "agreement": agreement(table),
        "checked_seeds": checked_seeds(results),
        "remaining": [drawing for drawing in drawings if drawing.name not in placed],
        "limits": limits(results, rows),
        "protocol": protocol(results),
        "statistics": statistics(rows),
        "provenance": provenance(results),
        "sessions": sessions(results),
        "mixed": listed(mixed(results)),
        "names": list(study.conditions),
    }


def _extent(results: Results) -> str:
    conditions, seeds = counted(len(results.conditions), "condition"), counted(len(results.seeds), "seed")
    return f"{conditions}, {seeds} each, data: {results.data.name}"


def _render(context: dict[str, Any], embedded: Embedded, *, most: int) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("initscope.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code_names"] = partial(code_names, names=context["names"])
    environment.filters["parameters"] = partial(code_names, names=())
    environment.filters["code_quotes"] = code_quotes
    environment.filters["numbers"] = partial(numbers_table, most=most)
    return environment.get_template("report.html.j2").render(**context, embedded=embedded)
