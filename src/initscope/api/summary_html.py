"""The table of the terminal as HTML, for notebooks: numbers with intervals, every seed as a mark, a line of why."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from initscope.base.quantities import counted
from initscope.records.results import Results
from initscope.report.answer import answer
from initscope.report.sections import ConditionPart, condition_parts
from initscope.stats.summary import summarise

HEADER = ("condition", "n", "learned", "every seed, 0 to 100 %", "test accuracy, median (range)", "to baseline, points")
STYLE = Markup("""<style>
.initscope { border-collapse: collapse; font-variant-numeric: tabular-nums; }
.initscope caption { text-align: left; padding: 0 0 .5em; max-width: 60em; }
.initscope th, .initscope td { padding: .2em .5em; text-align: right; vertical-align: top; white-space: nowrap; }
.initscope th { border-bottom: 1px solid currentColor; vertical-align: bottom; }
.initscope th:first-child, .initscope td:first-child { text-align: left; }
.initscope td.why { text-align: left; white-space: normal; opacity: .75; padding-top: 0; padding-bottom: .6em; }
.initscope .strip { display: block; width: 10em; height: auto; overflow: visible; }
.initscope .axis { stroke: currentColor; stroke-opacity: .25; }
.initscope .chance { stroke: currentColor; stroke-opacity: .6; stroke-dasharray: 1.5 2.5; }
.initscope circle { stroke: currentColor; stroke-width: .9; fill: none; }
.initscope .full { fill: var(--mark); fill-opacity: .85; }
</style>""")
# A notebook draws stripes, borders and backgrounds of its own, light or dark: what is not ours is left to it.


def summary_html(results: Results, *, folder: Path) -> str:
    """Returns the summary of `results` as one table; `folder` is named in its caption."""
    rows = summarise(results)
    head = Markup("").join(Markup('<th scope="col">{}</th>').format(name) for name in HEADER)
    body = Markup("").join(_rows(part) for part in condition_parts(results, rows, ()))
    caption = _caption(results, answer(results, rows), folder)
    table = '{}<table class="initscope"><caption>{}</caption><thead><tr>{}</tr></thead><tbody>{}</tbody></table>'
    return str(Markup(table).format(STYLE, caption, head, body))


def _caption(results: Results, text: str, folder: Path) -> Markup:
    name = results.study.title or results.study.name
    conditions, seeds = counted(len(results.conditions), "condition"), counted(len(results.seeds), "seed")
    what = f"{conditions}, {seeds}, data {results.data.name}, in {folder}"
    return Markup("<b>{}</b><br>{}<br>{}").format(name, what, text)


def _rows(part: ConditionPart) -> Markup:
    accuracy = part.accuracy + (f" ({part.accuracy_range})" if part.accuracy_range else "")
    cells = (part.n, part.learned, part.strip, accuracy, part.difference)
    numbers = Markup("").join(Markup("<td>{}</td>").format(cell) for cell in cells)
    return Markup(
        '<tr style="--mark:{}"><td><b>{}</b></td>{}</tr><tr><td class="why" colspan="{}">{}</td></tr>'
    ).format(part.colour, part.key, numbers, len(HEADER), part.why.headline)
