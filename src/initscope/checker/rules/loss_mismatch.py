"""INI508 loss-mismatch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from initscope.checker.evidence import Evidence
from initscope.checker.instruments.logits import leading_to_loss
from initscope.checker.instruments.output_bias import head_of
from initscope.checker.instruments.pre_activations import measured
from initscope.checker.instruments.trace import Moments, Op, Trace
from initscope.checker.rule import Rule, register
from initscope.records.finding import Finding

ABOVE = 1e-3
"""Log-probabilities end at 0; rounding, also that of half precision, stays far below this."""


@register
class LossMismatch(Rule):
    """Finds outputs that a negative log-likelihood takes for log-probabilities and that are none.

    Why it is bad

    nll_loss picks the entry of the right class and turns its sign: nothing in it compares the classes. Given logits it
    falls without end as all of them grow, whatever the input; given probabilities it is the probability of the right
    class with a sign, whose gradient vanishes exactly where the network is most wrong. The first does not train; the
    second trains, more slowly and to uncalibrated answers, and is a warning.

    Criterion

    A fact: some entry that nll_loss is given lies above 0 (by more than 0.001), where no logarithm of a probability is.

    When it is fine

    Log-probabilities from log_softmax or from the logarithm of anything at most 1.

    Example

        model = nn.Sequential(nn.Linear(20, 5)); loss = nn.NLLLoss()

    Corrected

        model = nn.Sequential(nn.Linear(20, 5), nn.LogSoftmax(dim=1)); loss = nn.NLLLoss()

    Fix

    CrossEntropyLoss for logits; the logarithm (better: log_softmax in place of softmax) for probabilities.

    References

    torch.nn.NLLLoss: "the input given through a forward call is expected to contain log-probabilities of each class".
    """

    code = "INI508"
    name = "loss-mismatch"
    gravest = "error"
    needs = ("capture", "loss")
    requires = ("non-finite",)
    basis = "exact"

    def judge(self, evidence: Evidence) -> Iterable[Finding]:
        """Yields one finding for the first negative log-likelihood of each kind of output."""
        trace = evidence.trace
        assert isinstance(trace, Trace)
        seen = set()
        for op, given in _misled(trace):
            made = _by_softmax(trace, op)
            if made is None or made in seen:
                continue
            seen.add(made)
            yield self._finding(evidence, op, given, probabilities=made)

    def _finding(self, evidence: Evidence, op: Op, given: Moments, *, probabilities: bool) -> Finding:
        where = head_of(evidence).places(evidence)
        if probabilities:
            message = (
                "nll_loss is given probabilities, not their logarithms: it is the probability of the right class with "
                f"a minus sign (loss {_shown(evidence)}), and its gradient vanishes where the network is wrong"
            )
            fix = "use log_softmax in place of softmax, or F.nll_loss(torch.log(output), target)"
        else:
            message = (
                f"nll_loss is given numbers up to {given.high:.3g}, which no log-probability reaches: it falls without "
                "end as all logits grow, and never compares the classes"
            )
            fix = "use F.cross_entropy(output, target) (nn.CrossEntropyLoss), or end the network with nn.LogSoftmax"
        return self.finding(
            message,
            where=where,
            evidence={
                "highest": given.high,
                "lowest": given.low,
                "probabilities": probabilities,
                "loss": evidence.loss if isinstance(evidence.loss, float) else None,
            },
            fix=fix,
            severity="warn" if probabilities else "error",
            location=op.place or evidence.locate(where[0]),
        )


def _shown(evidence: Evidence) -> str:
    return f"{evidence.loss:.3g}" if isinstance(evidence.loss, float) else "negative"


def _misled(trace: Trace) -> Iterator[tuple[Op, Moments]]:
    """The negative log-likelihoods that the loss is made of and that are given something above zero."""
    for op in leading_to_loss(trace):
        if not op.name.startswith("nll_loss"):
            continue
        given = measured(trace, op.operands[0])
        if given is not None and given.finite and given.high > ABOVE:
            yield op, given


def _by_softmax(trace: Trace, op: Op) -> bool | None:
    """Whether what a loss is given came out of a softmax or sigmoid; None where it is no output of any layer."""
    value = op.operands[0]
    while (made := trace.producer(value)) is not None and trace.data_operands(made):
        if made.kind == "softmax" or made.name == "sigmoid":
            return True
        if made.kind not in ("view", "copy"):
            return False
        value = trace.data_operands(made)[0]
    return None if not trace.values[value].from_data else False
