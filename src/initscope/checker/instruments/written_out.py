"""What was written out: maximum(x, 0), where(x > 0, x, 0), x * (x > 0) for ReLU, exp(x) / sum exp(x) for softmax."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from initscope.checker.instruments.trace import Op

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


class Made(Protocol):
    """What is known of a value while it is recorded."""

    shape: tuple[int, ...]
    op: int | None


def exponents_of(
    name: str, operands: Sequence[int], values: Sequence[Made], ops: Sequence[Op]
) -> tuple[int, int] | None:
    """Returns (x, axis) where an operator divides exp(x) by its sum along one axis, None for any other."""
    if name not in ("div", "true_divide") or len(operands) != 2:
        return None
    above, below = (_unshaped(index, values, ops) for index in operands)
    grown, summed = (None if one.op is None else ops[one.op] for one in (values[above], values[below]))
    if grown is None or summed is None or grown.name != "exp" or summed.name != "sum":
        return None
    shape, sums = values[operands[0]].shape, values[operands[1]].shape
    axes = [axis for axis, size in enumerate(shape) if len(sums) == len(shape) and sums[axis] == 1 != size]
    same = _unshaped(summed.operands[0], values, ops) == above
    return (grown.operands[0], axes[0]) if same and len(axes) == 1 else None


def _unshaped(index: int, values: Sequence[Made], ops: Sequence[Op]) -> int:
    while (made := values[index].op) is not None and ops[made].kind in ("view", "copy") and ops[made].operands:
        index = ops[made].operands[0]
    return index
