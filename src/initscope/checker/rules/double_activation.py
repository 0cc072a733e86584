"""INI506 double-activation."""

from __future__ import annotations

from collections.abc import Iterable
from math import exp, log, log1p

from initscope.checker.evidence import Evidence
from initscope.checker.instruments.logits import Logits, loss_logits
from initscope.checker.instruments.trace import Op, Trace
from initscope.checker.rule import Rule, register
from initscope.records.finding import Finding


@register
class DoubleActivation(Rule):
    """Finds outputs that went through a softmax or sigmoid before a loss that applies its own.

    Why it is bad

    Cross-entropy takes a softmax of what it is given, binary cross-entropy with logits a sigmoid. A second one in
    front keeps the logits between 0 and 1: no class can get more than e / (e + C - 1), no probability fall below one
    half, the loss stays above a floor and the gradient is a fraction of what it should be.

    Criterion

    A fact, read from the operators: the value that the loss's log-softmax (or binary cross-entropy with logits) reads
    was made by a softmax or sigmoid, with nothing but changes of shape in between; a softmax written out as exp(x)
    over its sum counts. A log-softmax before a cross-entropy changes nothing and is an info.

    When it is fine

    Attention and mixture weights inside the network, a softmax followed by a logarithm and NLL, temperatures.

    Example

        model = nn.Sequential(nn.Linear(20, 5), nn.Softmax(dim=1)); loss = nn.CrossEntropyLoss()

    Corrected

        model = nn.Sequential(nn.Linear(20, 5)); loss = nn.CrossEntropyLoss()

    Fix

    Return the logits; apply the softmax where probabilities are wanted.

    References

    Reports: SciCo #2, Transformer-GCN-QA #32, Pytorch-Deeplab #2.
    """

    code = "INI506"
    name = "double-activation"
    gravest = "error"
    needs = ("capture", "loss")
    basis = "exact"

    def judge(self, evidence: Evidence) -> Iterable[Finding]:
        """Yields one finding for each loss whose logits are probabilities already."""
        trace = evidence.trace
        assert isinstance(trace, Trace)
        seen = set()
        for logits in loss_logits(trace):
            if logits.maker is None or logits.maker.index in seen:
                continue
            seen.add(logits.maker.index)
            if logits.form in ("softmax", "sigmoid") and abs(logits.scale - 1) < 1e-3:
                yield self._twice(evidence, logits, logits.maker)
            elif logits.form == "log_softmax":
                yield self._harmless(evidence, logits, logits.maker)

    def _twice(self, evidence: Evidence, logits: Logits, maker: Op) -> Finding:
        inner = logits.form
        outer = "binary_cross_entropy_with_logits" if logits.binary else "cross_entropy"
        floor = lowest_loss(logits.classes, 1.0, binary=logits.binary)
        chance = log(2) if logits.binary else log(logits.classes)
        line = maker.place
        place = f" in line {line.line} of {line.file}" if line else ""
        where = maker.module or f"({type(evidence.model).__name__})"
        if logits.binary:
            instead = "or use F.binary_cross_entropy"
        elif inner == "softmax":
            instead = "or use F.nll_loss(torch.log(output), target)"
        else:
            instead = "or use F.binary_cross_entropy with one-hot targets"
        return self.finding(
            f"{outer} is given the result of a {inner}: it applies its own, so the loss of {chance:.3g} at chance "
            f"cannot fall below {floor:.3g}",
            where=(where,),
            evidence={
                "classes": logits.classes,
                "floor": floor,
                "chance": chance,
                "loss": _number(evidence.loss),
                "inner": inner,
            },
            fix=f"remove the {inner}{place} and return the logits, {instead}",
            location=line or evidence.locate(where),
        )

    def _harmless(self, evidence: Evidence, logits: Logits, maker: Op) -> Finding:
        where = maker.module or f"({type(evidence.model).__name__})"
        return self.finding(
            "cross_entropy is given log-probabilities: a log-softmax of a log-softmax is itself, so nothing is wrong",
            where=(where,),
            evidence={"classes": logits.classes},
            fix="remove the log_softmax, or use F.nll_loss",
            severity="info",
            location=maker.place or evidence.locate(where),
        )


def lowest_loss(classes: int, reach: float, *, binary: bool = False) -> float:
    """Returns the least cross-entropy where the right logit is at most `reach` above each other one.

    ln(1 + (C - 1) e^-reach); for binary losses the logit is at most `reach`, and at least 0: ln(1 + e^-reach).

    Example:
        >>> round(lowest_loss(10, 1.0), 3)
        1.461
    """
    return log1p(exp(-reach)) if binary else log1p((classes - 1) * exp(-reach))


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, float) else None
