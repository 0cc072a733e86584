"""Healthy adapters and conditioning: low-rank updates, bottlenecks, adaptive norms and controls that start at zero."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from calibration.cases.healthy_tasks import CLASSES, Book, he, images, stream, vectors, zero

book = Book()
convolutional = partial(book.healthy, family="residual", task=images)


class _Lora(nn.Module):
    def __init__(self, base: nn.Linear, *, rank: int = 4, gain: float = 4.0) -> None:
        super().__init__()
        self.base, self.gain = base.requires_grad_(False), gain
        self.down = nn.Parameter(torch.empty(rank, base.in_features))
        self.up = nn.Parameter(torch.zeros(base.out_features, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.gain * (x @ self.down.T @ self.up.T)


adapted = partial(book.healthy, family="lora", task=vectors, learning_rate=1e-2)


@adapted("lora-on-frozen-base", "The base is frozen, B is zero: A has no gradient until B has moved.")
def _lora() -> nn.Module:
    base = [he(nn.Linear(16, 64)), he(nn.Linear(64, 64)), nn.Linear(64, CLASSES)]
    return nn.Sequential(_Lora(base[0]), nn.ReLU(), _Lora(base[1]), nn.ReLU(), _Lora(base[2]))


@adapted("frozen-random-features", "A frozen random layer under a trained head: random features, on purpose.")
def _random_features() -> nn.Module:
    return nn.Sequential(he(nn.Linear(16, 256)).requires_grad_(False), nn.ReLU(), nn.Linear(256, CLASSES))


class _Adapter(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(width, 8), zero(nn.Linear(8, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.up(functional.gelu(self.down(x)))


@adapted(
    "bottleneck-adapter-zero-up", "Adapters between frozen layers start as the identity, with a zero up-projection."
)
def _bottleneck_adapter() -> nn.Module:
    frozen = [he(nn.Linear(16, 64)), he(nn.Linear(64, 64))]
    for layer in frozen:
        layer.requires_grad_(False)
    return nn.Sequential(frozen[0], nn.ReLU(), _Adapter(64), frozen[1], nn.ReLU(), _Adapter(64), nn.Linear(64, CLASSES))


class _DitBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.modulation = nn.Sequential(nn.SiLU(), zero(nn.Linear(width, 3 * width)))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        shift, scale, gate = self.modulation(condition).chunk(3, dim=-1)
        return x + gate * self.mlp(self.norm(x) * (1 + scale) + shift)


class _Dit(nn.Module):
    """A denoiser with adaptive norms whose modulation and output are zero at the start."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.time = nn.Linear(8, 32), nn.Sequential(nn.Linear(16, 32), nn.SiLU(), nn.Linear(32, 32))
        self.blocks = nn.ModuleList([_DitBlock(32) for _ in range(4)])
        self.norm, self.head = nn.LayerNorm(32, elementwise_affine=False), zero(nn.Linear(32, 8))
        self.final = nn.Sequential(nn.SiLU(), zero(nn.Linear(32, 64)))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        angle = time[:, None] * torch.logspace(0, 2, 8)
        condition, x = self.time(torch.cat([angle.sin(), angle.cos()], 1)), self.embed(x)
        for block in self.blocks:
            x = block(x, condition)
        shift, scale = self.final(condition).chunk(2, dim=1)
        return self.head(self.norm(x) * (1 + scale) + shift)


def _noising(number: int) -> tuple[tuple[Tensor, Tensor], Tensor]:
    generator = stream(number)
    clean = torch.randn(64, 2, generator=generator) @ torch.randn(2, 8, generator=stream(1234))
    noise, time = torch.randn(64, 8, generator=generator), torch.rand(64, generator=generator)
    level = time[:, None]
    return (clean * (1 - level) + noise * level, time), noise


@book.healthy(
    "adaln-zero-denoiser",
    "All gates, shifts, scales and the output start at zero, twice nested.",
    family="transformer",
    task=_noising,
    loss=functional.mse_loss,
    steps=250,
)
def _dit() -> nn.Module:
    return _Dit()


class _Controlled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()
        )
        self.trunk.requires_grad_(False)
        self.enter, self.leave = zero(nn.Conv2d(3, 3, 1)), zero(nn.Conv2d(16, 16, 1))
        self.copy = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU())
        self.copy.load_state_dict(self.trunk.state_dict())
        self.head = nn.Linear(16, CLASSES)

    def forward(self, image: Tensor, hint: Tensor) -> Tensor:
        control = self.leave(self.copy(image + self.enter(hint)))
        return self.head(functional.relu(self.trunk(image) + control).mean((2, 3)))


def _hinted(number: int) -> tuple[tuple[Tensor, Tensor], Tensor]:
    picture, labels = images(number)
    return (torch.randn(picture.shape, generator=stream(number + 10_000)), picture), labels


@convolutional(
    "zero-convolution-control",
    "A trainable copy of a frozen trunk, joined by zero convolutions.",
    task=_hinted,
    learning_rate=1e-2,
    steps=300,
)
def _controlled() -> nn.Module:
    return _Controlled()


CASES = book.cases
