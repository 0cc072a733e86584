"""INI307 recurrent-decay."""

from __future__ import annotations

import math
from collections.abc import Iterable

from initscope.checker.evidence import Evidence
from initscope.checker.instruments.recurrences import Recurrence, recurrences
from initscope.checker.instruments.recurrent_facts import cure, recurrent_facts
from initscope.checker.instruments.trace import Trace
from initscope.checker.rule import Rule, register
from initscope.records.finding import Finding

MATRIX = (-0.4, -6.0)
"""Decades a step and over the whole length, for matrices and gates."""

DIAGONAL = (-0.15, -5.0)
"""The same for decays that multiply entry by entry, which are meant to be near one."""


@register
class RecurrentDecay(Rule):
    """Finds recurrent layers whose gradient is gone a few steps back in time.

    Why it is bad

    What happened more than a few steps ago cannot be learnt: its gradient is smaller than the noise of one batch, and
    stays so, as nothing pulls the recurrent weights towards remembering.

    Criterion

    The gradient of the loss with respect to what the recurrent weight makes of the state, at each step. The slope of
    its logarithm over time is at most -0.4 decades a step (a factor of 0.4; half of it is gone in less than one step)
    and the whole length takes 6 decades; for a diagonal recurrence -0.15 and 5. torch's default LSTM, GRU and RNN
    lose 0.10 to 0.27 decades a step and are left in peace, as they learn over 40 to 80 steps; broken ones of the
    calibration lose 0.5 to 0.9, diagonal ones 0.25. Targets at every step give every step a gradient: nothing is
    found there.

    When it is fine

    Tasks that need no memory beyond a few steps: allow it there. It is a warning, never an error.

    Example

        nn.init.normal_(rnn.weight_hh_l0, std=0.02)    # 48 units: a factor of 0.14 a step

    Corrected

        nn.init.orthogonal_(rnn.weight_hh_l0)

    Fix

    Orthogonal or identity matrices; forget biases of 1 and more; decays near one.

    References

    Bengio, Simard, Frasconi 1994; Jozefowicz, Zaremba, Sutskever, ICML 2015. Reports: pytorch #750, #20102, char-rnn
    #60, mad-lab #3.
    """

    code = "INI307"
    name = "recurrent-decay"
    gravest = "warn"
    needs = ("capture", "gradients")
    basis = "ratio"
    requires = (
        "layer-dead",
        "input-scale",
        "interchangeable-units",
        "init-lost",
        "non-finite",
        "uninitialised",
        "gradient-blocked",
    )

    def judge(self, evidence: Evidence) -> Iterable[Finding]:
        """Yields one finding for each recurrent weight behind which the gradient is lost."""
        if not isinstance(evidence.trace, Trace):
            return
        for one in recurrences(evidence.trace):
            rate, whole = DIAGONAL if one.diagonal else MATRIX
            if not math.isfinite(one.back_rate) or one.back_rate > rate or one.back_rate * one.steps > whole:
                continue
            yield self._finding(evidence, one, rate)

    def _finding(self, evidence: Evidence, one: Recurrence, rate: float) -> Finding:
        facts = recurrent_facts(evidence, one)
        half_life = math.log10(2) / -one.back_rate
        return self.finding(
            f"going back in time the gradient shrinks by a factor of {10**one.back_rate:.2g} a step, "
            f"half of it in {half_life:.2g} "
            f"steps, and the sequence has {one.steps}: what came more than "
            f"{max(1, round(3 / -one.back_rate))} steps before cannot be learnt",
            where=(one.weight,),
            evidence={
                "decades_per_step": round(one.back_rate, 4),
                "half_life_steps": round(half_life, 2),
                "steps": one.steps,
                "spectral_radius": facts.radius,
                "gate_bias": facts.gate_bias,
                "margin_log10": round(rate - one.back_rate, 3),
            },
            fix=cure(one, facts),
            confidence=f"{-one.back_rate:.2f} decades a step, default layers lose at most 0.27",
            location=evidence.locate(one.weight),
        )

    def silenced_by(self, finding: Finding, cause: Finding) -> bool:
        """An overwritten initialisation explains it only where it is this layer's."""
        if cause.name != "init-lost":
            return True
        owner = finding.where[0].rpartition(".")[0]
        return any(path == owner or path.startswith(f"{owner}.") for path in cause.where)
