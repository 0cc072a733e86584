"""Rectifiers that were written out: maximum(x, 0), where(x > 0, x, 0), x * (x > 0)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

WAYS = frozenset({"maximum", "where", "mul"})


def rectified_operand(name: str, operands: Sequence[Tensor], results: Sequence[Tensor]) -> int | None:
    """Returns which operand an operator called `name` gave the positive part of, None where it did nothing like that.

    It is read from the values: a result that is max(x, 0) entry by entry, for an operand x some of whose entries are
    negative, is that of a rectifier, and so is its slope wherever x is not zero.
    """
    if name not in WAYS or len(results) != 1 or len(operands) < 2 or not results[0].is_floating_point():
        return None
    result = results[0]
    if result.numel() == 0 or result.is_meta or result.layout != torch.strided:
        return None
    with torch.no_grad():
        if float(result.min()) != 0:
            return None
        for number, operand in enumerate(operands):
            if operand.shape == result.shape and operand.dtype == result.dtype and operand.layout == torch.strided:
                below = operand < 0
                if bool(below.any()) and torch.equal(result, operand.clamp_min(0)):
                    return number
    return None
