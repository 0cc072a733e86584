"""Broken starts whose gradient fades or grows on its way back, or whose spread was taken for another fan; and twins."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from calibration import tasks
from calibration.case import Case, Training
from calibration.pair import pair

_BLOBS = tasks.blobs(61, batch=64, features=12, classes=5)
_WAVES = tasks.waves(62, batch=64, features=8, outputs=3)
_TEACHER = tasks.teacher(63, batch=64, features=16, outputs=4, width=16)
_PICTURES = tasks.images(64, batch=16, channels=3, size=12, classes=6)
_PLAIN = tasks.images(66, batch=32, channels=3, size=12, classes=6, signed=False)
_SMOOTH = tasks.smooth_images(65, batch=16, channels=1, size=12, coarse=3)


def _sigmoids(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise([12, 40, 40, 40, 40, 40, 40]):
        layers += [nn.Linear(fan_in, fan_out), nn.Sigmoid()]
    model = nn.Sequential(*layers, nn.Linear(40, 5))
    if not broken:
        for layer in model[2::2]:
            nn.init.normal_(layer.weight, std=4 / layer.in_features**0.5)
            layer.bias.data.copy_(-0.5 * layer.weight.data.sum(1))
    return model, *_BLOBS(0), nn.CrossEntropyLoss()


class _Damped(nn.Module):
    """A stack that was told to pass a share of the gradient on, meant for one layer and used in all."""

    def __init__(self, *, share: float, depth: int = 8) -> None:
        super().__init__()
        self.share = share
        self.layers = nn.ModuleList(nn.Linear(8 if i == 0 else 24, 24) for i in range(depth))
        self.out = nn.Linear(24, 3)
        for layer in self.layers:
            nn.init.orthogonal_(layer.weight, gain=1.2)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.tanh(layer(x))
            x = self.share * x + (1 - self.share) * x.detach()
        return self.out(x)


def _damped(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    return _Damped(share=0.1 if broken else 1.0), *_WAVES(0), nn.MSELoss()


def _sigmoid_conv(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    model = nn.Sequential()
    for index in range(7):
        conv = nn.Conv2d(3 if index == 0 else 12, 12, 3, padding=1, stride=2 if index == 2 else 1)
        if not broken:
            nn.init.normal_(conv.weight, std=4 / math.sqrt(conv.weight[0].numel()))
            if index:
                conv.bias.data.copy_(-0.5 * conv.weight.data.sum((1, 2, 3)))
        model.extend([conv, nn.Sigmoid()])
    model.extend([nn.AvgPool2d(2), nn.Flatten(), nn.Linear(12 * 9, 6)])
    nn.init.normal_(model[-1].weight, std=0.2)
    return model, *_PLAIN(0), functional.cross_entropy


def _tanh_stack(gain: float, depth: int, width: int) -> nn.Sequential:
    model = nn.Sequential()
    for fan_in, fan_out in pairwise([8, *[width] * depth]):
        layer = nn.Linear(fan_in, fan_out)
        nn.init.normal_(layer.weight, std=gain / math.sqrt(fan_in))
        nn.init.zeros_(layer.bias)
        model.extend([layer, nn.Tanh()])
    return model


def _chaotic_tanh(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    model = _tanh_stack(6.0 if broken else 1.2, 12, 64)
    model.append(nn.Linear(64, 3))
    return model, *_WAVES(0), nn.MSELoss()


class _Sines(nn.Module):
    """Sine layers with a frequency factor; the hidden layers must be drawn smaller by it."""

    def __init__(self, *, broken: bool, omega: float = 15.0) -> None:
        super().__init__()
        self.omega = omega
        self.first = nn.Linear(8, 48)
        self.hidden = nn.ModuleList(nn.Linear(48, 48) for _ in range(3))
        self.out = nn.Linear(48, 3)
        bound = math.sqrt(6 / 48) / (1.0 if broken else omega)
        for layer in self.hidden:
            nn.init.uniform_(layer.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.sin(self.first(x))
        for layer in self.hidden:
            x = torch.sin(self.omega * layer(x))
        return self.out(x)


def _sines(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    return _Sines(broken=broken), *_WAVES(0), functional.mse_loss


def _deep_batchnorm(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    depth = 40

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.norm = nn.Linear(24, 24), nn.BatchNorm1d(24)

        def forward(self, x: Tensor) -> Tensor:
            y = functional.relu(self.norm(self.linear(x)))
            return y if broken else x + y / depth

    model = nn.Sequential(nn.Linear(12, 24), *[Layer() for _ in range(depth)], nn.Linear(24, 5))
    return model, *_BLOBS(0), nn.CrossEntropyLoss()


class _Separable(nn.Module):
    """Depthwise and pointwise convolutions without norms."""

    def __init__(self, *, broken: bool, channels: int = 32, blocks: int = 4) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, padding=1, stride=2)
        self.deep = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False) for _ in range(blocks)
        )
        self.point = nn.ModuleList(nn.Conv2d(channels, channels, 1, bias=False) for _ in range(blocks))
        self.head = nn.Linear(channels * 9, 6)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
                if not broken:
                    fan_out //= module.groups
                nn.init.normal_(module.weight, std=math.sqrt(2.0 / fan_out))

    def forward(self, image: Tensor) -> Tensor:
        x = functional.relu(self.stem(image))
        for deep, point in zip(self.deep, self.point, strict=True):
            x = functional.relu(point(functional.relu(deep(x))))
        return self.head(functional.max_pool2d(x, 2).flatten(1))


def _separable(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    return _Separable(broken=broken), *_PICTURES(0), nn.CrossEntropyLoss()


def _grouped(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    model = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1, stride=2), nn.ReLU())
    for _ in range(5):
        conv = nn.Conv2d(64, 64, 3, padding=1, groups=16)
        channels = conv.in_channels if broken else conv.in_channels // conv.groups
        nn.init.normal_(conv.weight, std=math.sqrt(2 / (9 * channels)))
        nn.init.zeros_(conv.bias)
        model.extend([conv, nn.ReLU(), nn.ChannelShuffle(16)])
    model.extend([nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64 * 9, 6)])
    return model, *_PICTURES(0), nn.CrossEntropyLoss()


class _Taper(nn.Module):
    """A funnel of x @ W layers; the initialiser reads (out, in) where the shape is (in, out)."""

    def __init__(self, *, broken: bool) -> None:
        super().__init__()
        self.weights = nn.ParameterList(torch.empty(a, b) for a, b in pairwise([16, 256, 16, 256, 16]))
        for weight in self.weights:
            nn.init.kaiming_normal_(weight if broken else weight.T, nonlinearity="relu")
        self.out = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        for weight in self.weights:
            x = functional.relu(x @ weight)
        return self.out(x)


def _swapped(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    return _Taper(broken=broken), *_TEACHER(0), nn.MSELoss()


class _Funnel(nn.Module):
    """A widening stack of x @ W layers, started by an initialiser that takes the widths the wrong way round."""

    def __init__(self, *, broken: bool) -> None:
        super().__init__()
        self.reduce = nn.Linear(12, 4)
        self.weights = nn.ParameterList(torch.empty(a, b) for a, b in pairwise([4, 64, 512]))
        self.out = nn.Linear(512, 5)
        for weight in self.weights:
            nn.init.kaiming_uniform_(weight if broken else weight.T, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = self.reduce(x)
        for weight in self.weights:
            x = functional.gelu(x @ weight)
        return self.out(x)


class _Upsampler(nn.Module):
    """Encoder and transposed-convolution decoder; the fan of the latter was read off the wrong axis."""

    def __init__(self, *, broken: bool) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, 24, 3, 2, 1), nn.ReLU(), nn.Conv2d(24, 96, 3, 2, 1), nn.ReLU())
        self.up = nn.Sequential(
            nn.ConvTranspose2d(96, 6, 2, 2, bias=False), nn.ReLU(), nn.Conv2d(6, 96, 1, bias=False), nn.ReLU(),
            nn.ConvTranspose2d(96, 4, 2, 2, bias=False), nn.ReLU(), nn.Conv2d(4, 1, 3, 1, 1),
        )  # fmt: skip
        for layer in self.up:
            if isinstance(layer, nn.ConvTranspose2d):
                fan = layer.weight.shape[1] * 4 if broken else layer.weight.shape[0]
                nn.init.normal_(layer.weight, std=math.sqrt(2 / fan))
            elif isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")

    def forward(self, image: Tensor) -> Tensor:
        return self.up(self.down(image))


def _upsampler(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    return _Upsampler(broken=broken), *_SMOOTH(0), nn.MSELoss()


class _Feed(nn.Module):
    """Narrow-wide-narrow layers in a row, started with fan_out as a convolution recipe says."""

    def __init__(self, *, broken: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b, bias=False) for a, b in pairwise([16, 192, 16, 192, 16, 4]))
        for layer in self.layers:
            nn.init.kaiming_uniform_(layer.weight, mode="fan_out" if broken else "fan_in", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = functional.relu(layer(x))
        return self.layers[-1](x)


def _feed(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    return _Feed(broken=broken), *_TEACHER(0), functional.smooth_l1_loss


def _widening(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    return _Funnel(broken=broken), *_BLOBS(0), nn.CrossEntropyLoss()


_HEALED = "Wrong fans cancel between widening and narrowing layers, and Adam heals what is left within a few steps."

CASES: tuple[Case, ...] = (
    *pair(
        "six-sigmoid-layers",
        _sigmoids,
        family="mlp",
        rules=("back-signal-fades", "signal-fades", "input-blind"),
        why="Six sigmoid layers at the framework's default: a slope of at most a quarter each (report 42).",
        training=Training(batches=_BLOBS, learning_rate=1e-3, steps=250),
    ),
    *pair(
        "sigmoid-conv-stack",
        _sigmoid_conv,
        family="cnn",
        rules=("back-signal-fades", "signal-fades", "input-blind"),
        why="Seven sigmoid convolutions at the framework's default (report 42).",
        training=Training(batches=_PLAIN, learning_rate=1e-3, steps=150),
    ),
    *pair(
        "gradient-share-in-every-layer",
        _damped,
        family="mlp",
        rules=("back-signal-fades",),
        why="A trick that lets a tenth of the gradient through sits in all eight layers; forward looks perfect.",
        training=Training(optimizer="momentum", batches=_WAVES, learning_rate=1e-1, steps=400),
    ),
    *pair(
        "tanh-chaotic",
        _chaotic_tanh,
        family="mlp",
        rules=("back-signal-grows", "saturated"),
        why="Gain 6 on twelve tanh layers: the signal is bounded, its gradient doubles in every layer.",
        training=Training(batches=_WAVES, learning_rate=1e-3, steps=200),
    ),
    *pair(
        "sine-frequency-not-divided",
        _sines,
        family="siren",
        rules=("back-signal-grows", "sine-frequency"),
        why="Hidden sine layers are not drawn smaller by omega, so each multiplies the gradient (report 38).",
        training=Training(batches=_WAVES, learning_rate=1e-3, steps=250),
    ),
    *pair(
        "forty-batchnorm-layers-plain",
        _deep_batchnorm,
        family="mlp",
        rules=("back-signal-grows",),
        why="Forty plain layers with batch norm: the signal is held, the gradient grows; the twin has skips.",
        training=Training(batches=_BLOBS, learning_rate=1e-3, steps=120),
    ),
    *pair(
        "depthwise-fan-of-all-channels",
        _separable,
        family="cnn",
        rules=("scheme-mismatch", "signal-fades"),
        why="fan_out of depthwise convolutions counts all channels: each is sqrt(32) too small (report 33).",
        training=Training(optimizer="momentum", batches=_PICTURES, learning_rate=3e-3, steps=150),
    ),
    *pair(
        "grouped-conv-ungrouped-fan",
        _grouped,
        family="cnn",
        rules=("scheme-mismatch", "signal-fades"),
        why="Grouped convolutions drawn for the ungrouped fan-in: a quarter per layer (report 34).",
        training=Training(optimizer="momentum", batches=_PICTURES, learning_rate=3e-3, steps=150),
    ),
    *pair(
        "hand-written-fans-swapped",
        _swapped,
        family="functional",
        rules=("scheme-mismatch",),
        why="kaiming_normal_ on x @ W takes the outputs for the inputs: 4 too small, 4 too large, in turn (report 35).",
        why_no_training=_HEALED,
    ),
    *pair(
        "widening-fans-swapped",
        _widening,
        family="functional",
        rules=("scheme-mismatch", "signal-fades"),
        why="A widening x @ W stack whose spreads were taken for fan-out: a quarter, then a third (report 35).",
        training=Training(optimizer="sgd", batches=_BLOBS, learning_rate=5e-2, steps=150),
    ),
    *pair(
        "transposed-conv-fan-swapped",
        _upsampler,
        family="autoencoder",
        rules=("scheme-mismatch", "signal-grows"),
        why="Transposed convolutions were drawn for the fan of the output side (report 36).",
        why_no_training="The spread of two layers alone is off: a short training with Adam does not feel it.",
    ),
    *pair(
        "feed-forward-fan-out",
        _feed,
        family="mlp",
        rules=("scheme-mismatch",),
        why="mode='fan_out' on widening and narrowing linear layers (report 37).",
        why_no_training=_HEALED,
    ),
)
"""Gradients that fade or grow, and spreads for another fan."""
