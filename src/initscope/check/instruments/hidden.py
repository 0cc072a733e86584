"""Whether the units of a layer are read by another layer, or are what the network answers with."""

from __future__ import annotations

from collections.abc import Iterator

from initscope.check.instruments.trace import Op, Trace


def differentiable(trace: Trace, value: int) -> Iterator[Op]:
    """Yields the operators that `value` reaches along a path on which gradients flow, nearest first."""
    seen: set[int] = set()
    waiting = [value]
    while waiting:
        following: list[int] = []
        for index in waiting:
            for number in trace.consumers[index]:
                op = trace.ops[number]
                if number in seen or not any(trace.values[result].requires_grad for result in op.results):
                    continue
                seen.add(number)
                yield op
                following += op.results
        waiting = following


def next_reader(trace: Trace, value: int) -> Op | None:
    """Returns the next product that mixes the units of `value`: with a weight, or with other data; None for an output."""
    return next((op for op in differentiable(trace, value) if op.kind in ("linear", "matmul") and not op.in_loss), None)


def is_hidden(trace: Trace, value: int, units: int) -> bool:
    """Returns whether the units of `value` are mixed before the network answers.

    Units of an output are told apart by what is wanted of each, whatever their weights: a head of zeros is sound, and
    classes that the batch lacks have equal gradients. Where no layer follows, units are mixed if none of the outputs
    has an axis that could hold them any more.
    """
    if next_reader(trace, value) is not None:
        return True
    reached = {result for op in differentiable(trace, value) for result in op.results} | {value}
    outputs = [trace.values[index] for index in trace.outputs if index in reached]
    return bool(outputs) and not any(size % units == 0 for one in outputs for size in one.shape)
