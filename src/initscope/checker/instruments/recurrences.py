"""Recurrences: one weight that works again and again on a state, each time with something fresh beside it.

Fused recurrent layers are taken apart by the capture, so they and loops written by hand look alike. A layer shared in
series and a fixed-point iteration are none: they read the same values in each round.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from initscope.checker.instruments.trace import Op, Trace

STEPS = 6
"""Fewer rounds are no recurrence worth judging."""

_SMALLEST = 1e-37


@dataclass(frozen=True, kw_only=True, eq=False)
class Recurrence:
    """One weight over time.

    weight     its path;  diagonal  whether it multiplies entry by entry (a decay) and is no matrix
    steps      rounds in which it worked on a state that the inputs had reached
    back_rate  decades by which the loss's gradient changes over one step back in time, a straight line fitted to its
               logarithm over the steps where it is not zero; NaN without gradients
    rate       decades by which what the weight makes of the state changes over one step forward; NaN where not measured
    last_size  root mean square of that at the last step
    """

    weight: str
    diagonal: bool
    steps: int
    back_rate: float
    rate: float
    last_size: float


def recurrences(trace: Trace) -> Iterator[Recurrence]:
    """Yields every recurrence of a trace."""
    uses: dict[str, list[Op]] = {}
    for op in trace.forward_ops("linear", "gain"):
        if op.weight and op.kind == "gain" and _is_scalar(trace, op):
            continue
        if op.weight:
            uses.setdefault(op.weight, []).append(op)
    for weight, ops in uses.items():
        for chain in _in_series(trace, ops):
            if len(chain) >= STEPS and _fresh(trace, chain):
                yield _measured(trace, weight, chain)


def _is_scalar(trace: Trace, op: Op) -> bool:
    made = [trace.values[index] for index in op.operands if not trace.values[index].from_data]
    return all(math.prod(one.shape) <= 1 for one in made)


def _in_series(trace: Trace, ops: list[Op]) -> Iterator[list[Op]]:
    """The runs of uses in which each reads what came of the one before."""
    run = [ops[0]]
    for first, second in pairwise(ops):
        if _between(trace, first, second) is None:
            yield run
            run = []
        run.append(second)
    yield run


def _between(trace: Trace, first: Op, second: Op) -> frozenset[object] | None:
    """What `second` reads beside `first`'s result: values from before, cuts of them; None where it is not reached."""
    start, reached = first.result, False
    beside: set[object] = set()
    seen: set[int] = set()
    waiting = list(trace.data_operands(second))
    while waiting:
        index = waiting.pop()
        if index in seen:
            continue
        seen.add(index)
        if index in first.results:
            reached = True
        elif index < start:
            beside.add(index)
        else:
            op = trace.producer(index)
            if op is None:
                continue
            if op.kind in ("view", "lookup"):
                beside.add((op.name, op.numbers))
            waiting += trace.data_operands(op)
    return frozenset(beside) if reached else None


def _fresh(trace: Trace, chain: list[Op]) -> bool:
    """Whether rounds read different things beside the state."""
    pairs = list(pairwise(chain))
    found = [_between(trace, *pairs[number]) for number in (len(pairs) // 3, len(pairs) // 2, len(pairs) - 1)]
    return len(set(found)) > 1


def _measured(trace: Trace, weight: str, chain: list[Op]) -> Recurrence:
    made = [trace.values[op.result] for op in chain]
    backs = [_back(trace, op.result) for op in chain]
    sizes = [one.forward.rms if one.forward is not None else math.nan for one in made]
    back = _slope(backs)
    return Recurrence(
        weight=weight,
        diagonal=chain[-1].kind == "gain",
        steps=len(chain) + 1,
        back_rate=-back,
        rate=_slope(sizes[len(sizes) // 4 :]),
        last_size=sizes[-1],
    )


def _back(trace: Trace, value: int) -> float:
    """The gradient at a value, or at the nearest one made of it: what is added to in place has none of its own."""
    current = [value]
    for _ in range(5):
        for index in current:
            found = trace.values[index].backward
            if found is not None:
                return found.rms
        current = [index for one in current for number in trace.consumers[one] for index in trace.ops[number].results]
    return math.nan


def _slope(sizes: list[float]) -> float:
    """Decades a step, a straight line through the logarithms of those that are measured and not zero."""
    places = [number for number, size in enumerate(sizes) if math.isfinite(size) and size > _SMALLEST]
    if len(places) < 3:
        return math.nan
    logs = np.log10([sizes[number] for number in places])
    return float(np.polyfit(places, logs, 1)[0])
