"""Healthy starts with equal rows, masks and shut gates: what looks like a copied or a blocked network and is not."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from calibration.cases.healthy_tasks import CLASSES, Book, he, images, stream, vectors, zero

book = Book()
plain = partial(book.healthy, family="mlp", task=vectors)
pictured = partial(book.healthy, family="cnn", task=images)
adapted = partial(book.healthy, family="lora", task=vectors, learning_rate=1e-2)


class _Upscaler(nn.Module):
    """Doubles the resolution by sub-pixels whose four kernels start equal."""

    def __init__(self) -> None:
        super().__init__()
        self.front, self.up = nn.Conv2d(1, 24, 3, padding=1), nn.Conv2d(24, 32, 3, padding=1)
        self.out = nn.Conv2d(8, 1, 3, padding=1)
        with torch.no_grad():
            kernel = nn.init.kaiming_normal_(torch.empty(8, 24, 3, 3))
            self.up.weight.copy_(kernel.repeat_interleave(4, 0))
            self.up.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return self.out(functional.pixel_shuffle(self.up(functional.relu(self.front(x))), 2))


def _small_and_large(number: int) -> tuple[Tensor, Tensor]:
    large, _ = images(number, channels=1)
    large = functional.avg_pool2d(large, 3, stride=1, padding=1)
    return functional.avg_pool2d(large, 2), large


@pictured(
    "equal-sub-pixel-kernels",
    "Groups of four equal kernels feed different pixels, so their gradients differ at once.",
    task=_small_and_large,
    loss=functional.mse_loss,
    steps=200,
)
def _upscaler() -> nn.Module:
    return _Upscaler()


class _Mirrored(nn.Module):
    """Rectifies x and -x with mirrored weights, so that the network starts linear."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * before, after, bias=False)
        with torch.no_grad():
            half = nn.init.orthogonal_(torch.empty(after, before))
            self.linear.weight.copy_(torch.cat([half, -half], 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(torch.cat([x.relu(), (-x).relu()], 1))


@plain(
    "mirrored-looks-linear-20-layers",
    "Halves of each weight are mirror images; rectified x and -x are never equal.",
    learning_rate=1e-3,
)
def _mirrored() -> nn.Module:
    return nn.Sequential(nn.Linear(16, 48), *[_Mirrored(48, 48) for _ in range(19)], _Mirrored(48, CLASSES))


class _Scaled(nn.Module):
    """A layer in the NTK's parametrisation: weights of std one, scaled in the forward pass."""

    def __init__(self, before: int, after: int, gain: float) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(after, before)), nn.Parameter(torch.zeros(after))
        self.scale = gain / math.sqrt(before)

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight * self.scale, self.bias)


@plain(
    "equalised-learning-rate",
    "Weights have std one and are scaled where they are used, as in progressive GANs.",
    steps=200,
    learning_rate=2e-2,
)
def _equalised() -> nn.Module:
    layers = [(16, 64, 2**0.5), (64, 64, 2**0.5), (64, CLASSES, 0.5)]
    return nn.Sequential(*(part for layer in layers for part in (_Scaled(*layer), nn.ReLU())))[:-1]


class _Masked(nn.Module):
    """Nine tenths of the weights are masked away; the masked entries have no gradient."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.linear = nn.Linear(before, after)
        self.register_buffer("mask", (torch.rand(after, before) < 0.2).float())
        nn.init.normal_(self.linear.weight, std=math.sqrt(2 / (0.2 * before)))

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.linear.weight * self.mask, self.linear.bias)


@plain(
    "masked-sparse-weights",
    "Four of five entries are masked for ever; what is left is drawn for its own fan.",
    steps=200,
)
def _sparse() -> nn.Module:
    return nn.Sequential(_Masked(16, 96), nn.ReLU(), _Masked(96, 96), nn.ReLU(), nn.Linear(96, CLASSES))


class _Turned(nn.Module):
    """A spatial transformer whose last layer has zero weights and the identity's six numbers as bias."""

    def __init__(self) -> None:
        super().__init__()
        self.locate = nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(192, 32), nn.ReLU())
        self.six = nn.Linear(32, 6)
        nn.init.zeros_(self.six.weight)
        with torch.no_grad():
            self.six.bias.copy_(torch.tensor([1.0, 0, 0, 0, 1, 0]))
        self.body = nn.Sequential(nn.Conv2d(3, 16, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(784, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        grid = functional.affine_grid(self.six(self.locate(x)).view(-1, 2, 3), list(x.shape), align_corners=False)
        return self.body(functional.grid_sample(x, grid, align_corners=False))


@pictured("spatial-transformer-identity", "Weights of zero under a bias that is the identity map.")
def _turned() -> nn.Module:
    return _Turned()


class _Modulated(nn.Module):
    """Feature-wise scales and shifts from a condition, zero at the start, and a tanh gate that is zero too."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.condition = nn.Linear(16, 64), zero(nn.Linear(4, 128))
        self.side, self.gate = he(nn.Linear(16, 64)), nn.Parameter(torch.zeros(1))
        self.head = nn.Linear(64, CLASSES)

    def forward(self, x: Tensor, given: Tensor) -> Tensor:
        scale, shift = self.condition(given).chunk(2, dim=1)
        hidden = functional.relu(self.body(x) * (1 + scale) + shift)
        return self.head(hidden + torch.tanh(self.gate) * functional.relu(self.side(x)))


def _conditioned(number: int) -> tuple[tuple[Tensor, Tensor], Tensor]:
    inputs, labels = vectors(number)
    which = torch.randint(4, (len(labels),), generator=stream(number))
    return (inputs, functional.one_hot(which, 4).float()), labels


@plain(
    "zero-modulation-and-tanh-gate",
    "Scales, shifts and the gate of a side branch are zero and open by themselves.",
    task=_conditioned,
)
def _modulated() -> nn.Module:
    return _Modulated()


class _SharedEnsemble(nn.Module):
    """Four members share one weight and differ by rank-one vectors of random signs."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(16, 64), nn.Linear(64, CLASSES)
        self.into = nn.Parameter(torch.randint(2, (4, 1, 16)).float() * 2 - 1)
        self.out = nn.Parameter(torch.randint(2, (4, 1, 64)).float() * 2 - 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(functional.relu(self.first(x * self.into) * self.out)).mean(0)


@plain("ensemble-of-signs", "Members share a weight and differ by vectors of plus and minus one.")
def _signs() -> nn.Module:
    return _SharedEnsemble()


@adapted("biases-alone", "All weights are frozen, only biases and the head are trained.", steps=200)
def _biases() -> nn.Module:
    model = nn.Sequential(
        he(nn.Linear(16, 128)), nn.ReLU(), he(nn.Linear(128, 128)), nn.ReLU(), nn.Linear(128, CLASSES)
    )
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.endswith("bias") or name.startswith("4"))
    return model


class _Prompted(nn.Module):
    """Eight learned prompt tokens before a frozen encoder, and a head of zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(16, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        for module in (self.enter, self.encoder):
            module.requires_grad_(False)
        self.prompts, self.head = nn.Parameter(torch.randn(8, 32) * 0.02), zero(nn.Linear(32, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        token = self.enter(x)[:, None]
        return self.head(self.encoder(torch.cat([self.prompts.expand(len(x), -1, -1), token], 1))[:, -1])


@adapted(
    "prompts-on-frozen-encoder", "The encoder is frozen clones, the head is zero, prompts learn after it.", steps=200
)
def _prompted() -> nn.Module:
    return _Prompted()


CASES = book.cases
