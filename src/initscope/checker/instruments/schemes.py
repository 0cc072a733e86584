"""Which scheme a weight was drawn by: its variance against c / fan, for its fans and those they are mistaken for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from initscope.checker.evidence import Builds, Evidence
from initscope.checker.instruments.graph import layers
from initscope.checker.instruments.trace import Op, Trace

LEAST = 64
"""Entries below which a variance says too little."""

NUMERATORS: dict[str, float] = {"he": 2.0, "lecun": 1.0, "torch's default": 1 / 3, "tanh gain": 25 / 9}
"""Name of a scheme -> c in variance = c / fan."""


ENOUGH = 400_000
"""Entries of a weight that are looked at; of larger ones every so-manyth."""

RECURRENT = (nn.RNNBase, nn.RNNCellBase)
"""Torch's recurrent modules draw all their weights by the width of the state."""

SOME = 20_000
"""Entries that are looked through for values that come again."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawn:
    """One weight of a layer between layers, and how it connects.

    variance      measured (mean square);  error  relative standard error of it, by its own kurtosis
    fan_in        connections into one unit of the layer
    wrong         the fans it may be mistaken for: words -> number
    stored_first  True where inputs stand on the first axis: x @ W
    """

    weight: str
    op: Op
    variance: float
    error: float
    fan_in: float
    fan_out: float
    wrong: dict[str, float]
    stored_first: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Match:
    """A hypothesis that fits: variance = c / fan, and how many standard errors off it is."""

    scheme: str
    fan: str
    number: float
    z: float


def drawn_weights(evidence: Evidence) -> Iterator[Drawn]:
    """Yields each weight that was drawn at random and works as a layer, once."""
    trace = evidence.trace
    if not isinstance(trace, Trace):
        return
    held, seen = dict(evidence.model.named_parameters()), set[str]()
    recurrent = {path for path, module in evidence.model.named_modules() if isinstance(module, RECURRENT)}
    fixed = evidence.builds.equal_in_seeds if isinstance(evidence.builds, Builds) else frozenset()
    for layer in layers(trace):
        values = held.get(layer.weight)
        if (
            values is None
            or values.is_complex()
            or layer.weight.rpartition(".")[0] in recurrent
            or layer.weight in seen
            or values.numel() < LEAST
            or layer.weight in fixed
            or values.ndim < 2
        ):
            continue
        seen.add(layer.weight)
        found = _drawn(trace, layer.op, layer.weight, values.detach())
        if found is not None:
            yield found


def _drawn(trace: Trace, op: Op, weight: str, values: Tensor) -> Drawn | None:
    flat = values.reshape(-1)
    flat = flat[:: max(1, flat.numel() // ENOUGH)].double().cpu()
    variance = float(flat.square().mean())
    if not math.isfinite(variance) or variance <= 0 or float(flat.mean()) ** 2 * flat.numel() > 16 * variance:
        return None
    kurtosis = float(flat.pow(4).mean()) / variance**2
    if kurtosis > 4.0 or _of_few_values(flat):  # sparse, structured
        return None
    fans = _convolution_fans(trace, op, values) if values.ndim > 2 else _matrix_fans(trace, op, values)
    if fans is None:
        return None
    fan_in, fan_out, wrong, first = fans
    return Drawn(
        weight=weight,
        op=op,
        variance=variance,
        error=math.sqrt(max(kurtosis - 1, 0.2) / flat.numel()),
        fan_in=fan_in,
        fan_out=fan_out,
        wrong={name: fan for name, fan in wrong.items() if fan > 0},
        stored_first=first,
    )


def _of_few_values(flat: Tensor) -> bool:
    some = flat[:: max(1, flat.numel() // SOME)]
    return len(torch.unique(some)) < some.numel() // 2


_Fans = tuple[float, float, dict[str, float], bool]


def _matrix_fans(trace: Trace, op: Op, values: Tensor) -> _Fans | None:
    rows, columns = values.shape
    data = [trace.values[index] for index in trace.data_operands(op)]
    given, made = data[0].shape[-1] if data[0].shape else 0, trace.values[op.result].shape[-1:]
    if (given, *made) == (columns, rows):
        return columns, rows, {"fan-out": float(rows)}, False
    if (given, *made) == (rows, columns):
        return rows, columns, {"fan-in of the transpose": float(columns)}, True
    return None


def _convolution_fans(trace: Trace, op: Op, values: Tensor) -> _Fans | None:
    if "conv" not in op.name:
        return None
    given, made = trace.values[trace.data_operands(op)[0]].shape, trace.values[op.result].shape
    if len(given) != values.ndim or len(made) != values.ndim:
        return None
    taps, inputs, outputs = math.prod(values.shape[2:]), given[1], made[1]
    entries = values.numel()
    turned = values.shape[0] == inputs and (values.shape[0] != outputs or math.prod(made[2:]) > math.prod(given[2:]))
    zoom = max(math.prod(made[2:]) / max(math.prod(given[2:]), 1), 1.0) if turned else 1.0
    groups = outputs / values.shape[1] if turned else inputs / values.shape[1]
    fan_in, fan_out = entries / outputs / max(round(zoom), 1), entries / inputs
    wrong: dict[str, float] = {}
    if groups > 1:
        wrong["fan-out of all groups"] = float(outputs * taps)
        wrong["fan-in of all groups"] = float(inputs * taps)
    elif turned:
        wrong["fan-in of the unturned kernel"] = float(values.shape[1] * taps)
    else:
        wrong["fan-out"] = float(outputs * taps)
    return fan_in, fan_out, wrong, turned


def matches(one: Drawn, fans: dict[str, float], *, within: float) -> list[Match]:
    """Returns the hypotheses over `fans` that lie within so many standard errors, the nearest first."""
    found = []
    for scheme, numerator in NUMERATORS.items():
        for name, fan in fans.items():
            z = (one.variance * fan / numerator - 1) / one.error
            if abs(z) <= within:
                found.append(Match(scheme=scheme, fan=name, number=fan, z=z))
    return sorted(found, key=lambda match: abs(match.z))


def right_fans(one: Drawn) -> dict[str, float]:
    """Returns the fans that a sound scheme may use: the true fan-in, and the mean of both."""
    return {"fan-in": one.fan_in, "mean of the fans": (one.fan_in + one.fan_out) / 2}
