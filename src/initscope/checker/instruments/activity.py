"""Which units of an activation are off, and how much of it is saturated, read from its input and output."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from initscope.checker.instruments.trace import Activity

RECTIFIERS = frozenset(
    {"relu", "clamp_min", "threshold", "relu6", "hardtanh", "hardswish", "hardsigmoid", "clamp", "clamp_max"}
)
"""Functions with pieces of slope exactly zero. Off is where the output stays at one value and the slope is zero."""

FLAT: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": lambda output: 4 * output * (1 - output),
    "tanh": lambda output: 1 - output.square(),
}
"""Slope over its maximum, from the output, of the functions with two flat ends."""

SATURATED_BELOW = 0.05


def activity(
    name: str, given: Tensor, output: Tensor, *, unit_axis: int | None, softmax_axis: int | None
) -> Activity | None:
    """Returns what units do in one call of the activation `name`; None where it says nothing about this function."""
    with torch.no_grad():
        if not output.is_floating_point() or output.numel() == 0 or output.is_meta:
            return None
        if softmax_axis is not None:
            return _softmax(output, softmax_axis, logarithm="log" in name)
        if name not in RECTIFIERS and name not in FLAT:
            return None
        axis = unit_axis if unit_axis is not None else output.ndim - 1
        axes = [one for one in range(output.ndim) if one != axis]
        if name in FLAT:
            slope = FLAT[name](output.float())
            flat = slope < SATURATED_BELOW
            off = flat.all(dim=axes) if axes else flat
            return Activity(off=off.cpu().numpy(), saturated=float(flat.float().mean()))
        off = _constant(output, axes) & _beyond(name, given, output, axes)
        return Activity(off=off.cpu().numpy())


def _constant(output: Tensor, axes: list[int]) -> Tensor:
    if not axes:
        return torch.zeros_like(output, dtype=torch.bool)
    return torch.amax(output, dim=axes) == torch.amin(output, dim=axes)


def _beyond(name: str, given: Tensor, output: Tensor, axes: list[int]) -> Tensor:
    """Units whose every entry was moved or cut by the function: constant inputs inside its sloped part are not off."""
    same = (given == output) if given.shape == output.shape else torch.zeros_like(output, dtype=torch.bool)
    if name in ("hardswish", "hardsigmoid"):
        inside = given.abs() < 3
        return ~(inside.any(dim=axes) if axes else inside)
    sloped = same & (output != 0)
    return ~(sloped.any(dim=axes) if axes else sloped)


def _softmax(output: Tensor, axis: int, *, logarithm: bool) -> Activity:
    shares = output.float().exp() if logarithm else output.float()
    keys = output.shape[axis]
    entropy = torch.special.entr(shares.clamp_min(0)).sum(dim=axis)
    return Activity(
        off=torch.zeros(0, dtype=torch.bool).numpy(),
        peak=float(shares.amax(dim=axis).mean()),
        entropy=float(entropy.mean()) / math.log(keys) if keys > 1 else float("nan"),
        keys=keys,
    )
