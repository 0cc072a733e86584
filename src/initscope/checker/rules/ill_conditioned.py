"""INI801 ill-conditioned."""

from __future__ import annotations

import math
from collections.abc import Iterable

from initscope.checker.evidence import Evidence
from initscope.checker.instruments.spectra import Spectrum, products, single
from initscope.checker.rule import Rule, register
from initscope.records.finding import Finding

RANK, SHARE = 3.0, 0.1
"""Of one matrix: a stable rank of at most RANK, and at most SHARE of its shorter side."""

PRODUCT_RANK, SLIM, DEPTH = 2.5, 0.5, 8
"""Of a product: its stable rank, the sum over layers of one over the width, layers."""

LEAST_SIDE = 8
"""Narrower chains have few directions to lose."""


@register
class IllConditioned(Rule):
    """Finds hidden matrices, or products of them, that pass one or two directions and squeeze all others.

    Why it is bad

    The size of the signal is kept, so nothing looks wrong, but what the samples differ in lies in all directions: one
    of them is learnt at a time, and a step size that suits it leaves the others where they are.

    Criterion

    The stable rank, the sum of squared singular values over the largest one. Of a hidden matrix with both sides of 16
    and more: at most 3, and at most a tenth of its shorter side (normal entries give a quarter of it and more,
    orthogonal ones all; broken ones 1 to 2 of 48). Of the product along a linear chain, nothing between its layers:
    at most 2.5, for 8 layers and more whose depth is at least half their width (the sum of 1 / width is at least
    1/2): normal matrices lose their rank as depth over width.

    When it is fine

    Heads and first layers, bottlenecks, matrices that are constrained by a parametrisation, frozen ones.

    Example

        layer.weight.data = torch.rand(48, 48) * 0.04    # all positive: one direction takes nearly everything

    Corrected

        nn.init.orthogonal_(layer.weight)

    Fix

    Orthogonal weights.

    References

    Saxe, McClelland, Ganguli, ICLR 2014; Pennington, Schoenholz, Ganguli, NeurIPS 2017; Hanin and Nica 2020.
    """

    code = "INI801"
    name = "ill-conditioned"
    gravest = "warn"
    needs = ("capture",)
    basis = "heuristic"
    requires = ("uninitialised", "interchangeable-units", "outlier-weights", "init-lost", "init-skipped", "non-finite")

    def judge(self, evidence: Evidence) -> Iterable[Finding]:
        """Yields one finding for all single matrices, else one for each product."""
        narrow = [one for one in single(evidence) if one.rank <= RANK and one.share <= SHARE]
        if narrow:
            worst = min(narrow, key=lambda one: one.share)
            weights = tuple(one.weights[0] for one in sorted(narrow, key=lambda one: one.share))
            said = (
                f"{weights[0]} has a stable rank of {worst.rank:.2g} where {worst.side} is "
                "possible: it passes next to one direction"
            )
            yield self._finding(evidence, worst, weights, said, math.log10(SHARE / worst.share))
            return
        for one in products(evidence):
            depth = len(one.weights)
            if one.rank <= PRODUCT_RANK and depth >= DEPTH and one.slimness >= SLIM and one.side >= LEAST_SIDE:
                said = (
                    f"the product of {depth} matrices has a stable rank of {one.rank:.2g} where "
                    f"{one.side} is possible: depth over "
                    "width is too large for independent entries"
                )
                yield self._finding(evidence, one, one.weights, said, math.log10(PRODUCT_RANK / one.rank))

    def _finding(
        self, evidence: Evidence, one: Spectrum, weights: tuple[str, ...], said: str, margin: float
    ) -> Finding:
        return self.finding(
            said,
            where=weights[:8],
            evidence={
                "stable_rank": one.rank,
                "side": one.side,
                "matrices": len(weights),
                "margin_log10": round(margin, 3),
            },
            fix=f"for path in {list(weights)}: nn.init.orthogonal_(model.get_parameter(path))",
            confidence=f"{one.share:.2g} of the possible rank, normal entries give 0.25",
            location=evidence.locate(weights[0]),
        )
