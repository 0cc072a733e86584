"""INI803 variance-head."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from initscope.checker.evidence import Evidence
from initscope.checker.instruments.graph import ancestors, main_outputs
from initscope.checker.instruments.trace import Op, Trace
from initscope.checker.rule import Rule, register
from initscope.records.finding import Finding

LIMIT = 8.0
"""Exponents beyond which a scale is no longer useful: e^8 is 3000."""

_BOUNDED = frozenset(
    {
        "tanh",
        "sigmoid",
        "clamp",
        "clamp_max",
        "clamp_min",
        "hardtanh",
        "hardsigmoid",
        "atan",
        "arctan",
        "erf",
        "sin",
        "cos",
        "minimum",
    }
)
_PLAIN = frozenset({"view", "copy", "scale", "bias", "gain"})


@dataclass(frozen=True, kw_only=True, eq=False)
class Exponent:
    """What is exponentiated on its way to the loss: its range, its weights, the power its result divides in.

    `divisor` is 0 where it does not divide, 1 where it does, 2 where the quotient is squared: a deviation, not a
    variance.
    """

    low: float
    high: float
    sources: tuple[str, ...]
    divisor: int

    @property
    def beyond(self) -> float:
        """The largest exponent that enlarges: of the result, or of its reciprocal where it divides."""
        return max(self.high, -self.divisor * self.low)


@register
class VarianceHead(Rule):
    """Finds values that are exponentiated on their way to the loss and whose exponentials leave every useful scale.

    Why it is bad

    A log variance, a log deviation or a log scale of ten means a factor of 22 000: the first losses are astronomical,
    their gradients throw the weights away, or the loss of one sample drowns the batch.

    Criterion

    The range of what an exponential takes, over the batch, at the start: above 8 (e^8 is 3000), or below -8 where the
    result divides, below -4 where the quotient is squared. Bounded exponents (tanh, sigmoid, clamp) and those of
    softmax and logsumexp do not count. Sound heads of the calibration stay below 3, broken ones are beyond 9.

    When it is fine

    Kernels exp(-distance), attention decays, hand-written softmax with its maximum taken off: their exponents are
    negative and do not divide.

    Example

        self.log_var = nn.Linear(64, 8)
        nn.init.normal_(self.log_var.weight, std=3)

    Corrected

        nn.init.zeros_(self.log_var.weight)
        nn.init.zeros_(self.log_var.bias)

    Fix

    A head that starts at zero or with std 0.01, and a clamp.

    References

    Reports: synthcity #331, WorldModels #9, PyTorch-VAE #16 (KL explodes), KL-Loss #4 (enormous first loss).
    """

    code = "INI803"
    name = "variance-head"
    gravest = "warn"
    needs = ("capture",)
    basis = "ratio"
    requires = ("uninitialised", "input-scale")
    data_dependent = True

    def judge(self, evidence: Evidence) -> Iterable[Finding]:
        """Yields one finding for each group of weights whose exponential is out of range."""
        worst: dict[tuple[str, ...], Exponent] = {}
        for one in exponents(evidence):
            if one.beyond > LIMIT and one.sources and one.beyond > getattr(worst.get(one.sources), "beyond", LIMIT):
                worst[one.sources] = one
        for sources, one in worst.items():
            yield self.finding(
                f"what is exponentiated lies between {one.low:.3g} and {one.high:.3g}: a factor of e^{one.beyond:.3g} "
                f"{'in the divisor ' if one.beyond != one.high else ''}reaches the loss",
                where=sources,
                evidence={
                    "low": one.low,
                    "high": one.high,
                    "divisor_power": one.divisor,
                    "exponent": one.beyond,
                    "margin_log10": round(math.log10(one.beyond / LIMIT), 3),
                },
                fix=_cure(evidence, sources),
                confidence=f"an exponent of {one.beyond:.3g}, sound heads start below 3",
                location=evidence.locate(sources[0]),
            )


def exponents(evidence: Evidence) -> Iterator[Exponent]:
    """Yields every exponential on the way to the loss (or the output), with what it takes."""
    trace = evidence.trace
    if not isinstance(trace, Trace):
        return
    ends = [trace.loss] if trace.loss is not None else list(main_outputs(trace))
    reached = ancestors_of_all(trace, ends)
    for op in trace.ops:
        if op.name != "exp" or op.result not in reached or _is_bounded(trace, op) or _is_share(trace, op):
            continue
        low, high = _range(evidence, trace, op)
        if math.isfinite(low) or math.isfinite(high):
            yield Exponent(low=low, high=high, sources=_sources(evidence, trace, op), divisor=_divisor(trace, op))


def ancestors_of_all(trace: Trace, ends: Iterable[int]) -> frozenset[int]:
    """Returns `ends` and all values, of parameters alone too, that they were computed from."""
    found: set[int] = set(ancestors(trace, ends))
    waiting = list(found)
    while waiting:
        made = trace.producer(waiting.pop())
        for index in () if made is None else made.operands:
            if index not in found:
                found.add(index)
                waiting.append(index)
    return frozenset(found)


def _range(evidence: Evidence, trace: Trace, op: Op) -> tuple[float, float]:
    held, result = trace.values[op.operands[0]], trace.values[op.result].forward
    if held.forward is not None:
        return held.forward.low, held.forward.high
    if result is not None:  # a part of another value: only what became of it was measured
        return tuple(math.log(one) if one > 0 else -math.inf for one in (result.low, result.high))  # type: ignore[return-value]  # two
    facts = evidence.parameters.get(held.path)
    return (facts.low, facts.high) if facts is not None and facts.trainable else (math.nan, math.nan)


def _is_bounded(trace: Trace, op: Op) -> bool:
    """Whether the exponent comes straight from a function that bounds it, or from a logarithm."""
    current = op.operands[0]
    while (made := trace.producer(current)) is not None:
        if made.name in _BOUNDED or made.kind == "softmax" or made.name.startswith(("log", "logsumexp")):
            return True
        if made.kind not in _PLAIN:
            return False
        current = next(iter(trace.data_operands(made)), made.operands[0])
    return False


def _is_share(trace: Trace, op: Op) -> bool:
    """Whether the result is divided by a sum of itself: a softmax written by hand."""
    readers = [trace.ops[number] for number in trace.consumers[op.result]]
    sums = {index for reader in readers if reader.kind == "reduce" for index in reader.results}
    return any(reader.name.startswith("div") and reader.operands[-1] in sums for reader in readers)


def _divisor(trace: Trace, op: Op) -> int:
    """In which power the result, or a power or multiple of it, stands in a divisor; 0 where it does not."""
    waiting, seen, found = [op.result], set[int](), 0
    while waiting:
        index = waiting.pop()
        if index in seen:
            continue
        seen.add(index)
        for number in trace.consumers[index]:
            reader = trace.ops[number]
            quotient = reader.name.startswith("div") and len(reader.operands) > 1 and reader.operands[1] == index
            if reader.name in ("reciprocal", "rsqrt") or quotient:
                found = max(found, 1 + _squared(trace, reader.result))
            elif reader.kind in _PLAIN or reader.name in ("pow", "sqrt", "square"):
                waiting += reader.results
    return found


def _squared(trace: Trace, value: int) -> bool:
    found = [trace.ops[number] for number in trace.consumers[value]]
    return any(op.name in ("pow", "square") or op.operands.count(value) > 1 for op in found)


def _sources(evidence: Evidence, trace: Trace, op: Op) -> tuple[str, ...]:
    """The weight and bias of the layer that gives the exponent, else the parameter itself, else the nearest layer."""
    current = op.operands[0]
    while (made := trace.producer(current)) is not None:
        if made.kind == "linear" and made.weight:
            biases = [path for index in made.operands for path in trace.values[index].parameters if path != made.weight]
            return (made.weight, *biases)
        current = next(iter(trace.data_operands(made)), made.operands[0] if made.operands else -1)
        if current < 0:
            break
    path = trace.values[current].path if current >= 0 else ""
    return (path,) if path in evidence.parameters else ()


def _cure(evidence: Evidence, sources: tuple[str, ...]) -> str:
    shown = ", ".join(f'"{path}": "zeros"' for path in sources if path in evidence.parameters)
    return f"initscope.initialize(model, {{{shown}}})"
