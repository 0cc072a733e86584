"""Networks of special kinds, ill-conditioned, of sines, with variances as outputs; and their repaired twins."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from calibration.cases.faulty_pair import Faults, adam
from calibration.cases.faulty_tasks import clusters, curves, images, picture

FAULTS = Faults()

EASY = partial(clusters, features=48, apart=1.0)
PIXEL_PICTURE = partial(picture, scale=256.0)
FINE_PICTURE = partial(picture, waves=14.0)


def _deep_map(step: int) -> tuple[Tensor, Tensor]:
    inputs, _ = clusters(step, n=96, features=24, classes=2, apart=0.0, seed=41)
    return inputs, inputs.roll(5, dims=1)


@FAULTS.pair(
    "ill-conditioned-deep-linear",
    "mlp",
    "ill-conditioned",
    why="A linear network of sixteen Gaussian matrices: the length is kept, but few directions hold all of it.",
    sound="Sixteen orthogonal matrices: every direction is kept.",
    training=adam(_deep_map, rate=1e-3, steps=200),
)
def _deep_linear(*, mended: bool) -> tuple[Any, ...]:
    net = nn.Sequential(*[nn.Linear(24, 24, bias=False) for _ in range(16)])
    for layer in net:
        if mended:
            nn.init.orthogonal_(layer.weight)
        else:
            nn.init.normal_(layer.weight, std=24**-0.5)
    return net, *_deep_map(0), functional.mse_loss


@FAULTS.pair(
    "ill-conditioned-low-rank",
    "mlp",
    "ill-conditioned",
    why="Each hidden matrix is drawn as the product of two thin ones of rank two: the trunk passes two directions.",
    sound="Each hidden matrix is orthogonal.",
    training=adam(EASY, rate=5e-4, steps=120),
)
def _low_rank(*, mended: bool) -> tuple[Any, ...]:
    class Trunk(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = nn.ParameterList()
            for _ in range(6):
                thin = torch.randn(48, 2) @ torch.randn(2, 48) / (2 * 48) ** 0.5
                self.weights.append(nn.Parameter(nn.init.orthogonal_(torch.empty(48, 48)) if mended else thin))
            self.head = nn.Linear(48, 8)

        def forward(self, x: Tensor) -> Tensor:
            for w in self.weights:
                x = functional.leaky_relu(x @ w, 0.8)
            return self.head(x)

    return Trunk(), *EASY(0), functional.cross_entropy


@FAULTS.pair(
    "ill-conditioned-positive-weights",
    "mlp",
    "ill-conditioned",
    why="torch.rand without - 0.5: all weights positive, one direction takes nearly everything in a tanh net.",
    sound="torch.rand - 0.5, scaled.",
    training=adam(EASY, rate=1e-3, steps=150),
)
def _positive(*, mended: bool) -> tuple[Any, ...]:
    net = nn.Sequential()
    for _ in range(5):
        layer = nn.Linear(48, 48)
        draw = torch.rand(48, 48) - 0.5 if mended else torch.rand(48, 48)
        layer.weight.data.copy_(draw * (0.5 if mended else 0.04))
        layer.bias.data.zero_()
        net.extend([layer, nn.Tanh()])
    return net.append(nn.Linear(48, 8)), *EASY(0), nn.CrossEntropyLoss()


class _SineNet(nn.Module):
    """Sines of omega times a linear map; the arguments give the ranges of the weights."""

    def __init__(self, first: float, hidden: float, *, omega_first: float = 30.0, omega: float = 30.0) -> None:
        super().__init__()
        self.omegas = (omega_first, omega, omega)
        self.layers = nn.ModuleList([nn.Linear(2, 64), nn.Linear(64, 64), nn.Linear(64, 64)])
        self.last = nn.Linear(64, 1)
        nn.init.uniform_(self.layers[0].weight, -first, first)
        for layer in self.layers[1:]:
            nn.init.uniform_(layer.weight, -hidden, hidden)
            nn.init.zeros_(layer.bias)
        bound = math.sqrt(6 / 64) / 4
        nn.init.uniform_(self.last.weight, -bound, bound)

    def forward(self, places: Tensor) -> Tensor:
        h = places
        for omega, layer in zip(self.omegas, self.layers, strict=True):
            h = torch.sin(omega * layer(h))
        return self.last(h)


ROOT = math.sqrt(6 / 64)


@FAULTS.pair(
    "sine-frequency-hidden-undivided",
    "siren",
    "sine-frequency",
    why="omega = 30 in hidden layers whose weights were not divided by it: arguments of deviation 30 (report 38).",
    sound="The hidden weights lie within sqrt(6 / n) / omega.",
    training=adam(picture, rate=3e-4, steps=250),
)
def _undivided(*, mended: bool) -> tuple[Any, ...]:
    return _SineNet(0.5, ROOT / 30 if mended else ROOT), *picture(0), functional.mse_loss


@FAULTS.pair(
    "sine-frequency-first-too-low",
    "siren",
    "sine-frequency",
    why="The first layer is divided by omega as if it were hidden: its sines hardly bend in the picture (report 38).",
    sound="The first layer has weights within 1 / fan_in.",
    training=adam(FINE_PICTURE, rate=3e-4, steps=250),
)
def _first_too_low(*, mended: bool) -> tuple[Any, ...]:
    return _SineNet(0.5 if mended else 0.5 / 30, ROOT / 30), *FINE_PICTURE(0), nn.MSELoss()


@FAULTS.pair(
    "sine-frequency-pixel-places",
    "siren",
    "sine-frequency input-scale",
    why="Places in pixels, -256 ... 256, where the network expects -1 ... 1 (report 39).",
    sound="Places in -1 ... 1.",
    training=adam(PIXEL_PICTURE, rate=3e-4, steps=250),
    mended_batches=picture,
)
def _pixel_places(*, mended: bool) -> tuple[Any, ...]:
    return _SineNet(0.5, ROOT / 30), *(picture if mended else PIXEL_PICTURE)(0), functional.mse_loss


@FAULTS.pair(
    "sine-frequency-std-1",
    "siren",
    "sine-frequency",
    why="A physics network with a plain sine and weights of std 1: hidden arguments of deviation 6.",
    sound="Hidden weights of deviation sqrt(2 / n): arguments of deviation one.",
    training=adam(picture, rate=1e-3, steps=250),
)
def _std_1(*, mended: bool) -> tuple[Any, ...]:
    net = _SineNet(0.5, ROOT if mended else math.sqrt(3.0) * 1.2, omega_first=20.0, omega=1.0)
    return net, *picture(0), functional.mse_loss


class _Vae(nn.Module):
    def __init__(self, std: float, size: int = 3 * 144) -> None:
        super().__init__()
        self.enc = nn.Linear(size, 64)
        self.mu, self.log_var = nn.Linear(64, 8), nn.Linear(64, 8)
        self.dec = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, size))
        nn.init.normal_(self.log_var.weight, std=std)
        nn.init.zeros_(self.log_var.bias)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        h = functional.relu(self.enc(x.flatten(1)))
        mu, log_var = self.mu(h), self.log_var(h)
        z = mu + torch.exp(0.5 * log_var) * torch.randn_like(mu)
        return {"x": self.dec(z).view_as(x), "mu": mu, "log_var": log_var}


def _negative_elbo(output: dict[str, Tensor], target: Tensor) -> Tensor:
    kl = -0.5 * (1 + output["log_var"] - output["mu"].pow(2) - output["log_var"].exp()).sum(1).mean()
    return (functional.mse_loss(output["x"], target, reduction="sum") / len(target) + kl) / 100


def _pictures(step: int) -> tuple[Tensor, Tensor]:
    x, _ = images(step)
    return x, x


@FAULTS.pair(
    "variance-head-vae",
    "vae",
    "variance-head initial-loss",
    why="The log variance of a VAE comes from weights of std 3: variances of e^12 and a KL to match (report 46).",
    sound="The head of the log variance has std 0.01.",
    training=adam(_pictures, rate=1e-3, steps=120),
)
def _vae(*, mended: bool) -> tuple[Any, ...]:
    return _Vae(0.01 if mended else 3.0), *_pictures(0), _negative_elbo


NOISY = partial(curves, features=6)


class _Gaussian(nn.Module):
    def __init__(self, start: float, std: float) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh())
        self.mean = nn.Linear(64, 1)
        self.log_var = nn.Linear(64, 1)
        nn.init.constant_(self.log_var.bias, start)
        nn.init.normal_(self.log_var.weight, std=std)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.body(x)
        return self.mean(h), self.log_var(h)


def _gaussian_nll(output: tuple[Tensor, Tensor], target: Tensor) -> Tensor:
    mean, log_var = output
    return 0.5 * (log_var + (target - mean).pow(2) * torch.exp(-log_var)).mean() + 0.919


@FAULTS.pair(
    "variance-head-tiny-variance",
    "mlp",
    "variance-head initial-loss",
    why="The log variance starts at -12: squared errors are multiplied by e^12 in the first step (report 47).",
    sound="The log variance starts at zero.",
    training=adam(NOISY, rate=2e-3, steps=200),
)
def _tiny_variance(*, mended: bool) -> tuple[Any, ...]:
    return _Gaussian(0.0 if mended else -12.0, 0.01), *NOISY(0), _gaussian_nll


@FAULTS.pair(
    "variance-head-policy-log-std",
    "mlp",
    "variance-head initial-loss",
    why="The log deviation of a policy has weights of std 1.5 and no clamp: deviations from e^-9 to e^9.",
    sound="The log deviation has weights of std 0.01.",
    training=adam(NOISY, rate=2e-3, steps=200),
)
def _policy(*, mended: bool) -> tuple[Any, ...]:
    class Policy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.fc2 = nn.Linear(6, 64), nn.Linear(64, 64)
            self.action = nn.Linear(64, 2)
            for layer in (self.fc1, self.fc2):
                nn.init.orthogonal_(layer.weight, 2**0.5)
            nn.init.normal_(self.action.weight, std=0.01)
            if not mended:
                nn.init.normal_(self.action.weight[1:], std=1.5)

        def forward(self, state: Tensor) -> dict[str, Tensor]:
            mean, log_std = self.action(torch.tanh(self.fc2(torch.tanh(self.fc1(state))))).chunk(2, dim=-1)
            return {"mean": mean, "log_std": log_std}

    def loss(output: dict[str, Tensor], action: Tensor) -> Tensor:
        distance = (action - output["mean"]) / torch.exp(output["log_std"])
        return (0.5 * distance**2 + output["log_std"]).mean() + 0.919

    return Policy(), *NOISY(0), loss


@FAULTS.pair(
    "variance-head-flow-scale",
    "vae",
    "variance-head non-finite initial-loss",
    why="Coupling layers whose log scales are neither bounded nor started at zero: the product of their exponentials.",
    sound="The last layer of every coupling starts at zero.",
    training=adam(None, rate=1e-3, steps=150),
)
def _flow(*, mended: bool) -> tuple[Any, ...]:
    class Flow(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.nets = nn.ModuleList([nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 8)) for _ in range(4)])
            for net in self.nets:
                if mended:
                    nn.init.zeros_(net[2].weight)
                    nn.init.zeros_(net[2].bias)
                else:
                    nn.init.kaiming_normal_(net[2].weight, a=0, mode="fan_out")

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            a, b = x.chunk(2, dim=1)
            total = x.new_zeros(len(x))
            for net in self.nets:
                s, t = net(a).chunk(2, dim=1)
                a, b = b * torch.exp(s) + t, a
                total = total + s.sum(1)
            return torch.cat([a, b], dim=1), total

    def loss(output: tuple[Tensor, Tensor], target: Tensor) -> Tensor:
        z, log_det = output
        return 0.5 * z.pow(2).sum(1).mean() - log_det.mean()

    x, y = clusters(0, n=128, features=8, classes=3, apart=2.0)
    return Flow(), 0.5 * x, y, loss


CASES = FAULTS.cases
"""Broken networks, each followed by its twin."""
