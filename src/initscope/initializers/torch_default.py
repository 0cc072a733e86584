"""What a fresh torch module does, as an explicit method."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from initscope.base.errors import UsageError
from initscope.initializers.initializer import INITIALIZERS, Initializer
from initscope.modules.slots import ParameterSlot


@INITIALIZERS.register("torch_default")
@dataclass(frozen=True)
class TorchDefault(Initializer):
    """The law of `torch.nn` for linear and convolutional layers, norms and embeddings.

    Weights and biases w, b ~ U(-1/sqrt(n_in), 1/sqrt(n_in)), that is Kaiming uniform with a = sqrt 5: variance
    1 / (3 n_in). n_in here is torch's own count (for a transposed convolution, out/groups times the taps), since the
    law is torch's. Norm gains are 1, norm biases 0, embeddings N(0, 1).

    Reference: torch.nn.Linear.reset_parameters and its siblings, torch 2.13.
    """

    paper: ClassVar[str] = "PyTorch"

    def draw(self, slot: ParameterSlot, generator: torch.Generator) -> Tensor:
        """Returns a draw of torch's law for this parameter; raises UsageError for a module whose law is not known."""
        values = torch.empty(slot.shape, dtype=torch.float32)
        if slot.role in ("weight", "bias"):
            if slot.default_fan is None:
                raise UsageError(f"torch's default for {slot.path} is not known: its fan is not", where=slot.path)
            if slot.role == "weight":  # equal to the bound below but for rounding; torch's own, so its bits are torch's
                return torch.nn.init.kaiming_uniform_(values, a=math.sqrt(5), generator=generator)
            bound = 1.0 / math.sqrt(slot.default_fan)
            return values.uniform_(-bound, bound, generator=generator)
        if slot.role == "norm weight":
            return values.fill_(1.0)
        if slot.role == "norm bias":
            return values.zero_()
        if slot.role == "embedding":
            return values.normal_(generator=generator)
        raise UsageError(
            f"torch's default for {slot.path} is not known: it belongs to a {slot.layer}",
            where=slot.path,
            legal="parameters of linear, convolutional, norm and embedding layers",
            do="leave it out of the pattern: what no pattern names keeps the draw of the model's own constructor",
        )
