"""Dropout from named streams: masks are a function of (run, step, call, entry), so no run's masks depend on another.

Torch's dropout draws from the global generator, which an ensemble would share between its runs. Inside `KeyedDropout`
every dropout function computes its mask by hashing instead, with plain integer arithmetic that `vmap` and tracing
understand. Any other random function is refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from initscope.base.errors import UsageError
from initscope.measures.hashing import mix

_GOLDEN = -7046029254386353131
_RANDOM = {
    torch.rand, torch.randn, torch.randint, torch.randperm, torch.rand_like, torch.randn_like, torch.randint_like,
    torch.bernoulli, torch.multinomial, torch.normal, torch.poisson, functional.rrelu, functional.gumbel_softmax,
    functional.feature_alpha_dropout, torch.rrelu, Tensor.bernoulli, Tensor.bernoulli_, Tensor.normal_, Tensor.uniform_,
    Tensor.multinomial, Tensor.random_, Tensor.exponential_, Tensor.cauchy_, Tensor.log_normal_, Tensor.geometric_,
}  # fmt: skip


def keyed_uniform(key: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Returns float32 numbers in [0, 1) of `shape`, a pure function of `key` (int64, no axes) and the entry's index.

    Entry i is the top 24 bits of splitmix64's finaliser applied to key + (i + 1) x golden ratio.
    """
    index = torch.arange(1, math.prod(shape) + 1, dtype=torch.int64, device=key.device)
    bits = mix(key + index * _GOLDEN)
    return (((bits >> 40) & 0xFFFFFF).to(torch.float32) / float(1 << 24)).reshape(shape)


class KeyedDropout(TorchFunctionMode):
    """Inside the block, dropout draws its masks from the stream of one run at one step.

    `run_key` (int64, no axes) is the run's stream seed, `step` (int64, no axes) the number of updates made. The n-th
    dropout call of a forward pass has its own masks. Other random functions raise UsageError.
    """

    def __init__(self, run_key: Tensor, step: Tensor) -> None:
        super().__init__()
        self._key, self._calls = mix(run_key ^ mix(step * 2 + 1)), 0

    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _DROPOUTS:
            return _DROPOUTS[func](self, *args, **kwargs)
        if func is functional.multi_head_attention_forward:
            with _attention_through(self):
                return func(*args, **kwargs)
        if func in _RANDOM:
            raise UsageError(
                f"this model cannot be studied: its forward pass draws random numbers with {func.__name__}",
                legal="dropout (of entries, of channels, alpha dropout, in attention) is the randomness "
                "a study can repeat run by run",
                do="replace the call by one of torch.nn.functional's dropouts, or take it out",
            )
        return func(*args, **kwargs)

    def mask(self, like: Tensor, shape: tuple[int, ...], drop: float) -> Tensor:
        """Returns 1 for kept and 0 for dropped entries, in `like`'s dtype; the next call has other masks."""
        self._calls += 1
        return (keyed_uniform(mix(self._key + self._calls), shape) >= drop).to(like.dtype)


@contextmanager
def _attention_through(mode: KeyedDropout) -> Iterator[None]:
    """Lets multi-head attention's own calls reach `mode`.

    A function mode is switched off while it handles a call, and torch's multi-head attention calls dropout from
    inside; for its duration the two names it calls are bound to this mode.
    """
    kept = functional.dropout, functional.scaled_dot_product_attention
    functional.dropout = partial(_dropout, mode)
    functional.scaled_dot_product_attention = partial(_attention, mode)
    try:
        yield
    finally:
        functional.dropout, functional.scaled_dot_product_attention = kept


def _dropout(mode: KeyedDropout, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    if not training or p == 0.0:
        return input
    kept = input * mode.mask(input, tuple(input.shape), p) * (1.0 / (1.0 - p) if p < 1.0 else 0.0)
    return input.copy_(kept) if inplace else kept


def _channel_dropout(
    batched: int, mode: KeyedDropout, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Drops whole channels. An input of fewer axes than `batched` has no axis of samples, as torch reads it."""
    if not training or p == 0.0:
        return input
    leading = input.shape[:2] if input.ndim >= batched else input.shape[:1]
    shape = (*leading, *(1 for _ in input.shape[len(leading) :]))
    kept = input * mode.mask(input, shape, p) * (1.0 / (1.0 - p) if p < 1.0 else 0.0)
    return input.copy_(kept) if inplace else kept


def _alpha_dropout(
    mode: KeyedDropout, input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """Klambauer et al. 2017: dropped entries take SELU's low end, then mean 0 and variance 1 are restored."""
    if not training or p == 0.0:
        return input
    low = -1.7580993408473766
    a = ((1.0 - p) * (1.0 + p * low**2)) ** -0.5
    kept = mode.mask(input, tuple(input.shape), p)
    mixed = a * (input * kept + low * (1.0 - kept)) - a * p * low
    return input.copy_(mixed) if inplace else mixed


def _attention(
    mode: KeyedDropout,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(Q K^T scale + mask) with dropout, times V: written out where dropout is on, torch's own where it is
    off."""
    if dropout_p == 0.0:
        return torch._C._nn.scaled_dot_product_attention(
            query, key, value, attn_mask, 0.0, is_causal, scale=scale, enable_gqa=enable_gqa
        )
    if enable_gqa:
        raise UsageError("this model cannot be studied: grouped-query attention with dropout is not supported")
    scores = query @ key.transpose(-2, -1) * (scale if scale is not None else query.shape[-1] ** -0.5)
    if is_causal:
        future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(future, float("-inf"))
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, float("-inf")) if attn_mask.dtype == torch.bool else scores + attn_mask
    return _dropout(mode, scores.softmax(-1), dropout_p) @ value


_DROPOUTS: dict[Callable[..., Any], Callable[..., Tensor]] = {
    functional.dropout: _dropout,
    torch.dropout: lambda mode, input, p, train: _dropout(mode, input, p, train),
    functional.dropout1d: partial(_channel_dropout, 3),
    functional.dropout2d: partial(_channel_dropout, 2),  # torch reads three axes as (sample, channel, length)
    functional.dropout3d: partial(_channel_dropout, 5),
    functional.alpha_dropout: _alpha_dropout,
    functional.scaled_dot_product_attention: _attention,
}
