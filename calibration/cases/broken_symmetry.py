"""Broken starts whose units, heads or modules are copies of each other, and their twins."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from calibration import tasks
from calibration.case import Case, Training
from calibration.pair import pair

_MIXED = tasks.teacher(11, batch=64, features=8, outputs=1, width=24)
_GROUPS = tasks.blobs(12, batch=64, features=10, classes=5)
_PICTURES = tasks.images(13, batch=32, channels=3, size=12, classes=6)
_TEXT = tasks.markov(14, batch=16, length=20, vocabulary=12)
_VECTORS = tasks.teacher(15, batch=48, features=12, outputs=6)
_CURVED = tasks.teacher(17, batch=64, features=6, outputs=4, width=10, bend=4.0)
_FOLDED = tasks.waves(18, batch=64, features=6, outputs=4)
_CODES = tasks.low_rank(16, batch=64, features=24, rank=4)


def _cross_entropy_of_text(output: Tensor, target: Tensor) -> Tensor:
    return functional.cross_entropy(output.reshape(-1, output.shape[-1]), target.reshape(-1))


def _tanh_constant(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    model = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
    for layer in model:
        if isinstance(layer, nn.Linear):
            if broken:
                nn.init.constant_(layer.weight, 0.1)
            else:
                nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    return model, *_MIXED(0), functional.mse_loss


def _all_ones(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    model = nn.Sequential(nn.Linear(10, 40), nn.ReLU(), nn.Linear(40, 20), nn.ReLU(), nn.Linear(20, 5))
    if broken:
        for parameter in model.parameters():
            parameter.data.fill_(1.0)
    return model, *_GROUPS(0), nn.CrossEntropyLoss()


def _conv_constant(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    def start(module: nn.Module) -> None:
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            if broken:
                nn.init.constant_(module.weight, 0.02)
            nn.init.constant_(module.bias, 0.01)

    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(128, 6),
    )
    model.apply(start)
    return model, *_PICTURES(0), nn.CrossEntropyLoss()


def _sigmoid_zeros(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    model = nn.Sequential(nn.Linear(24, 16), nn.Sigmoid(), nn.Linear(16, 24))
    if broken:
        for parameter in model.parameters():
            nn.init.zeros_(parameter)
    return model, *_CODES(0), nn.MSELoss()


class _Widened(nn.Module):
    """Two hidden layers widened by copying units, so that the function stays the same; the noise was forgotten."""

    def __init__(self, *, times: int, noise: float) -> None:
        super().__init__()
        small = [nn.Linear(6, 2), nn.Linear(2, 2), nn.Linear(2, 4)]
        self.inner = nn.Linear(6, 2 * times)
        self.middle = nn.Linear(2 * times, 2 * times)
        self.outer = nn.Linear(2 * times, 4)
        with torch.no_grad():
            self.inner.weight.copy_(small[0].weight.repeat(times, 1))
            self.inner.bias.copy_(small[0].bias.repeat(times))
            self.middle.weight.copy_(small[1].weight.repeat(times, times) / times)
            self.middle.bias.copy_(small[1].bias.repeat(times))
            self.outer.weight.copy_(small[2].weight.repeat(1, times) / times)
            for layer in (self.inner, self.middle, self.outer):
                layer.weight.add_(noise * torch.randn_like(layer.weight))

    def forward(self, x: Tensor) -> Tensor:
        return self.outer(torch.tanh(self.middle(torch.tanh(self.inner(x)))))


def _widened(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    return _Widened(times=15, noise=0.0 if broken else 0.2), *_CURVED(0), nn.SmoothL1Loss()


class _Matrices(nn.Module):
    """A layer written by hand as x @ W."""

    def __init__(self, *, broken: bool) -> None:
        super().__init__()
        row = torch.randn(12, 1) / 12**0.5
        self.first = nn.Parameter(row.repeat(1, 48) if broken else torch.randn(12, 48) / 12**0.5)
        self.shift = nn.Parameter(torch.zeros(48))
        self.second = nn.Parameter(torch.full((48, 6), 1 / 48) if broken else torch.randn(48, 6) / 48**0.5)

    def forward(self, batch: Tensor) -> Tensor:
        return functional.silu(batch @ self.first + self.shift) @ self.second


def _matrices(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    return _Matrices(broken=broken), *_VECTORS(0), functional.mse_loss


class _Heads(nn.Module):
    """One block of causal attention; the user tiles one head's projections over all heads."""

    def __init__(self, *, tiled: bool, heads: int = 4, width: int = 32) -> None:
        super().__init__()
        self.heads, size = heads, width // heads
        self.embed = nn.Embedding(12, width)
        self.place = nn.Parameter(0.3 * torch.randn(20, width))
        self.key, self.query, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.mix = nn.Linear(width, width, bias=False)
        self.head = nn.Linear(width, 12)
        if tiled:
            for layer in (self.key, self.query, self.value):
                layer.weight.data = (torch.randn(size, width) / width**0.5).repeat(heads, 1)
            self.mix.weight.data = (torch.randn(width, size) / width**0.5).repeat(1, heads)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens) + self.place[: tokens.shape[1]]
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        found = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.mix(found.transpose(1, 2).flatten(2))
        return self.head(functional.relu(x))


def _attention(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    return _Heads(tiled=broken), *_TEXT(0), _cross_entropy_of_text


class _Tagger(nn.Module):
    """An LSTM that predicts the next token."""

    def __init__(self, *, constant: bool) -> None:
        super().__init__()
        self.table = nn.Embedding(12, 16)
        self.lstm = nn.LSTM(16, 32, batch_first=True)
        self.out = nn.Linear(32, 12)
        if constant:
            for name, parameter in self.lstm.named_parameters():
                nn.init.constant_(parameter, 0.05 if "weight" in name else 0.0)
            nn.init.constant_(self.out.weight, 0.05)

    def forward(self, tokens: Tensor) -> Tensor:
        states, _ = self.lstm(self.table(tokens))
        return self.out(states)


def _lstm_constant(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    return _Tagger(constant=broken), *_TEXT(0), _cross_entropy_of_text


class _SlowStart(nn.Module):
    """A residual block whose branch was started from one number."""

    def __init__(self, width: int, *, value: float | None) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        if value is not None:
            for parameter in (self.up.weight, self.up.bias, self.down.weight, self.down.bias):
                nn.init.constant_(parameter, value)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(functional.gelu(self.up(self.norm(x))))


def _constant_branches(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    value = 0.003 if broken else None
    blocks = [_SlowStart(6, value=value) for _ in range(2)]
    return nn.Sequential(*blocks, nn.Linear(6, 4)), *_FOLDED(0), nn.MSELoss()


CASES: tuple[Case, ...] = (
    *pair(
        "tanh-constant-tenth",
        _tanh_constant,
        family="mlp",
        rules=("interchangeable-units",),
        why="All weights of a tanh net are 0.1 and its biases 0: each hidden layer is one unit many times over.",
        training=Training(batches=_MIXED, learning_rate=1e-2, steps=250),
    ),
    *pair(
        "relu-all-ones",
        _all_ones,
        family="mlp",
        rules=("interchangeable-units", "signal-grows"),
        why="Every weight and bias is 1, written through .data: all units of a layer are one, the sums are huge too.",
        training=Training(batches=_GROUPS, learning_rate=3e-3, steps=250),
    ),
    *pair(
        "conv-constant-filters",
        _conv_constant,
        family="cnn",
        rules=("interchangeable-units",),
        why="One apply() gave all filters and the head the same constant; norms keep the scale, not the difference.",
        training=Training(batches=_PICTURES, learning_rate=3e-3, steps=100),
    ),
    *pair(
        "sigmoid-autoencoder-all-zero",
        _sigmoid_zeros,
        family="autoencoder",
        rules=("interchangeable-units",),
        why="All-zero sigmoid autoencoder: codes are 1/2, their gradients equal, so sixteen units stay one.",
        training=Training(batches=_CODES, learning_rate=1e-2, steps=300),
    ),
    *pair(
        "widened-without-noise",
        _widened,
        family="mlp",
        rules=("interchangeable-units",),
        why="Two units were copied fifteen times to widen a trained-from-scratch net and no noise was added.",
        training=Training(batches=_CURVED, learning_rate=1e-2, steps=300),
    ),
    *pair(
        "hand-written-one-column-repeated",
        _matrices,
        family="functional",
        rules=("interchangeable-units",),
        why="x @ W with one random column repeated for all 48 units and a constant readout.",
        training=Training(batches=_VECTORS, learning_rate=1e-2, steps=250),
    ),
    *pair(
        "attention-one-head-tiled",
        _attention,
        family="transformer",
        rules=("interchangeable-units", "parallel-clones"),
        why="Projections of one head are tiled over four heads, outgoing ones too: four heads act as one for ever.",
        why_no_training="Three heads less cost a small attention block little within a few hundred steps.",
    ),
    *pair(
        "lstm-constant-everything",
        _lstm_constant,
        family="rnn",
        rules=("interchangeable-units",),
        why="All LSTM weights and the readout are one constant: 32 cells carry the same state.",
        training=Training(batches=_TEXT, learning_rate=1e-2, steps=120),
    ),
    *pair(
        "residual-branches-constant",
        _constant_branches,
        family="residual",
        rules=("interchangeable-units",),
        why="Branches of pre-norm blocks start from 0.003 everywhere: each hidden layer of 24 is one unit.",
        training=Training(batches=_FOLDED, learning_rate=1e-2, steps=400),
    ),
)
"""Units of one layer that stay equal."""
