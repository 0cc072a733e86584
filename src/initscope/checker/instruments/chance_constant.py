"""Constant outputs: one vector per output tensor, broadcast over samples and positions, put before a loss."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from initscope.checker.instruments.loss_outputs import Leaf, with_replaced

Link = Literal["free", "log_softmax", "softmax", "sigmoid"]
"""What keeps a constant inside the range of the outputs: log-probabilities, probabilities, or shares of their own."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """One output tensor that is replaced: its axis of units (None: one number for all entries) and its link."""

    leaf: Leaf
    axis: int | None
    link: Link

    @property
    def size(self) -> int:
        """Length of the vector: entries of the unit axis, twice that for complex numbers."""
        units = 1 if self.axis is None else self.leaf.tensor.shape[self.axis]
        return 2 * units if self.leaf.tensor.is_complex() else units

    def filled(self, vector: Tensor) -> Tensor:
        """Returns the output tensor made of one vector of length `size`, in the graph of the vector."""
        like = self.leaf.tensor
        linked = _linked(vector, self.link)
        if like.is_complex():
            linked = torch.view_as_complex(linked.reshape(-1, 2))
        shape = [1] * like.ndim
        if self.axis is not None:
            shape[self.axis] = -1
        else:
            linked = linked.reshape(())
            shape = []
        return linked.reshape(shape).to(like.device, like.dtype).expand(like.shape).contiguous()


@dataclass(frozen=True, kw_only=True, eq=False)
class Constants:
    """The constant outputs of one network; `loss` is asked with outputs of the structure that `output` has."""

    output: Any
    parts: tuple[Part, ...]
    loss: Callable[[Any], Tensor]

    @property
    def size(self) -> int:
        """Length of all vectors together."""
        return sum(part.size for part in self.parts)

    def value(self, vector: Tensor) -> float:
        """Returns the loss of one constant output."""
        with torch.no_grad():
            return float(self._loss(vector))

    def value_and_slope(self, vector: Tensor) -> tuple[float, Tensor]:
        """Returns the loss of one constant output and its gradient, in float64."""
        with torch.enable_grad():
            asked = vector.detach().clone().requires_grad_()
            value = self._loss(asked)
            slope = torch.autograd.grad(value, asked, allow_unused=True)[0] if value.requires_grad else None
        return float(value.detach()), torch.zeros_like(vector) if slope is None else slope

    def mixed(self, vector: Tensor, samples: slice) -> float:
        """Returns the loss where the outputs of some samples (axis 0) are constant and the others as they were."""
        replaced = {}
        with torch.no_grad():
            for part, one in zip(self.parts, self.split(vector), strict=True):
                tensor = part.leaf.tensor.detach().clone()
                tensor[samples] = part.filled(one)[samples]
                replaced[part.leaf.steps] = tensor
            return float(self.loss(with_replaced(self.output, replaced)))

    def split(self, vector: Tensor) -> tuple[Tensor, ...]:
        """Returns the vector of each part."""
        return torch.split(vector, [part.size for part in self.parts])

    def _loss(self, vector: Tensor) -> Tensor:
        replaced = {part.leaf.steps: part.filled(one) for part, one in zip(self.parts, self.split(vector), strict=True)}
        return self.loss(with_replaced(self.output, replaced)).reshape(())


def _linked(vector: Tensor, link: Link) -> Tensor:
    if link == "log_softmax":
        return torch.log_softmax(vector, dim=0)
    if link == "softmax":
        return torch.softmax(vector, dim=0)
    return torch.sigmoid(vector) if link == "sigmoid" else vector


def link_of(tensor: Tensor, axis: int | None) -> Link:
    """Returns which range the entries of an output keep to 1e-4, read from its values ("free" where none is kept)."""
    if axis is None or tensor.is_complex() or tensor.shape[axis] < 2:
        return "free"
    plain = tensor.detach()
    low, high = (float(one) for one in torch.aminmax(plain))
    if not (math.isfinite(low) and math.isfinite(high)) or (low < 0 < high) or high > 1:
        return "free"
    ones = torch.ones((), dtype=torch.float64, device=plain.device)
    if low >= 0 and bool(torch.allclose(plain.sum(axis, dtype=torch.float64), ones, atol=1e-4)):
        return "softmax"
    if high <= 0 and bool(torch.allclose(plain.exp().sum(axis, dtype=torch.float64), ones, atol=1e-4)):
        return "log_softmax"
    return "free"
