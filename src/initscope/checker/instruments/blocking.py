"""Why a parameter's gradient is exactly zero: walked from its product toward the loss, to the operator that stops it.

A gradient is zero either because what the parameter is multiplied with is zero, or because an operator further on
multiplies by zero: by a weight or a gate of zeros, or by the slope of a flat activation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from initscope.checker.instruments.kinds import LINEAR, PRODUCT
from initscope.checker.instruments.trace import Op, Trace

Reason = Literal["zeros", "flat", "norm", "saturated", "constant", "data", "loss", "none"]
"""zeros      parameters that are zero (`Block.zeros`)
flat       an activation whose slope is zero everywhere
norm       a normalisation over a single value, which is constant
saturated  a softmax whose largest probability is one everywhere
constant   a factor of zero that is no parameter
data       an input, a mask, a choice, rows that the batch lacks;  loss  the loss itself
none       not understood
"""
FLAT_AT_ZERO = frozenset(
    {"relu", "abs", "square", "clamp", "clamp_min", "clamp_max", "hardtanh", "relu6", "threshold", "pow", "sgn"}
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Block:
    """One reason; `op` the operator that stops the gradient, `zeros` the parameters of zeros it multiplies by."""

    reason: Reason
    op: Op | None = None
    zeros: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, eq=False)
class Walker:
    """Walks in a trace with gradients; `zeros` are the parameters whose entries are all zero."""

    trace: Trace
    zeros: frozenset[str]

    def blocks(self, path: str) -> tuple[Block, ...]:
        """Returns what stops the gradient of a parameter, one entry for each of its uses and ways to the loss."""
        found: list[Block] = []
        seen: set[int] = set()
        for op, operand in self._uses(path, found):
            if op.kind == "lookup" and any(self._loud(result) for result in op.results):
                found.append(Block(reason="data", op=op))
            elif any(self._loud(result) for result in op.results):
                found.append(self._factor(op, operand))
            else:
                found += self._downstream(op, seen)
        return tuple(found)

    def _uses(self, path: str, found: list[Block]) -> Iterator[tuple[Op, int]]:
        """Yields operators that bring the parameter to data, and the operand it is; notes blocks before them."""
        seen: set[int] = set()
        waiting = [value.index for value in self.trace.values if value.origin == "parameter" and value.path == path]
        while waiting:
            index = waiting.pop()
            for number in self.trace.consumers[index]:
                op = self.trace.ops[number]
                if number in seen or op.name == "detach":
                    continue
                seen.add(number)
                if any(self.trace.values[result].from_data for result in op.results) or op.in_loss:
                    yield op, index
                    continue
                block = self._before_data(op, index, path)
                if block is not None:
                    found.append(block)
                else:
                    waiting += op.results

    def _before_data(self, op: Op, operand: int, path: str) -> Block | None:
        """What stops a gradient among operators on parameters alone: a product with zeros, a slope of zero at zero."""
        if op.name in LINEAR or op.name in PRODUCT:
            others = [self.trace.values[index].parameters for index in op.operands if index != operand]
            factors = frozenset().union(*others) if others else frozenset([path])
            if factors and factors <= self.zeros:
                return Block(reason="zeros", op=op, zeros=factors)
        if op.kind == "activation" and op.name in FLAT_AT_ZERO and path in self.zeros:
            return Block(reason="flat", op=op, zeros=frozenset([path]))
        return None

    def _downstream(self, start: Op, seen: set[int]) -> list[Block]:
        """The operators at which a zero gradient begins: their results have one that is not zero."""
        found: list[Block] = []
        waiting = [result for result in start.results if self.trace.values[result].from_data]
        while waiting:
            value = waiting.pop()
            for number in self.trace.consumers[value]:
                op = self.trace.ops[number]
                if number in seen or op.name == "detach":
                    continue
                if any(self._loud(result) for result in op.results):
                    found.append(self._stop(op, value))
                else:
                    seen.add(number)
                    waiting += op.results
        return found

    def _stop(self, op: Op, value: int) -> Block:
        """Why `op` passes no gradient to its operand `value`."""
        if 0 in self.trace.values[value].shape:
            return Block(reason="data", op=op)
        if op.kind in ("linear", "gain", "product", "matmul", "scale"):
            return self._factor(op, value)
        if op.kind == "activation" and not op.in_loss:
            source = self.source(value) if self._silent(value) else Block(reason="flat")
            return Block(reason="flat", op=op, zeros=source.zeros if source.reason == "zeros" else frozenset())
        if op.kind == "norm":
            return Block(reason="norm", op=op)
        if (
            op.kind == "softmax"
            and not op.in_loss
            and op.activity is not None
            and op.activity.keys > 1
            and op.activity.peak > 0.999
        ):
            return Block(reason="saturated", op=op)
        if op.in_loss:
            return Block(reason="loss", op=op)
        return Block(reason="data" if op.kind in ("view", "join", "reduce", "lookup") else "none", op=op)

    def _factor(self, op: Op, operand: int) -> Block:
        """What `operand` is multiplied with in `op`, if that is zero."""
        others = [index for index in op.operands if index != operand]
        if op.kind == "linear" and op.name.startswith(("addmm", "baddbmm", "convolution", "addbmm")):
            others = [
                index
                for index in (op.operands[1:] if op.name.startswith(("add", "badd")) else op.operands[:2])
                if index != operand
            ]
        made = [self.trace.values[index] for index in others if not self.trace.values[index].from_data]
        factors = frozenset().union(*(one.parameters for one in made)) if made else frozenset()
        if op.kind in ("linear", "gain", "matmul", "product") and factors and factors <= self.zeros:
            return Block(reason="zeros", op=op, zeros=factors)
        data = [index for index in others if self.trace.values[index].from_data]
        for index in data:
            if self._silent(index):
                source = self.source(index)
                return Block(reason=source.reason, op=source.op or op, zeros=source.zeros)
        if (
            op.kind in ("scale", "gain")
            and not data
            and not factors
            and any(one.origin in ("buffer", "constant") for one in made)
        ):
            return Block(reason="constant", op=op)
        return Block(reason="loss" if op.in_loss else "none", op=op)

    def source(self, value: int) -> Block:
        """Returns why a value is all zero: weights of zero, a dead activation, the data."""
        waiting, seen = [value], set()
        zeros: set[str] = set()
        reason: Block | None = None
        while waiting:
            index = waiting.pop()
            op = self.trace.producer(index)
            if index in seen:
                continue
            seen.add(index)
            if op is None or 0 in self.trace.values[index].shape:
                reason = reason or Block(reason="data")
                continue
            parameters = frozenset().union(
                *(self.trace.values[one].parameters for one in op.operands if not self.trace.values[one].from_data)
            )
            inputs = self.trace.data_operands(op)
            quiet = [one for one in inputs if self._silent(one)]
            if op.kind in ("linear", "gain", "lookup") and op.weight in self.zeros:
                zeros |= parameters & self.zeros
            elif quiet:
                waiting += quiet if op.kind not in ("product", "matmul") else quiet[:1]
            elif op.kind == "activation":
                reason = Block(reason="flat", op=op)
            else:
                reason = reason or Block(reason="data", op=op)
        if zeros:
            return Block(reason="zeros", zeros=frozenset(zeros))
        return reason or Block(reason="none")

    def _silent(self, index: int) -> bool:
        forward = self.trace.values[index].forward
        return forward is not None and forward.peak == 0

    def _loud(self, index: int) -> bool:
        backward = self.trace.values[index].backward
        return backward is not None and backward.peak != 0


def merged(sets: Iterable[frozenset[str]]) -> list[frozenset[str]]:
    """Returns the unions of sets that share an element, directly or through others."""
    found: list[frozenset[str]] = []
    for one in sets:
        apart = [other for other in found if not other & one]
        found = [*apart, one.union(*(other for other in found if other & one))]
    return found
