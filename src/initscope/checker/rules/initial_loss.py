"""INI501 initial-loss."""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite, log, log10, sqrt

from initscope.checker.evidence import Chance, Evidence
from initscope.checker.instruments.logits import Form, loss_logits
from initscope.checker.instruments.output_bias import Head, head_of
from initscope.checker.instruments.pre_activations import measured
from initscope.checker.instruments.trace import Trace
from initscope.checker.rule import Rule, register
from initscope.records.finding import Finding, Severity

CLASSIFYING = ("cross_entropy", "nll", "bce", "bce_logits")
WARN, ERROR, REGRESSION = 2.0, 10.0, 30.0
NATS, ERRORS = 1.0, 4.0


@register
class InitialLoss(Rule):
    """Finds networks whose first loss is far above what an output that says nothing would get.

    Why it is bad

    Before any step a network knows nothing: a first loss above chance says that it is sure of things it has no reason
    for. The first updates go into taking that back, and what they do to the other layers on the way stays.

    Criterion

    Chance is the larger of the losses of the best constant output and of the output zero. Classification: the excess,
    in nats (the loss of the output zero is ln C), is above 1 and above four standard errors over samples, and the loss
    at least twice chance; an error from ten times. Regression: at least thirty times chance, a warning. Sound networks
    of the calibration start at 1.5 times chance at most, regressions at 3.8; broken ones at 2.3 and more, regressions
    at 55.

    When it is fine

    Angular heads with scales of 30 to 64, distances to prototypes: an info. Sums over pixels and large targets are in
    the chance loss too.

    Example

        nn.init.normal_(model.head.weight)    # std 1: logits of deviation sqrt(fan-in)

    Corrected

        nn.init.normal_(model.head.weight, std=0.02)

    Fix

    A smaller last layer (or none of the scales in front of the loss).

    References

    Karpathy, A recipe for training neural networks, 2019. Reports: transformers #26441, t5x #1477, nanoT5 #25,
    torchtitan #2342.
    """

    code = "INI501"
    name = "initial-loss"
    gravest = "error"
    needs = ("capture", "loss", "chance")
    basis = "ratio"
    requires = (
        "non-finite",
        "uninitialised",
        "signal-grows",
        "residual-unscaled",
        "recurrent-blow-up",
        "tied-scale",
        "input-scale",
        "outlier-weights",
        "variance-head",
    )
    data_dependent = True

    def judge(self, evidence: Evidence) -> Iterable[Finding]:
        """Yields at most one finding."""
        chance, loss = evidence.chance, evidence.loss
        assert isinstance(chance, Chance)
        if not isinstance(loss, float) or not isfinite(loss):
            return
        level = max(chance.best, chance.zero if isfinite(chance.zero) else chance.best)
        if not level > 0:
            return
        if evidence.loss_kind in CLASSIFYING:
            severity = _classification(chance, loss, level)
        else:
            severity = _regression(chance, loss, level) if evidence.loss_kind in ("mse", "l1") else None
        if severity is None:
            return
        form = head_form(evidence)
        if (form in ("cosine", "distance") and severity != "error") or (
            form in ("cosine", "distance") and loss < 3 * ERROR * level
        ):
            severity = "info"
        yield self._finding(evidence, chance, loss=loss, level=level, severity=severity, form=form)

    def _finding(
        self, evidence: Evidence, chance: Chance, *, loss: float, level: float, severity: Severity, form: Form
    ) -> Finding:
        head = head_of(evidence)
        classes = chance.classes
        excess = nats(chance, loss, level) if evidence.loss_kind in CLASSIFYING else float("nan")
        spread = logit_std(evidence, excess)
        factor = 1 / max(spread, 1.0) if spread == spread else sqrt(level / loss)
        if severity == "info":
            message = (
                f"the first loss is {loss:.3g}, {loss / level:.3g} times chance ({level:.3g}): logits that are scaled "
                f"{'cosines' if form == 'cosine' else 'distances'} start there by design"
            )
        elif spread == spread:
            message = (
                f"the first loss is {loss:.3g}, {loss / level:.3g} times chance ({level:.3g}"
                f"{f', {classes} classes' if classes else ''}): its logits have a deviation of {spread:.3g} "
                f"where a fraction of 1 is wanted"
            )
        else:
            message = (
                f"the first loss is {loss:.3g}, {loss / level:.3g} times that of a constant output ({level:.3g}): "
                f"the output is about {sqrt(loss / level):.3g} times larger than what it shall learn"
            )
        return self.finding(
            message,
            where=head.places(evidence),
            evidence={
                "loss": loss,
                "chance": level,
                "best_constant": chance.best,
                "ln_classes": log(classes) if classes else None,
                "excess_nats": excess,
                "standard_error": chance.standard_error,
                "logit_std": spread,
                "accuracy": chance.accuracy,
                "confidence": chance.confidence,
                "margin_log10": round(log10(loss / level / (REGRESSION if excess != excess else WARN)), 4),
            },
            fix=_fix(evidence, head, factor, spread) if severity != "info" else "nothing to do",
            severity=severity,
            confidence=f"{loss / level:.3g} times chance, sound networks 1.5 at most (regressions 3.8)",
            location=evidence.locate(head.weight or head.bias),
        )

    def silenced_by(self, finding: Finding, cause: Finding) -> bool:
        """A warning does not explain an error."""
        return cause.severity == "error" or finding.severity != "error"


def head_form(evidence: Evidence) -> Form:
    """Returns how the logits of the loss are made, "other" where it has none."""
    found = loss_logits(evidence.trace) if isinstance(evidence.trace, Trace) else ()
    return found[0].form if found else "other"


def logit_std(evidence: Evidence, excess: float) -> float:
    """Returns the standard deviation of the logits, where they are not known what the excess in nats implies."""
    found = loss_logits(evidence.trace) if isinstance(evidence.trace, Trace) else ()
    moments = measured(evidence.trace, found[0].value) if found and isinstance(evidence.trace, Trace) else None
    if moments is not None and moments.finite and excess == excess:
        return moments.std
    return sqrt(2 * excess) if excess > 0 else float("nan")


def nats(chance: Chance, loss: float, level: float) -> float:
    """Returns how far a loss lies above chance, in nats of one decision, whatever it is summed over or divided by."""
    unit = chance.zero / log(max(chance.classes or 2, 2))
    return (loss - level) / unit if unit > 0 else float("nan")


def _classification(chance: Chance, loss: float, level: float) -> Severity | None:
    if loss >= ERROR * level and nats(chance, loss, level) > NATS:
        return "error"
    clear = loss - level > _noise(chance) and nats(chance, loss, level) > NATS
    return "warn" if clear and loss >= WARN * level else None


def _regression(chance: Chance, loss: float, level: float) -> Severity | None:
    clear = loss - level > _noise(chance) or loss >= 10 * REGRESSION * level
    return "warn" if clear and loss >= REGRESSION * level else None


def _noise(chance: Chance) -> float:
    return ERRORS * chance.standard_error if isfinite(chance.standard_error) else 0.0


def _fix(evidence: Evidence, head: Head, factor: float, spread: float) -> str:
    path, facts = head.weight, evidence.parameters.get(head.weight)
    bias = evidence.parameters.get(head.bias)
    if bias is not None and spread == spread and bias.rms > 0.7 * spread:
        return f'initscope.initialize(model, {{"{head.bias}": "zeros"}})   # its root mean square is {bias.rms:.3g}'
    if facts is None or not isfinite(facts.std):
        return f"multiply the last layer's weights by {factor:.2g}"
    wanted = facts.std * min(factor, 0.5)
    return (
        f'initscope.initialize(model, {{"{path}": "normal(std={wanted:.2g})"}})   # now {facts.std:.3g}; '
        "check also that nothing in front of it sums where it should average"
    )
