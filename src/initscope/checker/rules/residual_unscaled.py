"""INI306 residual-unscaled."""

from __future__ import annotations

from collections.abc import Iterable

from initscope.checker.evidence import Evidence
from initscope.checker.instruments.chain_loss import ChainChange, forward_changes
from initscope.checker.instruments.chains import Station
from initscope.checker.rule import Rule, register
from initscope.records.finding import Finding

WARN, ERROR = 0.7, 3.0
"""Decades of growth of the stream's standard deviation."""

LATE = 0.3
"""Share of the growth that must fall into the second half of the blocks: linear growth of the variance gives less."""

BLOCKS = 4
"""Fewer sums than that are no stream."""


@register
class ResidualUnscaled(Rule):
    """Finds residual streams that every block multiplies, as nothing normalises the branches or scales them down.

    Why it is bad

    x + f(x) with a branch that keeps the size of its input doubles the variance in every block: it grows
    geometrically with depth, and so does the gradient on its way back. Normalised branches add the same amount each
    time, which is harmless.

    Criterion

    The standard deviation between samples along the stream, from the first layer to the head or the last
    normalisation, grows by at least 0.7 decades, five times, over four blocks and more, a third of it in the second
    half (a variance that only adds up gives less), to a size above one. Error from 3 decades. Sound streams without
    normalisation grow by at most 0.1, broken ones of the calibration by 1.2 to 13.

    When it is fine

    Pre-norm streams, whose variance grows linearly and which end in a normalisation; branches whose last layer is
    zero or small (Fixup, SkipInit, ReZero, 1 / sqrt(blocks)).

    Example

        def forward(self, x):
            return x + self.outer(torch.relu(self.inner(x)))    # He's weights in both, sixteen times

    Corrected

        nn.init.zeros_(block.outer.weight)    # in every block; or divide it by sqrt(2 * blocks)

    Fix

    Zero last layers of the branches, or 1 / sqrt(blocks), or a normalisation at the start of each branch.

    References

    Zhang, Dauphin, Ma, ICLR 2019 (Fixup); De and Smith, NeurIPS 2020 (SkipInit).
    """

    code = "INI306"
    name = "residual-unscaled"
    gravest = "error"
    needs = ("capture",)
    basis = "ratio"
    requires = ("init-lost", "recurrent-blow-up", "interchangeable-units", "uninitialised")

    def judge(self, evidence: Evidence) -> Iterable[Finding]:
        """Yields one finding for each stream that grows geometrically."""
        for change in forward_changes(evidence):
            sums = tuple(one for one in change.stations if one.branch is not None)
            if change.repeats or len(sums) < BLOCKS or change.decades < WARN or _late_share(sums) < LATE:
                continue
            weights = _branch_weights(change)
            names = tuple(dict.fromkeys(one.branch.name for one in sums if one.branch is not None and one.branch.name))
            if not weights or not names:
                continue
            first, last = change.stations[0], change.stations[-1]
            per_block = 10 ** (change.decades / len(sums))
            yield self.finding(
                f"the residual stream grows from {first.signal:.2g} to {last.signal:.2g} over {len(sums)} sums "
                f"({per_block:.3g} times each): the branches keep the size of the stream and nothing scales them down",
                where=names[-8:][::-1],
                evidence={
                    "decades": round(change.decades, 3),
                    "sums": len(sums),
                    "factor_per_sum": round(per_block, 4),
                    "late_share": round(_late_share(sums), 3),
                    "first_signal": first.signal,
                    "last_signal": last.signal,
                    "margin_log10": round(change.decades - WARN, 3),
                },
                fix=_cure(weights),
                severity="error" if change.decades >= ERROR else "warn",
                confidence=f"{change.decades:.1f} decades gained, sound streams gain at most 0.1",
                location=evidence.locate(names[-1]),
            )

    def silenced_by(self, finding: Finding, cause: Finding) -> bool:
        """An overwritten initialisation explains the stream only where it stands in one of its branches."""
        if cause.name != "init-lost":
            return True
        return any(path.startswith(place) or place.startswith(path) for path in cause.where for place in finding.where)


def _late_share(sums: tuple[Station, ...]) -> float:
    total = sums[-1].gain - sums[0].gain
    return (sums[-1].gain - sums[len(sums) // 2].gain) / total if total > 0 else 0.0


def _branch_weights(change: ChainChange) -> tuple[str, ...]:
    """The weights of the branches' last layers."""
    found = [one.branch.op.weight for one in change.stations if one.branch is not None and one.branch.op.weight]
    return tuple(dict.fromkeys(found))


def _cure(weights: tuple[str, ...]) -> str:
    shown = ", ".join(f'"{path}": "zeros"' for path in weights)
    return f"initscope.initialize(model, {{{shown}}})"
