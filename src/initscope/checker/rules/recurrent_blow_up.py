"""INI308 recurrent-blow-up."""

from __future__ import annotations

import math
from collections.abc import Iterable

from initscope.checker.evidence import Evidence
from initscope.checker.instruments.recurrences import Recurrence, recurrences
from initscope.checker.instruments.recurrent_facts import cure, recurrent_facts
from initscope.checker.instruments.trace import Trace
from initscope.checker.rule import Rule, register
from initscope.records.finding import Finding

WARN, ERROR = 2.5, 5.0
"""Decades over the whole length."""


@register
class RecurrentBlowUp(Rule):
    """Finds recurrent layers whose state, or whose gradient back in time, grows with every step.

    Why it is bad

    The state leaves the range of the readout or of the number format, or, bounded by tanh, the network starts
    chaotic: the gradient of the first steps drowns everything, and a longer sequence is a worse one.

    Criterion

    A straight line is fitted to the logarithm of the size of what the recurrent weight makes of the state, over the
    later three quarters of the steps, and to that of the gradient there. The growth over the whole length is counted
    in decades: of the gradient, or of the state up to its own size. Warning from 2.5, error from 5. Sound ones of the
    calibration gain at most 1.4 (an LSTM with wide open forget gates over 60 steps), broken ones 5 to 14.

    When it is fine

    States that add up (identity matrices, open gates) grow by the number of steps at most, which is no growth a step.

    Example

        nn.init.xavier_normal_(rnn.weight_hh_l0, gain=2.5)

    Corrected

        nn.init.eye_(rnn.weight_hh_l0)

    Fix

    Orthogonal or identity matrices, decays below one.

    References

    Pascanu, Mikolov, Bengio, ICML 2013; Le, Jaitly, Hinton 2015.
    """

    code = "INI308"
    name = "recurrent-blow-up"
    gravest = "error"
    needs = ("capture",)
    basis = "ratio"
    requires = ("interchangeable-units", "uninitialised", "input-scale")

    def judge(self, evidence: Evidence) -> Iterable[Finding]:
        """Yields one finding for each recurrent weight with which state or gradient grows."""
        if not isinstance(evidence.trace, Trace):
            return
        for one in recurrences(evidence.trace):
            decades = growth(one)
            if decades >= WARN:
                yield self._finding(evidence, one, decades)

    def _finding(self, evidence: Evidence, one: Recurrence, decades: float) -> Finding:
        facts = recurrent_facts(evidence, one)
        state = _of_state(one) >= decades
        rate = 10 ** (one.rate if state else one.back_rate)
        what = "the state grows" if state else "going back in time the gradient grows"
        return self.finding(
            f"{what} by a factor of {rate:.3g} a step, by {decades:.1f} decades over {one.steps} steps: "
            "the longer the sequence the less it can be trained",
            where=(one.weight,),
            evidence={
                "decades": round(decades, 3),
                "factor_per_step": round(rate, 4),
                "steps": one.steps,
                "last_size": one.last_size,
                "spectral_radius": facts.radius,
                "gate_bias": facts.gate_bias,
                "margin_log10": round(decades - WARN, 3),
            },
            fix=cure(one, facts),
            severity="error" if decades >= ERROR else "warn",
            confidence=f"{decades:.1f} decades gained, sound recurrences gain at most 1.4",
            location=evidence.locate(one.weight),
        )


def growth(one: Recurrence) -> float:
    """Returns the decades that a recurrence gains over its length: of the gradient, or of the state up to its size."""
    back = one.back_rate * one.steps if math.isfinite(one.back_rate) else 0.0
    return max(back, _of_state(one))


def _of_state(one: Recurrence) -> float:
    if not math.isfinite(one.rate) or not one.last_size > 0:
        return 0.0
    return min(one.rate * one.steps, math.log10(one.last_size))
