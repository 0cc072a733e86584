"""Where raw inputs enter the first layers of a network, and their features one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod, sqrt
from typing import Any

import torch
from torch import Tensor

from initscope.checker.evidence import Evidence
from initscope.checker.instruments.graph import after_bias, readers
from initscope.checker.instruments.trace import Moments, Op, Trace
from initscope.modules.arguments import call_of, leaves

_POOLS = frozenset({"avg_pool2d", "max_pool2d_with_indices", "avg_pool1d", "_adaptive_avg_pool2d", "mean"})
_NORMS = frozenset({"var", "var_mean", "std", "std_mean", "linalg_vector_norm", "norm", "pow", "square"})


@dataclass(frozen=True, kw_only=True, eq=False)
class Entry:
    """One floating input (or a part of one) that a layer reads as it came, constants aside.

    path      position or keyword of the input, `tensor` the input itself;  op  the layer;  weight  its parameter
    size      root mean square of what the layer reads of it, after the model's own constants
    push      what that adds to a pre-activation: size times sqrt(terms) times the root mean square of the weights
    raw       whether the model changed it by no constant on the way
    joined    whether other data was put beside it;  normalised  whether a normalisation reads the layer's result
    result    statistics of the pre-activation
    """

    path: str
    tensor: Tensor
    op: Op
    weight: str
    size: float
    push: float
    raw: bool
    joined: bool
    normalised: bool
    result: Moments | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """Mean and standard deviation of each feature of an input; features lie along `axis` of its `ndim` axes."""

    means: tuple[float, ...]
    stds: tuple[float, ...]
    axis: int
    ndim: int
    mean: float
    std: float

    @property
    def worst(self) -> int:
        """The feature with the largest root mean square."""
        return max(range(len(self.means)), key=lambda index: self.means[index] ** 2 + self.stds[index] ** 2)


def entries(evidence: Evidence) -> Iterator[Entry]:
    """Yields each way from an input straight into a layer; an input that something else reads first has none."""
    trace = evidence.trace
    assert isinstance(trace, Trace)
    for value in trace.values:
        if value.origin != "input":
            continue
        found = tensor_of(evidence, value.path, value.shape)
        if found is not None:
            yield from _followed(evidence, trace, value.index, value.path, found)


def _followed(evidence: Evidence, trace: Trace, start: int, path: str, tensor: Tensor) -> Iterator[Entry]:
    size = float(tensor.detach().double().square().mean().sqrt()) if tensor.numel() else 0.0
    waiting = [(start, size, True, False, tensor.is_floating_point())]
    seen = {start}
    while waiting:
        index, size, raw, joined, floating = waiting.pop()
        for number in trace.consumers[index]:
            op = trace.ops[number]
            if op.in_loss or op.result in seen:
                continue
            if op.kind == "linear" and op.weight and floating and op.name != "embedding":
                yield _entry(evidence, trace, op, path, tensor, size=size, raw=raw, joined=joined)
                continue
            step = _step(op)
            if step is None:
                continue
            seen.add(op.result)
            moments = trace.values[op.result].forward if step == "scale" else None
            floating = floating or trace.values[op.result].dtype.startswith(("float", "bfloat"))
            waiting.append(
                (
                    op.result,
                    moments.rms if moments is not None and moments.finite else size,
                    raw and step != "scale",
                    joined or step == "join",
                    floating,
                )
            )


def _step(op: Op) -> str | None:
    if op.kind in ("view", "copy"):
        return "view"
    if op.kind == "join":
        return "join" if op.name in ("cat", "stack", "concat") else None
    if op.kind == "scale":
        return "scale"
    return "scale" if op.name in _POOLS else None


def _entry(
    evidence: Evidence, trace: Trace, op: Op, path: str, tensor: Tensor, *, size: float, raw: bool, joined: bool
) -> Entry:
    value = after_bias(trace, op.result)
    facts = evidence.parameters.get(op.weight)
    units = (
        trace.values[op.result].shape[trace.values[op.result].unit_axis or 0] if trace.values[op.result].shape else 1
    )
    terms = prod(facts.shape) / max(units, 1) if facts is not None else 1.0
    following = list(readers(trace, value))
    return Entry(
        path=path,
        tensor=tensor,
        op=op,
        weight=op.weight,
        size=size,
        push=size * sqrt(max(terms, 1.0)) * (facts.rms if facts is not None else 1.0),
        raw=raw,
        joined=joined,
        normalised=any(one.kind == "norm" or one.name in _NORMS for one in following),
        result=trace.values[value].forward or trace.values[op.result].forward,
    )


def tensor_of(evidence: Evidence, path: str, shape: Sequence[int]) -> Tensor | None:
    """Returns the input tensor of this position or keyword and shape, None where there is none."""
    positional, keywords = call_of(evidence.inputs)
    given: Any = keywords.get(path)
    if given is None and path.isdigit() and int(path) < len(positional):
        given = positional[int(path)]
    for tensor in leaves(given):
        if isinstance(tensor, Tensor) and tuple(tensor.shape) == tuple(shape) and not tensor.is_complex():
            return tensor
    return None


def features_of(tensor: Tensor, op: Op) -> Features:
    """Returns the features of an input as the layer `op` sees them: channels of a convolution, else the last axis."""
    axis = 1 if "conv" in op.name and tensor.ndim > 2 else tensor.ndim - 1
    wide = tensor.detach().to(torch.float64)
    rows = wide.movedim(axis, -1).reshape(-1, wide.shape[axis]) if wide.ndim else wide.reshape(1, 1)
    return Features(
        means=tuple(rows.mean(0).tolist()),
        stds=tuple(rows.std(0, correction=0).tolist()),
        axis=axis,
        ndim=tensor.ndim,
        mean=float(rows.mean()),
        std=float(rows.std(correction=0)),
    )
