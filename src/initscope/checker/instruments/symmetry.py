"""Which slices of a parameter agree, in values and in gradients."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from initscope.checker.evidence import UnitGroups

TOLERANCE = 1e-6
"""Slices closer than this times the largest entry agree: sums taken in another order differ by rounding."""


SAMPLED = 8
"""Entries of each slice that are compared first: only slices that agree in them are compared whole."""

CHUNK = 2_000_000
"""Entries that are widened to float64 at a time."""


def unit_groups(
    model: nn.Module, *, since: Mapping[str, Mapping[int, UnitGroups]] | None = None, most: int = 200_000_000
) -> dict[str, dict[int, UnitGroups]]:
    """Returns, for every trainable parameter with a gradient, the groups of equal slices along axes 0 and 1.

    A vector has axis 0 alone, a parameter of three axes all three (a matrix for each member of a batch of layers). A
    parameter with more than `most` entries is left out. Slices that all differed in `since`, an earlier answer, are not
    compared again: a few tiny steps make no two of them equal. Gradients are compared where values are equal.
    """
    found: dict[str, dict[int, UnitGroups]] = {}
    for path, parameter in model.named_parameters():
        gradient = parameter.grad
        strided = gradient is not None and gradient.layout == torch.strided
        if gradient is None or not strided or not 0 < parameter.numel() <= most or parameter.ndim == 0:
            continue
        before = (since or {}).get(path, {})
        found[path] = {
            axis: before[axis] if axis in before and before[axis].distinct else _groups_along(parameter, gradient, axis)
            for axis in range(3 if parameter.ndim == 3 else min(parameter.ndim, 2))
        }
    return found


def _groups_along(parameter: Tensor, gradient: Tensor, axis: int) -> UnitGroups:
    values = groups(parameter.detach(), axis)
    if len(np.unique(values)) == len(values):
        return UnitGroups(values=values, gradients=values, quiet=np.zeros(len(values), dtype=np.bool_))
    return UnitGroups(values=values, gradients=groups(gradient, axis), quiet=quiet(gradient, axis))


def groups(tensor: Tensor, axis: int) -> NDArray[np.int64]:
    """Returns a group number for each slice along `axis`: equal numbers, slices equal to `TOLERANCE`.

    Slices are compared by two fixed random projections in float64; the chance that different ones agree is below 1e-9.
    """
    with torch.no_grad():
        plain = torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor
        wide = plain if plain.dtype in (torch.float32, torch.float64) else plain.float()
        low, high = (float(one) for one in torch.aminmax(wide))
        scale = max(abs(low), abs(high))
        if not np.isfinite(scale):
            return np.arange(plain.shape[axis], dtype=np.int64)
        slices = wide.movedim(axis, 0)
        length = wide.numel() // max(wide.shape[axis], 1)
        numbers = _numbered(_sampled(slices), TOLERANCE * scale * SAMPLED**0.5)
        alike = np.flatnonzero(np.bincount(numbers)[numbers] > 1)
        if len(alike) == 0 or length <= SAMPLED:
            return numbers
        projected = _projected(slices, torch.from_numpy(alike).to(wide.device), length)
    finer = np.zeros(len(numbers), dtype=np.int64)
    finer[alike] = 1 + _numbered(projected, TOLERANCE * scale * length**0.5)
    return np.unique(np.stack([numbers, finer], axis=1), axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _sampled(slices: Tensor) -> NDArray[np.float64]:
    """Two fixed random projections of a few entries of each slice: equal slices agree in them, others seldom do."""
    generator = torch.Generator().manual_seed(0x1418)
    if slices.ndim == 1:
        return slices.double().cpu().numpy()[:, None]
    places = [torch.randint(0, size, (SAMPLED,), generator=generator).to(slices.device) for size in slices.shape[1:]]
    flat = slices[(slice(None), *places)]  # type: ignore[index]  # one index tensor for each axis but the first
    picked = flat.double().cpu()
    found: NDArray[np.float64] = (picked @ _directions(SAMPLED)).numpy()
    return found


def _projected(slices: Tensor, wanted: Tensor, length: int) -> NDArray[np.float64]:
    """Two fixed random projections of the whole of the wanted slices, Float64 "slice 2", some at a time."""
    directions = _directions(length).to(slices.device)
    rows = max(1, CHUNK // max(length, 1))
    parts = [slices[some].reshape(len(some), -1).double() @ directions for some in torch.split(wanted, rows)]
    found: NDArray[np.float64] = torch.cat(parts).cpu().numpy()
    return found


def _directions(length: int) -> Tensor:
    generator = torch.Generator().manual_seed(0x1417)
    sizes = torch.rand(length, 2, generator=generator, dtype=torch.float64) + 0.5
    return sizes * (torch.randint(0, 2, sizes.shape, generator=generator) * 2 - 1)


def quiet(gradient: Tensor, axis: int) -> NDArray[np.bool_]:
    """Returns which slices along `axis` have no entry above a thousandth of the largest; all where that is zero."""
    with torch.no_grad():
        plain = torch.view_as_real(gradient.resolve_conj()) if gradient.is_complex() else gradient
        others = [one for one in range(plain.ndim) if one != axis]
        peaks = (plain.abs().amax(others) if others else plain.abs()).double().cpu().numpy()
    found: NDArray[np.bool_] = peaks <= 1e-3 * peaks.max()
    return found


def _numbered(projected: NDArray[np.float64], width: float) -> NDArray[np.int64]:
    """Numbers the clusters of points that are chained by gaps below `width` in each of the projections."""
    numbers = np.zeros(len(projected), dtype=np.int64)
    for column in projected.T:
        order = np.argsort(column, kind="stable")
        jumps = np.concatenate([[0], (np.diff(column[order]) > width).astype(np.int64)])
        own = np.empty(len(order), dtype=np.int64)
        own[order] = np.cumsum(jumps)
        numbers = np.unique(numbers * (len(order) + 1) + own, return_inverse=True)[1].reshape(-1)
    return numbers.astype(np.int64)


def fingerprint(tensor: Tensor) -> int:
    """Returns a hash of a tensor's bits: equal for equal bits of equal shape and type, whatever the strides."""
    with torch.no_grad():
        plain = (
            tensor.detach().to_dense()
            if tensor.layout != torch.strided
            else tensor.detach().resolve_conj().resolve_neg()
        )
        if plain.numel() == 0 or plain.is_meta:
            return 0
        head = f"{tuple(plain.shape)} {plain.dtype}".encode()
        raw = plain.contiguous().reshape(-1).view(torch.uint8).cpu().numpy()
        return int.from_bytes(
            blake2b(raw.data, digest_size=8, key=blake2b(head, digest_size=16).digest()).digest(), "big"
        )

