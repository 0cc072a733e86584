"""Broken starts whose signal fades or grows from layer to layer, and their twins."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from calibration import tasks
from calibration.case import Case, Training
from calibration.pair import pair

_BLOBS = tasks.blobs(51, batch=64, features=12, classes=5)
_TEACHER = tasks.teacher(52, batch=64, features=10, outputs=3, width=12)
_PICTURES = tasks.images(53, batch=16, channels=3, size=12, classes=4)
_SMOOTH = tasks.smooth_images(54, batch=16, channels=1, size=12)
_CURVE = tasks.low_rank(55, batch=64, features=20, rank=3)


def _chain(widths: list[int], activation: Callable[[], nn.Module]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), activation()]
    return nn.Sequential(*layers[:-1])


def _start(model: nn.Module, std: Callable[[int], float]) -> None:
    """Draws every weight with the spread that `std` gives for its fan-in, the last layer's half of it; biases zero."""
    layers = [module for module in model.modules() if isinstance(module, (nn.Linear, nn.Conv2d))]
    for layer in layers:
        nn.init.normal_(layer.weight, std=std(layer.weight[0].numel()) / (2 if layer is layers[-1] else 1))
        nn.init.zeros_(layer.bias)


def _he(fan_in: int) -> float:
    return math.sqrt(2 / fan_in)


def _weak_he(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    model = _chain([12, *[64] * 19, 5], nn.ReLU)
    _start(model, lambda fan_in: (0.6 if broken else 1.0) * _he(fan_in))
    return model, *_BLOBS(0), nn.CrossEntropyLoss()


def _tanh_hundredth(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    model = _chain([10, *[100] * 7, 3], nn.Tanh)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            if broken:
                nn.init.normal_(parameter, 0, 0.01)
            else:
                nn.init.xavier_normal_(parameter, gain=5 / 3 if len(parameter) > 3 else 0.5)
    return model, *_TEACHER(0), nn.MSELoss()


class _Plain(nn.Module):
    """A deep plain convolutional net, written in a loop."""

    def __init__(self, *, he: bool, depth: int = 16) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1, stride=2)
        self.body = nn.ModuleList(nn.Conv2d(16, 16, 3, padding=1) for _ in range(depth))
        self.head = nn.Linear(16 * 9, 4)
        if he:
            _start(self, _he)

    def forward(self, image: Tensor) -> Tensor:
        x = functional.relu(self.stem(image))
        for layer in self.body:
            x = functional.relu(layer(x))
        return self.head(functional.avg_pool2d(x, 2).flatten(1))


def _default_conv(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    return _Plain(he=not broken), *_PICTURES(0), nn.CrossEntropyLoss()


class _Hand(nn.Module):
    """Layers written as x @ W with one spread for all."""

    def __init__(self, *, std: float | None, sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.weights = nn.ParameterList(
            torch.randn(a, b) * (std or _he(8 * a if b == sizes[-1] else a)) for a, b in pairwise(sizes)
        )

    def forward(self, x: Tensor) -> Tensor:
        for weight in self.weights[:-1]:
            x = functional.leaky_relu(x @ weight, 0.1)
        return x @ self.weights[-1]


def _hand_small(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    model = _Hand(std=0.02 if broken else None, sizes=(12, *[96] * 8, 5))
    return model, *_BLOBS(0), functional.cross_entropy


def _hand_large(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    model = _Hand(std=1.0 if broken else None, sizes=(12, 48, 48, 48, 48, 5))
    return model, *_BLOBS(0), functional.cross_entropy


def _thin_autoencoder(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    model = _chain([20, 48, 32, 16, 8, 16, 32, 48, 20], nn.GELU)
    for module in model:
        if isinstance(module, nn.Linear):
            if broken:
                nn.init.uniform_(module.weight, -0.05, 0.05)
            else:
                nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)
    return model, *_CURVE(0), functional.mse_loss


def _unit_normal(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    model = _chain([10, *[64] * 5, 3], nn.ReLU)
    for layer in model[::2]:
        nn.init.normal_(layer.weight, 0.0, 1.0 if broken else _he(layer.in_features * (4 if layer is model[-1] else 1)))
        nn.init.zeros_(layer.bias)
    return model, *_TEACHER(0), nn.MSELoss()


def _loud_conv(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    model = _Plain(he=True, depth=8)
    if broken:
        for parameter in model.parameters():
            if parameter.dim() == 4:
                nn.init.trunc_normal_(parameter, std=0.3, a=-2, b=2)
    return model, *_PICTURES(0), nn.CrossEntropyLoss()


def _strong_he(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    model = _chain([10, *[48] * 14, 3], nn.ReLU)
    _start(model, lambda fan_in: (1.8 if broken else 1.0) * _he(fan_in))
    return model, *_TEACHER(0), nn.SmoothL1Loss()


class _Decoder(nn.Module):
    """A small convolutional autoencoder, upsampling by repetition."""

    def __init__(self, *, gain: float) -> None:
        super().__init__()
        self.down = nn.ModuleList([nn.Conv2d(1, 12, 3, 2, 1), nn.Conv2d(12, 16, 3, 2, 1)])
        self.up = nn.ModuleList([nn.Conv2d(16, 16, 3, 1, 1), nn.Conv2d(16, 12, 3, 1, 1), nn.Conv2d(12, 12, 3, 1, 1)])
        self.out = nn.Conv2d(12, 1, 3, 1, 1)
        _start(self, lambda fan_in: gain * _he(fan_in))

    def forward(self, image: Tensor) -> Tensor:
        x = image
        for layer in self.down:
            x = functional.silu(layer(x))
        for layer in self.up:
            x = functional.silu(layer(x))
            if x.shape[-1] < 12:
                x = functional.interpolate(x, scale_factor=2)
        return self.out(x)


def _loud_decoder(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    return _Decoder(gain=6.0 if broken else 1.0), *_SMOOTH(0), nn.MSELoss()


CASES: tuple[Case, ...] = (
    *pair(
        "relu-twenty-layers-weak-he",
        _weak_he,
        family="mlp",
        rules=("signal-fades", "back-signal-fades"),
        why="Twenty ReLU layers at 0.6 times He's spread: 0.6 per layer, four orders of magnitude in all.",
        training=Training(batches=_BLOBS, learning_rate=1e-3, steps=150),
    ),
    *pair(
        "tanh-stack-std-0.01",
        _tanh_hundredth,
        family="mlp",
        rules=("signal-fades", "back-signal-fades"),
        why="normal_(0, 0.01) copied from an old paper, on tanh layers of width 100: a tenth per layer.",
        training=Training(optimizer="momentum", batches=_TEACHER, learning_rate=1e-2, steps=300),
    ),
    *pair(
        "plain-conv-framework-default",
        _default_conv,
        family="cnn",
        rules=("signal-fades", "back-signal-fades", "input-blind"),
        why="Sixteen plain convolutions at the framework's default, whose gain is 1/sqrt(3) (report 32).",
        training=Training(optimizer="momentum", batches=_PICTURES, learning_rate=3e-3, steps=150),
    ),
    *pair(
        "hand-written-std-0.02",
        _hand_small,
        family="functional",
        rules=("signal-fades", "back-signal-fades"),
        why="x @ W with the 0.02 of language models in eight layers of 96 without norm or skip.",
        training=Training(optimizer="momentum", batches=_BLOBS, learning_rate=3e-2, steps=200),
    ),
    *pair(
        "autoencoder-uniform-twentieth",
        _thin_autoencoder,
        family="autoencoder",
        rules=("signal-fades", "back-signal-fades"),
        why="uniform(-0.05, 0.05) in an hourglass of eight GELU layers.",
        training=Training(batches=_CURVE, learning_rate=1e-3, steps=200),
    ),
    *pair(
        "relu-unit-normal",
        _unit_normal,
        family="mlp",
        rules=("signal-grows", "back-signal-grows", "initial-loss"),
        why="normal_(0, 1) on layers of 64: each multiplies the signal by more than five.",
        training=Training(batches=_TEACHER, learning_rate=1e-3, steps=200),
    ),
    *pair(
        "conv-truncated-0.3",
        _loud_conv,
        family="cnn",
        rules=("signal-grows", "back-signal-grows", "initial-loss"),
        why="trunc_normal_(std=0.3) on 16-channel 3 x 3 convolutions: 2.5 per layer over nine layers.",
        training=Training(batches=_PICTURES, learning_rate=1e-3, steps=120),
    ),
    *pair(
        "relu-strong-he",
        _strong_he,
        family="mlp",
        rules=("signal-grows", "back-signal-grows", "initial-loss"),
        why="A gain of 1.8 too much per layer, fourteen layers deep.",
        training=Training(batches=_TEACHER, learning_rate=1e-3, steps=200),
    ),
    *pair(
        "hand-written-randn",
        _hand_large,
        family="functional",
        rules=("signal-grows", "back-signal-grows", "initial-loss"),
        why="x @ torch.randn(a, b), the scale forgotten.",
        training=Training(batches=_BLOBS, learning_rate=1e-3, steps=200),
    ),
    *pair(
        "conv-autoencoder-loud",
        _loud_decoder,
        family="autoencoder",
        rules=("signal-grows", "back-signal-grows", "initial-loss"),
        why="The init helper of a convolutional autoencoder multiplies where it should divide: six times He.",
        training=Training(batches=_SMOOTH, learning_rate=3e-3, steps=120),
    ),
)
"""Signals that fade, signals that grow."""
