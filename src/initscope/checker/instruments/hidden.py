"""Whether the units of a layer are read by another layer, or are what the network answers or chooses with."""

from __future__ import annotations

from collections.abc import Iterator

from initscope.checker.instruments.kinds import INDEXING
from initscope.checker.instruments.trace import Op, Trace

CHOICE = frozenset({"topk", "sort", "kthvalue", "max", "amax", "min", "amin", "median", "searchsorted", "multinomial"})
"""Operators that choose among units: those not chosen are alike, as classes are that the batch lacks."""


def differentiable(trace: Trace, value: int) -> Iterator[Op]:
    """Yields the operators that `value` reaches along a path on which gradients flow, nearest first.

    What chooses among units, or reads some of them after a softmax, is yielded and not passed.
    """
    seen: set[int] = set()
    waiting = [(value, False)]
    while waiting:
        following: list[tuple[int, bool]] = []
        for index, soft in waiting:
            for number in trace.consumers[index]:
                op = trace.ops[number]
                if number in seen or not any(trace.values[result].requires_grad for result in op.results):
                    continue
                seen.add(number)
                yield op
                if not _chooses(op, soft=soft):
                    following += [(result, soft or op.kind == "softmax") for result in op.results]
        waiting = following


def _chooses(op: Op, *, soft: bool) -> bool:
    return op.name in CHOICE or (soft and op.name in INDEXING)


def next_reader(trace: Trace, value: int) -> Op | None:
    """Returns the next product that mixes the units of `value`, with a weight or other data; None for an output."""
    return next((op for op in differentiable(trace, value) if op.kind in ("linear", "matmul") and not op.in_loss), None)


def is_hidden(trace: Trace, value: int, units: int) -> bool:
    """Returns whether the units of `value` are mixed before the network answers.

    Units of an output are told apart by what is wanted of each, whatever their weights: a head of zeros is sound, and
    classes that the batch lacks have equal gradients. Where no layer follows, units are mixed if they are summed and
    none of the outputs has an axis that could hold them any more.
    """
    if next_reader(trace, value) is not None:
        return True
    ops = list(differentiable(trace, value))
    reached = {result for op in ops for result in op.results} | {value}
    outputs = [trace.values[index] for index in trace.outputs if index in reached]
    summed = any(op.name in ("sum", "mean") and not op.in_loss for op in ops)
    return summed and bool(outputs) and not any(size % units == 0 for one in outputs for size in one.shape)
