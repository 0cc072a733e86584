"""What a layer says about its inputs: root mean square, the share that depends on the input, dead units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Bool, Float


@dataclass(kw_only=True)
class SignalSums:
    """Running sums over chunks of samples, one entry a run and unit; float64.

    Sums are of differences to the very first sample, so a layer that says the same for every input has a spread of
    exactly zero, whatever its size.
    """

    first: Float[Tensor, "run unit"] | None = None
    count: int = 0
    total: Float[Tensor, "run unit"] | float = 0.0
    squares: Float[Tensor, "run unit"] | float = 0.0

    def add(self, output: Float[Tensor, "run sample unit"]) -> None:
        """Takes in one chunk of a layer's outputs."""
        values = output.double()
        if self.first is None:
            self.first = values[:, 0].clone()
        centred = values - self.first[:, None]
        self.count += values.shape[1]
        self.total = self.total + centred.sum(dim=1)
        self.squares = self.squares + (centred * centred).sum(dim=1)

    def rms(self) -> Float[Tensor, "run"]:
        """Returns sqrt(mean over samples and units of x^2)."""
        mean, variance = self._moments()
        return (mean.square() + variance).mean(dim=1).sqrt()

    def input_share(self) -> Float[Tensor, "run"]:
        """Returns sqrt(mean over units of the variance over samples) / rms; 0 where every input gives the same."""
        spread = self._moments()[1].mean(dim=1).sqrt()
        return torch.where(spread == 0, spread, spread / self.rms())

    def _moments(self) -> tuple[Tensor, Tensor]:
        assert self.first is not None, "a signal was read before any sample came in"
        shift = torch.as_tensor(self.total) / self.count
        variance = (torch.as_tensor(self.squares) / self.count - shift.square()).clamp_min(0.0)
        return self.first + shift, variance


def alive_units(activation: Float[Tensor, "run sample unit"]) -> Bool[Tensor, "run unit"]:
    """Returns which units have an activation other than zero for at least one of the samples."""
    return (activation != 0).any(dim=1)


def units_last(output: Float[Tensor, "run *rest"], unit_axis: int) -> Float[Tensor, "run sample unit"]:
    """Returns a layer's stacked output with samples and positions on one axis and units last.

    `unit_axis` is the axis of units in the output of a single run (-1 linear, 1 convolution).
    """
    axis = unit_axis if unit_axis < 0 else unit_axis + 1
    return output.movedim(axis, -1).reshape(output.shape[0], -1, output.shape[axis])
