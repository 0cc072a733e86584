"""Activations grouped by the layers that feed them: one entry for all calls of one layer, unrolled recurrences too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod, sqrt

import numpy as np
from numpy.typing import NDArray

from initscope.checker.evidence import Escape, Evidence, ParameterFacts
from initscope.checker.instruments.graph import ancestors
from initscope.checker.instruments.trace import Moments, Op, Trace

_POOLS = frozenset(
    {
        "max_pool2d_with_indices",
        "max_pool3d_with_indices",
        "avg_pool1d",
        "avg_pool2d",
        "avg_pool3d",
        "_adaptive_avg_pool2d",
        "_adaptive_avg_pool3d",
        "adaptive_avg_pool2d",
        "mean",
        "amax",
        "max",
    }
)
_HANDED_ON = frozenset({"view", "copy", "bias", "gain", "norm", "scale", "sum"})


@dataclass(frozen=True, kw_only=True, eq=False)
class Fed:
    """What feeds an activation: layers reached back through sums, norms, biases, poolings and shape changes.

    weights   parameters of those layers, nearest first;  others  biases, gains and norm parameters on the way
    """

    weights: tuple[str, ...]
    others: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Activated:
    """All calls of one activation function behind the same layers.

    ops   the calls, in order;  fed  the layers;  units  their number where all calls agree
    rows  entries a unit has over all calls together (samples, positions, steps)
    """

    name: str
    ops: tuple[Op, ...]
    fed: Fed
    units: int
    rows: int

    @property
    def key(self) -> tuple[object, ...]:
        """What tells it from the others of a trace, and finds it again in another trace."""
        return (self.name, self.fed.weights, self.units)

    @property
    def where(self) -> tuple[str, ...]:
        """The modules that own the layers, nearest first; a parameter's own path where the model itself owns it."""
        return tuple(dict.fromkeys(path.rpartition(".")[0] or path for path in self.fed.weights))


def activated(trace: Trace, names: Iterable[str]) -> tuple[Activated, ...]:
    """Returns the activations called `names` that stand behind a layer and take part in the gradient, grouped."""
    wanted = frozenset(names)
    groups: dict[tuple[object, ...], list[Op]] = {}
    feds: dict[tuple[object, ...], Fed] = {}
    for op in trace.forward_ops("activation"):
        if op.activity is None or op.name not in wanted or not trace.values[op.result].requires_grad:
            continue
        fed = feeding(trace, trace.data_operands(op)[0])
        if fed.weights:
            key = (op.name, fed.weights, len(op.activity.off))
            groups.setdefault(key, []).append(op)
            feds[key] = fed
    return tuple(
        Activated(
            name=ops[0].name,
            ops=tuple(ops),
            fed=feds[key],
            units=len(_off(ops[0])),
            rows=sum(prod(trace.values[op.result].shape) // max(len(_off(op)), 1) for op in ops),
        )
        for key, ops in groups.items()
    )


def off_units(group: Activated) -> NDArray[np.bool_]:
    """Returns which units are off in every call."""
    return np.asarray(np.stack([_off(op) for op in group.ops]).all(axis=0), dtype=np.bool_)


def _off(op: Op) -> NDArray[np.bool_]:
    assert op.activity is not None
    return np.atleast_1d(op.activity.off)


def feeding(trace: Trace, value: int) -> Fed:
    """Returns the layers whose results reach `value` through sums, norms, poolings and shape changes alone.

    None are returned where something else was computed from their results and put in on the way: that is a formula
    (the divergence of a variational network, say), and no pre-activation. A skip connection comes from before the
    layer. Noise, masks and other tensors that neither data nor parameters made end the way back: what stands behind
    them is not what the layer alone gave.
    """
    weights: dict[str, None] = {}
    others: dict[str, None] = {}
    results: set[int] = set()
    ends: list[int] = []
    waiting, seen = [value], {value}
    while waiting:
        index = waiting.pop(0)
        op = trace.producer(index)
        if op is None:
            continue
        made = [one for one in op.operands if not trace.values[one].from_data]
        paths = [path for one in made for path in sorted(trace.values[one].parameters)]
        if op.kind == "linear" and op.weight:
            results.add(index)
            weights[op.weight] = None
            others.update(dict.fromkeys(path for path in paths if path != op.weight))
            continue
        if not _hands_on(trace, op):
            ends.append(index)
            continue
        others.update(dict.fromkeys(paths))
        following = [one for one in trace.data_operands(op) if one not in seen]
        waiting += following
        seen.update(following)
    if ends and results & ancestors(trace, ends):
        return Fed(weights=(), others=())
    return Fed(weights=tuple(weights), others=tuple(others))


def _hands_on(trace: Trace, op: Op) -> bool:
    if op.kind == "reduce":
        return op.name in _POOLS
    if op.kind == "join":
        return op.name == "write"
    if op.kind not in _HANDED_ON:
        return False
    return not (op.kind == "scale" and any(_noise(trace, index) for index in op.operands))


def _noise(trace: Trace, index: int) -> bool:
    """Whether a value that neither data nor parameters made has many entries, drawn or computed: noise, a mask."""
    value = trace.values[index]
    return not value.from_data and not value.parameters and value.origin != "buffer" and prod(value.shape) > 64


def data_part(evidence: Evidence, group: Activated) -> float:
    """Returns the root mean square of what the activation reads, without what constant biases add to it.

    sqrt(max over calls of rms^2 - sum over biases of rms^2): what weights and data make of the pre-activation.
    NaN where no call's input was measured.
    """
    trace = evidence.trace
    assert isinstance(trace, Trace)
    found = (measured(trace, trace.data_operands(op)[0]) for op in group.ops)
    sizes = [moments.rms for moments in found if moments is not None]
    if not sizes:
        return float("nan")
    biases = sum(facts.rms**2 for facts in vectors(evidence, group.fed) if facts.role in ("bias", "norm bias", "other"))
    return sqrt(max(max(sizes) ** 2 - biases, 0.0))


def measured(trace: Trace, value: int) -> Moments | None:
    """Returns the statistics of a value, of a view's those of what it was cut from."""
    while (found := trace.values[value].forward) is None:
        op = trace.producer(value)
        if op is None or op.kind not in ("view", "copy") or not trace.data_operands(op):
            return None
        value = trace.data_operands(op)[0]
    return found


def vectors(evidence: Evidence, fed: Fed) -> tuple[ParameterFacts, ...]:
    """Returns the one-dimensional parameters on the way: biases, gains, norm parameters."""
    found = (evidence.parameters.get(path) for path in fed.others)
    return tuple(facts for facts in found if facts is not None and len(facts.shape) <= 1)


def start_entries(evidence: Evidence, group: Activated, *, weights: str = "he_normal") -> dict[str, str]:
    """Returns the plan that draws the layers anew with `weights` and resets their biases and norms: path -> method."""
    matrices = (evidence.parameters.get(path) for path in group.fed.weights)
    entries = {
        facts.path: weights if facts.fan_in is not None else _by_spread(facts, group.units, weights)
        for facts in matrices
        if facts is not None and len(facts.shape) > 1
    }
    for facts in vectors(evidence, group.fed):
        entries[facts.path] = "ones" if facts.role in ("norm weight", "scale") else "zeros"
    return entries


def _by_spread(facts: ParameterFacts, units: int, weights: str) -> str:
    """The method for a matrix of the user's own, whose layout no plan knows: a normal of the spread it would get."""
    terms = max(prod(facts.shape) / max(units, 1), 1.0)
    return f"normal(std={sqrt((2.0 if weights.startswith('he') else 1.0) / terms):.3g})"


def call_text(entries: Mapping[str, str]) -> str:
    """Returns the `initscope.initialize` call of a plan."""
    shown = ", ".join(f'"{path}": "{method}"' for path, method in entries.items())
    return f"initscope.initialize(model, {{{shown}}})"


def after_probe(evidence: Evidence) -> Trace | None:
    """Returns the trace after the steps of the escape probe, None where there is none."""
    escape = evidence.escape
    return escape.after if isinstance(escape, Escape) and isinstance(escape.after, Trace) else None
