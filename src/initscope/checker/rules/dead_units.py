"""INI402 dead-units."""

from __future__ import annotations

from collections.abc import Iterable
from math import log10

from scipy import special

from initscope.checker.evidence import Evidence
from initscope.checker.instruments.activity import RECTIFIERS
from initscope.checker.instruments.pre_activations import (
    Activated,
    activated,
    after_probe,
    call_text,
    measured,
    off_units,
    start_entries,
)
from initscope.checker.instruments.trace import Trace
from initscope.checker.rule import Rule, register
from initscope.records.finding import Finding

LEVEL = 1e-3
SHARE = 2 / 3
LEAST_ROWS = 8


@register
class DeadUnits(Rule):
    """Finds rectified layers in which far more units are off for the whole batch than chance explains.

    Why it is bad

    A unit that is off for every sample has no gradient and is no use. A layer of which nine units of ten are off is a
    layer of a tenth of its width.

    Criterion

    k of m units of a rectifier are off for all samples and positions, at the start and after the probe. Null: weights
    drawn symmetrically around zero; then a unit is negative on one sample with probability 1/2, and off for the whole
    batch with at most that, each unit for itself: k ~ Binomial(m, 1/2). Rejected at 1e-3 over all layers of the model
    (Holm), and k/m at least two thirds. Sound networks of the calibration have 52 % at most (deep networks with torch's
    default weights, whose biases decide), broken ones 82 % and more.

    When it is fine

    Half of a narrow bottleneck, half of a deep default network; experts that saw few rows; whole layers: layer-dead.

    Example

        nn.init.uniform_(net[0].bias, -14, 0)    # "to spread the kinks": most lie outside the data

    Corrected

        nn.init.uniform_(net[0].bias, -1.5, 1.5)

    Fix

    Weights around zero, biases of zero, centred inputs.

    References

    Report: stats.SE 450100. Lu, Shin, Su, Karniadakis, Dying ReLU and initialization, 2020.
    """

    code = "INI402"
    name = "dead-units"
    gravest = "warn"
    needs = ("capture", "gradients")
    basis = "statistical"
    requires = ("non-finite", "uninitialised", "layer-dead", "input-scale", "residual-unscaled", "signal-grows")
    data_dependent = True

    def judge(self, evidence: Evidence) -> Iterable[Finding]:
        """Yields one finding for each layer that loses most of its units."""
        trace = evidence.trace
        assert isinstance(trace, Trace)
        groups = [group for group in activated(trace, RECTIFIERS) if group.rows >= LEAST_ROWS and group.units > 2]
        probed = after_probe(evidence)
        later = activated(probed, RECTIFIERS) if probed is not None else ()
        after = {one.key: int(off_units(one).sum()) for one in later}
        counts = []
        for group in groups:
            off = int(off_units(group).sum())
            counts.append(min(off, after.get(group.key, off)))
        chances = [float(special.bdtrc(off - 1, group.units, 0.5)) for off, group in zip(counts, groups, strict=True)]
        for index in rejected(chances, level=LEVEL):
            group, off = groups[index], counts[index]
            if SHARE * group.units <= off < group.units:
                yield self._finding(evidence, trace, group, off=off, chance=chances[index])

    def _finding(self, evidence: Evidence, trace: Trace, group: Activated, *, off: int, chance: float) -> Finding:
        moments = [one for op in group.ops if (one := measured(trace, trace.data_operands(op)[0])) is not None]
        mean = sum(one.mean for one in moments) / max(len(moments), 1)
        return self.finding(
            f"{off} of {group.units} units behind {group.where[0]} are off for all {group.rows} rows of the batch "
            f"(at most half by chance, p = {chance:.1g}): the layer is {group.units - off} units wide",
            where=group.where,
            evidence={
                "units": group.units,
                "off": off,
                "share": round(off / group.units, 4),
                "p": chance,
                "rows": group.rows,
                "pre_activation_mean": mean,
                "margin_log10": round(log10(off / group.units / SHARE), 4),
            },
            fix=call_text(start_entries(evidence, group)),
            confidence=f"p = {chance:.1g} against a half, Holm over all layers at {LEVEL:g}",
            location=evidence.locate(group.fed.weights[0]),
        )

    def silenced_by(self, finding: Finding, cause: Finding) -> bool:
        """A layer that is off as a whole, or an exploding stream, explains what stands behind it; all do."""
        return cause.severity == "error" or cause.name == "input-scale"


def rejected(chances: list[float], *, level: float) -> tuple[int, ...]:
    """Returns the indices that Holm's step-down procedure rejects, smallest p-value first.

    Example:
        >>> rejected([0.5, 1e-5, 6e-4], level=1e-3)
        (1,)
    """
    order = sorted(range(len(chances)), key=lambda index: chances[index])
    found = []
    for rank, index in enumerate(order):
        if chances[index] > level / (len(chances) - rank):
            break
        found.append(index)
    return tuple(found)
