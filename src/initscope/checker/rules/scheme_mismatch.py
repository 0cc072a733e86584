"""INI305 scheme-mismatch."""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import NormalDist

from initscope.checker.evidence import Evidence
from initscope.checker.instruments.chain_cures import method_for
from initscope.checker.instruments.chains import heads
from initscope.checker.instruments.graph import next_activation, readers
from initscope.checker.instruments.schemes import Drawn, Match, drawn_weights, matches, right_fans
from initscope.checker.instruments.trace import Trace
from initscope.checker.rule import Rule, register
from initscope.records.finding import Finding

FAMILY = 1e-3
"""Chance, per model, that a weight drawn by a right scheme is called otherwise."""

SOUND = (0.3, 4.0)
"""Variance times true fan-in that any activation can live with: from torch's default 1/3 to beyond the gain of tanh."""

APART = 3.5
"""A fan that is mistaken for another one within this factor does little harm."""

POWER = 0.065
"""Relative standard error of a variance above which one layer alone fits too many hypotheses by accident."""


@register
class SchemeMismatch(Rule):
    """Finds weights drawn by a known scheme with the wrong fan: groups ignored, x @ W transposed, kernels turned.

    Why it is bad

    The layer multiplies or divides the signal by the square root of the two fans' ratio, in every such layer. The
    code looks right: it calls He's or Glorot's function, which read the shape of the tensor and not what it does.

    Criterion

    The hypotheses are variance = c / fan with c of He, LeCun, torch's default and tanh's gain. For the layer's true
    fan-in and the mean of its fans all are rejected at 1e-3 over the layers of the model (Holm's first step; the null
    is that the entries are independent draws of that variance, the standard error is taken with their own kurtosis),
    one fits with a wrong fan within 3.3 standard errors, the fans differ by 3.5 and more, and variance times true
    fan-in lies outside 0.3 ... 4. Where the fans were swapped, two layers of different fans must agree or one of 500
    entries and more must fit. Layers that a normalisation follows, first layers, heads and gates, weights that are
    structured or of one fixed deviation for different shapes are left out.

    When it is fine

    In front of a normalisation. Fan-out in layers that keep their width is no other number.

    Example

        self.w = nn.Parameter(torch.empty(d_in, d_out))
        nn.init.kaiming_normal_(self.w)    # reads d_out as the fan-in of x @ self.w

    Corrected

        nn.init.kaiming_normal_(self.w.T)

    Fix

    The call that counts the connections; `initscope.initialize` does for torch's modules.

    References

    Reports: pytorch #23854, timm #84, keras #11773 (depthwise), mlx #4536 (grouped), pytorch #129834, lsoftmax #3 (x
    @ W), tensorflow #31192, pytorch #30079 (transposed), nfnets #30.
    """

    code = "INI305"
    name = "scheme-mismatch"
    gravest = "warn"
    needs = ("capture",)
    basis = "statistical"
    requires = ("uninitialised", "interchangeable-units")

    def judge(self, evidence: Evidence) -> Iterable[Finding]:
        """Yields one finding for each weight with a wrong fan."""
        trace = evidence.trace
        if not isinstance(trace, Trace):
            return
        drawn = list(drawn_weights(evidence))
        rejected = NormalDist().inv_cdf(1 - FAMILY / (16 * max(len(drawn), 1)))
        inner = _inner(evidence)
        found: list[tuple[Drawn, Match]] = []
        for one in drawn:
            match = _mistaken(one, rejected)
            if match is not None and one.weight in inner and not _normalised(trace, one) and not _fixed(one, drawn):
                found.append((one, match))
        several = len({match.number for _, match in found}) > 1
        for one, match in found:
            if several or one.error <= POWER or "groups" in match.fan:
                yield self._finding(evidence, trace, one, match, len(drawn))

    def _finding(self, evidence: Evidence, trace: Trace, one: Drawn, match: Match, tests: int) -> Finding:
        gain = one.variance * one.fan_in
        p = 2 * (1 - NormalDist().cdf(abs(match.z)))
        where = one.weight.rpartition(".")[0] or one.weight
        return self.finding(
            f"the variance of {one.weight} is that of {match.scheme} over its {match.fan} of "
            f"{match.number:.0f} where its fan-in is "
            f"{one.fan_in:.4g}: the layer multiplies the mean square by {gain:.2g} instead of "
            f"{gain * match.number / one.fan_in:.2g}",
            where=(one.weight, where),
            evidence={
                "std": math.sqrt(one.variance),
                "fan_in": one.fan_in,
                "wrong_fan": match.number,
                "wrong_fan_is": match.fan,
                "scheme": match.scheme,
                "z": round(match.z, 3),
                "p": p,
                "tests": tests,
                "gain": gain,
                "margin_log10": round(abs(math.log10(match.number / one.fan_in)) - math.log10(APART), 3),
            },
            fix=_cure(evidence, trace, one),
            confidence=f"fits at p = {p:.2g}; those with the true fans are rejected at {FAMILY:g} ({tests} layers)",
            location=evidence.locate(one.weight),
        )


def _mistaken(one: Drawn, rejected: float) -> Match | None:
    """The wrong hypothesis that fits where no right one does and the layer's gain is off."""
    if SOUND[0] <= one.variance * one.fan_in <= SOUND[1] or matches(one, right_fans(one), within=rejected):
        return None
    wrong = {name: fan for name, fan in one.wrong.items() if not 1 / APART < fan / one.fan_in < APART}
    return next(iter(matches(one, wrong, within=3.3)), None)


def _inner(evidence: Evidence) -> frozenset[str]:
    """Weights of the layers that carry the signal between the first layer and a head: no gates, no small branches."""
    chains = [head.fed_by.chain()[1:] for head in heads(evidence)]
    return frozenset(one.op.weight for chain in chains for one in chain if one.kind == "layer")


def _normalised(trace: Trace, one: Drawn) -> bool:
    """Whether every reader of the layer is a normalisation."""
    found = list(readers(trace, one.op.result))
    return bool(found) and all(op.kind == "norm" for op in found)


def _fixed(one: Drawn, drawn: list[Drawn]) -> bool:
    """Whether another weight with other fans has the same deviation: one fixed number for all."""
    for other in drawn:
        alike = abs(math.log(other.variance / one.variance)) < 4 * math.hypot(one.error, other.error)
        if other is not one and alike and abs(math.log(other.fan_in / one.fan_in)) > 0.25:
            return not matches(other, right_fans(other), within=3.3)
    return False


def _cure(evidence: Evidence, trace: Trace, one: Drawn) -> str:
    found = next_activation(trace, one.op.result)
    facts = evidence.parameters.get(one.weight)
    if facts is not None and facts.fan_in is not None and abs(facts.fan_in - one.fan_in) < 1:
        return (
            f'initscope.initialize(model, {{"{one.weight}": "{method_for(found.name if found is not None else "")}"}})'
        )
    numerator = 2 if found is not None and found.name != "tanh" else 1
    return f'nn.init.normal_(model.get_parameter("{one.weight}"), std={math.sqrt(numerator / one.fan_in):.4g})'
