"""Questions about the graph of a trace: what every path passes, what lies between, which layers there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod

from initscope.checker.instruments.trace import Kind, Moments, Op, Trace

PASSING: frozenset[str] = frozenset({"view", "copy", "scale", "bias"})
"""Kinds that hand a signal on: nothing else is computed from it on the way."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """One operator with a weight: a product with a matrix or kernel made of parameters, or a lookup.

    weight   path of the parameter;  module  path of the module that was at work
    fan_in   entries of the weight that feed one unit;  units  number of units
    value    the value after the bias that follows at once, else the operator's result: the pre-activation
    forward, backward   statistics of that value and of the gradient there (None where not measured)
    trunk    whether every path from the inputs to the output passes this value
    """

    op: Op
    weight: str
    module: str
    fan_in: int
    units: int
    value: int
    forward: Moments | None
    backward: Moments | None
    trunk: bool

    @property
    def name(self) -> str:
        """What to call it: the path of the module that owns the weight, or the weight's own."""
        return self.weight.rpartition(".")[0] or self.weight


def layers(trace: Trace, *kinds: Kind) -> tuple[Layer, ...]:
    """Returns the layers inside the model in the order they ran; "linear" ones unless `kinds` says otherwise."""
    spine = frozenset(trunk(trace))
    return tuple(_layer(trace, op, spine) for op in trace.forward_ops(*(kinds or ("linear",))) if op.weight)


def _layer(trace: Trace, op: Op, spine: frozenset[int]) -> Layer:
    value = after_bias(trace, op.result)
    made = trace.values[value]
    axis = made.unit_axis
    units = made.shape[axis] if axis is not None and made.shape else 1
    weights = [trace.values[index] for index in op.operands if op.weight in trace.values[index].parameters]
    entries = max((prod(one.shape) for one in weights), default=0)
    return Layer(
        op=op,
        weight=op.weight,
        module=op.module,
        fan_in=max(entries // max(units, 1), 1),
        units=units,
        value=value,
        forward=made.forward or trace.values[op.result].forward,
        backward=made.backward or trace.values[op.result].backward,
        trunk=value in spine,
    )


def after_bias(trace: Trace, value: int) -> int:
    """Returns the value after views and the bias that follow at once, where nothing else reads what lies between."""
    current, found = value, value
    while True:
        readers = [trace.ops[index] for index in trace.consumers[current] if trace.consumers_matter(index)]
        if len(readers) != 1 or readers[0].kind not in ("view", "bias") or trace.values[current].output:
            return found
        current = readers[0].result
        if readers[0].kind == "bias":
            found = current


def trunk(trace: Trace) -> tuple[int, ...]:
    """Returns the values that every path from the inputs to the output passes, in order: its dominators.

    In a plain network these are all values; in a residual network the sums but not the insides of branches; behind a
    skip connection nothing. The output is what the loss was computed from, else all floating tensors returned.
    """
    inside = _between(trace)
    sinks = [index for index in main_outputs(trace) if index in inside]
    if not sinks:
        return ()
    parent: dict[int, int | None] = {}
    depth: dict[int, int] = {-1: 0}
    for index in sorted(inside):
        before = [one for one in predecessors(trace, index) if one in parent]
        parent[index] = _meet(before, parent, depth) if before else -1
        depth[index] = depth[parent[index]] + 1  # type: ignore[index]  # -1 is the source, never None
    found: list[int] = []
    last = sinks[0]
    for sink in sinks[1:]:
        last = _meet([last, sink], parent, depth)
    while last != -1:
        found.append(last)
        last = parent[last]  # type: ignore[assignment]  # as above
    return tuple(found[::-1])


def _meet(nodes: Iterable[int], parent: dict[int, int | None], depth: dict[int, int]) -> int:
    """The nearest common dominator."""
    first, *rest = nodes
    for other in rest:
        while first != other:
            if depth[first] >= depth[other]:
                first = parent[first]  # type: ignore[assignment]  # the loop ends at the source
            else:
                other = parent[other]  # type: ignore[assignment]  # as above
    return first


def predecessors(trace: Trace, value: int) -> tuple[int, ...]:
    """Returns the data values that the producer of `value` read."""
    op = trace.producer(value)
    return () if op is None else trace.data_operands(op)


def main_outputs(trace: Trace) -> tuple[int, ...]:
    """Returns the values the loss was computed from, else all floating values that the model returned."""
    floating = [
        index for index in trace.outputs if trace.values[index].from_data and trace.values[index].dtype[:1] in "fbc"
    ]
    if trace.loss is None:
        return tuple(floating)
    reached = ancestors(trace, [trace.loss])
    same = loss_values(trace)
    used = [index for index in floating if index in reached and index not in same]
    return tuple(used) or tuple(floating)


def loss_values(trace: Trace) -> frozenset[int]:
    """Returns the loss and the values it is a mere view of: a loss the model computed itself is one of its outputs."""
    found: set[int] = set()
    value = trace.loss
    while value is not None and value not in found:
        found.add(value)
        op = trace.producer(value)
        value = op.operands[0] if op is not None and op.kind == "view" and len(op.operands) == 1 else None
    return frozenset(found)


def ancestors(trace: Trace, values: Iterable[int]) -> frozenset[int]:
    """Returns `values` and everything from the inputs on that they were computed from."""
    found: set[int] = set()
    waiting = list(values)
    while waiting:
        index = waiting.pop()
        if index not in found:
            found.add(index)
            waiting += predecessors(trace, index)
    return frozenset(found)


def descendants(trace: Trace, values: Iterable[int]) -> frozenset[int]:
    """Returns `values` and everything computed from them."""
    found: set[int] = set()
    waiting = list(values)
    while waiting:
        index = waiting.pop()
        if index not in found:
            found.add(index)
            for reader in trace.consumers[index]:
                waiting += trace.ops[reader].results
    return frozenset(found)


def _between(trace: Trace) -> frozenset[int]:
    return frozenset(index for index in ancestors(trace, main_outputs(trace)) if trace.values[index].from_data)


def readers(trace: Trace, value: int) -> Iterator[Op]:
    """Yields the operators that compute something from `value`, through views, copies, scales and biases."""
    seen: set[int] = set()
    waiting = [value]
    while waiting:
        index = waiting.pop()
        for number in trace.consumers[index]:
            op = trace.ops[number]
            if number in seen:
                continue
            seen.add(number)
            if op.kind in PASSING and not op.in_loss:
                waiting += op.results
            else:
                yield op


def next_activation(trace: Trace, value: int) -> Op | None:
    """Returns the activation or softmax that reads `value`, through views, biases, scales, norms; None without one."""
    current = [value]
    seen: set[int] = set()
    while current:
        index = current.pop()
        for op in readers(trace, index):
            if op.kind in ("activation", "softmax"):
                return op
            if op.kind in ("norm", "gain") and op.index not in seen:
                seen.add(op.index)
                current.append(op.result)
    return None
