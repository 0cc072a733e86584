"""Which axis of a weight holds the units it makes, whatever the layout: `x @ W`, `W @ x`, linear, convolution."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

from initscope.checker.instruments.trace import Op, Trace

Labels = tuple[int | None, ...]
"""For each axis of a value made of one parameter, the parameter's axis it is; None where it is none or several."""


@dataclass(frozen=True, kw_only=True, eq=False)
class WeightUse:
    """One product of a parameter with data.

    units, inputs   the parameter's axes of the units made and of the inputs read; None where not known
    members         in a batch of products, the axis that counts them: each member is a layer of its own
    """

    op: Op
    path: str
    units: int | None
    inputs: int | None
    members: int | None


def weight_uses(trace: Trace) -> Iterator[WeightUse]:
    """Yields every linear operator inside the model with the axes of its weight, in order."""
    labels = _labels(trace)
    for op in trace.forward_ops("linear"):
        for place, operand in enumerate(op.operands):
            made = trace.values[operand]
            if made.from_data or operand not in labels or len(made.shape) < 2:
                continue
            path, names = labels[operand]
            if path == op.weight:
                yield _use(op, path, names, place, shape=made.shape)
                break


def _use(op: Op, path: str, names: Labels, place: int, *, shape: Sequence[int]) -> WeightUse:
    if "convolution" in op.name:
        out = 1 if any(number is True for number in op.numbers) else 0
        return WeightUse(op=op, path=path, units=names[out], inputs=names[1 - out], members=None)
    last = place == len(op.operands) - 1
    units, inputs = (names[-1], names[-2]) if last and op.name not in ("mv", "addmv") else (names[-2], names[-1])
    members = names[0] if len(names) == 3 and shape[0] > 1 else None
    return WeightUse(op=op, path=path, units=units, inputs=inputs, members=members)


def _labels(trace: Trace) -> dict[int, tuple[str, Labels]]:
    """For each value made of one parameter alone: its path, and which of its axes are which of the value's."""
    found: dict[int, tuple[str, Labels]] = {
        value.index: (value.path, tuple(range(len(value.shape))))
        for value in trace.values
        if value.origin == "parameter"
    }
    for op in trace.ops:
        given = [operand for operand in op.operands if operand in found]
        if not given or any(trace.values[operand].from_data for operand in op.operands):
            continue
        first = max(given, key=lambda operand: len(trace.values[operand].shape))
        path, names = found[first]
        for result in op.results:
            moved = _moved(op, names, trace.values[first].shape, trace.values[result].shape)
            if moved is not None:
                found[result] = (path, moved)
    return found


def _moved(op: Op, names: Labels, before: Sequence[int], after: Sequence[int]) -> Labels | None:
    """Where the axes are after one operator; None where that is not known."""
    whole = [int(number) for number in op.numbers if isinstance(number, int) and not isinstance(number, bool)]
    if op.name == "t" and len(names) == 2:
        return names[::-1]
    if op.name in ("transpose", "swapaxes") and len(whole) == 2:
        order = list(range(len(names)))
        order[whole[0]], order[whole[1]] = order[whole[1]], order[whole[0]]
        return tuple(names[axis] for axis in order)
    if op.name == "permute" and len(whole) == len(names):
        return tuple(names[axis] for axis in whole)
    if tuple(before) == tuple(after):
        return names
    if op.name == "expand":
        return (*(None for _ in range(len(after) - len(before))), *names)
    if op.name == "select" and whole:
        axis = whole[0] % len(names)
        return (*names[:axis], *names[axis + 1 :])
    if op.name in ("slice", "split", "unsafe_split", "chunk", "split_with_sizes", "narrow") and len(before) == len(
        after
    ):
        return names
    if op.kind == "view":
        return _reshaped(names, before, after)
    return None


def _reshaped(names: Labels, before: Sequence[int], after: Sequence[int]) -> Labels:
    """Axes that a reshape keeps keep their names; those it joins or splits lose them."""
    if 0 in before or prod(before) != prod(after):
        return (None,) * len(after)
    found: list[int | None] = []
    left = right = 0
    while right < len(after):
        start, goal = left, right
        left, right = min(left + 1, len(before)), right + 1
        while prod(before[start:left]) != prod(after[goal:right]):
            if prod(before[start:left]) < prod(after[goal:right]):
                left += 1
            else:
                right += 1
        kept = [names[axis] for axis in range(start, left) if before[axis] > 1]
        large = [axis for axis in range(goal, right) if after[axis] > 1]
        alone = kept[0] if len(kept) == 1 and len(large) == 1 else None
        found += [alone if axis in large else None for axis in range(goal, right)]
    return tuple(found)
