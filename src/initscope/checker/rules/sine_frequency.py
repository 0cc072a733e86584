"""INI802 sine-frequency."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from initscope.checker.evidence import Evidence
from initscope.checker.instruments.graph import ancestors
from initscope.checker.instruments.trace import Op, Trace
from initscope.checker.rule import Rule, register
from initscope.records.finding import Finding

HIDDEN = 3.0
"""Standard deviation of a hidden sine's argument, in radians, from which neighbouring samples get unrelated values."""

FIRST_LOW, OMEGA = 1.0, 5.0
"""A first layer with a multiplier of OMEGA and more is meant to oscillate: an argument below FIRST_LOW does not."""

STRAIGHT = 0.1
"""Below this a sine is its own tangent to 0.2 %, whatever it was meant for."""

FIRST_HIGH, PLACES = 1200.0, 5.0
"""Argument of the first sine, and size of the places fed in, from which the places are in a unit not meant."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sine:
    """A sine of a layer with trainable weights: its standard deviation in radians, and the multiplier on the way."""

    weight: str
    argument: float
    omega: float
    first: bool
    fan_in: int
    given: float


@register
class SineFrequency(Rule):
    """Finds sine layers whose argument is far too large in a hidden layer, or far from oscillating in the first.

    Why it is bad

    A sine of an argument with a deviation far above one is a random number generator: its gradient has the size of the
    weights and no direction that lasts. A first layer that should give waves of many frequencies but stays within a
    fraction of one period gives a straight line.

    Criterion

    The standard deviation of the argument over samples. Hidden layers: above 3 (Sitzmann's start gives 1; the sound
    ones of the calibration 0.9 to 1.2, broken ones 6 to 30). First layer: below 1 although a constant of 5 and more
    multiplies it (sound 5 to 10, broken 0.2), below 0.1 whatever multiplies it, or above 1200 on inputs above 5 (places
    in pixels).

    When it is fine

    The large argument of a SIREN's first layer, Fourier features with fixed matrices, position codes, sines without a
    multiplier on smooth targets, sines with a learnt frequency (snake).

    Example

        torch.sin(30 * self.hidden(x))    # weights within sqrt(6 / n)

    Corrected

        nn.init.uniform_(self.hidden.weight, -math.sqrt(6 / n) / 30, math.sqrt(6 / n) / 30)

    Fix

    Hidden weights within sqrt(6 / fan_in) / omega, first weights within 1 / fan_in, places within -1 ... 1.

    References

    Sitzmann, Martel, Bergman, Lindell, Wetzstein, NeurIPS 2020. Reports: siren-pytorch #1, siren #4, siren #19.
    """

    code = "INI802"
    name = "sine-frequency"
    gravest = "warn"
    needs = ("capture",)
    basis = "ratio"
    requires = ("uninitialised", "non-finite", "interchangeable-units")
    data_dependent = True

    def judge(self, evidence: Evidence) -> Iterable[Finding]:
        """Yields one finding for each sine layer out of its range."""
        for sine in sines(evidence):
            if not sine.first and sine.argument > HIDDEN:
                said = (
                    f"the sine behind it turns by {sine.argument:.3g} rad (one standard deviation): it starts chaotic"
                )
                bound = math.sqrt(6 / sine.fan_in) / sine.omega
                yield self._finding(evidence, sine, said, bound, math.log10(sine.argument / HIDDEN))
            elif sine.first and sine.omega >= OMEGA and sine.argument < FIRST_LOW:
                said = (
                    f"the first sine turns by {sine.argument:.3g} rad although {sine.omega:.3g} "
                    "multiplies it: it hardly bends"
                )
                yield self._finding(evidence, sine, said, 1 / sine.fan_in, math.log10(FIRST_LOW / sine.argument))
            elif sine.first and sine.argument < STRAIGHT:
                said = f"the first sine turns by {sine.argument:.3g} rad: over that it is a straight line"
                yield self._finding(evidence, sine, said, 6 / sine.fan_in, math.log10(STRAIGHT / sine.argument))
            elif sine.first and sine.argument > FIRST_HIGH and sine.given > PLACES:
                said = (
                    f"the first sine turns by {sine.argument:.4g} rad on inputs of size "
                    f"{sine.given:.3g}: they are not in -1 ... 1"
                )
                yield self._finding(evidence, sine, said, None, math.log10(sine.argument / FIRST_HIGH))

    def _finding(self, evidence: Evidence, sine: Sine, said: str, bound: float | None, margin: float) -> Finding:
        cure = f'nn.init.uniform_(model.get_parameter("{sine.weight}"), {-(bound or 0):.4g}, {bound or 0:.4g})'
        return self.finding(
            said,
            where=(sine.weight,),
            evidence={
                "argument_std": sine.argument,
                "omega": sine.omega,
                "first_layer": sine.first,
                "fan_in": sine.fan_in,
                "input_rms": sine.given,
                "margin_log10": round(margin, 3),
            },
            fix=cure if bound is not None else "scale the inputs to -1 ... 1 before the first layer",
            confidence=f"{10**margin:.3g} times the limit",
            location=evidence.locate(sine.weight),
        )


def sines(evidence: Evidence) -> Iterator[Sine]:
    """Yields each trainable layer's sine, the first call of each."""
    trace = evidence.trace
    if not isinstance(trace, Trace):
        return
    seen: set[str] = set()
    for op in trace.forward_ops("activation"):
        if op.name not in ("sin", "cos"):
            continue
        layer = _layer_before(trace, op)
        facts = None if layer is None else evidence.parameters.get(layer.weight)
        if layer is None or facts is None or not facts.trainable or layer.weight in seen:
            continue
        seen.add(layer.weight)
        argument, plain = trace.values[trace.data_operands(op)[0]].forward, trace.values[layer.result].forward
        fed = trace.values[trace.data_operands(layer)[0]]
        if argument is None or plain is None or not (argument.spread > 0 and plain.spread > 0):
            continue
        before = ancestors(trace, trace.data_operands(layer))
        first = not any(
            made is not None and made.kind == "linear" and made.weight for made in map(trace.producer, before)
        )
        entries, units = math.prod(facts.shape), trace.values[layer.result].shape[-1]
        yield Sine(
            weight=layer.weight,
            argument=argument.spread,
            omega=argument.spread / plain.spread,
            first=first,
            fan_in=max(entries // max(units, 1), 1),
            given=fed.forward.rms if fed.forward is not None else math.nan,
        )


def _layer_before(trace: Trace, op: Op) -> Op | None:
    """The layer whose output, at most shifted and multiplied by constants, the sine takes."""
    current = trace.data_operands(op)[0]
    while (made := trace.producer(current)) is not None:
        if made.kind == "linear" and made.weight:
            return made
        if made.kind not in ("view", "copy", "scale", "bias"):
            return None
        current = trace.data_operands(made)[0]
    return None
