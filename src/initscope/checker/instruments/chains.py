"""How the difference between samples fares along the way that carries it, from the first layer to the head.

Every value that the inputs can change stands at the end of a chain of stations: pre-activations of layers, sums,
results of normalisations. Where ways meet, the chain is that of the operand with the strongest signal, so that a
residual stream is followed along its skip, and branches that start at zero or behind a tiny scale leave no mark.
`gain` of a station is the logarithm (base 10) of its signal over that at the start of its chain. Poolings, attention
and joins are neutral: what they average away is not counted. A normalisation gives back what the layers before it
lost, except what its epsilon or a part common to all samples keeps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from initscope.checker.evidence import Evidence, ParameterFacts
from initscope.checker.instruments.graph import after_bias, ancestors, main_outputs
from initscope.checker.instruments.trace import Moments, Op, Trace

StationKind = Literal["layer", "sum", "norm", "neutral"]
LOWEST = -45.0
"""Gain of a signal that left float32's range though no weight is zero."""

_PASSED = frozenset({"view", "copy", "scale", "bias", "gain", "activation", "product"})
"""Kinds behind which a value still belongs to the station before it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Station:
    """One place of a chain.

    value    index of the value; for a layer the one behind its bias
    op       its operator;  name  of a layer, the module that owns the weight or a bare parameter, else ""
    signal   standard deviation between samples there (over samples and positions where that is not known)
    gain     decades gained since the start of the chain, negative for a loss; NaN behind a value that is constant
    back     root mean square of the loss's gradient there; NaN where none arrived
    layers   linear layers passed since the start of the chain or the last normalisation
    skips    sums passed since then that a shorter way joins
    branch   of a sum that a shorter way joins, the last layer of the branch that is added, None where it has none
    previous the station before, None for the first
    """

    value: int
    op: Op
    kind: StationKind
    name: str
    signal: float
    gain: float
    back: float
    layers: int
    skips: int
    branch: Station | None
    previous: Station | None

    def chain(self) -> tuple[Station, ...]:
        """Returns the stations from the first to this one."""
        found: list[Station] = [self]
        while found[-1].previous is not None:
            found.append(found[-1].previous)
        return tuple(found[::-1])

    def since_norm(self) -> tuple[Station, ...]:
        """Returns the end of the chain: from its start, or from the last normalisation that gave the signal back."""
        found: list[Station] = []
        for station in self.chain()[::-1]:
            found.append(station)
            if station.kind == "norm" and station.gain == 0.0:
                break
        return tuple(found[::-1])


@dataclass(frozen=True, kw_only=True, eq=False)
class Head:
    """A layer whose output no other layer reads, and the station that feeds it."""

    weight: str
    op: Op
    fed_by: Station


def heads(evidence: Evidence) -> tuple[Head, ...]:
    """Returns the layers behind which only the output lies, each with the end of the chain that feeds it.

    A head may be scaled as one likes, hence chains are judged before it. Without capture: none.
    """
    trace = evidence.trace
    if not isinstance(trace, Trace):
        return ()
    walk = _Walk(trace, evidence.parameters)
    reached = ancestors(trace, main_outputs(trace))
    inside = [op for op in trace.forward_ops("linear") if op.weight and any(index in reached for index in op.results)]
    below = _reading_layers(trace)
    found = []
    for op in inside:
        if not any(index in below for index in op.results):
            station = walk.feeding(op)
            if station is not None:
                found.append(Head(weight=op.weight, op=op, fed_by=station))
    return tuple(found)


def _reading_layers(trace: Trace) -> frozenset[int]:
    """Values from which another layer inside the model is computed."""
    return ancestors(
        trace, [index for op in trace.forward_ops("linear") if op.weight for index in trace.data_operands(op)]
    )


class _Walk:
    """The stations of a trace, found in one pass in the order the operators ran."""

    def __init__(self, trace: Trace, parameters: Mapping[str, ParameterFacts]) -> None:
        self.trace, self.parameters = trace, parameters
        self.at: dict[int, Station] = {}
        self.size: dict[int, float] = {}
        for op in trace.forward_ops():
            station = self._station(op)
            for index in op.results:
                if station is not None:
                    self.at[index] = station
                made = trace.values[index].forward
                self.size[index] = signal_of(made) if made is not None else self._size_before(op)

    def feeding(self, op: Op) -> Station | None:
        """Returns the station whose signal `op` reads: that of its strongest operand."""
        found = [index for index in self.trace.data_operands(op) if index in self.at]
        return self.at[max(found, key=lambda index: self.size.get(index, 0.0))] if found else None

    def _size_before(self, op: Op) -> float:
        return max((self.size.get(index, 0.0) for index in self.trace.data_operands(op)), default=0.0)

    def _station(self, op: Op) -> Station | None:
        before = self.feeding(op)
        if op.kind == "linear" and op.weight:
            return self._made(op, "layer", before, after_bias(self.trace, op.result))
        if before is None:
            return self._made(op, "layer", None, op.result) if op.kind == "lookup" and op.weight else None
        if op.kind == "norm" or is_hand_norm(self.trace, op):
            return self._made(op, "norm", before, op.result)
        if op.kind == "sum":
            strongest = max(self.trace.data_operands(op), key=lambda index: self.size.get(index, 0.0))
            if strongest not in self.at:  # the raw input is what is left of the signal: no chain has begun
                return None
            return self._made(op, "sum", before, after_bias(self.trace, op.result))
        if op.kind in _PASSED and not _noisy(self.trace, op):
            return before
        return self._made(op, "neutral", before, op.result)

    def _made(self, op: Op, kind: StationKind, before: Station | None, value: int) -> Station:
        held = self.trace.values[value]
        forward = held.forward or self.trace.values[op.result].forward
        back = held.backward or self.trace.values[op.result].backward
        signal = signal_of(forward) if forward is not None else (before.signal if before else math.nan)
        gain = 0.0 if before is None else self._gain(op, kind, before, forward, signal)
        fresh = kind == "norm" and gain == 0.0
        passed = before.layers if before is not None and not fresh else 0
        skipped = before.skips if before is not None and not fresh else 0
        joined = self._branch(op) if kind == "sum" else None
        return Station(
            value=value,
            op=op,
            kind=kind,
            name=self._named(op.weight) if kind == "layer" else "",
            signal=signal,
            gain=gain,
            back=back.rms if back is not None else math.nan,
            layers=passed + (kind == "layer"),
            skips=skipped + (joined is not None),
            branch=joined,
            previous=before,
        )

    def _branch(self, op: Op) -> Station | None:
        """The end of the way that the other operand of the sum, made from it or standing before it, is joined by."""
        stations = [self.at[index] for index in self.trace.data_operands(op) if index in self.at]
        for one in stations:
            for other in stations:
                if one is not other and other in one.chain()[-9:-1]:
                    last = (station for station in one.chain()[::-1] if station.kind == "layer" or station is other)
                    found = next(last)
                    return found if found is not other else one
        return None

    def _gain(self, op: Op, kind: StationKind, before: Station, forward: Moments | None, signal: float) -> float:
        if kind == "neutral" or forward is None:
            return before.gain
        if kind == "norm":
            return self._kept_by_norm(op, before, forward)
        start = self.trace.values[before.value].forward
        if start is None or not forward.finite or not start.finite:
            return before.gain
        pair = _comparable(start, forward)
        if pair[0] <= 0:
            return before.gain if before.gain == LOWEST else math.nan
        if pair[1] <= 0:
            lost = pair[0] < 1e-30 and not self._zero(op)
            return LOWEST if lost else math.nan
        return before.gain + math.log10(pair[1] / pair[0])

    def _kept_by_norm(self, op: Op, before: Station, forward: Moments) -> float:
        """What a normalisation does not give back: what epsilon floored, and what is common to all samples."""
        if not before.gain < 0 or forward.rms <= 0:
            return before.gain if math.isnan(before.gain) or before.gain == LOWEST else 0.0
        start = self.trace.values[before.chain()[0].value].forward
        gains = [
            facts.rms
            for index in op.operands
            for path in self.trace.values[index].parameters
            if (facts := self.parameters.get(path)) is not None and not facts.role.endswith("bias")
        ]
        units = self.trace.values[op.result].shape[-1:] or (1,)
        usual = max(gains, default=1.0) if op.kind == "norm" else 1.0 / math.sqrt(max(units[0], 1))
        floored = min(0.0, math.log10(forward.rms / usual)) if usual > 0 else 0.0
        common = 0.0
        if start is not None and start.rms > 0:
            shares = _comparable(start, forward)
            if shares[0] > 0 and shares[1] > 0:
                common = min(0.0, math.log10(shares[1] / forward.rms) - math.log10(shares[0] / start.rms))
        kept = max(before.gain, floored + common)
        return kept if kept < -1.0 else 0.0

    def _named(self, weight: str) -> str:
        """The module that owns the weight; a bare parameter's own path."""
        facts = self.parameters.get(weight)
        bare = facts is not None and facts.fan_in is None
        return weight if bare else weight.rpartition(".")[0] or weight

    def _zero(self, op: Op) -> bool:
        facts = self.parameters.get(op.weight)
        return facts is None or facts.zero


def signal_of(moments: Moments) -> float:
    """Returns the standard deviation between samples, over samples and positions where that is not known."""
    if math.isfinite(moments.between):
        return moments.between
    return moments.spread if math.isfinite(moments.spread) else 0.0


def _comparable(first: Moments, second: Moments) -> tuple[float, float]:
    """The same statistic of both."""
    if math.isfinite(first.between) and math.isfinite(second.between):
        return first.between, second.between
    return first.spread, second.spread


def _noisy(trace: Trace, op: Op) -> bool:
    """Whether data are multiplied by a whole tensor of constants: noise, a mask, a window."""
    constants = [trace.values[index] for index in op.operands if not trace.values[index].from_data]
    return op.kind == "scale" and any(not one.parameters and _count(one.shape) > 1 for one in constants)


def is_hand_norm(trace: Trace, op: Op) -> bool:
    """Returns whether a product divides data by a statistic of themselves: a normalisation written out by hand."""
    if op.kind != "product":
        return False
    return any(_statistic(trace, index) for index in trace.data_operands(op))


def _statistic(trace: Trace, value: int) -> bool:
    """Whether a value is a reduction of data followed by a root or a reciprocal, or divides: no layer between."""
    current, steps = value, 0
    rooted = any(trace.ops[index].name in ("div", "divide", "true_divide") for index in trace.consumers[value])
    while steps < 12:
        op = trace.producer(current)
        if op is None:
            return False
        rooted = rooted or op.name in ("rsqrt", "reciprocal", "sqrt", "pow", "linalg_vector_norm", "norm", "std")
        if op.kind == "reduce":
            return rooted and op.name not in ("amax", "amin", "max", "min") and _smaller(trace, op)
        if op.kind not in ("view", "copy", "scale", "activation", "bias"):
            return False
        data = trace.data_operands(op)
        if not data:
            return False
        current, steps = data[0], steps + 1
    return False


def _smaller(trace: Trace, op: Op) -> bool:
    given = trace.data_operands(op)
    return bool(given) and _count(trace.values[op.result].shape) < _count(trace.values[given[0]].shape)


def _count(shape: tuple[int, ...]) -> int:
    return math.prod(shape)


def layer_gains(chain: tuple[Station, ...]) -> Iterator[tuple[Station, float]]:
    """Yields the layers and sums of a chain with the decades each one gained over the station before."""
    for first, second in pairwise(chain):
        if second.kind in ("layer", "sum") and math.isfinite(second.gain) and math.isfinite(first.gain):
            yield second, second.gain - first.gain
