"""Healthy structures: shared and frozen parts, several inputs, outputs or losses, generative and contrastive models."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from calibration.cases.healthy_tasks import CLASSES, Book, pictures, regression, stream, vectors

book = Book()
generative = partial(book.healthy, family="vae", task=pictures, steps=150)
towers = partial(book.healthy, family="contrastive", steps=150)
acting = partial(book.healthy, family="reinforcement", steps=150)


def _mlp(*widths: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class _Reconstruction(NamedTuple):
    picture: Tensor
    mean: Tensor
    log_variance: Tensor


class _Variational(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = _mlp(256, 64, 16), _mlp(8, 64, 256)

    def forward(self, x: Tensor) -> _Reconstruction:
        mean, log_variance = self.encoder(x.flatten(1)).chunk(2, dim=1)
        log_variance = log_variance.clamp(-8, 4)
        code = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        return _Reconstruction(self.decoder(code).view_as(x), mean, log_variance)


def _bound(output: _Reconstruction, target: Tensor) -> Tensor:
    fit = 20 * ((output.picture.sigmoid() - target) ** 2).sum((1, 2, 3))
    divergence = 0.5 * (output.mean**2 + output.log_variance.exp() - 1 - output.log_variance).sum(1)
    return (fit + divergence).mean()


@generative(
    "variational-clamped", "The log variance is clamped before exp, and the loss is a sum over 256 pixels.", loss=_bound
)
def _vae() -> nn.Module:
    return _Variational()


@generative(
    "autoencoder-sigmoid-output",
    "An autoencoder that ends in a sigmoid under the mean squared error.",
    loss=functional.mse_loss,
)
def _autoencoder() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), _mlp(256, 64, 16), nn.ReLU(), _mlp(16, 64, 256), nn.Sigmoid(), nn.Unflatten(1, (1, 16, 16))
    )


class _TiedAutoencoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down, self.shift = nn.Linear(256, 32), nn.Parameter(torch.zeros(256))

    def forward(self, x: Tensor) -> Tensor:
        code = torch.tanh(self.down(x.flatten(1) - 0.5))
        return torch.sigmoid(code @ self.down.weight + self.shift).view_as(x)


@generative(
    "autoencoder-tied", "The decoder is the encoder's transpose: one weight used twice.", loss=functional.mse_loss
)
def _tied() -> nn.Module:
    return _TiedAutoencoder()


class _Codebook(nn.Module):
    """A vector-quantised autoencoder; gradients pass straight through the choice, unused codes get none."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = _mlp(256, 64, 32), _mlp(32, 64, 256)
        self.codes = nn.Embedding(64, 8)
        nn.init.uniform_(self.codes.weight, -1 / 64, 1 / 64)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        code = self.encoder(x.flatten(1)).unflatten(1, (4, 8))
        near = self.codes(torch.cdist(code, self.codes.weight).argmin(-1))
        commitment = functional.mse_loss(near, code.detach()) + 0.25 * functional.mse_loss(code, near.detach())
        return self.decoder((code + (near - code).detach()).flatten(1)).view_as(x), commitment


@generative(
    "vector-quantised",
    "The choice of a code has no gradient; a straight-through copy carries it around.",
    loss=lambda output, target: functional.mse_loss(output[0], target) + output[1],
    steps=300,
)
def _quantised() -> nn.Module:
    return _Codebook()


class _Categorical(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = _mlp(256, 64, 32), _mlp(32, 64, 256)

    def forward(self, x: Tensor) -> Tensor:
        logits = self.encoder(x.flatten(1)).unflatten(1, (4, 8))
        code = functional.gumbel_softmax(logits, tau=1.0, hard=True)
        return self.decoder(code.flatten(1)).sigmoid().view_as(x)


@generative(
    "gumbel-softmax",
    "Hard samples are one-hot rows by nature, with the soft sample's gradient.",
    loss=functional.mse_loss,
    steps=300,
    learning_rate=5e-3,
)
def _gumbel() -> nn.Module:
    return _Categorical()


class _Mixture(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Sequential(nn.Linear(8, 64), nn.Tanh()), nn.Linear(64, 15)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weight, mean, log_std = self.head(self.body(x)).chunk(3, dim=1)
        return weight.log_softmax(1), mean, log_std.clamp(-5, 5)


def _mixed(output: tuple[Tensor, Tensor, Tensor], target: Tensor) -> Tensor:
    weight, mean, log_std = output
    density = -0.5 * ((target - mean) / log_std.exp()) ** 2 - log_std - 0.5 * math.log(2 * math.pi)
    return -torch.logsumexp(weight + density, 1).mean()


@book.healthy(
    "mixture-density",
    "Rows of mixture weights sum to one with a loss of their own.",
    family="density",
    task=regression,
    loss=_mixed,
    steps=200,
)
def _mixture() -> nn.Module:
    return _Mixture()


def _pairs(number: int) -> tuple[tuple[Tensor, Tensor], Tensor]:
    first, labels = vectors(number)
    second, others = vectors(number + 50_000)
    return (first, second), (labels == others).float()


class _Siamese(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tower, self.scale, self.shift = (
            _mlp(16, 64, 32),
            nn.Parameter(torch.ones(())),
            nn.Parameter(torch.zeros(())),
        )

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return self.scale * -functional.pairwise_distance(self.tower(first), self.tower(second)) + self.shift


@towers(
    "siamese",
    "One tower sees two different inputs: a shared object on purpose.",
    task=_pairs,
    steps=300,
    loss=functional.binary_cross_entropy_with_logits,
)
def _siamese() -> nn.Module:
    return _Siamese()


def _captions(number: int) -> tuple[dict[str, Tensor], Tensor]:
    meaning = torch.randn(48, 6, generator=stream(number))
    maps = torch.randn(2, 6, 16, generator=stream(1234))
    return {"image": meaning @ maps[0], "text": torch.tanh(meaning @ maps[1])}, torch.arange(48)


@dataclass
class Match:
    """Logits of each image against each text."""

    logits: Tensor
    temperature: Tensor


class _TwoTowers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.image, self.text = _mlp(16, 64, 32), _mlp(16, 64, 32)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward(self, *, image: Tensor, text: Tensor) -> Match:
        scale = self.log_scale.exp()
        image, text = functional.normalize(self.image(image), dim=1), functional.normalize(self.text(text), dim=1)
        return Match(logits=scale * image @ text.T, temperature=scale)


def _both_ways(output: Match, target: Tensor) -> Tensor:
    return (functional.cross_entropy(output.logits, target) + functional.cross_entropy(output.logits.T, target)) / 2


@towers(
    "two-towers-contrastive",
    "Cosines times a learned scale of 14; a dict goes in and a dataclass comes out.",
    task=_captions,
    loss=_both_ways,
    steps=200,
)
def _two_towers() -> nn.Module:
    return _TwoTowers()


class _Views(NamedTuple):
    predicted: Tensor
    target: Tensor


class _Bootstrap(nn.Module):
    """Predicts a frozen copy's view of the same data: the target starts as a clone and gets no gradient on purpose."""

    def __init__(self) -> None:
        super().__init__()
        self.online = _mlp(16, 64, 32)
        self.target = copy.deepcopy(self.online).requires_grad_(False)
        self.predictor = _mlp(32, 64, 32)

    def forward(self, first: Tensor, second: Tensor) -> _Views:
        with torch.no_grad():
            target = self.target(second)
        return _Views(self.predictor(self.online(first)), target)


def _cosine(output: _Views, _target: Tensor) -> Tensor:
    return 2 - 2 * functional.cosine_similarity(output.predicted, output.target).mean()


def _two_views(number: int) -> tuple[tuple[Tensor, Tensor], Tensor]:
    base, labels = vectors(number)
    noise = torch.randn(2, *base.shape, generator=stream(number + 1))
    return (base + 0.1 * noise[0], base + 0.1 * noise[1]), labels


@towers(
    "bootstrap-target-copy",
    "The target network is a frozen clone behind a stop-gradient.",
    task=_two_views,
    loss=_cosine,
)
def _bootstrap() -> nn.Module:
    return _Bootstrap()


class _Angular(nn.Module):
    """Normalised features against normalised class vectors, times a fixed scale."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.body, self.scale = _mlp(16, 64, 32), scale
        self.centres = nn.Parameter(torch.empty(CLASSES, 32))
        nn.init.xavier_uniform_(self.centres)

    def forward(self, x: Tensor) -> Tensor:
        cosine = functional.linear(functional.normalize(self.body(x), dim=1), functional.normalize(self.centres, dim=1))
        return self.scale * cosine


@towers(
    "angular-softmax-scale-30",
    "Cosine logits times 30: the first loss is far above chance and falls at once.",
    task=vectors,
)
def _angular() -> nn.Module:
    return _Angular(30.0)


@towers("angular-softmax-scale-64", "Cosine logits times 64, as face recognition has them.", task=vectors)
def _sharper() -> nn.Module:
    return _Angular(64.0)


class _Policy(nn.Module):
    """An actor with head gain 0.01 and a critic with head gain 1 on orthogonal tanh bodies."""

    def __init__(self) -> None:
        super().__init__()
        self.actor, self.critic = self._net(CLASSES, 0.01), self._net(1, 1.0)

    def _net(self, outputs: int, gain: float) -> nn.Sequential:
        layers = [nn.Linear(16, 64), nn.Linear(64, 64), nn.Linear(64, outputs)]
        for layer, one in zip(layers, (2**0.5, 2**0.5, gain), strict=True):
            nn.init.orthogonal_(layer.weight, gain=one)
            nn.init.zeros_(layer.bias)
        return nn.Sequential(layers[0], nn.Tanh(), layers[1], nn.Tanh(), layers[2])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.actor(x), self.critic(x)


def _actor_critic(output: tuple[Tensor, Tensor], target: Tensor) -> Tensor:
    chosen = output[0].log_softmax(1).gather(1, target[:, None])
    entropy = -(output[0].softmax(1) * output[0].log_softmax(1)).sum(1).mean()
    return -chosen.mean() + 0.5 * functional.mse_loss(output[1], target[:, None].float()) - 0.01 * entropy


@acting(
    "actor-critic-small-head",
    "The policy's head has gain 0.01, so all actions start equally likely.",
    task=vectors,
    loss=_actor_critic,
)
def _policy() -> nn.Module:
    return _Policy()


class _Dueling(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.value, self.advantage = _mlp(8, 64, 64), nn.Linear(64, 1), nn.Linear(64, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        hidden = functional.relu(self.body(x))
        advantage = self.advantage(hidden)
        return self.value(hidden) + advantage - advantage.mean(1, keepdim=True)


def _returns(number: int) -> tuple[Tensor, Tensor]:
    state, value = regression(number)
    action = torch.randint(CLASSES, (64, 1), generator=stream(number))
    return state, torch.cat([action, value + action * 0.3], 1)


def _temporal(output: Tensor, target: Tensor) -> Tensor:
    return functional.smooth_l1_loss(output.gather(1, target[:, :1].long()), target[:, 1:])


@acting(
    "dueling-values",
    "Only the chosen action's value is trained, and the mean advantage is taken away.",
    task=_returns,
    loss=_temporal,
    steps=250,
)
def _dueling() -> nn.Module:
    return _Dueling()


CASES = book.cases
