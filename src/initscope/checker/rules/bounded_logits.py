"""INI505 bounded-logits."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, exp, isfinite, log, log1p

from initscope.checker.evidence import Evidence
from initscope.checker.instruments.logits import Logits, loss_logits
from initscope.checker.instruments.output_bias import head_of
from initscope.checker.instruments.trace import Op, Trace
from initscope.checker.rule import Rule, register
from initscope.records.finding import Finding

SHARE = 0.1
BARE = 1.5
"""A contrastive loss below this scale has no temperature at all; 2 (a temperature of 0.5) is in use."""


@register
class BoundedLogits(Rule):
    """Finds classifiers whose logits cannot reach far enough for the loss to come near zero.

    Why it is bad

    Cosines lie between -1 and 1, and so does a tanh. A softmax of such logits gives the right class e^2 times the
    share of a wrong one at best; with a hundred classes that is 7 %. The loss stops at a floor, and the gradient of
    samples that are right already never ends.

    Criterion

    A fact, read from the operators: the logits of the loss are a tanh, or products of vectors of length one, times a
    constant s. Cosines of C balanced classes can stand at most s C / (C - 1) apart (a simplex), a tanh 2 s. The least
    loss that is left, ln(1 + (C - 1) e^-gap), is a tenth of ln C and more. Where samples are told apart within the
    batch (both vectors come from data) temperatures up to 0.7 are in use; only s below 1.5 counts, a temperature
    forgotten. Sound networks of the calibration have a floor of 0.1 % of chance, broken ones 37 % and more.

    When it is fine

    s of ln(C) + 5 and more; a learnable scale, which is an info.

    Example

        logits = F.linear(F.normalize(features), F.normalize(prototypes))

    Corrected

        logits = 16 * F.linear(F.normalize(features), F.normalize(prototypes))

    Fix

    A scale, constant or learnable.

    References

    Wang, Xiang, Cheng, Yuille, NormFace, 2017, proposition 2.
    """

    code = "INI505"
    name = "bounded-logits"
    gravest = "warn"
    needs = ("capture", "loss")
    basis = "exact"

    def judge(self, evidence: Evidence) -> Iterable[Finding]:
        """Yields one finding for each loss whose logits are bounded too tightly."""
        trace = evidence.trace
        assert isinstance(trace, Trace)
        seen = set()
        for logits in loss_logits(trace):
            maker = logits.maker
            if (
                maker is None
                or logits.form not in ("tanh", "cosine")
                or not isfinite(logits.scale)
                or logits.classes < 2
            ):
                continue
            floor, chance = _floor(logits), log(logits.classes)
            narrow = logits.scale < BARE if logits.paired else floor >= SHARE * chance
            where = _where(evidence, trace, maker)
            if not narrow or where in seen:
                continue
            seen.add(where)
            yield self._finding(evidence, logits, maker, where=where, floor=floor, chance=chance)

    def _finding(
        self, evidence: Evidence, logits: Logits, maker: Op, *, where: tuple[str, ...], floor: float, chance: float
    ) -> Finding:
        what = "cosines" if logits.form == "cosine" else "a tanh"
        wanted = ceil(log(logits.classes)) + 5
        if logits.learned:
            message = (
                f"the logits are {what} times a learnable scale that starts at {logits.scale:.3g}: until it grows "
                f"the loss cannot fall below {floor:.3g} (chance {chance:.3g})"
            )
        else:
            message = (
                f"the logits of {logits.classes} classes are {what} times {logits.scale:.3g}: "
                f"the loss cannot fall below {floor:.3g}, {floor / chance:.0%} of chance"
            )
        line = f" in line {maker.place.line} of {maker.place.file}" if maker.place else ""
        if logits.learned:
            fix = f"nothing to do; a scale that starts at {wanted} saves the steps in which it grows"
        elif logits.form == "tanh":
            fix = f"remove the tanh in front of the loss{line}"
        elif logits.paired:
            fix = f"divide the cosines{line} by a temperature: logits = cosines / 0.07"
        else:
            fix = (
                f"multiply the cosines{line} by {wanted}: logits = {wanted} * cosines, or by "
                f"self.log_scale.exp() with self.log_scale = nn.Parameter(torch.tensor({log(wanted):.4g}))"
            )
        return self.finding(
            message,
            where=where,
            evidence={
                "classes": logits.classes,
                "scale": logits.scale,
                "floor": floor,
                "chance": chance,
                "share": floor / chance,
                "wanted_scale": wanted,
            },
            fix=fix,
            severity="info" if logits.learned else "warn",
            location=maker.place or evidence.locate(where[0]),
        )


def _floor(logits: Logits) -> float:
    """The least loss: classes `gap` apart."""
    if logits.binary:
        return log1p(exp(-logits.scale))
    gap = 2 * logits.scale if logits.form == "tanh" else logits.scale * logits.classes / (logits.classes - 1)
    return log1p((logits.classes - 1) * exp(-gap))


def _where(evidence: Evidence, trace: Trace, maker: Op) -> tuple[str, ...]:
    """The parameters that the bounded numbers are made of, else the module at work, else the last layer's."""
    made = sorted({path for index in maker.operands for path in trace.values[index].parameters})
    if maker.weight or made:
        return tuple(dict.fromkeys([*([maker.weight] if maker.weight else []), *made]))
    return (maker.module,) if maker.module else head_of(evidence).places(evidence)
