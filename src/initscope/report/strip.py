"""A strip of marks, one a seed, on an axis from 0 to 100 %: shows whether a condition's runs fall in groups."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from markupsafe import Markup

from initscope.records.run import RunRecord
from initscope.stats.outcomes import Outcome

WIDTH, HEIGHT, EDGE, RADIUS = 200.0, 30.0, 6.0, 3.2
FILLED: frozenset[Outcome] = frozenset({"learned"})


def strip(runs: Sequence[RunRecord], outcomes: Sequence[Outcome]) -> Markup:
    """Returns an inline SVG of the final test accuracies: full circles learned, rings did not, dots are chance.

    Runs without a measured accuracy have no mark. Arguments: `outcomes` follows `runs`.
    """
    known = [
        (run.final_test_accuracy_percent, outcome)
        for run, outcome in zip(runs, outcomes, strict=True)
        if math.isfinite(run.final_test_accuracy_percent)
    ]
    chances = [run.chance_percent for run in runs if math.isfinite(run.chance_percent)]
    marks = Markup("").join(
        _mark(x, y, outcome)
        for (x, y), outcome in zip(_places([v for v, _ in known]), [o for _, o in known], strict=True)
    )
    middle = HEIGHT / 2
    frame = Markup('<line class="axis" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(EDGE, middle, WIDTH - EDGE, middle)
    return Markup('<svg class="strip" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}{}</svg>').format(
        f"{WIDTH:g}", f"{HEIGHT:g}", _label(known), frame, _chance_line(chances), marks
    )


def _places(values: Sequence[float]) -> list[tuple[float, float]]:
    """Returns where each mark goes: marks of one column are stacked about the middle, nearer together where many."""
    columns: dict[int, list[int]] = defaultdict(list)
    for index, value in enumerate(values):
        columns[round(_x(value) / (1.5 * RADIUS))].append(index)
    places = [(0.0, 0.0)] * len(values)
    for members in columns.values():
        gap = min(1.6 * RADIUS, (HEIGHT - 2 * RADIUS - 2) / max(1, len(members) - 1))
        for rank, index in enumerate(sorted(members, key=lambda member: (values[member], member))):
            places[index] = (_x(values[index]), HEIGHT / 2 + gap * (rank - (len(members) - 1) / 2))
    return places


def _x(percent: float) -> float:
    return EDGE + (WIDTH - 2 * EDGE) * min(max(percent, 0.0), 100.0) / 100.0


def _mark(x: float, y: float, outcome: Outcome) -> Markup:
    kind = "full" if outcome in FILLED else "ring"
    return Markup('<circle class="{}" cx="{}" cy="{}" r="{}"/>').format(kind, f"{x:.1f}", f"{y:.1f}", RADIUS)


def _chance_line(chances: Sequence[float]) -> Markup:
    if not chances:
        return Markup("")
    x = f"{_x(sum(chances) / len(chances)):.1f}"
    return Markup('<line class="chance" x1="{}" y1="1" x2="{}" y2="{}"/>').format(x, x, HEIGHT - 1)


def _label(known: Sequence[tuple[float, Outcome]]) -> str:
    if not known:
        return "no measured test accuracy"
    values = ", ".join(f"{value:.1f}" for value in sorted(value for value, _ in known))
    return f"final test accuracy of every seed, in percent: {values}"
