"""Healthy oddities of computation: rounded and complex numbers, recomputed blocks, parts without a graph."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from calibration.cases.healthy_tasks import CLASSES, Book, images

book = Book()
pictured = partial(book.healthy, family="computation", task=images)


class _Checkpointed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 24, 3, stride=2, padding=1), nn.Linear(24, CLASSES)
        self.blocks = nn.ModuleList(
            [nn.Sequential(nn.Conv2d(24, 24, 3, padding=1), nn.GroupNorm(4, 24), nn.ReLU()) for _ in range(3)]
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False)
        return self.head(x.mean((2, 3)))


@pictured("checkpointed-blocks", "Blocks are computed again in the backward pass: every operator comes twice.")
def _checkpointed() -> nn.Module:
    return _Checkpointed()


class _QuantisedLinear(nn.Module):
    """A linear layer that sees its weights on a grid of 4 bits; gradients pass straight through."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.empty(after, before)), nn.Parameter(torch.zeros(after))
        nn.init.kaiming_normal_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        step = self.weight.detach().abs().max() / 7
        rounded = torch.round(self.weight / step) * step
        return functional.linear(x, self.weight + (rounded - self.weight).detach(), self.bias)


@pictured(
    "quantisation-aware", "Weights are rounded in the forward pass and equal on the grid; gradients pass through."
)
def _quantised() -> nn.Module:
    return nn.Sequential(
        nn.AvgPool2d(2),
        nn.Flatten(),
        _QuantisedLinear(192, 64),
        nn.ReLU(),
        _QuantisedLinear(64, 64),
        nn.ReLU(),
        nn.Linear(64, CLASSES),
    )


@pictured("torch-fake-quantise", "torch's own fake quantisation between the layers.")
def _fake_quantised() -> nn.Module:
    return nn.Sequential(
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(192, 64),
        _Grid(),
        nn.ReLU(),
        nn.Linear(64, 64),
        _Grid(),
        nn.ReLU(),
        nn.Linear(64, CLASSES),
    )


class _Grid(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.fake_quantize_per_tensor_affine(x, 1 / 32, 0, -128, 127)


class _Preprocessed(nn.Module):
    """Normalises, and reads a frozen trunk, both without a graph; only the head is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(3, 48, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(48, 48, 3, stride=2, padding=1), nn.ReLU()
        )
        self.trunk.requires_grad_(False)
        self.head = nn.Sequential(nn.Linear(48 * 16, 64), nn.ReLU(), nn.Linear(64, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            features = self.trunk((x - x.mean((1, 2, 3), keepdim=True)) / x.std((1, 2, 3), keepdim=True))
        return self.head(features.flatten(1))


@pictured("trunk-without-graph", "The forward pass is under no_grad in part, on purpose: that part is frozen.")
def _preprocessed() -> nn.Module:
    return _Preprocessed()


class _Complex(nn.Module):
    """A complex-valued network on the images' Fourier transforms; the head reads magnitudes."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.randn(3 * 144, 32, dtype=torch.cfloat) * (2 * 3 * 144) ** -0.5)
        self.second = nn.Parameter(torch.randn(32, 32, dtype=torch.cfloat) * 32**-0.5)
        self.head = nn.Linear(32, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft2(x, norm="ortho").flatten(1)
        hidden = torch.complex(*(functional.relu(part) for part in self._parts(spectrum @ self.first)))
        return self.head((hidden @ self.second).abs())

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.real, x.imag


@pictured("complex-network", "Complex weights and activations; statistics are over magnitudes.")
def _complex() -> nn.Module:
    return _Complex()


CASES = book.cases
