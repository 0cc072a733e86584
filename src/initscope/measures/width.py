"""Effective width: how many units of a layer are distinct."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from initscope.measures.hashing import mix

if TYPE_CHECKING:
    from jaxtyping import Float


def distinct_units(rows: Float[Tensor, "run unit weight"]) -> Float[Tensor, "run"]:
    """Returns how many different rows each run has, equal meaning equal to the bit (0.0 and -0.0 are equal).

    Rows are compared by a 64-bit multiply-and-add hash of their bits with fixed odd multipliers; sorted hashes that
    differ from their neighbour are counted. Two different rows share a hash with probability 2^-64.
    """
    bits = (rows.double() + 0.0).contiguous().view(torch.int64)
    bits = bits ^ ((bits >> 29) & 0x7FFFFFFFF)
    positions = torch.arange(bits.shape[-1], device=bits.device, dtype=torch.int64)
    multipliers = mix(positions * 2 + 1) | 1
    hashes = mix((bits * multipliers).sum(dim=-1)).sort(dim=1).values
    return 1.0 + (hashes[:, 1:] != hashes[:, :-1]).sum(dim=1).double()


def similar_groups(rows: Float[Tensor, "run unit weight"], *, tolerance: float) -> Float[Tensor, "run"]:
    """Returns how many groups of similar rows each run has.

    A row founds a group unless a row before it lies within `tolerance` times the layer's largest row norm
    (Euclidean); `tolerance` is in (0, 1). All-zero layers have one group. Cost: units^2 distances a run.
    """
    scale = rows.double().norm(dim=-1).amax(dim=1).clamp_min(torch.finfo(torch.float64).tiny)
    scaled = rows.double() / scale[:, None, None]
    close = torch.cdist(scaled, scaled, compute_mode="donot_use_mm_for_euclid_dist") <= tolerance
    return (~close.tril(diagonal=-1).any(dim=2)).sum(dim=1).double()
