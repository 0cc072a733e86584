"""How many directions the matrices of a chain pass: stable ranks, of each and of their product."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from initscope.checker.evidence import Evidence
from initscope.checker.instruments.chains import Station, heads
from initscope.checker.instruments.trace import Trace

LEAST = 16
"""Matrices with a shorter side pass few directions by their shape."""

LARGEST = 4096


@dataclass(frozen=True, kw_only=True, eq=False)
class Spectrum:
    """Of one matrix, or of the product of `weights`: stable rank |W|_F^2 / |W|_2^2 and the shorter side.

    `slimness` is the sum over layers of one over the width: depth over width where all are equally wide.
    """

    weights: tuple[str, ...]
    rank: float
    side: int
    slimness: float = 0.0

    @property
    def share(self) -> float:
        """The stable rank over the shorter side: 1 for an orthogonal matrix, 1/4 for a square one of normal entries."""
        return self.rank / self.side


def stable_rank(matrix: Tensor) -> float:
    """Returns the sum of squared singular values over the largest one; NaN for a zero matrix.

    The largest singular value by twenty steps of power iteration in float64 from a fixed start: never above the true
    one.
    """
    with torch.no_grad():
        held = matrix.double()
        total = float(held.square().sum())
        if total <= 0 or not total < float("inf"):
            return float("nan")
        vector = torch.ones(held.shape[1], dtype=held.dtype, device=held.device)
        vector[::2] += 0.5
        for _ in range(20):
            vector = held.T @ (held @ vector)
            size = vector.norm()
            if float(size) == 0:
                return float("nan")
            vector = vector / size
        return total / float((held @ vector).square().sum())


def single(evidence: Evidence) -> Iterator[Spectrum]:
    """Yields the spectrum of every trainable matrix or kernel (as a matrix) in a chain between first layer and head."""
    held, seen = dict(evidence.model.named_parameters()), set[str]()
    for station in _inner(evidence):
        weight = station.op.weight
        values = held.get(weight)
        if weight in seen or values is None or not values.requires_grad or values.ndim < 2:
            continue
        seen.add(weight)
        matrix = values.detach().reshape(values.shape[0], -1)
        if min(matrix.shape) >= LEAST and max(matrix.shape) <= LARGEST:
            yield Spectrum(weights=(weight,), rank=stable_rank(matrix), side=min(matrix.shape))


def products(evidence: Evidence) -> Iterator[Spectrum]:
    """Yields the spectrum of the product of the matrices along each chain with nothing between layers but shifts.

    Where an activation stands between, the slopes decide and no product of weights tells the Jacobian.
    """
    trace = evidence.trace
    if not isinstance(trace, Trace):
        return
    held, seen = dict(evidence.model.named_parameters()), set[int]()
    for head in heads(evidence):
        stations = head.fed_by.chain()
        if head.fed_by.value in seen or not _is_linear(trace, stations):
            continue
        seen.add(head.fed_by.value)
        matrices = [_oriented(trace, one, held.get(one.op.weight)) for one in stations]
        kept = [one for one in matrices if one is not None]
        if len(kept) != len(matrices) or len({one.op.weight for one in stations}) != len(stations):
            continue
        product = kept[0]
        for matrix in kept[1:]:
            product = matrix @ product
            product = product / product.abs().max().clamp_min(1e-300)
        side = min(min(one.shape) for one in kept)
        slim = sum(1.0 / one.shape[0] for one in kept)
        yield Spectrum(
            weights=tuple(one.op.weight for one in stations), rank=stable_rank(product), side=side, slimness=slim
        )


def _is_linear(trace: Trace, stations: tuple[Station, ...]) -> bool:
    return all(one.kind == "layer" for one in stations) and all(
        _follows(trace, first, second) for first, second in pairwise(stations)
    )


def _follows(trace: Trace, first: Station, second: Station) -> bool:
    """Whether the second layer reads the first one's result, at most shifted, reshaped or multiplied by a number."""
    current = trace.data_operands(second.op)[0]
    while current not in first.op.results:
        made = trace.producer(current)
        if made is None or made.kind not in ("view", "copy", "scale", "bias"):
            return False
        current = trace.data_operands(made)[0]
    return True


def _oriented(trace: Trace, station: Station, values: Tensor | None) -> Tensor | None:
    """The matrix as (out, in), by what it was given and what it made."""
    data = trace.data_operands(station.op)
    if values is None or values.ndim != 2 or max(values.shape) > LARGEST or not values.requires_grad or not data:
        return None
    given, made = trace.values[data[0]].shape[-1:], trace.values[station.op.result].shape[-1:]
    matrix = values.detach().double().cpu()
    if (*made, *given) == tuple(matrix.shape):
        return matrix
    return matrix.T if (*given, *made) == tuple(matrix.shape) else None


def _inner(evidence: Evidence) -> Iterator[Station]:
    for head in heads(evidence):
        for station in head.fed_by.chain()[1:]:
            if station.kind == "layer" and station.op.kind == "linear" and station.op.weight:
                yield station
