"""Networks in which units never fire, and their repaired twins."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from calibration.cases.faulty_pair import Faults, adam
from calibration.cases.faulty_tasks import clusters, curves, images, memories, spots

FAULTS = Faults()

PIXELS = partial(clusters, features=64, classes=6)
COUNTS = partial(curves, outputs=4, offset=3.0)
WAVES = partial(curves, features=6, outputs=3)


def _between_0_and_1(step: int) -> tuple[Tensor, Tensor]:
    points, labels = PIXELS(step)
    return torch.sigmoid(points), labels


def _he(net: nn.Module) -> None:
    for layer in net.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)


@FAULTS.pair(
    "layer-dead-uniform-minus-to-zero",
    "mlp",
    "layer-dead input-blind",
    why="uniform_(-0.2, 0) for (-0.2, 0.2): negative weights on inputs in 0 ... 1, all units off (report 41).",
    sound="Weights from -0.2 ... 0.2; inputs in 0 ... 1 are not centred, which is harmless here.",
    training=adam(_between_0_and_1),
)
def _minus_to_zero(*, mended: bool) -> tuple[Any, ...]:
    net = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 6))
    nn.init.uniform_(net[0].weight, -0.2, 0.2 if mended else 0.0)
    nn.init.zeros_(net[0].bias)
    return net, *_between_0_and_1(0), nn.CrossEntropyLoss()


class _Intensities(nn.Module):
    """Predicts non-negative intensities; what makes them non-negative is the argument."""

    def __init__(self, positive: Any) -> None:
        super().__init__()
        self.l1 = nn.Linear(8, 64)
        self.l2 = nn.Linear(64, 64)
        self.out = nn.Linear(64, 4)
        _he(self)
        nn.init.constant_(self.out.bias, -8.0)
        nn.init.normal_(self.out.weight, std=0.05)
        self.positive = positive

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.l2(torch.relu(self.l1(x))))
        return self.positive(self.out(h))


@FAULTS.pair(
    "layer-dead-relu-output",
    "mlp",
    "layer-dead input-blind gradient-blocked",
    why="A ReLU on the output of a regression and a bias that keeps it below zero: it predicts 0 for ever (report 40).",
    sound="A linear output whose bias starts at the mean of the targets.",
    training=adam(COUNTS, rate=5e-3, steps=250),
)
def _relu_output(*, mended: bool) -> tuple[Any, ...]:
    net = _Intensities((lambda y: y) if mended else functional.relu)
    if mended:
        nn.init.constant_(net.out.bias, 3.0)
    return net, *COUNTS(0), functional.mse_loss


class _SpotDetector(nn.Module):
    def __init__(self, *, everywhere: bool) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, padding=1)
        self.tower = nn.ModuleList([nn.Conv2d(16, 16, 3, padding=1) for _ in range(2)])
        self.score = nn.Conv2d(16, 1, 1)
        prior = -math.log((1 - 0.01) / 0.01)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.normal_(m.weight, std=math.sqrt(2 / m.weight[0].numel()))
                nn.init.constant_(m.bias, 2 * prior if everywhere else 0.0)
        nn.init.normal_(self.score.weight, std=0.01)
        nn.init.constant_(self.score.bias, prior)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        h = functional.relu(self.stem(image))
        for conv in self.tower:
            h = functional.relu(conv(h))
        return {"heatmap": self.score(h)}


def _heatmap_loss(output: dict[str, Tensor], target: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(output["heatmap"], target, reduction="sum") / target.sum()


@FAULTS.pair(
    "layer-dead-prior-bias-everywhere",
    "detection",
    "layer-dead input-blind",
    why="The loop that sets the prior bias of a detection head sets it in every convolution: all rectifiers are off.",
    sound="The prior bias stands in the last layer alone.",
    training=adam(spots, steps=120),
)
def _prior_everywhere(*, mended: bool) -> tuple[Any, ...]:
    return _SpotDetector(everywhere=not mended), *spots(0), _heatmap_loss


class _IRnn(nn.Module):
    def __init__(self, bias: float) -> None:
        super().__init__()
        self.w_in = nn.Parameter(torch.randn(48, 8) * 0.2)
        self.w_rec = nn.Parameter(torch.eye(48))
        self.b = nn.Parameter(torch.full((48,), bias))
        self.readout = nn.Linear(48, 4)

    def forward(self, series: Tensor) -> Tensor:
        h = series.new_zeros(len(series), 48)
        for x in series.unbind(1):
            h = (x @ self.w_in.T + h @ self.w_rec.T + self.b).clamp(min=0)
        return self.readout(h)


@FAULTS.pair(
    "layer-dead-relu-rnn-bias",
    "rnn",
    "layer-dead input-blind",
    why="An IRNN whose bias was set to -10 like a forget bias with the wrong sign: the state is zero at every step.",
    sound="The IRNN as published: identity recurrence, bias zero.",
    training=adam(memories),
)
def _rnn_bias(*, mended: bool) -> tuple[Any, ...]:
    return _IRnn(0.0 if mended else -10.0), *memories(0), functional.cross_entropy


@FAULTS.pair(
    "layer-dead-one-of-three",
    "cnn",
    "layer-dead input-blind",
    why="normal_(bias, -20, 0.02): mean and std of another framework's order; the second of three layers is off.",
    sound="All biases are zero.",
    training=adam(images, rate=1e-3),
)
def _one_of_three(*, mended: bool) -> tuple[Any, ...]:
    net = nn.Sequential(
        *(nn.Conv2d(3, 16, 3), nn.ReLU6(), nn.Conv2d(16, 24, 3, stride=2), nn.ReLU6(), nn.Flatten()),
        *(nn.Linear(24 * 16, 32), nn.ReLU6(), nn.Linear(32, 6)),
    )
    _he(net)
    nn.init.normal_(net[-1].weight, std=0.05)
    if not mended:
        nn.init.normal_(net[2].bias, -20, 0.02)
    return net, *images(0), nn.CrossEntropyLoss()


def _real_or_made(step: int) -> tuple[Tensor, Tensor]:
    real, _ = images(step, n=24, channels=1, size=16)
    made = torch.roll(real, 7, dims=-1).flip(-2) * 0.6 + 0.3
    return torch.cat([real, made]), torch.cat([torch.ones(24, 1), torch.zeros(24, 1)])


@FAULTS.pair(
    "layer-dead-discriminator-offset",
    "gan",
    "layer-dead input-blind",
    why="A mild one: zero-mean pictures are shifted by -6 before a layer of positive kernels in a discriminator.",
    sound="The pictures are not shifted.",
    training=adam(_real_or_made, rate=1e-3, steps=80),
)
def _discriminator(*, mended: bool) -> tuple[Any, ...]:
    class Discriminator(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blur = nn.Conv2d(1, 16, 4, stride=2, bias=False)
            self.deep = nn.Conv2d(16, 32, 4, stride=2)
            self.score = nn.Linear(32 * 4, 1)
            nn.init.uniform_(self.blur.weight, 0.0, 0.25)
            nn.init.kaiming_normal_(self.deep.weight, nonlinearity="relu")
            nn.init.normal_(self.score.weight, std=0.02)

        def forward(self, picture: Tensor) -> Tensor:
            h = picture if mended else picture - 6.0
            h = torch.relu(self.deep(torch.relu(self.blur(h))))
            return self.score(h.flatten(1))

    return Discriminator(), *_real_or_made(0), nn.BCEWithLogitsLoss()


class _SparseAutoencoder(nn.Module):
    """Of the kind that is trained on activations of language models."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        rows = functional.normalize(torch.randn(192, 24), dim=1)
        self.w_enc = nn.Parameter(rows.t().clone())
        self.b_enc = nn.Parameter(torch.full((192,), -threshold))
        self.w_dec = nn.Parameter(0.3 * rows.clone())
        self.b_dec = nn.Parameter(torch.zeros(24))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        code = functional.relu((x - self.b_dec) @ self.w_enc + self.b_enc)
        return code @ self.w_dec + self.b_dec, code


def _sparse_loss(output: tuple[Tensor, Tensor], target: Tensor) -> Tensor:
    recovered, code = output
    return (recovered - target).pow(2).mean() + 1e-4 * code.abs().sum(1).mean()


def _activations(step: int) -> tuple[Tensor, Tensor]:
    points, _ = clusters(step, n=48, features=24, classes=12, apart=0.5)
    return points, points


@FAULTS.pair(
    "dead-units-sparse-autoencoder",
    "mlp",
    "dead-units",
    why="A sparse autoencoder started sparse: encoder bias -3 under unit rows, nine latents of ten never fire.",
    sound="The encoder bias starts at zero, sparsity comes from the penalty.",
    training=adam(_activations, rate=1e-3),
)
def _sparse(*, mended: bool) -> tuple[Any, ...]:
    return _SparseAutoencoder(0.0 if mended else 3.0), *_activations(0), _sparse_loss


@FAULTS.pair(
    "dead-units-lopsided-uniform",
    "mlp",
    "dead-units",
    why="torch.rand(...) * 0.3 - 0.173, a centring that is off by a little: on inputs in 0 ... 1 most units are off.",
    sound="torch.rand(...) * 0.3 - 0.15.",
    no_training="the units that live still learn this task: what is lost is width, which a short training forgives",
)
def _lopsided(*, mended: bool) -> tuple[Any, ...]:
    first = nn.Linear(64, 80)
    with torch.no_grad():
        first.weight.copy_(torch.rand(80, 64) * 0.3 - (0.15 if mended else 0.173))
        first.bias.zero_()
    return nn.Sequential(first, nn.ReLU(), nn.Linear(80, 6)), *_between_0_and_1(0), functional.cross_entropy


@FAULTS.pair(
    "dead-units-thresholds-uniform",
    "mlp",
    "dead-units",
    why="Biases drawn from -14 ... 0 to 'spread the kinks': four units of five lie outside the data.",
    sound="Biases drawn from -1.5 ... 1.5: the kinks lie where the data is.",
    training=adam(WAVES, rate=2e-3),
)
def _thresholds(*, mended: bool) -> tuple[Any, ...]:
    net = nn.Sequential(nn.Linear(6, 96), nn.ReLU(), nn.Linear(96, 3))
    nn.init.normal_(net[0].weight, std=6**-0.5)
    nn.init.normal_(net[2].weight, std=0.05)
    nn.init.zeros_(net[2].bias)
    if mended:
        nn.init.uniform_(net[0].bias, -1.5, 1.5)
    else:
        nn.init.uniform_(net[0].bias, -14.0, 0.0)
    return net, *WAVES(0), nn.MSELoss()


class _ConvTrunk(nn.Module):
    def __init__(self, shift: float) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 32, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(32)
        self.b = nn.Conv2d(32, 32, 3, stride=2)
        self.head = nn.Linear(32, 6)
        for conv in (self.a, self.b):
            nn.init.kaiming_normal_(conv.weight, mode="fan_in", nonlinearity="relu")
        nn.init.zeros_(self.b.bias)
        with torch.no_grad():
            self.norm.bias.copy_(torch.randn(32) * 1.5 + shift)

    def forward(self, x: Tensor) -> Tensor:
        h = functional.relu(self.norm(self.a(x)))
        h = functional.relu(self.b(h))
        return self.head(h.mean((2, 3)))


@FAULTS.pair(
    "dead-units-batchnorm-shift",
    "cnn",
    "dead-units",
    why="The shift of a BatchNorm drawn around -6 instead of 0: most channels never reach the rectifier's open side.",
    sound="The shift of the BatchNorm is drawn around zero, an odd habit that costs nothing.",
    training=adam(images, rate=1e-3, steps=100),
)
def _batchnorm_shift(*, mended: bool) -> tuple[Any, ...]:
    return _ConvTrunk(0.0 if mended else -6.0), *images(0), functional.cross_entropy


CASES = FAULTS.cases
"""Broken networks, each followed by its twin."""
