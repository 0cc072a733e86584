"""Parameters that start as copies of each other, and how far they are from each other later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from initscope.checker.evidence import Apart
from initscope.checker.instruments.recording import grad_state
from initscope.checker.instruments.symmetry import fingerprint

FEW = 16
"""Entries that are compared first: parameters that differ in them are no copies."""


def equal_at_start(model: nn.Module) -> tuple[tuple[str, ...], ...]:
    """Returns groups of trainable parameters of equal bits, in the model's order; all zeros are no copies."""
    alike: dict[tuple[object, ...], list[str]] = {}
    parameters = dict(model.named_parameters())
    for path, parameter in parameters.items():
        if parameter.requires_grad and parameter.numel() and not parameter.is_meta:
            first = tuple(parameter.detach().reshape(-1)[:FEW].tolist())
            alike.setdefault((parameter.shape, parameter.dtype, first), []).append(path)
    groups: dict[int, list[str]] = {}
    for paths in alike.values():
        for path in paths if len(paths) > 1 else ():
            if bool(parameters[path].detach().any()):
                groups.setdefault(fingerprint(parameters[path]), []).append(path)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def distances(model: nn.Module, groups: Sequence[Sequence[str]]) -> Mapping[str, Apart]:
    """Returns, for each but the first of every group, how far its values and gradients are from those of the first."""
    parameters = dict(model.named_parameters())
    found = {}
    for first, *others in groups:
        for path in others:
            one, other = parameters[first], parameters[path]
            found[path] = Apart(
                twin=first, values=_apart(one.detach(), other.detach()), gradients=_gradients_apart(one, other)
            )
    return found


def _gradients_apart(first: Tensor, second: Tensor) -> float:
    one, other = grad_state(first), grad_state(second)
    if one is None or other is None:
        return 0.0 if one is other else float("inf")
    return _apart(one, other)


def _apart(first: Tensor, second: Tensor) -> float:
    """Largest difference over the largest entry; 0 where both are all zero, infinite where either is not finite."""
    with torch.no_grad():
        size = float(torch.maximum(first.abs().max(), second.abs().max()))
        distance = float((first - second).abs().max()) / size if size > 0 else 0.0
    return distance if distance == distance else float("inf")
