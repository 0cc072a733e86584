"""Every figure of a study by name: its own figures first, then the standard ones."""

from __future__ import annotations

from collections.abc import Callable

from initscope.base.errors import unknown_name
from initscope.figures.accuracies import draw_accuracies
from initscope.figures.drawing import Drawing
from initscope.figures.gradient_map import draw_gradient_map
from initscope.figures.groups import shown
from initscope.figures.histogram import draw_histogram
from initscope.figures.lottery import anything_to_show, draw_layer_deaths
from initscope.figures.outcomes import draw_outcomes
from initscope.figures.starting_values import draw_starting_values
from initscope.figures.style import house
from initscope.figures.width import draw_width
from initscope.records.results import Results
from initscope.records.study import FigureSpec

STANDARD: dict[str, Callable[[Results], Drawing]] = {
    "outcomes": draw_outcomes,
    "gradient_map": draw_gradient_map,
    "effective_width": draw_width,
    "layer_deaths": draw_layer_deaths,
}


def names(results: Results) -> tuple[str, ...]:
    """Returns the names `draw` knows for these results, in the order to show them.

    First the study's own figures of which at least one condition was run, then outcomes, gradient_map, effective_width,
    layer_deaths; the last only where a condition split or a whole layer died.
    """
    own = [name for name, spec in results.study.figures.items() if shown(results, spec.conditions)]
    standard = [name for name in STANDARD if name != "layer_deaths" or anything_to_show(results)]
    return tuple(dict.fromkeys([*own, *standard]))


def draw(results: Results, name: str) -> Drawing:
    """Returns the figure called `name`. A figure of the study goes before a standard one of the same name.

    Raises: UsageError where `name` is none of `names(results)`.
    """
    if name not in names(results):
        raise unknown_name("figure", name, names(results))
    spec = results.study.figures.get(name)
    with house():
        if spec is not None and shown(results, spec.conditions):
            return _draw_own(results, name, spec)
        return STANDARD[name](results)


def _draw_own(results: Results, name: str, spec: FigureSpec) -> Drawing:
    if spec.kind == "accuracies":
        return draw_accuracies(results, name, spec.conditions)
    if spec.kind == "histogram":
        return draw_histogram(results, name, spec.conditions, spec.parameters[0])
    return draw_starting_values(results, name, spec.conditions, spec.parameters, spec.shifts)
