"""Orthogonal weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from initscope.initializers.initializer import INITIALIZERS, Initializer, number, weight_only
from initscope.modules.slots import ParameterSlot


@INITIALIZERS.register("orthogonal")
@dataclass(frozen=True)
class Orthogonal(Initializer):
    """gain times a matrix with orthonormal rows or columns (whichever are fewer), Haar distributed.

    QR of a Gaussian, Q multiplied by the signs of R's diagonal; a convolution is flattened to (out, in k). Keeps
    every singular value at `gain`. Legal: gain > 0.

    Reference: Saxe, McClelland, Ganguli, ICLR 2014, section 3.
    """

    gain: float = 1.0
    paper: ClassVar[str] = "Saxe et al. 2014"

    def __post_init__(self) -> None:
        number("gain", self.gain, above=0.0)

    def draw(self, slot: ParameterSlot, generator: torch.Generator) -> Tensor:
        """Returns a draw of the law for a weight."""
        weight_only("orthogonal", slot)
        values = torch.empty(slot.shape, dtype=torch.float32)
        return torch.nn.init.orthogonal_(values, gain=self.gain, generator=generator)
