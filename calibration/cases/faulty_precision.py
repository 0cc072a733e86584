"""Networks whose numbers leave the range of their type, or whose weights hold outliers; and their repaired twins."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from calibration.cases.faulty_pair import Faults, adam, sgd
from calibration.cases.faulty_tasks import clusters, curves, images, tokens

FAULTS = Faults()

POINTS = partial(clusters, features=32, classes=8)


def _half_points(step: int, *, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    points, labels = POINTS(step)
    return (scale * points).half(), labels


FAR_POINTS = partial(_half_points, scale=3000.0)


def _in_float32(logits: Tensor, target: Tensor) -> Tensor:
    return functional.cross_entropy(logits.float(), target)


@FAULTS.pair(
    "dtype-headroom-half-raw-inputs",
    "mlp",
    "dtype-headroom input-scale non-finite",
    why="A float16 network on inputs in the thousands: pre-activations come near 65504 (report 53).",
    sound="The same float16 network on inputs of unit scale.",
    training=sgd(FAR_POINTS, rate=0.1, steps=100),
    mended_batches=_half_points,
)
def _half_raw(*, mended: bool) -> tuple[Any, ...]:
    net = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8))
    for m in net[:4:2]:
        nn.init.kaiming_normal_(m.weight, nonlinearity="relu")
    return net.half(), *(_half_points if mended else FAR_POINTS)(0), _in_float32


class _GatedBlock(nn.Module):
    def __init__(self, width: int, std: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.gate = nn.Linear(width, 4 * width, bias=False)
        self.value = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)
        for layer in (self.gate, self.value, self.down):
            nn.init.normal_(layer.weight, std=std)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        return x + self.down(functional.gelu(self.gate(h)) * self.value(h))


class _GatedStack(nn.Module):
    def __init__(self, std: float, *, width: int = 32) -> None:
        super().__init__()
        self.emb = nn.Embedding(16, width)
        self.blocks = nn.Sequential(*[_GatedBlock(width, std) for _ in range(3)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 16)

    def forward(self, ids: Tensor) -> dict[str, Tensor]:
        return {"logits": self.head(self.norm(self.blocks(self.emb(ids))))}


SHORT_TEXTS = partial(tokens, n=6, length=10, vocabulary=16)


def _logits_in_float32(output: dict[str, Tensor], target: Tensor) -> Tensor:
    whole = functional.cross_entropy(output["logits"].float().flatten(0, 1), target.flatten(), reduction="sum")
    return whole / len(target)


@FAULTS.pair(
    "dtype-headroom-gated-feed-forward",
    "transformer",
    "dtype-headroom signal-grows",
    why="A float16 stack of gated feed-forward blocks with weights of std 3.2: their output reaches tens of thousands.",
    sound="The weights have std 0.15, and float16 holds all that follows with ease.",
    no_training="the norm behind the stack divides the peaks away; the harm comes with the first batch that overflows",
)
def _gated_half(*, mended: bool) -> tuple[Any, ...]:
    return _GatedStack(0.15 if mended else 3.2).half(), *SHORT_TEXTS(0), _logits_in_float32


def _patches(step: int) -> tuple[Tensor, Tensor]:
    pictures, _ = images(step, n=32, size=32)
    return pictures.half(), pictures.half()


@FAULTS.pair(
    "dtype-headroom-subnormal-gradients",
    "vae",
    "dtype-headroom",
    why="A float16 autoencoder, a mean over 98304 pixels, 32 accumulation steps: most gradients are subnormal.",
    sound="The same autoencoder in bfloat16, whose exponent is that of float32.",
    no_training="subnormal gradients keep a few of their bits: what is lost shows after thousands of steps only",
)
def _subnormal(*, mended: bool) -> tuple[Any, ...]:
    net = nn.Sequential(
        *(nn.Conv2d(3, 16, 4, stride=4), nn.Tanh(), nn.Conv2d(16, 24, 3, padding=1), nn.Tanh()),
        nn.ConvTranspose2d(24, 3, 4, stride=4),
    )
    inputs, targets = _patches(0)

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return functional.mse_loss(output, target) / 32

    if mended:
        return net.bfloat16(), inputs.bfloat16(), targets.bfloat16(), loss
    return net.half(), inputs, targets, loss


@FAULTS.pair(
    "dtype-headroom-squares-in-half",
    "transformer",
    "dtype-headroom",
    why="A mild one: an RMS norm squares in float16 a stream that was multiplied by sqrt(d) and a constant of 12.",
    sound="The square is taken in float32.",
    no_training="as long as nothing overflows float16 computes what float32 does: the harm comes with the first peak",
)
def _squares(*, mended: bool) -> tuple[Any, ...]:
    class Norm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(64))

        def forward(self, x: Tensor) -> Tensor:
            wide = x.float() if mended else x
            return self.weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-5)).to(x.dtype)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.emb = nn.Embedding(16, 64)
            self.norm1, self.norm2 = Norm(), Norm()
            self.fc1, self.fc2 = nn.Linear(64, 128), nn.Linear(128, 64)
            self.head = nn.Linear(64, 16)

        def forward(self, ids: Tensor) -> dict[str, Tensor]:
            x = self.emb(ids) * (64**0.5 * 4.0)
            x = x + self.fc2(functional.silu(self.fc1(self.norm1(x))))
            return {"logits": self.head(self.norm2(x))}

    return Model().half(), *SHORT_TEXTS(0), _logits_in_float32


def _old_trunc_normal_(weight: Tensor, std: float, low: float, high: float) -> None:
    """Inverse transform sampling as it was copied from repository to repository; the bounds are absolute."""
    with torch.no_grad():
        below, above = (0.5 * (1 + math.erf(bound / std / 2**0.5)) for bound in (low, high))
        weight.uniform_(2 * below - 1, 2 * above - 1).erfinv_().mul_(std * 2**0.5).clamp_(low, high)


class _MixerBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(64), nn.LayerNorm(64)
        self.tokens = nn.Linear(9, 9)
        self.fc1, self.fc2 = nn.Linear(64, 128), nn.Linear(128, 64)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.tokens(self.norm1(x).mT).mT
        return x + self.fc2(functional.gelu(self.fc1(self.norm2(x))))


@FAULTS.pair(
    "outlier-weights-trunc-normal-bfloat16",
    "transformer",
    "outlier-weights",
    why="A copied trunc_normal_, bounds +-2 at std 0.02, in bfloat16: erfinv of -1, weights at 100 sigma (report 50).",
    sound="The bounds are two deviations.",
    no_training="a few hundred outliers beside norms and a skip: the network trains around them",
)
def _trunc_bfloat16(*, mended: bool) -> tuple[Any, ...]:
    net = nn.Sequential(
        *(nn.Conv2d(3, 64, 4, stride=4), nn.Flatten(2), _Swap(), _MixerBlock(), _MixerBlock()),
        *(nn.LayerNorm(64), _Mean(), nn.Linear(64, 6)),
    ).bfloat16()
    for m in net.modules():
        if isinstance(m, nn.Linear):
            bound = 0.04 if mended else 2.0
            _old_trunc_normal_(m.weight, 0.02, -bound, bound)
            nn.init.zeros_(m.bias)
    return net.float(), *images(0), functional.cross_entropy


class _Swap(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2)


class _Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


@FAULTS.pair(
    "outlier-weights-cauchy",
    "mlp",
    "outlier-weights",
    why="Weights from a Cauchy law, which has no variance: single weights are hundreds of times the rest.",
    sound="Weights from a normal law of the same width.",
    training=adam(POINTS, rate=1e-3),
)
def _cauchy(*, mended: bool) -> tuple[Any, ...]:
    net = nn.Sequential(nn.Linear(32, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, 8))
    for m in net[:4:2]:
        if mended:
            nn.init.normal_(m.weight, std=(2 / m.in_features) ** 0.5)
        else:
            m.weight.data.cauchy_(0.0, 0.05)
    return net, *POINTS(0), nn.CrossEntropyLoss()


@FAULTS.pair(
    "outlier-weights-random-ratio",
    "mlp",
    "outlier-weights",
    why="torch.randn(...) / torch.rand(...) * 0.1: random divisors near zero make weights of hundreds.",
    sound="torch.randn(...) * 0.3.",
    training=adam(curves, rate=1e-3),
)
def _random_ratio(*, mended: bool) -> tuple[Any, ...]:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            noise = torch.randn(8, 80)
            self.w1 = nn.Parameter(noise * 0.3 if mended else noise / torch.rand(8, 80) * 0.1)
            self.b1 = nn.Parameter(torch.zeros(80))
            wide = torch.randn(80, 80)
            self.w2 = nn.Parameter(wide * 0.15 if mended else wide / torch.rand(80, 80) * 0.03)
            self.out = nn.Linear(80, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(functional.relu(functional.relu(x @ self.w1 + self.b1) @ self.w2))

    return Net(), *curves(0), functional.mse_loss


@FAULTS.pair(
    "outlier-weights-student-conv",
    "cnn",
    "outlier-weights",
    why="A mild one: kernels sampled from Student's t with two degrees of freedom, 'heavy tails help exploration'.",
    sound="Kernels from the normal law with He's deviation.",
    no_training="the batch norm behind each convolution divides the outliers away and the task is learnt all the same",
)
def _student(*, mended: bool) -> tuple[Any, ...]:
    net = nn.Sequential(
        *(nn.Conv2d(3, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.Conv2d(32, 32, 3, stride=2, bias=False), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(128, 6)),
    )
    for m in net:
        if isinstance(m, nn.Conv2d):
            if mended:
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
            else:
                m.weight.data = torch.distributions.StudentT(2.0).sample(m.weight.shape) * 0.04
    return net, *images(0), nn.CrossEntropyLoss()


CASES = FAULTS.cases
"""Broken networks, each followed by its twin."""
