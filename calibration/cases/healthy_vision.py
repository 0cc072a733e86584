"""Healthy image networks: norms of every kind, separable and dense convolutions, computed weights, dropped blocks."""

from __future__ import annotations

import math
from functools import partial
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from calibration.cases.healthy_tasks import CLASSES, Book, images, pictures, stream

book = Book()
pictured = partial(book.healthy, family="cnn", task=images, steps=120)


def _classified(*layers: nn.Module, width: int) -> nn.Sequential:
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, CLASSES))


def _convolution(before: int, after: int, *, stride: int = 1, groups: int = 1, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, stride=stride, padding=1, groups=groups, bias=bias)


@pictured(
    "bias-before-batchnorm", "BatchNorm takes the bias before it away: its gradient is rounding noise, harmlessly."
)
def _useless_bias() -> nn.Module:
    layers = [
        [_convolution(before, 24), nn.BatchNorm2d(24), nn.ReLU()] for before in (3, 24, 24, 24)
    ]  # fmt: skip
    return _classified(*chain.from_iterable(layers), width=24)


@pictured("group-norm-net", "GroupNorm after each convolution with weight standardised by nothing else.")
def _group_norm() -> nn.Module:
    layers = [[_convolution(before, 24, bias=False), nn.GroupNorm(4, 24), nn.SiLU()] for before in (3, 24, 24, 24)]
    return _classified(*chain.from_iterable(layers), width=24)


@pictured("weight-norm-net", "Direction and length are parameters of their own; the length starts as the drawn norm.")
def _weight_norm() -> nn.Module:
    layers = [[parametrizations.weight_norm(_convolution(before, 24)), nn.ELU()] for before in (3, 24, 24)]
    return _classified(*chain.from_iterable(layers), width=24)


@pictured("instance-norm-leaky", "InstanceNorm without parameters and leaky rectifiers.")
def _instance_norm() -> nn.Module:
    layers = [[_convolution(before, 24), nn.InstanceNorm2d(24), nn.LeakyReLU(0.2)] for before in (3, 24, 24)]
    return nn.Sequential(*chain.from_iterable(layers), nn.Flatten(), nn.Linear(24 * 256, CLASSES))


class _DepthSeparable(nn.Module):
    def __init__(self, before: int, after: int, *, stride: int = 1) -> None:
        super().__init__()
        self.depthwise = _convolution(before, before, stride=stride, groups=before, bias=False)
        self.pointwise = nn.Conv2d(before, after, 1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(before), nn.BatchNorm2d(after)])

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu6(self.norms[0](self.depthwise(x)))
        return functional.relu6(self.norms[1](self.pointwise(x)))


@pictured("depthwise-separable", "Depthwise convolutions of nine weights a channel, started with torch's defaults.")
def _separable() -> nn.Module:
    return _classified(
        _convolution(3, 16, stride=2),
        _DepthSeparable(16, 32),
        _DepthSeparable(32, 48, stride=2),
        _DepthSeparable(48, 48),
        width=48,
    )


class _Squeezed(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_convolution(width, width, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.squeeze, self.excite = nn.Linear(width, width // 8), nn.Linear(width // 8, width)

    def forward(self, x: Tensor) -> Tensor:
        body = self.body(x)
        gate = torch.sigmoid(self.excite(functional.relu(self.squeeze(body.mean((2, 3))))))
        return x + body * gate[:, :, None, None]


@pictured("squeeze-excitation", "The squeeze has four units, of which one or two may be off for a whole batch.")
def _squeeze() -> nn.Module:
    return _classified(_convolution(3, 32, stride=2), _Squeezed(32), _Squeezed(32), _Squeezed(32), width=32)


class _Dense(nn.Module):
    def __init__(self, before: int, growth: int = 8, depth: int = 5) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [
                nn.Sequential(
                    nn.BatchNorm2d(before + growth * number),
                    nn.ReLU(),
                    _convolution(before + growth * number, growth, bias=False),
                )
                for number in range(depth)
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return x


@pictured("dense-connections", "Each layer reads all layers before it by concatenation.")
def _dense() -> nn.Module:
    return _classified(
        _convolution(3, 16, stride=2), _Dense(16), nn.AvgPool2d(2), _Dense(56), nn.BatchNorm2d(96), nn.ReLU(), width=96
    )


class _Modern(nn.Module):
    def __init__(self, width: int, *, drop: float) -> None:
        super().__init__()
        self.mix = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.enter, self.leave = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.scale, self.drop = nn.Parameter(1e-6 * torch.ones(width)), drop
        for layer in (self.mix, self.enter, self.leave):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        branch = self.norm(self.mix(x).permute(0, 2, 3, 1))
        branch = (self.scale * self.leave(functional.gelu(self.enter(branch)))).permute(0, 3, 1, 2)
        if self.training and self.drop:
            branch = branch * (torch.rand(len(x), 1, 1, 1) > self.drop) / (1 - self.drop)
        return x + branch


@pictured(
    "convnext-like", "Depthwise 7 x 7, weights of 0.02 and a layer scale of 1e-6: branches nearly off.", steps=200
)
def _modern() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 32, 4, stride=4),
        *[_Modern(32, drop=0.0) for _ in range(4)],
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.LayerNorm(32),
        nn.Linear(32, CLASSES),
    )


class _Dropped(nn.Module):
    """A residual block that is left out for the whole batch half of the time."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _convolution(width, width), nn.BatchNorm2d(width), nn.ReLU(), _convolution(width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.training and torch.rand(()) < 0.5:
            return x
        return functional.relu(x + self.body(x))


@pictured(
    "stochastic-depth-per-sample", "Branches are dropped for single samples: their rows of zeros are chance.", steps=200
)
def _stochastic() -> nn.Module:
    return _classified(nn.Conv2d(3, 32, 4, stride=4), *[_Modern(32, drop=0.3) for _ in range(4)], width=32)


@pictured(
    "stochastic-depth-whole-batch",
    "Whole blocks are skipped at random in training: parameters unused by luck.",
    steps=200,
)
def _layer_drop() -> nn.Module:
    return _classified(_convolution(3, 16, stride=2), *[_Dropped(16) for _ in range(6)], width=16)


class _Unet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.deep = _convolution(1, 16), _convolution(16, 32), _convolution(32, 48)
        self.up_deep, self.up_two = nn.ConvTranspose2d(48, 32, 2, stride=2), nn.ConvTranspose2d(32, 16, 2, stride=2)
        self.back_two, self.back_one = _convolution(64, 32), _convolution(32, 16)
        self.out = nn.Conv2d(16, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        one = functional.relu(self.one(x))
        two = functional.relu(self.two(functional.max_pool2d(one, 2)))
        deep = functional.relu(self.deep(functional.max_pool2d(two, 2)))
        two = functional.relu(self.back_two(torch.cat([two, self.up_deep(deep)], 1)))
        one = functional.relu(self.back_one(torch.cat([one, self.up_two(two)], 1)))
        return self.out(one)


def _segments(number: int) -> tuple[Tensor, Tensor]:
    values, _ = pictures(number, batch=16)
    return values - 0.5, (values > 0.55).float()


@book.healthy(
    "u-net",
    "Skips by concatenation, transposed convolutions, all defaults.",
    family="unet",
    task=_segments,
    loss=functional.binary_cross_entropy_with_logits,
)
def _unet() -> nn.Module:
    return _Unet()


class _Generator(nn.Module):
    """A generator started with std 0.02 and tanh output, scored by a frozen critic: half of a GAN's step."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ConvTranspose2d(16, 48, 4, bias=False),
            nn.BatchNorm2d(48),
            nn.ReLU(),
            nn.ConvTranspose2d(48, 24, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(24),
            nn.ReLU(),
            nn.ConvTranspose2d(24, 1, 4, stride=2, padding=1, bias=False),
            nn.Tanh(),
        )
        for module in self.layers:
            if isinstance(module, nn.ConvTranspose2d):
                nn.init.normal_(module.weight, std=0.02)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1.0, 0.02)

    def forward(self, code: Tensor) -> Tensor:
        return self.layers(code[:, :, None, None])


def _codes(number: int) -> tuple[Tensor, Tensor]:
    code = torch.randn(32, 16, generator=stream(number))
    bases = functional.interpolate(torch.randn(16, 1, 4, 4, generator=stream(1234)), size=(16, 16), mode="bilinear")
    return code, torch.tanh(torch.einsum("nk,kchw->nchw", code, bases) / 2)


@book.healthy(
    "gan-generator-0.02",
    "DCGAN's start: 0.02 everywhere, held up by BatchNorm.",
    family="gan",
    task=_codes,
    loss=functional.mse_loss,
    steps=200,
)
def _generator() -> nn.Module:
    return _Generator()


def _real_or_not(number: int) -> tuple[Tensor, Tensor]:
    real, _ = images(number, channels=1)
    labels = torch.arange(32) % 2
    shuffled = real.flatten(2)[:, :, torch.randperm(256, generator=stream(5))].view_as(real)
    return torch.where(labels[:, None, None, None] == 1, real, shuffled), labels.float()[:, None]


@book.healthy(
    "gan-discriminator-spectral",
    "Spectral norm fixes every layer's largest singular value at one.",
    family="gan",
    task=_real_or_not,
    loss=functional.binary_cross_entropy_with_logits,
    steps=200,
)
def _discriminator() -> nn.Module:
    spectral = parametrizations.spectral_norm
    return nn.Sequential(
        spectral(nn.Conv2d(1, 24, 4, stride=2, padding=1)),
        nn.LeakyReLU(0.2),
        spectral(nn.Conv2d(24, 48, 4, stride=2, padding=1)),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        spectral(nn.Linear(768, 1)),
    )


@pictured(
    "identity-like-convolutions",
    "Dirac kernels start as the identity: structured, and the channels carry different data.",
)
def _dirac() -> nn.Module:
    layers: list[nn.Module] = [_convolution(3, 24), nn.ReLU()]
    for _ in range(6):
        layer = _convolution(24, 24)
        nn.init.dirac_(layer.weight)
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.ReLU()]
    return _classified(*layers, width=24)


@pictured(
    "delta-orthogonal-tanh-24",
    "Orthogonal centre taps and zeros around them: most entries of the kernels are zero.",
    learning_rate=1e-3,
    steps=200,
)
def _delta() -> nn.Module:
    layers: list[nn.Module] = [_convolution(3, 24, stride=2), nn.Tanh()]
    for _ in range(23):
        layer = _convolution(24, 24)
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
        with torch.no_grad():
            nn.init.orthogonal_(layer.weight[:, :, 1, 1], gain=math.sqrt(1.05))
        layers += [layer, nn.Tanh()]
    return _classified(*layers, width=24)


CASES = book.cases
