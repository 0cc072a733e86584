"""By how much a chain loses or gains, once for each chain that feeds a head."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from initscope.checker.evidence import Evidence
from initscope.checker.instruments.chains import Head, Station, heads, layer_gains
from initscope.checker.instruments.graph import ancestors
from initscope.checker.instruments.trace import Trace

REPEATED = 2
"""Uses of one weight in a pass from which on it counts as unrolled over time."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ChainChange:
    """What one chain did to the signal, in decades (powers of ten).

    decades   of the signal from the first station to the last one before the head; for the back-signal from the last
              to the first
    rate      decades a layer
    layers    layers in the chain;  skips  sums that a shorter way joins
    stations  from the first to the last;  guilty  the layers, the one that changed most first
    """

    head: Head
    decades: float
    rate: float
    layers: int
    skips: int
    stations: tuple[Station, ...]
    guilty: tuple[Station, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the guilty layers, each once."""
        return tuple(dict.fromkeys(one.name for one in self.guilty if one.name))

    @property
    def repeats(self) -> bool:
        """Whether one weight stands in the chain three times or more: a recurrence."""
        used = [one.op.weight for one in self.stations if one.kind == "layer"]
        return any(used.count(weight) > 2 for weight in set(used))


def forward_changes(evidence: Evidence) -> Iterator[ChainChange]:
    """Yields each chain's change of the signal between samples; one chain of several heads comes once.

    A large scale at the start is no harm to lose, a small one none to gain: a loss counts from one downwards where the
    chain starts above one (unless the samples become alike), a gain up to the signal's own size.
    """
    for head in _distinct(evidence):
        stations = _without_tail(head.fed_by.since_norm())
        if len(stations) < 2 or not math.isfinite(stations[-1].gain):
            continue
        decades = _counted(evidence, stations)
        rank = sorted(layer_gains(stations), key=lambda pair: -pair[1] * math.copysign(1.0, decades))
        yield _change(head, stations, decades, tuple(station for station, _ in rank if station.kind == "layer"))


def backward_changes(evidence: Evidence) -> Iterator[ChainChange]:
    """Yields each chain's change of the gradient with respect to pre-activations, from the head to the first layer.

    Gradients are compared behind normalisations where there are any, as what stands before one may have any scale.
    """
    for head in _distinct(evidence):
        chain = head.fed_by.chain()
        if _through_time(evidence, chain[-1]):
            continue
        norms = [number for number, one in enumerate(chain) if one.kind == "norm"]
        kept = [one for number, one in enumerate(chain) if not norms or number >= norms[-1] or one.kind == "norm"]
        kept = [one for one in kept if math.isfinite(one.back)]
        if len(kept) < 2 or kept[-1].back <= 0:
            continue
        neutral = sum(_neutral_jump(first, second) for first, second in pairwise(kept))
        if kept[0].back <= 0:
            if min((one.back for one in kept if one.back > 0), default=1.0) > 1e-30:
                continue
            decades = -45.0
        else:
            decades = math.log10(kept[0].back / kept[-1].back) - neutral
        steps = [
            (first, math.log10(first.back / second.back))
            for first, second in pairwise(kept)
            if first.back > 0 and second.back > 0 and second.kind != "neutral"
        ]
        rank = sorted(steps, key=lambda pair: -pair[1] * math.copysign(1.0, decades))
        yield _change(head, tuple(chain), decades, tuple(_layer_at(one) for one, _ in rank))


def _through_time(evidence: Evidence, last: Station) -> bool:
    """Whether weights that are used again and again lead there: what is lost over time is another rule's subject."""
    trace = evidence.trace
    assert isinstance(trace, Trace)
    used = Counter(op.weight for op in trace.forward_ops("linear") if op.weight)
    behind = ancestors(trace, [last.value])
    return any(used[op.weight] > REPEATED and op.result in behind for op in trace.forward_ops("linear"))


def _layer_at(station: Station) -> Station:
    """The station itself where it is a layer, else the last layer before it."""
    return next((one for one in station.chain()[::-1] if one.kind == "layer"), station)


def _change(head: Head, stations: tuple[Station, ...], decades: float, guilty: tuple[Station, ...]) -> ChainChange:
    layers = sum(one.kind == "layer" for one in stations)
    return ChainChange(
        head=head,
        decades=decades,
        rate=decades / max(layers - 1, 1),
        layers=layers,
        skips=stations[-1].skips,
        stations=stations,
        guilty=guilty,
    )


def _distinct(evidence: Evidence) -> Iterator[Head]:
    seen: set[int] = set()
    for head in heads(evidence):
        if head.fed_by.value not in seen:
            seen.add(head.fed_by.value)
            yield head


def _without_tail(stations: tuple[Station, ...]) -> tuple[Station, ...]:
    """The stations without the poolings and joins at their end."""
    end = max((number for number, one in enumerate(stations) if one.kind != "neutral"), default=0)
    return stations[: end + 1]


def _counted(evidence: Evidence, stations: tuple[Station, ...]) -> float:
    first, last = stations[0], stations[-1]
    gain = last.gain - (first.gain if first.kind != "norm" else 0.0)
    if last.gain <= -40 or first.signal <= 0 or not isinstance(evidence.trace, Trace):
        return gain
    if gain > 0:
        return max(0.0, min(gain, math.log10(last.signal) if last.signal > 0 else 0.0))
    scale = min(0.0, gain + max(0.0, math.log10(first.signal)))
    before, after = (evidence.trace.values[one.value].forward for one in (first, last))
    if before is None or after is None or not (before.rms > 0 and after.rms > 0 and last.signal > 0):
        return scale
    alike = min(0.0, math.log10(last.signal / after.rms) - math.log10(first.signal / before.rms))
    return min(scale, alike)


def _neutral_jump(first: Station, second: Station) -> float:
    """Decades that a pooling, an attention or a join takes: they spread a gradient over entries."""
    if second.kind != "neutral" or first.back <= 0 or second.back <= 0:
        return 0.0
    return math.log10(first.back / second.back)
