"""INI303 back-signal-fades."""

from __future__ import annotations

from collections.abc import Iterable

from initscope.checker.evidence import Evidence
from initscope.checker.instruments.chain_cures import cure
from initscope.checker.instruments.chain_limits import FADED, depth_budget, loss_severity
from initscope.checker.instruments.chain_loss import backward_changes
from initscope.checker.rule import Rule, register
from initscope.records.finding import Finding


@register
class BackSignalFades(Rule):
    """Finds chains of layers in which the gradient dies out on its way from the head back to the first layers.

    Why it is bad

    The layers near the input get no gradient worth the name: they keep the values they were drawn with, and the rest
    learns from random features.

    Criterion

    The back-signal is the root mean square of the loss's gradient with respect to pre-activations (never to weights).
    Along the chain that feeds a head its ratio, first layer over last, is counted in decades; behind normalisations
    only values that they give back are compared, poolings and attention count nothing. Error from 6 decades lost,
    warning from 3.3, or from 2.3 at 0.7 and more a layer. Sound networks of the calibration lose at most 2.1, broken
    ones 3 to 11.

    When it is fine

    Branches behind a small or zero scale (LayerScale, ReZero): chains follow the skip. Where the signal fades too, the
    cause is signal-fades and this finding is left out.

    Example

        x = 0.1 * layer(x) + 0.9 * layer(x).detach()    # the value is whole, the gradient a tenth, in every layer

    Corrected

        x = layer(x)

    Fix

    Weights with the gain of the activation behind them, another activation than the sigmoid, a normalisation, skips.

    References

    Glorot and Bengio, AISTATS 2010; report: ai.stackexchange 16557 (four sigmoid layers do not learn).
    """

    code = "INI303"
    name = "back-signal-fades"
    gravest = "error"
    needs = ("capture", "gradients")
    basis = "ratio"
    requires = ("signal-fades", "layer-dead", "input-blind", "gradient-blocked", "non-finite", "uninitialised")

    def judge(self, evidence: Evidence) -> Iterable[Finding]:
        """Yields one finding for each chain whose gradient is lost on the way back."""
        for change in backward_changes(evidence):
            severity = loss_severity(change)
            if severity is None:
                continue
            yield self.finding(
                f"from the head back to {change.names[-1]} the gradient falls by {-change.decades:.1f} decades over "
                f"{change.layers} layers ({10**change.rate:.2g} times a layer): the first layers hardly learn",
                where=change.names[:8],
                evidence={
                    "decades": round(change.decades, 3),
                    "decades_per_layer": round(change.rate, 4),
                    "layers": change.layers,
                    "steepest": change.names[0],
                    "depth_budget": round(depth_budget(change.rate), 1),
                    "margin_log10": round(FADED - change.decades, 3),
                },
                fix=cure(evidence, change.stations),
                severity=severity,
                confidence=f"{-change.decades:.1f} decades lost, sound networks lose at most 2.1",
                location=evidence.locate(change.names[0]),
            )
