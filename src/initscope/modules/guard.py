"""The guard behind which a model is looked at: whatever happens inside, the model is afterwards as it was."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from initscope.modules.generators import seeded_generators

_HOLDERS = (dict, OrderedDict, defaultdict, list, set, deque)


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Leaves `model` and the global generators as they were when the block is left, by an error too.

    Put back are: the values of buffers (they alone are copied), every submodule's attributes with the mode and the
    hooks among them, one level deep into lists, dicts and sets, and each parameter's `requires_grad` and `grad`.
    Inside, gradients are absent, so a backward pass adds to nothing of the user's, and torch's, numpy's and random's
    global generators stand at seed 0. The values of parameters are not watched.
    """
    modules = [_ModuleState.of(module) for module in model.modules()]
    buffers = [_BufferState.of(buffer) for buffer in model.buffers()]
    parameters = [(parameter, parameter.requires_grad, parameter.grad) for parameter in model.parameters()]
    with seeded_generators(0):
        try:
            for parameter, _, _ in parameters:
                parameter.grad = None
            yield
        finally:
            for module in modules:
                module.restore()
            for buffer in buffers:
                buffer.restore()
            for parameter, requires_grad, grad in parameters:
                if parameter.requires_grad != requires_grad:
                    parameter.requires_grad_(requires_grad)
                parameter.grad = grad


@dataclass(frozen=True, kw_only=True, eq=False)
class _ModuleState:
    """A module's attributes, and what the lists, dicts and sets among them hold."""

    module: nn.Module
    attributes: dict[str, Any]
    held: tuple[tuple[Any, Any], ...]

    @classmethod
    def of(cls, module: nn.Module) -> _ModuleState:
        attributes = {} if isinstance(module, torch.jit.ScriptModule) else dict(module.__dict__)
        held = tuple((value, value.copy()) for value in attributes.values() if type(value) in _HOLDERS)
        return cls(module=module, attributes=attributes, held=held)

    def restore(self) -> None:
        if not self.attributes:
            return
        self.module.__dict__.clear()
        self.module.__dict__.update(self.attributes)
        for holder, content in self.held:
            holder.clear()
            if isinstance(holder, list | deque):
                holder.extend(content)
            else:
                holder.update(content)


@dataclass(frozen=True, kw_only=True, eq=False)
class _BufferState:
    """A buffer and a copy of its values; None on the meta device, where there are none."""

    buffer: Tensor
    values: Tensor | None
    version: int

    @classmethod
    def of(cls, buffer: Tensor) -> _BufferState:
        values = None if buffer.is_meta else buffer.detach().clone()
        return cls(buffer=buffer, values=values, version=version_of(buffer))

    def restore(self) -> None:
        """Writes only where something changed: a needless write would spoil a graph the user still holds."""
        if self.values is None:
            return
        if version_of(self.buffer) != self.version or not _equal(self.buffer, self.values):
            with torch.no_grad():
                if self.buffer.shape != self.values.shape:
                    self.buffer.resize_(self.values.shape)
                self.buffer.copy_(self.values)


def version_of(tensor: Tensor) -> int:
    """Returns torch's count of in-place writes, -1 for inference tensors, which have none."""
    return -1 if tensor.is_inference() else tensor._version


def _equal(first: Tensor, second: Tensor) -> bool:
    """Whether the values are the same, as far as this kind of tensor (sparse, quantised) can be compared."""
    try:
        return first.shape == second.shape and torch.equal(first, second)
    except (RuntimeError, NotImplementedError):
        return True
