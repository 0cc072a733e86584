"""Draws of a fixed scale, the same whatever the layer's fans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from initscope.base.errors import UsageError
from initscope.initializers.initializer import INITIALIZERS, Initializer, number
from initscope.modules.slots import ParameterSlot


@INITIALIZERS.register("normal")
@dataclass(frozen=True)
class Normal(Initializer):
    """Draws w ~ N(mean, std^2), independent entries. Legal: finite mean, std >= 0."""

    mean: float = 0.0
    std: float = 1.0
    paper: ClassVar[str] = "folklore"

    def __post_init__(self) -> None:
        number("mean", self.mean)
        number("std", self.std, least=0.0)

    def draw(self, slot: ParameterSlot, generator: torch.Generator) -> Tensor:
        """Returns a draw of the law, bitwise what `torch.nn.init.normal_` gives under the same generator."""
        return torch.empty(slot.shape, dtype=torch.float32).normal_(self.mean, self.std, generator=generator)


@INITIALIZERS.register("uniform")
@dataclass(frozen=True)
class Uniform(Initializer):
    """Draws w ~ U(low, high), independent entries. Legal: finite low < high, high - low in float32's range."""

    low: float = 0.0
    high: float = 1.0
    paper: ClassVar[str] = "folklore"

    def __post_init__(self) -> None:
        number("low", self.low)
        number("high", self.high)
        if self.low >= self.high:
            raise UsageError("low must be below high", value=f"low={self.low}, high={self.high}", legal="low < high")
        number("high - low", self.high - self.low, above=0.0)

    def draw(self, slot: ParameterSlot, generator: torch.Generator) -> Tensor:
        """Returns a draw of the law, bitwise what `torch.nn.init.uniform_` gives under the same generator."""
        return torch.empty(slot.shape, dtype=torch.float32).uniform_(self.low, self.high, generator=generator)
