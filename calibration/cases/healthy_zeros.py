"""Healthy zeros: designs whose start has weights or gates that are exactly zero, and that leave zero when trained."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from calibration.cases.healthy_tasks import CLASSES, Book, he, images, regression, stream, vectors, zero

book = Book()
plain = partial(book.healthy, family="mlp", task=vectors)
residual = partial(book.healthy, family="residual", task=vectors)
convolutional = partial(book.healthy, family="residual", task=images)


@plain(
    "zero-head", "With a head of zeros the body has no gradient at first; the head moves first, the body a step later."
)
def _zero_head() -> nn.Module:
    return nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), zero(nn.Linear(64, CLASSES)))


@plain("zero-biases-everywhere", "Biases of zero are equal to each other and need no symmetry broken.")
def _zero_biases() -> nn.Module:
    return nn.Sequential(
        he(nn.Linear(16, 64)), nn.ReLU(), he(nn.Linear(64, 64)), nn.ReLU(), he(nn.Linear(64, CLASSES), scale=0.3)
    )


class _Rezero(nn.Module):
    def __init__(self, depth: int, *, gate: float = 0.0) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(16, 48), nn.Linear(48, CLASSES)
        self.blocks = nn.ModuleList([he(nn.Linear(48, 48)) for _ in range(depth)])
        self.gates = nn.Parameter(torch.full((depth,), gate))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for gate, block in zip(self.gates, self.blocks, strict=True):
            x = x + gate * functional.relu(block(x))
        return self.head(x)


@residual(
    "rezero-24-blocks", "Each branch is multiplied by a gate of zero: the gates open first, then the branches learn."
)
def _rezero() -> nn.Module:
    return _Rezero(24)


class _TwoLayerBlock(nn.Module):
    def __init__(self, width: int, *, last: float, gamma: float | None = None) -> None:
        super().__init__()
        self.first, self.second = he(nn.Linear(width, width)), he(nn.Linear(width, width), scale=last)
        self.gamma = None if gamma is None else nn.Parameter(torch.full((width,), gamma))

    def forward(self, x: Tensor) -> Tensor:
        branch = self.second(functional.relu(self.first(x)))
        return x + (branch if self.gamma is None else self.gamma * branch)


def _stack(depth: int, *, last: float, gamma: float | None = None, zero_head: bool = False) -> nn.Sequential:
    head = nn.Linear(48, CLASSES)
    return nn.Sequential(
        nn.Linear(16, 48),
        *[_TwoLayerBlock(48, last=last, gamma=gamma) for _ in range(depth)],
        zero(head) if zero_head else head,
    )


@residual(
    "deep-relu-zero-last-layers", "The last layer of each of 32 branches is zero, so the network starts as its skip."
)
def _zero_branches() -> nn.Module:
    return _stack(32, last=0.0)


@residual(
    "zero-branches-and-zero-head", "Zeros nested twice: the head leaves first, the branches after it, in three steps."
)
def _nested() -> nn.Module:
    return _stack(8, last=0.0, zero_head=True)


@residual(
    "layerscale-1e-4", "Branches are scaled by 1e-4: their gradients are small on purpose and Adam does not mind."
)
def _layer_scale() -> nn.Module:
    return _stack(12, last=1.0, gamma=1e-4)


@residual("layerscale-1e-6", "Branches are scaled by 1e-6 as in the deepest image models.")
def _tiny_layer_scale() -> nn.Module:
    return _stack(18, last=1.0, gamma=1e-6)


class _FixupBlock(nn.Module):
    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.shifts = nn.Parameter(torch.zeros(4))
        self.scale = nn.Parameter(torch.ones(1))
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        nn.init.normal_(self.first.weight, std=math.sqrt(2 / (9 * channels)) * depth**-0.5)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        branch = functional.relu(self.first(x + self.shifts[0]) + self.shifts[1])
        return functional.relu(x + self.second(branch + self.shifts[2]) * self.scale + self.shifts[3])


@convolutional(
    "fixup-resnet",
    "Fixup: no norm, last convolution and classifier zero, scalar biases and scales.",
    learning_rate=1e-2,
)
def _fixup() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False),
        nn.ReLU(),
        *[_FixupBlock(16, 8) for _ in range(8)],
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        zero(nn.Linear(16, CLASSES)),
    )


class _NormBlock(nn.Module):
    """A residual block with BatchNorm whose last gain is zero, or (SkipInit) without norm and with a scalar of zero."""

    def __init__(self, channels: int, *, skip_init: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=skip_init)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=skip_init)
        self.norms = nn.ModuleList([nn.Identity() if skip_init else nn.BatchNorm2d(channels) for _ in range(2)])
        self.alpha = nn.Parameter(torch.zeros(())) if skip_init else None
        for layer in (self.first, self.second):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if not skip_init:
            nn.init.zeros_(self.norms[1].weight)

    def forward(self, x: Tensor) -> Tensor:
        branch = self.norms[1](self.second(functional.relu(self.norms[0](self.first(x)))))
        return functional.relu(x + (branch if self.alpha is None else self.alpha * branch))


def _resnet(*, skip_init: bool) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.ReLU(),
        *[_NormBlock(16, skip_init=skip_init) for _ in range(6)],
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, CLASSES),
    )


@convolutional("zero-gamma-resnet", "The last BatchNorm gain of every branch is zero: the branch is off at first.")
def _zero_gamma() -> nn.Module:
    return _resnet(skip_init=False)


@convolutional("skipinit-resnet", "A scalar of zero on every branch, no norm at all.")
def _skip_init() -> nn.Module:
    return _resnet(skip_init=True)


class _Coupling(nn.Module):
    """A flow of affine couplings on 8 features whose scale and shift start at zero: the identity."""

    def __init__(self, depth: int = 4) -> None:
        super().__init__()
        self.nets = nn.ModuleList(
            [nn.Sequential(nn.Linear(4, 32), nn.Tanh(), zero(nn.Linear(32, 8))) for _ in range(depth)]
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        volume = x.new_zeros(len(x))
        for net in self.nets:
            kept, moved = x.chunk(2, dim=1)
            log_scale, shift = net(kept).chunk(2, dim=1)
            log_scale = torch.tanh(log_scale)
            x, volume = torch.cat([moved * log_scale.exp() + shift, kept], 1), volume + log_scale.sum(1)
        return x, volume


def _curved(number: int) -> tuple[Tensor, Tensor]:
    x = torch.randn(128, 8, generator=stream(number))
    x = torch.cat([x[:, :4], 0.3 * x[:, 4:] + x[:, :4] ** 2 - 1], 1)
    return x, x


def _likelihood(output: tuple[Tensor, Tensor], _targets: Tensor) -> Tensor:
    value, volume = output
    return (0.5 * (value**2).sum(1) + 4 * math.log(2 * math.pi) - volume).mean()


@book.healthy(
    "zero-coupling-flow",
    "Each coupling starts as the identity, with a zero last layer.",
    family="flow",
    task=_curved,
    loss=_likelihood,
    steps=200,
)
def _flow() -> nn.Module:
    return _Coupling()


def _anchors(number: int) -> tuple[Tensor, Tensor]:
    inputs = torch.randn(256, 16, generator=stream(number))
    return inputs, (inputs[:, :2].sum(1, keepdim=True) > 3.2).float()


def _focal(output: Tensor, target: Tensor) -> Tensor:
    entropy = functional.binary_cross_entropy_with_logits(output, target, reduction="none")
    return ((1 - torch.exp(-entropy)) ** 2 * entropy).sum() / target.sum().clamp(min=1)


def _detector() -> nn.Module:
    head = nn.Linear(64, 1)
    nn.init.normal_(head.weight, std=0.01)
    nn.init.constant_(head.bias, -math.log((1 - 0.01) / 0.01))
    return nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), head)


detector = partial(book.healthy, family="detection", task=_anchors, steps=250)
detector(
    "prior-bias-focal",
    "The last bias is -log((1 - p) / p) for rare positives: a sigmoid far to one side on purpose.",
    loss=_focal,
)(_detector)
detector(
    "prior-bias-bce",
    "The same prior with the plain cross-entropy: the start is at the base rate, near chance.",
    loss=functional.binary_cross_entropy_with_logits,
)(_detector)


class _Highway(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body, self.gate = he(nn.Linear(width, width)), nn.Linear(width, width)
        nn.init.constant_(self.gate.bias, -2.0)

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.gate(x))
        return gate * functional.relu(self.body(x)) + (1 - gate) * x


@residual("highway-20-layers", "Gates with bias -2 are nearly shut on purpose: the layers start close to the identity.")
def _highway() -> nn.Module:
    return nn.Sequential(nn.Linear(16, 48), *[_Highway(48) for _ in range(20)], nn.Linear(48, CLASSES))


def _scaled_blocks(number: int) -> tuple[Tensor, Tensor]:
    return regression(number, features=16)


@residual(
    "residual-scaled-by-depth",
    "Thirty branches drawn smaller by the root of their number, no norm.",
    task=_scaled_blocks,
    loss=functional.mse_loss,
)
def _scaled() -> nn.Module:
    return nn.Sequential(nn.Linear(16, 48), *[_TwoLayerBlock(48, last=30**-0.5) for _ in range(30)], nn.Linear(48, 1))


CASES = book.cases
