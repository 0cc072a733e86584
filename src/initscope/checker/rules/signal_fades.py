"""INI301 signal-fades."""

from __future__ import annotations

from collections.abc import Iterable

from initscope.checker.evidence import Evidence
from initscope.checker.instruments.chain_cures import cure
from initscope.checker.instruments.chain_limits import FADED, depth_budget, loss_severity
from initscope.checker.instruments.chain_loss import forward_changes
from initscope.checker.instruments.tables import TABLE, small_tables
from initscope.checker.instruments.trace import Trace
from initscope.checker.rule import Rule, register
from initscope.records.finding import Finding

_MEANS = {"error": "the head sees nothing of the input", "warn": "little of the input reaches the head"}


@register
class SignalFades(Rule):
    """Finds chains of layers in which the difference between samples dies out on its way to the head.

    Why it is bad

    What the samples differ in is all that a network can learn from. Weights that are too small for their activation
    take a part of it away in every layer, and the same part of the gradient on the way back. Biases hide it: the
    activations keep their size while all samples become one.

    Criterion

    The signal is the standard deviation between samples of a pre-activation (root mean square over units). Along the
    chain that feeds a head, its loss from the first layer to the last before the head is counted in decades; residual
    streams are followed along the skip, poolings and attention count nothing, a normalisation gives back what it can.
    Error from 6 decades, warning from 3.3, or from 2.3 at 0.7 and more a layer. Sound networks of the calibration lose
    at most 2.2 (torch's default start, eight layers); broken ones 3.4 to 15. In `calibration/depth_table.py` momentum
    descent stands still from 2.8 on, Adam is hurt from 3.5 and every network from 6 on.

    When it is fine

    Small or zero heads (they are not part of the chain), branches that start at zero or behind a small scale, small
    embeddings and weights in front of a normalisation, one or two squashing layers.

    Example

        nn.Sequential(*[m for _ in range(20) for m in (nn.Linear(64, 64), nn.ReLU())], nn.Linear(64, 10))

    Corrected

        initscope.initialize(model, {"*.weight": "he_normal", "*.bias": "zeros"})

    Fix

    Weights with the gain of the activation behind them and zero biases, a normalisation, or skip connections.

    References

    Schoenholz, Gilmer, Ganguli, Sohl-Dickstein, ICLR 2017 (depth scales). Reports: pytorch #15314, #18182, #6950, #1667
    (torch's default gain of 1/sqrt(3) in deep plain networks).
    """

    code = "INI301"
    name = "signal-fades"
    gravest = "error"
    needs = ("capture",)
    basis = "ratio"
    requires = ("non-finite", "uninitialised", "interchangeable-units", "layer-dead", "init-lost", "init-skipped")

    def judge(self, evidence: Evidence) -> Iterable[Finding]:
        """Yields one finding for each chain that loses too much."""
        trace = evidence.trace
        assert isinstance(trace, Trace)
        for change in forward_changes(evidence):
            severity = loss_severity(change)
            if severity is None:
                continue
            first, last = change.stations[0], change.stations[-1]
            small = first.signal < TABLE and small_tables(evidence, trace)
            if severity == "error" and small:
                severity = "warn"  # Adam wakes the rows of a table
            yield self.finding(
                f"over {change.layers} layers, {first.name or change.names[-1]} to "
                f"{last.name or change.names[0]}, the difference between "
                f"samples falls by {-change.decades:.1f} decades ({10**change.rate:.2g} times a layer): "
                f"{_MEANS[severity]}",
                where=change.names[:8],
                evidence={
                    "decades": round(change.decades, 3),
                    "decades_per_layer": round(change.rate, 4),
                    "layers": change.layers,
                    "first_signal": first.signal,
                    "last_signal": last.signal,
                    "depth_budget": round(depth_budget(change.rate), 1),
                    "steepest": change.names[0],
                    "margin_log10": round(FADED - change.decades, 3),
                },
                fix=cure(evidence, change.stations),
                severity=severity,
                confidence=f"{-change.decades:.1f} decades lost, sound networks lose at most 2.2",
                location=evidence.locate(change.names[0]),
            )

    def silenced_by(self, finding: Finding, cause: Finding) -> bool:
        """A whole dead layer explains it; a lost or skipped initialisation does where it is one of these layers'."""
        if cause.name in ("init-lost", "init-skipped"):
            return any(path == place or path.startswith(f"{place}.") for path in cause.where for place in finding.where)
        return cause.name != "layer-dead" or cause.severity == "error"
