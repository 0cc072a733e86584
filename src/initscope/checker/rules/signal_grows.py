"""INI302 signal-grows."""

from __future__ import annotations

from collections.abc import Iterable

from initscope.checker.evidence import Evidence
from initscope.checker.instruments.chain_cures import cure
from initscope.checker.instruments.chain_limits import GROWN, gain_severity
from initscope.checker.instruments.chain_loss import forward_changes
from initscope.checker.rule import Rule, register
from initscope.records.finding import Finding


@register
class SignalGrows(Rule):
    """Finds chains of layers in which the signal grows from layer to layer until it is far above one.

    Why it is bad

    Outputs, loss and gradients are then huge from the first step: a step that fits the last layer throws the others
    off, the loss explodes or creeps down from a height where it says nothing.

    Criterion

    The signal is the standard deviation between samples of a pre-activation (root mean square over units); its gain
    along the chain that feeds a head is counted in decades, and at most up to its own size (a small signal that grows
    to one is none). Residual streams are followed along the skip; poolings count nothing; a normalisation ends the
    count. Error from 3 decades, warning from 1.3. Sound networks of the calibration gain at most 0.1, broken ones 1.5
    to 14. In `calibration/depth_table.py` momentum descent diverges from 2.2 on and Adam fails from 2.2 on.

    When it is fine

    In front of a normalisation, and where the signal only comes up to one. The head may have any scale; see
    initial-loss.

    Example

        for m in net:
            if isinstance(m, nn.Linear):
                nn.init.normal_(m.weight)    # std 1: each layer multiplies by sqrt(fan_in / 2)

    Corrected

        initscope.initialize(net, {"*.weight": "he_normal"})

    Fix

    Weights with the gain of the activation behind them, a normalisation.

    References

    He, Zhang, Ren, Sun, ICCV 2015; Hanin and Rolnick, NeurIPS 2018.
    """

    code = "INI302"
    name = "signal-grows"
    gravest = "error"
    needs = ("capture",)
    basis = "ratio"
    requires = ("residual-unscaled", "recurrent-blow-up", "interchangeable-units", "uninitialised")

    def judge(self, evidence: Evidence) -> Iterable[Finding]:
        """Yields one finding for each chain that gains too much."""
        for change in forward_changes(evidence):
            severity = gain_severity(change)
            if severity is None:
                continue
            first, last = change.stations[0], change.stations[-1]
            yield self.finding(
                f"over {change.layers} layers, {first.name or change.names[-1]} to "
                f"{last.name or change.names[0]}, the signal grows from "
                f"{first.signal:.2g} to {last.signal:.2g} ({10**change.rate:.2g} times a layer): loss "
                "and gradients start far too large",
                where=change.names[:8],
                evidence={
                    "decades": round(change.decades, 3),
                    "decades_per_layer": round(change.rate, 4),
                    "layers": change.layers,
                    "first_signal": first.signal,
                    "last_signal": last.signal,
                    "steepest": change.names[0],
                    "margin_log10": round(change.decades - GROWN, 3),
                },
                fix=cure(evidence, change.stations, biases=False),
                severity=severity,
                confidence=f"{change.decades:.1f} decades gained, sound networks gain at most 0.1",
                location=evidence.locate(change.names[0]),
            )
