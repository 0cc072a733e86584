"""INI604 outlier-weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import prod

import torch

from initscope.checker.evidence import Builds, Evidence, ParameterFacts
from initscope.checker.instruments.outliers import FEWEST, Outliers, outliers
from initscope.checker.instruments.writes import replaces_values
from initscope.checker.rule import Rule, register
from initscope.records.finding import Finding

LEVEL = 1e-3
"""Family-wise false-alarm rate of a model, held by Holm's method."""

STRICTEST = -6.0
"""log10 of the p-value that a tensor must undercut in any case."""

FEW = 3
"""Entries far out in the whole model below which it is information: one unit or two, of thousands."""

SINGLE = frozenset({"sparse_", "eye_", "dirac_", "fill_diagonal_"})
"""Initialisations that put single large entries on purpose."""


@register
class OutlierWeights(Rule):
    """Finds randomly drawn weights with single entries far outside the law of the rest.

    Why it is bad

    One weight at a hundred deviations decides what its unit computes, whatever the other inputs say, and its gradient
    is as much larger. Such entries come from truncated draws with absolute bounds in a narrow type (the inverse error
    function of -1), from laws without a variance (Cauchy, Student's t), from division by random numbers.

    Criterion

    Null hypothesis: the entries of a tensor are independent draws from one symmetric law with tails no heavier than
    Laplace's (uniform, normal and truncated laws are far lighter). Statistic: the largest distance from the median,
    with the scale from the quartiles; its p-value is exact for the largest of n. Alarm below 1e-6 and below Holm's
    bound at 1e-3 for the whole model. Only trainable tensors of two axes and more are tested whose last write of the
    whole is a draw; of a model given without its factory, only those where the largest magnitude occurs several times
    to the bit, as clamping leaves it. Sound draws stay at 3 to 7 deviations, those of the reports and the calibration
    lie at 20 to 10000. Fewer than three such entries in the whole model are information: torch's own `trunc_normal_`
    with the absolute bounds of +-2 leaves one at a hundred deviations in about every ten million draws of float32.

    When it is fine

    Identity, Dirac and sparse starts, slices (gates, rows, heads) of different scales, diagonals, tensors with many
    zeros, values that were copied from somewhere: none of these is tested or told.

    Example

        w.uniform_(2 * cdf(-2 / 0.02) - 1, 2 * cdf(2 / 0.02) - 1).erfinv_().mul_(0.02 * 2 ** 0.5)     # bfloat16

    Corrected

        nn.init.trunc_normal_(w, std=0.02, a=-0.04, b=0.04)

    Fix

    Bounds in deviations, the draw in float32, a law with a variance.

    References

    pytorch issue 155588, transformers pull request 27906, foundation-model-stack issue 289.
    """

    code = "INI604"
    name = "outlier-weights"
    gravest = "warn"
    basis = "statistical"
    requires = ("uninitialised", "non-finite")

    def judge(self, evidence: Evidence) -> Iterable[Finding]:
        """Yields one finding for all tensors with outliers."""
        tensors = {**dict(evidence.model.named_parameters())}
        tested = [one for one in evidence.parameters.values() if one.path in tensors and _is_tested(evidence, one)]
        found: list[tuple[ParameterFacts, Outliers]] = []
        for one in tested:
            with torch.no_grad():
                far = outliers(tensors[one.path])
            if far is not None and (isinstance(evidence.builds, Builds) or far.repeated > 1):
                found.append((one, far))
        found.sort(key=lambda pair: pair[1].log10_p)
        alarms = list(_holm(found, len(tested)))
        if alarms:
            yield self._told(evidence, alarms, tested=len(tested))

    def _told(self, evidence: Evidence, alarms: list[tuple[ParameterFacts, Outliers]], *, tested: int) -> Finding:
        first, far = max(alarms, key=lambda pair: pair[1].z)
        write = evidence.builds.last_write(first.path) if isinstance(evidence.builds, Builds) else None
        clamped = far.repeated > 1
        more = f"; so do {len(alarms) - 1} more tensors" if len(alarms) > 1 else ""
        cause = (
            f"{far.repeated} entries sit at exactly the same largest magnitude, as clamping leaves those that a draw "
            "threw out"
            if clamped
            else "no uniform, normal, truncated or Laplace law gives such entries"
        )
        entries = ", ".join(f'"{one.path}": "truncated_normal(std={_std(other):.3g})"' for one, other in alarms[:8])
        return self.finding(
            f"{first.path} {list(first.shape)} holds {far.count} {'entry' if far.count == 1 else 'entries'} up to "
            f"{far.largest:.3g}, "
            f"{far.z:.0f} standard deviations of the rest{more}: {cause}",
            where=[one.path for one, _ in sorted(alarms, key=lambda pair: -pair[1].z)],
            evidence={
                "z": far.z,
                "count": far.count,
                "largest": far.largest,
                "bulk_std": far.bulk_std,
                "log10_p": far.log10_p,
                "tested": tested,
                "log10_p_normal": far.log10_p_normal,
                "repeated": far.repeated,
                "index": str(list(far.first)),
                "tensors": len(alarms),
                "margin_log10": round(STRICTEST - far.log10_p, 2),
                "operation": write.op if write is not None else "",
            },
            fix=f"initscope.initialize(model, {{{entries}}})",
            severity="warn" if sum(other.count for _, other in alarms) >= FEW else "info",
            confidence=f"p = 10^{far.log10_p:.0f} for the largest of {prod(first.shape)}, Holm over {tested} tensors",
            location=evidence.locate(first.path),
        )


def _std(far: Outliers) -> float:
    return far.bulk_std


def _is_tested(evidence: Evidence, one: ParameterFacts) -> bool:
    if (
        one.buffer
        or not one.trainable
        or not one.finite
        or one.constant
        or len([size for size in one.shape if size > 1]) < 2
    ):
        return False
    if prod(one.shape) < FEWEST or "complex" in one.dtype:
        return False
    if not isinstance(evidence.builds, Builds):
        return True
    writes = [write for write in evidence.builds.writes if one.path in write.tensors]
    last = next((write for write in reversed(writes) if write.whole and replaces_values(write)), None)
    return last is not None and last.random and all(write.op not in SINGLE for write in writes)


def _holm(found: list[tuple[ParameterFacts, Outliers]], tested: int) -> Iterator[tuple[ParameterFacts, Outliers]]:
    """Those of the sorted p-values that Holm's method rejects, and that are below the strictest level."""
    for number, (one, far) in enumerate(found):
        if 10.0 ** max(far.log10_p, -300.0) > LEVEL / (tested - number) or far.log10_p > STRICTEST:
            return
        yield one, far
