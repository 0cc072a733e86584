"""Constants: every entry the same number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from initscope.initializers.initializer import INITIALIZERS, Initializer, number
from initscope.modules.slots import ParameterSlot


@INITIALIZERS.register("constant")
@dataclass(frozen=True)
class Constant(Initializer):
    """Fills with one number: w = value.

    Units of a layer that start equal stay equal under every optimiser that acts entry by entry (permutation
    symmetry), so a constant hidden layer has one distinct unit for ever. Legal: any finite number.

    Example:
        >>> str(Constant(value=0.5))
        'Constant(value=0.5)'
    """

    value: float
    paper: ClassVar[str] = "folklore"

    def __post_init__(self) -> None:
        number("value", self.value)

    def draw(self, slot: ParameterSlot, generator: torch.Generator) -> Tensor:
        """Returns `value` everywhere; the generator is not used."""
        return torch.full(slot.shape, float(self.value), dtype=torch.float32)


@INITIALIZERS.register("zeros")
@dataclass(frozen=True)
class Zeros(Initializer):
    """Fills with zeros: w = 0.

    Sound for biases, and for the last layer of a network or of a residual branch. A hidden layer whose weights and
    biases are all zero passes no gradient to the layers below it where the activation's slope at 0 is 0 (ReLU).
    """

    paper: ClassVar[str] = "folklore"

    def draw(self, slot: ParameterSlot, generator: torch.Generator) -> Tensor:
        """Returns zeros; the generator is not used."""
        return torch.zeros(slot.shape, dtype=torch.float32)


@INITIALIZERS.register("ones")
@dataclass(frozen=True)
class Ones(Initializer):
    """Fills with ones: w = 1.

    Right for the gain of a norm. As weights of a linear layer it multiplies the signal by the fan-in and makes all
    units equal.
    """

    paper: ClassVar[str] = "folklore"

    def draw(self, slot: ParameterSlot, generator: torch.Generator) -> Tensor:
        """Returns ones; the generator is not used."""
        return torch.ones(slot.shape, dtype=torch.float32)
