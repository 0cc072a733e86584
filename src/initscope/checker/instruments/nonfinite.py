"""Where NaN and infinity come from: the first operator that makes them out of finite numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

from initscope.checker.evidence import ParameterFacts
from initscope.checker.instruments.trace import Moments, Op, Trace

LARGEST = {
    "float16": 65504.0,
    "bfloat16": 3.3895313892515355e38,
    "float32": 3.4028234663852886e38,
    "float64": 1.7976931348623157e308,
}
"""The largest finite number of each type."""

_FILLS = frozenset(
    {
        "masked_fill",
        "where",
        "fill",
        "full_like",
        "new_full",
        "masked_scatter",
        "index_put",
        "triu",
        "tril",
        "write",
        "copy",
    }
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Origin:
    """An operator whose result is not finite. `low`, `high` bound what it was given; `nan` whether it made NaN."""

    op: Op
    nan: bool
    low: float
    high: float
    dtype: str
    given_infinite: bool
    overflow: bool


def is_bad(moments: Moments | None) -> bool:
    """Returns whether a measured tensor holds NaN or infinity."""
    return moments is not None and not moments.finite


def has_nan(moments: Moments | None) -> bool:
    """Returns whether a measured tensor holds NaN."""
    return moments is not None and not moments.finite and (math.isnan(moments.low) or math.isnan(moments.high))


def forward_origin(trace: Trace, target: int) -> Origin | None:
    """Returns the operator behind the NaN or infinity in a value; None where none of the recorded ones made it.

    The first that turned finite numbers into others; a constant infinity that was filled in on purpose (a mask) is
    not one, then the first that made NaN of it is.
    """
    behind = sorted(_bad_ancestors(trace, target))
    for number in behind:
        op = trace.ops[number]
        if any(_bad(trace, index) for index in op.operands) or _filled(trace, op):
            continue
        return _origin(trace, op)
    for number in behind:
        op = trace.ops[number]
        if has_nan(_seen(trace, op.result)) and not any(has_nan(_seen(trace, index)) for index in op.operands):
            return _origin(trace, op)
    return None


def backward_origin(trace: Trace) -> Op | None:
    """Returns the first operator, from the loss backwards, that was given a finite gradient and passed on one that is "
    "not."""
    for op in reversed(trace.ops):
        if _gradient_bad(trace, op) is False and any(
            is_bad(trace.values[index].backward)
            and not any(_gradient_bad(trace, trace.ops[other]) for other in trace.consumers[index] if other != op.index)
            for index in op.operands
        ):
            return op
    return None


def _gradient_bad(trace: Trace, op: Op) -> bool | None:
    """Whether a gradient of an operator's results is not finite; None where none was measured."""
    known = [one for one in (trace.values[index].backward for index in op.results) if one is not None]
    return any(not one.finite for one in known) if known else None


def _bad_ancestors(trace: Trace, target: int) -> set[int]:
    """The operators on the ways along which the values are not finite, or were not measured."""
    found: set[int] = set()
    waiting = [target]
    while waiting:
        op = trace.producer(waiting.pop())
        if op is None or op.index in found:
            continue
        if any(_bad(trace, index) for index in op.results):
            found.add(op.index)
            waiting += [index for index in op.operands if trace.values[index].from_data and _bad(trace, index)]
    return found


def _seen(trace: Trace, index: int) -> Moments | None:
    """The statistics of a value; of a view that was not measured, those of what it is a view of."""
    value = trace.values[index]
    while value.forward is None and value.op is not None:
        carriers = [one for one in trace.ops[value.op].operands if trace.values[one].from_data]
        if len(carriers) != 1:
            return None
        value = trace.values[carriers[0]]
    return value.forward


def _bad(trace: Trace, index: int) -> bool:
    return is_bad(_seen(trace, index))


def _filled(trace: Trace, op: Op) -> bool:
    """Whether infinity was put in from outside: a fill, or the sum with a constant that nobody measured."""
    if any(isinstance(number, float) and math.isinf(number) for number in (*op.numbers, *op.named.values())):
        return True
    if op.name in _FILLS:
        return True
    unknown = any(not trace.values[index].from_data and not trace.values[index].parameters for index in op.operands)
    seen = _seen(trace, op.result)
    return op.kind in ("scale", "sum", "join", "copy") and unknown and seen is not None and seen.low == -math.inf


def _origin(trace: Trace, op: Op) -> Origin:
    given = [one for one in (_seen(trace, index) for index in op.operands) if one is not None]
    finite = [one for one in given if one.finite]
    dtype = trace.values[op.result].dtype
    nan = has_nan(_seen(trace, op.result))
    peak = max((one.peak for one in finite), default=0.0)
    return Origin(
        op=op,
        nan=nan,
        dtype=dtype,
        low=min((one.low for one in given), default=math.nan),
        high=max((one.high for one in given), default=math.nan),
        given_infinite=len(finite) < len(given),
        overflow=not nan
        and len(finite) == len(given)
        and dtype == "float16"
        and peak < LARGEST["float16"]
        and op.name not in ("log", "reciprocal", "div", "rsqrt"),
    )


def bad_parameters(facts: dict[str, ParameterFacts]) -> list[ParameterFacts]:
    """Returns parameters with NaN or infinity; frozen ones that hold -infinity alone are masks, and sound."""
    return [
        one
        for one in facts.values()
        if not one.buffer
        and not one.finite
        and (one.trainable or math.isnan(one.low) or math.isnan(one.high) or one.high == math.inf)
    ]
