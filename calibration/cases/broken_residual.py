"""Broken starts whose residual stream grows block by block, and their twins."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from calibration import tasks
from calibration.case import Case, Training
from calibration.pair import pair

_BLOBS = tasks.blobs(71, batch=64, features=12, classes=5)
_WAVES = tasks.waves(72, batch=64, features=8, outputs=3)
_PICTURES = tasks.images(73, batch=16, channels=3, size=12, classes=5)
_TEXT = tasks.markov(74, batch=8, length=16, vocabulary=10)


class _Block(nn.Module):
    """x + W2 relu(W1 x), He's spread in both."""

    def __init__(self, width: int, *, scale: float) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(width, width), nn.Linear(width, width)
        for layer in (self.inner, self.outer):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        with torch.no_grad():
            self.outer.weight.mul_(scale)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.outer(functional.relu(self.inner(x)))


def _sixty_four(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    blocks = [_Block(24, scale=1.0 if broken else 1 / math.sqrt(2 * 64)) for _ in range(64)]
    return nn.Sequential(nn.Linear(12, 24), *blocks, nn.Linear(24, 5)), *_BLOBS(0), nn.CrossEntropyLoss()


class _BasicBlock(nn.Module):
    """The usual pair of convolutions, norms taken out for speed; shortcuts by 1 x 1 convolution."""

    def __init__(self, inputs: int, outputs: int, stride: int, scale: float) -> None:
        super().__init__()
        self.a = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.b = nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.short = nn.Identity() if inputs == outputs and stride == 1 else nn.Conv2d(inputs, outputs, 1, stride)
        nn.init.kaiming_normal_(self.a.weight, nonlinearity="relu")
        nn.init.kaiming_normal_(self.b.weight, nonlinearity="relu")
        self.b.weight.data *= scale

    def forward(self, x: Tensor) -> Tensor:
        return self.b(functional.relu(self.a(functional.relu(x)))) + self.short(x)


def _norms_removed(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    scale = 1.0 if broken else 0.2
    stages = [(8, 8, 2)] + [(8, 8, 1)] * 12 + [(8, 16, 2)] + [(16, 16, 1)] * 12
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, 1, 1),
        *[_BasicBlock(*stage, scale) for stage in stages],
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 5),
    )
    return model, *_PICTURES(0), nn.CrossEntropyLoss()


class _Attend(nn.Module):
    """A decoder block that somebody freed of its norms."""

    def __init__(self, width: int, blocks: int, *, broken: bool) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        for layer in (self.qkv, self.mix, self.mlp[0], self.mlp[2]):
            nn.init.normal_(layer.weight, std=math.sqrt(2 / layer.in_features))
            nn.init.zeros_(layer.bias)
        if not broken:
            for layer in (self.mix, self.mlp[2]):
                layer.weight.data.div_(2 * blocks)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        found = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.mix(found.transpose(1, 2).flatten(2))
        return x + self.mlp(x)


class _Decoder(nn.Module):
    """A language model without norms in its blocks."""

    def __init__(self, *, broken: bool, blocks: int = 12) -> None:
        super().__init__()
        self.table = nn.Embedding(10, 16)
        self.place = nn.Embedding(16, 16)
        self.blocks = nn.Sequential(*[_Attend(16, blocks, broken=broken) for _ in range(blocks)])
        self.out = nn.Linear(16, 10)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.table(ids) + self.place.weight[: ids.shape[1]]
        return self.out(self.blocks(x)).transpose(1, 2)


def _normless_decoder(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    return _Decoder(broken=broken), *_TEXT(0), nn.CrossEntropyLoss()


class _Loop(nn.Module):
    """Residual steps written by hand with lists of matrices."""

    def __init__(self, *, step: float, depth: int = 30, width: int = 32) -> None:
        super().__init__()
        self.step = step
        self.enter = nn.Parameter(torch.randn(8, width) / 8**0.5)
        self.inner = nn.ParameterList(torch.randn(width, width) / width**0.5 for _ in range(depth))
        self.outer = nn.ParameterList(torch.randn(width, width) / width**0.5 for _ in range(depth))
        self.leave = nn.Parameter(torch.randn(width, 3) / (2 * width**0.5))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = x @ self.enter
        for inner, outer in zip(self.inner, self.outer, strict=True):
            x = x + self.step * (functional.silu(x @ inner) @ outer)
        return {"prediction": x @ self.leave}


def _of_prediction(output: dict[str, Tensor], target: Tensor) -> Tensor:
    return (output["prediction"] - target).square().mean()


def _loop(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    return _Loop(step=1.0 if broken else 1 / 30), *_WAVES(0), _of_prediction


class _Highway(nn.Module):
    """A residual block with a gated branch; twin: the branch's last layer starts small."""

    def __init__(self, width: int, *, broken: bool) -> None:
        super().__init__()
        self.value, self.gate = nn.Linear(width, 2 * width), nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)
        nn.init.xavier_normal_(self.value.weight)
        nn.init.xavier_normal_(self.down.weight, gain=2.0 if broken else 0.1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(self.value(x) * torch.sigmoid(self.gate(x)))


def _gated(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    blocks = [_Highway(16, broken=broken) for _ in range(24)]
    return nn.Sequential(nn.Linear(8, 16), *blocks, nn.Linear(16, 3)), *_WAVES(0), nn.SmoothL1Loss()


CASES: tuple[Case, ...] = (
    *pair(
        "sixty-four-blocks-he",
        _sixty_four,
        family="residual",
        rules=("residual-unscaled", "signal-grows", "initial-loss"),
        why="Sixty-four residual blocks at He's spread without norm or scale: the variance doubles in each.",
        training=Training(batches=_BLOBS, learning_rate=1e-3, steps=80),
    ),
    *pair(
        "resnet-norms-removed",
        _norms_removed,
        family="cnn",
        rules=("residual-unscaled", "signal-grows", "initial-loss"),
        why="A residual conv net of twenty-six blocks lost its batch norms and got nothing in their place.",
        training=Training(batches=_PICTURES, learning_rate=1e-3, steps=120),
    ),
    *pair(
        "decoder-without-norms",
        _normless_decoder,
        family="transformer",
        rules=("residual-unscaled", "signal-grows", "initial-loss"),
        why="Twelve decoder blocks without norms at He's spread: two branches per block add up geometrically.",
        training=Training(batches=_TEXT, learning_rate=2e-3, steps=150),
    ),
    *pair(
        "residual-steps-of-one",
        _loop,
        family="functional",
        rules=("residual-unscaled", "signal-grows", "initial-loss"),
        why="Thirty residual steps written by hand with step 1 where 1 / depth was meant.",
        training=Training(batches=_WAVES, learning_rate=2e-3, steps=200),
    ),
    *pair(
        "gated-branches-too-loud",
        _gated,
        family="residual",
        rules=("residual-unscaled", "signal-grows", "initial-loss"),
        why="Gated branches with gain 2 on a stream without norms, twenty-four times.",
        training=Training(batches=_WAVES, learning_rate=2e-3, steps=200),
    ),
)
"""Residual streams that grow geometrically."""
