"""The values that a check must put back, held in memory or, where they are many, in a file without a name."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor, nn

from initscope.modules.guard import version_of

MANY_BYTES = 128 * 2**20
"""Models above this keep their values on disk: a copy in memory would be a quarter of what a check may take."""

LARGE_BYTES = 2**20
"""Tensors below this stay in memory all the same."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _One:
    tensor: Tensor
    version: int
    values: Callable[[], Tensor]


class Kept:
    """Copies of every parameter and of every tensor that a module holds as a plain attribute."""

    def __init__(self, tensors: Iterable[_One]) -> None:
        self._tensors = list(tensors)

    def restore(self) -> None:
        """Writes only into what changed, and drops the copies."""
        with torch.no_grad():
            for one in self._tensors:
                values = one.values()
                if version_of(one.tensor) != one.version or not _same(one.tensor, values):
                    if one.tensor.shape != values.shape:
                        one.tensor.set_(values)  # type: ignore[call-overload]  # the overload for a tensor alone
                    else:
                        one.tensor.data.copy_(values)
        self._tensors = []


@contextmanager
def kept_values(model: nn.Module) -> Iterator[Kept]:
    """Keeps the values of `model` inside the block, for `restore`.

    Where no file can be written, or the disk is full, memory serves.
    """
    tensors = _held(model)
    with ExitStack() as stack:
        file: BinaryIO | None = None
        if sum(_bytes(one) for one in tensors) > MANY_BYTES:
            try:
                file = stack.enter_context(tempfile.TemporaryFile(prefix="initscope-"))
            except OSError:
                file = None
        yield Kept([_One(tensor=one, version=version_of(one), values=_copy(one, file)) for one in tensors])


def _held(model: nn.Module) -> list[Tensor]:
    found: dict[int, Tensor] = {id(one): one for one in model.parameters() if _has_values(one)}
    for module in model.modules():
        for held in list(module.__dict__.values()):
            items = held if isinstance(held, list | tuple) else held.values() if type(held) is dict else (held,)
            found.update({id(one): one for one in items if isinstance(one, Tensor) and _has_values(one)})
    return list(found.values())


def _copy(tensor: Tensor, file: BinaryIO | None) -> Callable[[], Tensor]:
    if file is not None and _bytes(tensor) >= LARGE_BYTES and _is_plain(tensor):
        try:
            return _written(tensor.detach(), file)
        except OSError:
            pass  # the disk is full
    copy = tensor.detach().clone()
    return lambda: copy


def _written(tensor: Tensor, file: BinaryIO) -> Callable[[], Tensor]:
    """Appends a tensor's bytes to `file` and returns the function that reads them back."""
    begin = file.seek(0, 2)
    file.write(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    file.flush()
    shape, dtype, size = tensor.shape, tensor.dtype, _bytes(tensor)

    def read() -> Tensor:
        raw = np.empty(size, dtype=np.uint8)
        file.seek(begin)
        if file.readinto(raw.data) != size:  # type: ignore[attr-defined]  # every buffered file has it
            raise OSError(f"the values of a tensor of shape {tuple(shape)} cannot be read back from the temporary file")
        return torch.from_numpy(raw).view(dtype).reshape(shape)

    return read


def _is_plain(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu" and not (tensor.is_complex() or tensor.is_quantized or tensor.is_neg())


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _has_values(tensor: Tensor) -> bool:
    lazy = nn.parameter.is_lazy(tensor)
    return not lazy and not tensor.is_meta and tensor.layout == torch.strided


def _same(tensor: Tensor, values: Tensor) -> bool:
    """Whether all entries are equal; NaN is unlike itself, and is then written once more, which changes no bit."""
    try:
        return tensor.shape == values.shape and torch.equal(tensor, values)
    except (RuntimeError, NotImplementedError):
        return False
