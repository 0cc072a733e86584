"""INI304 back-signal-grows."""

from __future__ import annotations

from collections.abc import Iterable

from initscope.checker.evidence import Evidence
from initscope.checker.instruments.chain_cures import cure
from initscope.checker.instruments.chain_limits import BACK_EXPLODED, BACK_GROWN, gain_severity
from initscope.checker.instruments.chain_loss import ChainChange, backward_changes
from initscope.checker.rule import Rule, register
from initscope.records.finding import Finding


@register
class BackSignalGrows(Rule):
    """Finds chains of layers in which the gradient grows on its way from the head back to the first layers.

    Why it is bad

    A step that suits the last layers throws the first ones off; a step that suits the first leaves the last where
    they are. Saturated tanh and sine layers do this while the signal itself stays bounded: the network starts
    chaotic.

    Criterion

    The back-signal is the root mean square of the loss's gradient with respect to pre-activations (never to weights).
    Along the chain that feeds a head its ratio, first layer over last, is counted in decades; behind normalisations
    only values that they give back are compared, poolings and attention count nothing. Error from 4.5 decades gained,
    warning from 2.5. Sound networks of the calibration gain at most 2.2 (a batch-normalised network of 43
    convolutions in series), broken ones 2.5 to 15.

    When it is fine

    Normalised networks of usual depth without skips gain a little in every layer. Where the signal grows too, the
    cause is signal-grows and this finding is left out.

    Example

        for m in net:
            if isinstance(m, nn.Linear):
                nn.init.normal_(m.weight, std=3 / m.in_features ** 0.5)    # under tanh: chaotic

    Corrected

        initscope.initialize(net, {"*.weight": "orthogonal(gain='tanh')"})

    Fix

    Weights with the gain of the activation behind them, skip connections around normalised blocks.

    References

    Schoenholz, Gilmer, Ganguli, Sohl-Dickstein, ICLR 2017; Yang, Pennington, Rao, Sohl-Dickstein, Schoenholz, ICLR
    2019 (batch normalisation without skips).
    """

    code = "INI304"
    name = "back-signal-grows"
    gravest = "error"
    needs = ("capture", "gradients")
    basis = "ratio"
    requires = (
        "signal-grows",
        "residual-unscaled",
        "recurrent-blow-up",
        "sine-frequency",
        "non-finite",
        "uninitialised",
    )

    def judge(self, evidence: Evidence) -> Iterable[Finding]:
        """Yields one finding for each chain whose gradient grows on the way back."""
        for change in backward_changes(evidence):
            severity = gain_severity(change, grown=BACK_GROWN, exploded=BACK_EXPLODED)
            if severity is None:
                continue
            yield self.finding(
                f"from the head back to {change.names[-1]} the gradient grows by {change.decades:.1f} decades over "
                f"{change.layers} layers ({10**change.rate:.2g} times a layer): no step size suits the "
                "first and the last layers",
                where=change.names[:8],
                evidence={
                    "decades": round(change.decades, 3),
                    "decades_per_layer": round(change.rate, 4),
                    "layers": change.layers,
                    "steepest": change.names[0],
                    "margin_log10": round(change.decades - BACK_GROWN, 3),
                },
                fix=_cure(evidence, change),
                severity=severity,
                confidence=f"{change.decades:.1f} decades gained, sound networks gain at most 2.2",
                location=evidence.locate(change.names[0]),
            )


def _cure(evidence: Evidence, change: ChainChange) -> str:
    if any(station.kind == "norm" for station in change.stations):
        return "add skip connections around the normalised blocks (x = x + block(x)), or use fewer layers in series"
    return cure(evidence, change.stations, biases=False)
