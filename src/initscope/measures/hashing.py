"""Hashing of stacked integers, in plain arithmetic that `vmap` and tracing understand."""

from __future__ import annotations

from torch import Tensor


def mix(values: Tensor) -> Tensor:
    """Scrambles int64 values one to one (splitmix64's finaliser; products wrap)."""
    values = (values ^ ((values >> 30) & 0x3FFFFFFFF)) * -4658895280553007687
    values = (values ^ ((values >> 27) & 0x1FFFFFFFFF)) * -7723592293110705685
    return values ^ ((values >> 31) & 0x1FFFFFFFF)
