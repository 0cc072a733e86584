"""INI502 confident-and-wrong."""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite, log10

from scipy import special

from initscope.checker.evidence import Chance, Evidence
from initscope.checker.instruments.logits import loss_logits
from initscope.checker.instruments.output_bias import head_of
from initscope.checker.instruments.trace import Trace
from initscope.checker.rule import Rule, register
from initscope.checker.rules.initial_loss import head_form
from initscope.records.finding import Finding

MARGIN = 0.5
LEVEL = 1e-6


@register
class ConfidentAndWrong(Rule):
    """Finds classifiers that start sure of their answers and are wrong.

    Why it is bad

    The gradient of cross-entropy is the difference between the shares given and wanted: at the start it should be small
    and spread over all classes. A network that is sure starts by unlearning, and its softmax is saturated.

    Criterion

    The mean largest probability exceeds the share of right answers by more than 0.5, and the hypothesis that the
    network is as often right as it says (a binomial with that probability) is rejected at 1e-6. Sound networks of the
    calibration differ by 0.43 at most, broken ones by 0.6 and more.

    When it is fine

    Trained networks; scaled cosines and distances (an info, see initial-loss).

    Example

        logits = features.sum(dim=(2, 3)) @ weight    # a sum over all pixels, where the mean is meant

    Corrected

        logits = features.mean(dim=(2, 3)) @ weight

    Fix

    A smaller last layer, or a mean in place of a sum.

    References

    Guo, Pleiss, Sun, Weinberger, On calibration of modern neural networks, ICML 2017.
    """

    code = "INI502"
    name = "confident-and-wrong"
    gravest = "warn"
    needs = ("capture", "loss", "chance")
    basis = "statistical"
    requires = (
        "non-finite",
        "uninitialised",
        "initial-loss",
        "tied-scale",
        "signal-grows",
        "residual-unscaled",
        "input-scale",
    )
    data_dependent = True

    def judge(self, evidence: Evidence) -> Iterable[Finding]:
        """Yields at most one finding."""
        chance = evidence.chance
        assert isinstance(chance, Chance)
        sure, right, count = chance.confidence, chance.accuracy, chance.n_targets
        if evidence.loss_kind not in ("cross_entropy", "nll") or not (isfinite(sure) and isfinite(right)) or count < 8:
            return
        if not evidence_of_logits(evidence):
            return
        rejected = float(special.bdtr(round(right * count), count, min(sure, 1 - 1e-9)))
        if sure - right <= MARGIN or rejected >= LEVEL:
            return
        designed = head_form(evidence) in ("cosine", "distance")
        head = head_of(evidence)
        facts = evidence.parameters.get(head.weight)
        smaller = f'"normal(std={facts.std / 10:.2g})"' if facts is not None else '"normal(std=0.02)"'
        cure = (
            f'initscope.initialize(model, {{"{head.weight}": {smaller}}})' if head.weight else "divide the logits by 10"
        )
        yield self.finding(
            f"the network gives its answers {sure:.0%} on average and is right in {right:.0%} of {count} cases: "
            f"its logits are far too large{', as scaled cosines and distances are by design' if designed else ''}",
            where=head.places(evidence),
            evidence={
                "confidence": sure,
                "accuracy": right,
                "targets": count,
                "p": rejected,
                "classes": chance.classes,
                "margin_log10": round(log10((sure - right) / MARGIN), 4),
            },
            fix="nothing to do" if designed else cure,
            severity="info" if designed else "warn",
            confidence=f"p = {rejected:.1g} that it is as often right as it says",
            location=evidence.locate(head.weight or head.bias),
        )

    def silenced_by(self, finding: Finding, cause: Finding) -> bool:
        """Whatever makes the loss start too high makes the network sure."""
        return True


def evidence_of_logits(evidence: Evidence) -> bool:
    """Returns whether the answers are shares of a softmax, and not those of a table that reads and answers at once.

    Negative log-likelihood of what is no log-probability has none; a table that is both embedding and output starts by
    giving back what it read (see tied-scale).
    """
    trace = evidence.trace
    if not isinstance(trace, Trace) or not loss_logits(trace):
        return False
    tables = {op.weight for op in trace.forward_ops("lookup")}
    return head_of(evidence).weight not in tables - {""}
