"""INI101: units of a layer that nothing tells apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from initscope.checker.evidence import Escape, Evidence
from initscope.checker.instruments.graph import next_activation
from initscope.checker.instruments.hidden import is_hidden, next_reader
from initscope.checker.instruments.redraw import redrawn
from initscope.checker.instruments.trace import Trace
from initscope.checker.instruments.weight_axes import WeightUse, weight_uses
from initscope.checker.rule import Rule, register
from initscope.records.finding import Finding, Number

LARGE = 0.1
"""Share of superfluous units from which the finding is an error."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Alike:
    """Units of one layer that agree: `groups` of `units` are left; `biases` True where only biases tell them apart."""

    use: WeightUse
    units: int
    groups: int
    largest: int
    biases: bool
    members: bool = False

    @property
    def superfluous(self) -> float:
        """Share of units that repeat another one."""
        return 1 - self.groups / self.units


@register
class InterchangeableUnits(Rule):
    """Finds units of one layer that are exact copies of each other and stay so while training goes on.

    Why it is bad
    Two units with equal incoming weights compute the same; with equal outgoing weights they also get the same gradient,
    so every step keeps them equal, and the layer is as wide as the number of its different units. No training leaves
    it.

    Criterion
    Slices of a hidden layer's weight along its output axis are compared, whatever the layout (`x @ W`, convolutions,
    stacked gates). Units are interchangeable where their weights agree to 1e-6 of the largest entry at the start and
    after the escape probe, and their gradients too, and the gradient there is not zero. Outgoing weights need no look
    of their own: unequal ones give unequal gradients. An error from one superfluous unit in ten on, or where the
    members of a batch of layers are copies; fewer give a warning, and so do units that biases alone tell apart (weights
    in and out constant). Measured: all-constant networks and copied units leave 2 to 50 % of the width; none of the
    sound designs has a single pair.

    When it is fine
    Equal values whose gradients differ: zero heads, norm gains of one, gates, repeated state matrices. Units of the
    output are never judged, since the targets tell them apart.

    Example
        for p in model.parameters(): p.data.fill_(0.1)

    Corrected
        initscope.initialize(model, {"*.weight": "he_normal", "*.bias": "zeros"})

    Fix
    Draw the weights at random; where units were copied to widen a network, add noise to the copies.

    References
    deepregression pull request 15 (members alike), NaiveGAflux issue 39.
    """

    code = "INI101"
    name = "interchangeable-units"
    gravest = "error"
    needs = ("capture", "gradients", "escape")
    basis = "exact"
    requires = ("non-finite", "uninitialised")

    def judge(self, evidence: Evidence) -> Iterator[Finding]:
        """Yields one finding for all layers that hold interchangeable units."""
        found: dict[str, Alike] = {}
        for use in weight_uses(evidence.trace):  # type: ignore[arg-type]  # `needs` says that it is there
            for alike in _alike(evidence, use):
                if alike.superfluous > (found[use.path].superfluous if use.path in found else 0.0):
                    found[use.path] = alike
        exact = sorted((one for one in found.values() if not one.biases), key=lambda one: -one.superfluous)
        if exact:
            yield self._exact(evidence, exact)
        elif found:
            yield self._by_biases(evidence, sorted(found.values(), key=lambda one: -one.units))

    def _exact(self, evidence: Evidence, layers: list[Alike]) -> Finding:
        worst = layers[0]
        what = "layers stacked" if worst.members else "units"
        more = f", as have those of {len(layers) - 1} other weights" if len(layers) > 1 else ""
        return self.finding(
            f"the {worst.units} {what} in {worst.use.path} count for {worst.groups}: they have equal weights and equal "
            f"gradients at the start and after {evidence.escape.steps} probe steps{more}, "  # type: ignore[union-attr]
            "so no training can tell them apart",
            where=[one.use.path for one in layers],
            evidence=_numbers(worst, layers),
            fix=_fix(evidence, layers),
            severity="error" if worst.members or worst.superfluous >= LARGE else "warn",
            location=evidence.locate(worst.use.path),
        )

    def _by_biases(self, evidence: Evidence, layers: list[Alike]) -> Finding:
        worst = layers[0]
        return self.finding(
            f"all {worst.units} units in {worst.use.path} have the same incoming and the same outgoing "
            "weights: biases alone "
            "tell them apart, so they compute nearly one function",
            where=[one.use.path for one in layers],
            evidence=_numbers(worst, layers),
            fix=_fix(evidence, layers),
            severity="warn",
            location=evidence.locate(worst.use.path),
        )


def _numbers(worst: Alike, layers: list[Alike]) -> dict[str, Number]:
    return {
        "units": worst.units, "different_units": worst.groups, "largest_group": worst.largest,
        "effective_width_share": worst.groups / worst.units, "weights": len(layers),
    }  # fmt: skip


def _alike(evidence: Evidence, use: WeightUse) -> Iterator[Alike]:
    """The interchangeable units of one product, if any."""
    escape, trace = evidence.escape, evidence.trace
    assert isinstance(escape, Escape) and isinstance(trace, Trace)
    facts = evidence.parameters.get(use.path)
    if facts is None or use.path not in escape.start or use.path not in escape.end:
        return
    if use.units is not None and facts.shape[use.units] > 1 and is_hidden(trace, use.op.result, facts.shape[use.units]):
        counted = _counted(escape, use.path, use.units)
        if counted is not None:
            yield Alike(
                use=use,
                units=counted[0],
                groups=counted[1],
                largest=counted[2],
                biases=not _biases_agree(escape, trace, use),
            )
        elif _same_in_and_out(evidence, trace, use):
            yield Alike(use=use, units=facts.shape[use.units], groups=1, largest=facts.shape[use.units], biases=True)
    if use.members is not None and not facts.zero:
        counted = _counted(escape, use.path, use.members)
        if counted is not None:
            yield Alike(use=use, units=counted[0], groups=counted[1], largest=counted[2], biases=False, members=True)


def _counted(escape: Escape, path: str, axis: int) -> tuple[int, int, int] | None:
    """Number of slices, of groups of equal ones, and the largest group; None where no two agree throughout."""
    if axis not in escape.start[path] or axis not in escape.end[path]:
        return None
    start, end = escape.start[path][axis], escape.end[path][axis]
    numbers = _joint(start.both, end.both)
    loud = numbers[~end.quiet]
    if len(loud) == 0:
        return None
    counts = np.unique(loud, return_counts=True)[1]
    if counts.max() < 2:
        return None
    superfluous = int(len(loud) - len(counts))
    return len(numbers), len(numbers) - superfluous, int(counts.max())


def _joint(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.unique(np.stack([first, second], axis=1), axis=0, return_inverse=True)[1].reshape(-1)


def _biases_agree(escape: Escape, trace: Trace, use: WeightUse) -> bool:
    """Whether some units with equal weights have equal biases too, or there is no bias."""
    assert use.units is not None
    weight = _joint(escape.start[use.path][use.units].both, escape.end[use.path][use.units].both)
    for path in _biases(trace, use):
        groups = escape.end.get(path, {}).get(0)
        if groups is not None and len(groups.values) == len(weight):
            counts = np.unique(_joint(weight, groups.values), return_counts=True)[1]
            if counts.max() < 2:
                return False
    return True


def _biases(trace: Trace, use: WeightUse) -> list[str]:
    """Paths of what is added to the product: inside the operator, or by the next one."""
    found = [name for operand in use.op.operands for name in trace.values[operand].parameters if name != use.path]
    following = [trace.ops[number] for number in trace.consumers[use.op.result]]
    return found + [op.weight for op in following if op.kind == "bias" and op.weight]


def _same_in_and_out(evidence: Evidence, trace: Trace, use: WeightUse) -> bool:
    """Whether all units have one and the same nonzero incoming weights, and the same outgoing ones."""
    escape, facts = evidence.escape, evidence.parameters[use.path]
    assert isinstance(escape, Escape) and use.units is not None
    start = escape.start[use.path].get(use.units)
    if facts.zero or start is None or start.values.max() > 0:
        return False
    reader = next_reader(trace, use.op.result)
    following = (
        None if reader is None else next((one for one in weight_uses(trace) if one.op.index == reader.index), None)
    )
    if following is None or following.inputs is None or following.path not in escape.start:
        return False
    outgoing = escape.start[following.path].get(following.inputs)
    nonzero = not evidence.parameters[following.path].zero
    return outgoing is not None and nonzero and len(outgoing.values) == len(start.values) and outgoing.values.max() == 0


def _fix(evidence: Evidence, layers: list[Alike]) -> str:
    return redrawn(evidence.parameters, {one.use.path: _scheme(evidence, one.use) for one in layers})


def _scheme(evidence: Evidence, use: WeightUse) -> str:
    activation = next_activation(evidence.trace, use.op.result)  # type: ignore[arg-type]  # as in judge
    return (
        "he_normal"
        if activation is not None and activation.name in ("relu", "leaky_relu", "gelu", "silu")
        else "xavier_normal"
    )
