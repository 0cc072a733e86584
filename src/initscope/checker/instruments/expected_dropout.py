"""Dropout replaced by what it is on average, so that two units that agree are not told apart by their masks.

A Bernoulli draw with a plain probability p gives p everywhere: a mask divided by its keep probability is then one, in
torch's dropout, in stochastic depth written by hand and in fused attention taken apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten


def as_expected(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Returns what a dropout-like operator gives on average, NotImplemented for every other operator."""
    if func is aten.bernoulli_.float:
        return args[0].fill_(_probability(args, kwargs))
    if func is aten.bernoulli.p:
        return torch.full_like(args[0], _probability(args, kwargs))
    if func is aten.native_dropout.default:
        return args[0].clone(), torch.ones_like(args[0], dtype=torch.bool)
    if func is aten.native_dropout_backward.default:
        return args[0] * args[1]
    return NotImplemented


def _probability(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> float:
    return float(args[1] if len(args) > 1 else kwargs.get("p", 0.5))


class ExpectedDropout(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch ships it without types
    """While it is entered, dropout leaves its input as it is on average."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Keeps torch from importing its compiler, over a second, at the first operator."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Runs an operator, a dropout-like one as its mean."""
        kwargs = dict(kwargs or {})
        replaced = as_expected(func, args, kwargs)
        return func(*args, **kwargs) if replaced is NotImplemented else replaced
