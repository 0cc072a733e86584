"""A tensor as a place in memory, and an operator as what writes there."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

SAMPLE = 1 << 17
"""Entries of a write that are looked at for its mean and standard deviation."""

EMPTY = frozenset({"empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided", "empty_permuted"})
SHAPED_ONLY = frozenset({"zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full"})
"""Operators whose tensor argument gives shape and dtype, no values."""

COPIES = frozenset({"clone", "_to_copy", "copy_"})
RESHAPES = frozenset({
    "set_", "resize_", "resize_as_", "t_", "transpose_", "swapaxes_", "swapdims_", "squeeze_", "unsqueeze_", "detach_",
    "as_strided_", "view_", "rename_", "_coalesced_", "unsafe_set_", "resize", "set_data",
})  # fmt: skip
"""In-place operators that change a tensor's shape or place, not values."""

SCATTERED = frozenset({
    "index_put_", "_index_put_impl_", "_unsafe_index_put_", "masked_fill_", "masked_scatter_", "index_copy_",
    "index_fill_", "scatter_", "scatter_add_", "scatter_reduce_", "index_add_", "put_", "fill_diagonal_",
    "index_reduce_",
})  # fmt: skip
"""In-place operators that write some entries of their target and leave the others."""

REPLACING = (SCATTERED - {"scatter_add_", "scatter_reduce_", "index_add_", "index_reduce_"}) | {
    "copy_", "fill_", "zero_", "normal_", "uniform_", "random_", "bernoulli_", "exponential_", "log_normal_", "cauchy_",
    "geometric_",
}  # fmt: skip
"""In-place operators after which the values written owe nothing to those before."""


def address(tensor: Tensor) -> int | None:
    """Returns the identity of a tensor's storage, None where it has none of the plain kind."""
    if (
        tensor.layout != torch.strided
        or tensor.is_quantized
        or isinstance(tensor, UninitializedParameter | UninitializedBuffer)
    ):
        return None
    if hasattr(tensor, "__tensor_flatten__") or hasattr(tensor, "device_mesh") or hasattr(tensor, "fake_mode"):
        return None
    try:
        return int(tensor.untyped_storage()._cdata)
    except (RuntimeError, NotImplementedError):
        return None


def extent(tensor: Tensor) -> tuple[int, int, bool] | None:
    """Returns the first byte of a tensor in its storage, the one past its last, and whether it owns all between."""
    if tensor.numel() == 0:
        return None
    size = tensor.element_size()
    entries = 1 + sum((int(length) - 1) * step for length, step in zip(tensor.shape, tensor.stride(), strict=True))
    low = int(tensor.storage_offset()) * size
    return low, low + entries * size, entries == tensor.numel()


@lru_cache(maxsize=4096)
def _written_arguments(func: torch._ops.OpOverload) -> tuple[frozenset[int], frozenset[str]]:
    written = [
        (index, argument.name)
        for index, argument in enumerate(func._schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    ]
    return frozenset(index for index, _ in written), frozenset(name for _, name in written)


def operands(
    func: torch._ops.OpOverload, args: tuple[Any, ...], named: Mapping[str, Any]
) -> tuple[list[Tensor], list[Tensor]]:
    """Returns the tensors an operator writes into, and those it only reads."""
    indices, names = _written_arguments(func)
    targets: list[Tensor] = []
    others: list[Tensor] = []
    for index, argument in enumerate(args):
        (targets if index in indices else others).extend(tensors(argument))
    for name, argument in named.items():
        (targets if name in names else others).extend(tensors(argument))
    return targets, others


def tensors(value: Any) -> Iterator[Tensor]:
    """Yields the tensors of one argument or result: itself, or those of a list."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        yield from (item for item in value if isinstance(item, Tensor))


def moments(tensor: Tensor, *, dense: bool) -> tuple[float, float]:
    """Returns mean and standard deviation of at most `SAMPLE` evenly chosen entries, NaN where they would be dear."""
    if not tensor.is_floating_point() or not (dense or tensor.numel() <= SAMPLE):
        return math.nan, math.nan
    with torch.no_grad():
        if tensor.numel() > SAMPLE:
            step = -(-tensor.numel() // SAMPLE)
            tensor = tensor.as_strided((tensor.numel() // step,), (step,), tensor.storage_offset())
        std, mean = torch.std_mean(tensor.to(torch.float64), correction=0)
        return float(mean), float(std)
