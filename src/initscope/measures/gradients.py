"""Gradients of an ensemble: their norms, and whether they are exactly zero."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float


def gradient_norms(gradient: Float[Tensor, "run *shape"]) -> Float[Tensor, "run"]:
    """Returns the Euclidean norm of each run's gradient, in float64."""
    norms: Tensor = torch.linalg.vector_norm(gradient.flatten(1).double(), dim=1)
    return norms


def exactly_zero(values: Float[Tensor, "run *shape"]) -> Float[Tensor, "run"]:
    """Returns 1.0 for the runs in which every entry is exactly zero, else 0.0 (a NaN is not zero)."""
    return (values.flatten(1) == 0).all(dim=1).double()


def unmoved_share(now: Float[Tensor, "run *shape"], start: Float[Tensor, "run *shape"]) -> Float[Tensor, "run"]:
    """Returns the share of each run's entries that equal their starting value to the bit (0.0 and -0.0 are equal)."""
    return (now == start).flatten(1).double().mean(dim=1) if now[0].numel() else torch.ones(len(now)).double()
