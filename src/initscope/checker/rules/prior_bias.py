"""INI503 prior-bias."""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite, log

import numpy as np
from numpy.typing import NDArray
from scipy import special

from initscope.checker.evidence import Chance, Evidence
from initscope.checker.instruments.output_bias import Head, head_of, numbers_text
from initscope.checker.rule import Rule, register
from initscope.records.finding import Finding

WARN, INFO = 0.75, 0.4
ROUNDING = 1e-11
"""What is left of a loss in float32 where one constant meets every target."""

REGRESSION, FAR = 0.9, 5.0
LEVEL, LEAST = 1e-3, 16


@register
class PriorBias(Rule):
    """Finds outputs that start without class frequencies, or the mean of targets, where these are most of the loss.

    Why it is bad

    Where one class in a hundred occurs, or targets lie around 25, the first updates of every layer do one thing: bring
    the output to the mean. For rare objects that drowns what little they say, and the loss curve shows a cliff.

    Criterion

    The share of the loss of the output zero that the best constant output saves, and the start does not have: a
    warning from 75 %, an info from 40 %. For class labels it is what frequencies counted without the label in question
    would save (leaving one out, one added to each count), and the null of equal classes must be rejected: the most
    frequent class is Binomial(n, 1/C), at 1e-3 over C. Regression: 90 %, and a best constant above 5 (an info above
    1). At least 16 targets; a batch with one class, or one target, says nothing. Sound networks of the calibration
    have at most 51 % (one class in ten), broken ones 86 % and more.

    When it is fine

    Balanced data, focal losses with a prior of their own, outputs whose bias is set.

    Example

        self.head = nn.Conv2d(256, 80, 3)    # one location in a thousand is an object

    Corrected

        nn.init.constant_(self.head.bias, -math.log((1 - 0.01) / 0.01))

    Fix

    The bias of the last layer at the logarithm of the frequencies, or the mean of the targets.

    References

    Lin, Goyal, Girshick, He, Dollar, ICCV 2017, section 4.1. Reports: pytorch-retinanet #10, PanopticFCN #6.
    """

    code = "INI503"
    name = "prior-bias"
    gravest = "warn"
    needs = ("capture", "loss", "chance", "batch")
    basis = "ratio"
    requires = ("non-finite", "uninitialised")

    def judge(self, evidence: Evidence) -> Iterable[Finding]:
        """Yields at most one finding."""
        chance, loss = evidence.chance, evidence.loss
        assert isinstance(chance, Chance)
        if not isinstance(loss, float) or not isfinite(loss) or not chance.zero > 0 or chance.n_targets < LEAST:
            return
        if not chance.best > ROUNDING * chance.zero:
            return  # all targets are one
        missing = (min(loss, chance.zero) - chance.best) / chance.zero
        if evidence.loss_kind in ("mse", "l1"):
            size = float(np.sqrt(np.mean(np.square(chance.vector))))
            warned, told = missing >= REGRESSION and size >= FAR, missing >= REGRESSION and size >= 1
        elif evidence.loss_kind in ("cross_entropy", "nll", "bce", "bce_logits"):
            missing = min(missing, _saved(chance))
            warned, told = missing >= WARN, missing >= INFO
        else:
            return
        if told:
            yield self._finding(evidence, chance, loss=loss, missing=missing, warned=warned)

    def _finding(self, evidence: Evidence, chance: Chance, *, loss: float, missing: float, warned: bool) -> Finding:
        head = head_of(evidence)
        regression = evidence.loss_kind in ("mse", "l1")
        what = "the mean of the targets" if regression else "the frequencies of the classes"
        start = prior(chance)
        shown = numbers_text(start)
        return self.finding(
            f"{missing:.0%} of the first loss ({loss:.3g}) is {what}: an output bias of {shown or 'the prior'} "
            f"would start at {chance.best:.3g}",
            where=tuple(one for one in (head.bias, head.weight) if one) or head.places(evidence),
            evidence={
                "loss": loss,
                "best_constant": chance.best,
                "zero_output": chance.zero,
                "share": round(missing, 4),
                "targets": chance.n_targets,
                "classes": chance.classes,
                "suggested_bias": shown or None,
                "margin_log10": round(float(np.log10(missing / (REGRESSION if regression else WARN))), 4),
            },
            fix=_fix(head, start, regression=regression, binary=evidence.loss_kind in ("bce", "bce_logits")),
            severity="warn" if warned else "info",
            confidence=f"{missing:.0%} of the loss, sound networks 51 % at most",
            location=evidence.locate(head.bias or head.weight),
        )


def prior(chance: Chance) -> NDArray[np.float64]:
    """Returns the bias to start from: log frequencies with one added to each count, log odds, or the mean."""
    counts = chance.label_counts
    if counts is None:
        return np.clip(chance.vector, -7.0, 7.0) if chance.classes is not None else chance.vector
    if len(chance.vector) == 1:
        return np.array([log((counts[1] + 1) / (counts[0] + 1))])
    shares: NDArray[np.float64] = np.log((counts + 1) / (counts.sum() + len(counts)))
    return shares


def _saved(chance: Chance) -> float:
    """The share of ln C that class frequencies save on a label that was not counted; 0.0 where they may be equal."""
    counts = chance.label_counts
    if counts is None:
        return (chance.zero - chance.best) / chance.zero - 1 / (2 * chance.n_targets * log(2))
    total, classes = float(counts.sum()), len(counts)
    if classes < 2 or total < LEAST or np.count_nonzero(counts) < 2:
        return 0.0
    if classes * float(special.bdtrc(counts.max() - 1, int(total), 1 / classes)) >= LEVEL:
        return 0.0
    seen = counts[counts > 0]
    left = -(seen * np.log(seen / (total - 1 + classes))).sum() / total
    return float(1 - left / log(classes))


def _fix(head: Head, start: NDArray[np.float64], *, regression: bool, binary: bool) -> str:
    if not head.bias:
        owner = f"the layer of {head.weight}" if head.weight else "the last layer"
        return f"give {owner} a bias that starts at {numbers_text(start) or 'the prior of the targets'}"
    shown = numbers_text(start)
    if shown:
        value = f"torch.tensor({shown})"
    elif regression:
        value = "targets.flatten(0, -2).mean(0)"
    elif binary:
        value = "torch.logit(targets.float().mean(0).clamp(1e-3, 1 - 1e-3))"
    else:
        counts = f"torch.bincount(targets.flatten(), minlength={len(start)})"
        value = f"torch.log(({counts} + 1) / (targets.numel() + {len(start)}))"
    return f'with torch.no_grad(): model.get_parameter("{head.bias}").copy_({value})'
