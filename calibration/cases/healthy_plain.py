"""Healthy plain networks: multilayer perceptrons and convolutional stacks of usual depth under usual starts."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from calibration.cases.healthy_tasks import CLASSES, Book, coordinates, images, regression, stream, vectors

book = Book()
plain = partial(book.healthy, family="mlp", task=vectors)
convolutional = partial(book.healthy, family="cnn", task=images)


def _mlp(*widths: int, activation: Callable[[], nn.Module] = nn.ReLU, norm: bool = False) -> nn.Sequential:
    """Returns linear layers of these widths with an activation between them, as torch starts them."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), *([nn.BatchNorm1d(after)] if norm else []), activation()]
    return nn.Sequential(*layers[: -2 if norm else -1])


def _linears(model: nn.Module) -> list[nn.Linear]:
    return [module for module in model.modules() if isinstance(module, nn.Linear)]


@plain("default-relu-mlp", "torch's default start fades by 1/sqrt(6) a layer; four layers of it train without trouble.")
def _default_relu() -> nn.Module:
    return _mlp(16, 64, 64, 64, CLASSES)


@plain("default-gelu-mlp", "GELU has no dead units and five default layers keep enough signal.")
def _default_gelu() -> nn.Module:
    return _mlp(16, 64, 64, 64, 64, CLASSES, activation=nn.GELU)


@plain("default-tanh-mlp", "Default layers keep tanh in its linear range; three layers fade little.")
def _default_tanh() -> nn.Module:
    return _mlp(16, 64, 64, CLASSES, activation=nn.Tanh)


@plain("default-sigmoid-mlp", "One hidden sigmoid layer with torch's defaults: the slopes of 1/4 come once.")
def _default_sigmoid() -> nn.Module:
    return _mlp(16, 64, CLASSES, activation=nn.Sigmoid)


@plain("default-single-linear", "A logistic regression: one layer, nothing to fade.")
def _single() -> nn.Module:
    return nn.Linear(16, CLASSES)


@plain("zero-logistic-regression", "A convex problem may start at zero: the rows get different gradients at once.")
def _zero_logistic() -> nn.Module:
    layer = nn.Linear(16, CLASSES)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


@plain("he-relu-mlp-12-layers", "He's gain keeps the signal of twelve ReLU layers.", learning_rate=1e-3)
def _he() -> nn.Module:
    model = _mlp(16, *[96] * 11, CLASSES)
    for layer in _linears(model):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    nn.init.xavier_normal_(_linears(model)[-1].weight)
    return model


@plain("xavier-tanh-mlp-8-layers", "Glorot's start for tanh fades slowly; eight layers are within its reach.")
def _xavier() -> nn.Module:
    model = _mlp(16, *[64] * 7, CLASSES, activation=nn.Tanh)
    for layer in _linears(model):
        nn.init.xavier_uniform_(layer.weight, gain=nn.init.calculate_gain("tanh"))
        nn.init.zeros_(layer.bias)
    return model


@plain(
    "orthogonal-tanh-50-layers",
    "Orthogonal tanh layers of gain just above one carry signal and gradient through fifty layers.",
    learning_rate=3e-4,
    steps=200,
)
def _orthogonal() -> nn.Module:
    model = _mlp(16, *[64] * 49, CLASSES, activation=nn.Tanh)
    for layer in _linears(model):
        nn.init.orthogonal_(layer.weight, gain=1.05)
        nn.init.normal_(layer.bias, std=0.02)
    return model


@plain(
    "lsuv-elu-mlp", "Each layer was rescaled until its output has variance one on a batch, so no fan formula fits it."
)
def _lsuv() -> nn.Module:
    model = _mlp(16, *[64] * 6, CLASSES, activation=nn.ELU)
    signal = torch.randn(256, 16, generator=stream(7))
    with torch.no_grad():
        for module in model:
            if isinstance(module, nn.Linear):
                nn.init.orthogonal_(module.weight)
                nn.init.zeros_(module.bias)
                module.weight.div_(module(signal).std())
            signal = module(signal)
        model[-1].weight.mul_(0.3)
    return model


@plain("selu-lecun-16-layers", "SELU with LeCun's start normalises itself at any depth.", learning_rate=1e-3)
def _selu() -> nn.Module:
    model = _mlp(16, *[64] * 15, CLASSES, activation=nn.SELU)
    for layer in _linears(model):
        nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
        nn.init.zeros_(layer.bias)
    return model


@plain("hard-swish-mlp", "Hard-swish is exactly zero left of -3 for some samples; no unit is off for all of them.")
def _hard_swish() -> nn.Module:
    return _mlp(16, 64, 64, 64, CLASSES, activation=nn.Hardswish)


@plain("relu6-mlp-wide-inputs", "ReLU6 caps a few units at six; the slope is there for the other samples.")
def _relu6() -> nn.Module:
    model = _mlp(16, 64, 64, CLASSES, activation=nn.ReLU6)
    for layer in _linears(model)[:-1]:
        nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
    return model


@plain("prelu-mlp", "All slopes of PReLU start at the same 0.25 and part at the first step.")
def _prelu() -> nn.Module:
    return _mlp(16, 64, 64, 64, CLASSES, activation=lambda: nn.PReLU(64))


class _Maxout(nn.Module):
    def __init__(self, before: int, after: int, pieces: int = 3) -> None:
        super().__init__()
        self.linear = nn.Linear(before, after * pieces)
        self.pieces = pieces

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).unflatten(1, (-1, self.pieces)).amax(2)


@plain("maxout-mlp", "Pieces that lose the maximum everywhere get no gradient now and win elsewhere later.")
def _maxout() -> nn.Module:
    return nn.Sequential(_Maxout(16, 48), _Maxout(48, 48), nn.Linear(48, CLASSES))


class _Funnel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down, self.code, self.up = nn.Linear(16, 64), nn.Linear(64, 6), nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(functional.relu(self.code(functional.relu(self.down(x)))))


@plain("small-bottleneck-mlp", "One or two dead units of six are chance, not a fault.", steps=200)
def _funnel() -> nn.Module:
    return _Funnel()


@plain(
    "dropout-heavy-mlp",
    "Half of all units and inputs are dropped in training: zeros of the mask are no dead units.",
    steps=200,
)
def _dropout() -> nn.Module:
    return nn.Sequential(
        nn.Dropout(0.3),
        nn.Linear(16, 256),
        nn.ReLU(),
        nn.Dropout(0.6),
        nn.Linear(256, 256),
        nn.ReLU(),
        nn.Dropout(0.6),
        nn.Linear(256, CLASSES),
    )


@plain(
    "batchnorm-default-12-layers", "BatchNorm undoes the shrinking of twelve default layers, biases before it and all."
)
def _deep_batchnorm() -> nn.Module:
    return _mlp(16, *[64] * 11, CLASSES, norm=True)


@convolutional(
    "batchnorm-conv-22-layers", "Default convolutions 22 deep, each with bias, under BatchNorm.", learning_rate=1e-3
)
def _deep_convolutions() -> nn.Module:
    layers: list[nn.Module] = []
    for number in range(22):
        first = number == 0
        layers += [
            nn.Conv2d(3 if first else 16, 16, 3, stride=2 if first else 1, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, CLASSES))


@convolutional("default-lenet", "A LeNet as everyone writes it, all defaults.")
def _lenet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64, 48),
        nn.ReLU(),
        nn.Linear(48, 32),
        nn.ReLU(),
        nn.Linear(32, CLASSES),
    )


@convolutional(
    "default-vgg-like",
    "Six default convolutions and two linear layers fade to a few percent and still train.",
    steps=200,
)
def _vgg() -> nn.Module:
    layers: list[nn.Module] = []
    for before, after in ((3, 16), (16, 16), (16, 32), (32, 32), (32, 48), (48, 48)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if before == after else []
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(192, 64), nn.ReLU(), nn.Linear(64, CLASSES))


def _bright(number: int) -> tuple[Tensor, Tensor]:
    noisy, labels = images(number)
    return torch.sigmoid(noisy), labels


@convolutional(
    "images-0-to-1", "Images in 0..1 are not standardised; that is how most people feed them.", task=_bright, steps=200
)
def _unnormalised() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(288, CLASSES),
    )


def _raw(number: int) -> tuple[Tensor, Tensor]:
    inputs, labels = vectors(number)
    return inputs * torch.logspace(-1, 3, 16) + 500, labels


@plain("raw-inputs-batchnorm-first", "Features of very different scales go through BatchNorm first.", task=_raw)
def _raw_first() -> nn.Module:
    return nn.Sequential(nn.BatchNorm1d(16), *_mlp(16, 64, 64, CLASSES))


def _one_hot(number: int) -> tuple[Tensor, Tensor]:
    symbols = torch.randint(12, (64, 3), generator=stream(number))
    return functional.one_hot(symbols, 12).float().flatten(1), symbols.sum(1) % CLASSES


@plain("one-hot-inputs", "One-hot rows have a small standard deviation by nature.", task=_one_hot, steps=300)
def _one_hot_inputs() -> nn.Module:
    return _mlp(36, 128, 128, CLASSES)


def _large(number: int) -> tuple[Tensor, Tensor]:
    inputs, targets = regression(number)
    return inputs, targets * 6 + 10


@plain(
    "regression-targets-around-10",
    "The output starts near zero and the targets near ten: a few steps of the last bias.",
    task=_large,
    loss=functional.mse_loss,
    learning_rate=1e-2,
    steps=200,
)
def _large_targets() -> nn.Module:
    return _mlp(8, 64, 64, 1, activation=nn.Tanh)


@plain("regression-smooth-l1", "A plain regression with Huber's loss.", task=regression, loss=functional.smooth_l1_loss)
def _huber() -> nn.Module:
    return _mlp(8, 64, 64, 1)


def _rare(number: int) -> tuple[Tensor, Tensor]:
    inputs = torch.randn(128, 16, generator=stream(number))
    return inputs, ((inputs[:, 0] + inputs[:, 1]) > 1.8).long()


@plain(
    "imbalanced-balanced-start",
    "One class in ten, and the logits start balanced: two steps of the bias find the rate.",
    task=_rare,
)
def _imbalanced() -> nn.Module:
    return _mlp(16, 64, 64, 2)


def _half(number: int) -> tuple[Tensor, Tensor]:
    inputs, labels = vectors(number)
    return inputs.bfloat16(), labels


@plain(
    "bfloat16-mlp",
    "All weights in bfloat16: range enough, and equal values by rounding mean nothing.",
    task=_half,
    loss=lambda output, target: functional.cross_entropy(output.float(), target),
)
def _bfloat() -> nn.Module:
    return _mlp(16, 64, 64, CLASSES).bfloat16()


class _Sines(nn.Module):
    def __init__(self, frequency: float = 30.0) -> None:
        super().__init__()
        self.frequency = frequency
        self.layers = nn.ModuleList([nn.Linear(2, 64), nn.Linear(64, 64), nn.Linear(64, 64)])
        self.last = nn.Linear(64, 1)
        for number, layer in enumerate([*self.layers, self.last]):
            bound = 1 / 2 if number == 0 else math.sqrt(6 / 64) / frequency
            nn.init.uniform_(layer.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.sin(self.frequency * layer(x))
        return self.last(x)


field = partial(book.healthy, family="siren", task=coordinates, loss=functional.mse_loss, steps=200)


@field(
    "siren", "The first sine layer sees arguments far above one by design, the others of order one.", learning_rate=3e-4
)
def _siren() -> nn.Module:
    return _Sines(frequency=30.0)


class _Fourier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.randn(2, 32) * 1.0)
        self.body = _mlp(64, 64, 64, 1)

    def forward(self, x: Tensor) -> Tensor:
        angle = 2 * math.pi * x @ self.frequencies
        return self.body(torch.cat([angle.sin(), angle.cos()], 1))


@field("fourier-features", "A random frequency matrix kept as a buffer: never trained on purpose.", learning_rate=1e-3)
def _fourier() -> nn.Module:
    return _Fourier()


CASES = book.cases
