"""How near values and gradients come to the largest number of their type, deliberate masks left out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from initscope.checker.instruments.nonfinite import LARGEST
from initscope.checker.instruments.trace import Moments, Op, Trace, Value

_CARRYING = frozenset({"view", "copy", "sum", "scale", "bias", "gain", "product", "join", "reduce", "other"})
_MASKING = frozenset({"masked_fill", "where", "fill", "full_like", "write", "index_put", "masked_scatter"})
_ARITHMETIC = frozenset({"linear", "matmul", "activation", "norm", "product", "gain", "reduce", "loss"})


@dataclass(frozen=True, kw_only=True, eq=False)
class Peak:
    """The value that comes nearest to the limit of its type; `share` of the largest number, infinite on overflow."""

    op: Op | None
    value: Value
    peak: float
    limit: float

    @property
    def share(self) -> float:
        """Peak over the largest number of the type."""
        return self.peak / self.limit


def forward_peaks(trace: Trace, dtype: str, *, room: float) -> Iterator[Peak]:
    """Yields every measured value of `dtype` that the network itself brings above `room` times the largest number, in
    order.

    Numbers that were put in (fills of masks, added constants) and what carries them along do not count.
    """
    limit = LARGEST[dtype]
    put_in: set[int] = set()
    for op in trace.ops:
        carried = op.kind in _CARRYING and any(index in put_in for index in op.operands)
        for index in op.results:
            value = trace.values[index]
            seen = value.forward
            if carried or _put_in(trace, op, value, limit * room):
                put_in.add(index)
            elif seen is not None and value.dtype == dtype and not math.isnan(seen.peak) and seen.peak > limit * room:
                yield Peak(op=op, value=value, peak=seen.peak, limit=limit)


def backward_peaks(trace: Trace, dtype: str, *, room: float) -> Iterator[Peak]:
    """Yields every value of `dtype` whose gradient is finite and above `room` times the largest number, or "
    "overflowed."""
    for value in trace.values:
        seen = value.backward
        if (
            value.dtype == dtype
            and seen is not None
            and not math.isnan(seen.peak)
            and seen.peak > LARGEST[dtype] * room
        ):
            yield Peak(
                op=None if value.op is None else trace.ops[value.op], value=value, peak=seen.peak, limit=LARGEST[dtype]
            )


def tiny_gradients(trace: Trace, dtype: str) -> tuple[float, int, float]:
    """Returns the share of the non-zero gradient entries of values of `dtype` below its smallest normal number, how
    many entries there are, and the root mean square of the gradients.
    """
    total, tiny, square = 0.0, 0.0, 0.0
    for value in trace.values:
        seen = value.backward
        if value.dtype == dtype and value.op is not None and isinstance(seen, Moments) and seen.finite:
            entries = seen.n * (1 - seen.zero_share)
            total, tiny, square = total + entries, tiny + entries * seen.tiny_share, square + seen.n * seen.rms**2
    return (tiny / total if total else 0.0), round(total), (math.sqrt(square / total) if total else 0.0)


def _put_in(trace: Trace, op: Op, value: Value, large: float) -> bool:
    """Whether a result holds large numbers that come from a constant, not from the data."""
    if any(isinstance(number, int | float) and abs(number) >= large for number in (*op.numbers, *op.named.values())):
        return True
    seen = value.forward
    if seen is None or math.isnan(seen.peak) or seen.peak <= large:
        return False
    if op.name in _MASKING:
        return True
    unknown = any(not trace.values[index].from_data and not trace.values[index].parameters for index in op.operands)
    return unknown and op.kind not in _ARITHMETIC
