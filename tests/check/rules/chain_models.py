"""Networks for the tests of rules about chains of layers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

INPUTS = torch.randn(32, 16, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(32) % 4
LOSS = functional.cross_entropy


def plain(
    depth: int,
    *,
    width: int = 48,
    activation: Callable[[], nn.Module] = nn.ReLU,
    draw: Callable[[Tensor], object] | None = None,
    norm: Callable[[int], nn.Module] | None = None,
) -> Callable[[], nn.Module]:
    """Returns a factory of a plain network of `depth` hidden layers; torch's default start where `draw` is None."""

    def build() -> nn.Module:
        parts: list[nn.Module] = []
        for index in range(depth):
            layer = nn.Linear(16 if index == 0 else width, width)
            if draw is not None:
                draw(layer.weight)
                nn.init.zeros_(layer.bias)
            parts += [layer, *([] if norm is None else [norm(width)]), activation()]
        return nn.Sequential(*parts, nn.Linear(width, 4))

    return build


def he(weight: Tensor) -> object:
    """He's start."""
    return nn.init.kaiming_normal_(weight, nonlinearity="relu")


class Stream(nn.Module):
    """x + scale * W2 relu(W1 norm(x)), some times over."""

    def __init__(self, blocks: int, *, scale: float = 1.0, norm: bool = False, width: int = 32) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(16, width), nn.Linear(width, 4)
        self.inner = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.outer = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.norms = nn.ModuleList(nn.LayerNorm(width) if norm else nn.Identity() for _ in range(blocks + 1))
        for layer in (*self.inner, *self.outer):
            he(layer.weight)
        with torch.no_grad():
            for layer in self.outer:
                layer.weight.mul_(scale)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.enter(x)
        for inner, outer, norm in zip(self.inner, self.outer, self.norms, strict=False):
            x = x + outer(functional.relu(inner(norm(x))))
        return {"logits": self.leave(self.norms[-1](x))}


def of_logits(output: dict[str, Tensor], target: Tensor) -> Tensor:
    """Cross-entropy of a dict output."""
    return functional.cross_entropy(output["logits"], target)


class Memory(nn.Module):
    """A readout of a recurrent layer: of its last state, or of every state."""

    def __init__(self, memory: nn.RNNBase, *, every: bool = False) -> None:
        super().__init__()
        self.memory, self.every = memory, every
        self.head = nn.Linear(memory.hidden_size, 4)

    def forward(self, x: Tensor) -> Tensor:
        states = self.memory(x)[0]
        return self.head(states).mean(1) if self.every else self.head(states[:, -1])


SERIES = torch.randn(8, 40, 5, generator=torch.Generator().manual_seed(2))
SERIES_LABELS = torch.arange(8) % 4
