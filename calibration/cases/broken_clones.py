"""Broken starts in which modules are copies of each other, or one object stands for several, and their twins."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from calibration import tasks
from calibration.case import Case, Training
from calibration.pair import pair

_CURVED = tasks.teacher(21, batch=64, features=6, outputs=4, width=12, bend=3.0)
_WIDE = tasks.teacher(22, batch=64, features=16, outputs=16, width=16, bend=2.0)
_PICTURES = tasks.images(23, batch=32, channels=2, size=12, classes=12, noise=1.0)
_TEXT = tasks.markov(24, batch=16, length=16, vocabulary=10)


def _forked(step: int) -> tuple[Tensor, Tensor]:
    """Targets are y or -y with equal odds: the mean tells nothing, a mixture of two tells all."""
    inputs, targets = _CURVED(step)
    sign = torch.randint(0, 2, (len(inputs), 1), generator=tasks.generator(25, step)) * 2.0 - 1.0
    return inputs, sign * (1.5 + 0.3 * targets[:, :1])


def _uneven(step: int) -> tuple[Tensor, Tensor]:
    """Noise that depends on the input: a network has to tell it."""
    inputs, targets = _CURVED(step)
    grain = torch.randn(len(inputs), 1, generator=tasks.generator(26, step))
    return inputs, targets[:, :1] + torch.exp(1.5 * inputs[:, :1]) * 0.1 * grain


def _next_three(step: int) -> tuple[Tensor, Tensor]:
    tokens, following = _TEXT(step)
    return tokens[:, :-3], torch.stack([following[:, start : start - 3] for start in range(3)], -1)


def _expert(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


class _Mixture(nn.Module):
    """Experts under a soft gate that starts even."""

    def __init__(self, experts: list[nn.Module]) -> None:
        super().__init__()
        self.experts = nn.ModuleList(experts)
        self.gate = nn.Linear(6, len(experts))
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)

    def forward(self, x: Tensor) -> Tensor:
        share = self.gate(x).softmax(-1)
        return torch.einsum("be,bed->bd", share, torch.stack([expert(x) for expert in self.experts], 1))


def _experts(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    first = _expert(6, 3, 4)
    experts = [copy.deepcopy(first) if broken else _expert(6, 3, 4) for _ in range(8)]
    return _Mixture(experts), *_CURVED(0), nn.MSELoss()


class _Member(nn.Module):
    """An ensemble's member that draws under a seed of its own."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.body = nn.Sequential(nn.Linear(6, 3), nn.Tanh(), nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class _Ensemble(nn.Module):
    """The mean of its members."""

    def __init__(self, seeds: list[int]) -> None:
        super().__init__()
        self.members = nn.ModuleList(_Member(seed) for seed in seeds)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([member(x) for member in self.members]).mean(0)


def _seeded_members(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    start = int(torch.randint(0, 10_000, ()))
    return _Ensemble([42] * 10 if broken else list(range(start, start + 10))), *_CURVED(0), functional.mse_loss


class _Density(nn.Module):
    """A mixture density network: each component has a head for mean and log width."""

    def __init__(self, *, cloned: bool) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(6, 48), nn.SiLU(), nn.Linear(48, 48), nn.SiLU())
        head = self._head()
        self.components = nn.ModuleList(copy.deepcopy(head) if cloned else self._head() for _ in range(2))

    def _head(self) -> nn.Linear:
        head = nn.Linear(48, 2)
        nn.init.normal_(head.weight, std=0.4)
        return head

    def forward(self, x: Tensor) -> Tensor:
        h = self.trunk(x)
        return torch.stack([component(h) for component in self.components], 1)


def _mixture_loss(output: Tensor, target: Tensor) -> Tensor:
    mean, width = output[..., 0], output[..., 1].clamp(-4, 3)
    log = -0.5 * ((target - mean) / width.exp()) ** 2 - width - 0.5 * math.log(2 * math.pi)
    return -(log.logsumexp(1) - math.log(output.shape[1])).mean()


def _density(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    return _Density(cloned=broken), *_forked(0), _mixture_loss


class _Branches(nn.Module):
    """Parallel convolutions whose maps are added."""

    def __init__(self, *, cloned: bool) -> None:
        super().__init__()
        one = self._branch()
        self.branches = nn.ModuleList([one, *(copy.deepcopy(one) if cloned else self._branch() for _ in range(7))])
        self.head = nn.Linear(4 * 4, 12)

    def _branch(self) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(2, 1, 3, padding=1, stride=2), nn.ReLU(), nn.Conv2d(1, 4, 3, padding=1))

    def forward(self, image: Tensor) -> Tensor:
        maps = functional.relu(sum(branch(image) for branch in self.branches))
        return self.head(functional.adaptive_avg_pool2d(maps, 2).flatten(1))


def _branches(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    return _Branches(cloned=broken), *_PICTURES(0), nn.CrossEntropyLoss()


class _Adapters(nn.Module):
    """A frozen linear layer with several low-rank adapters that are added."""

    def __init__(self, *, cloned: bool) -> None:
        super().__init__()
        self.base = nn.Linear(16, 16)
        self.base.requires_grad_(False)
        down = torch.randn(1, 16) / 4
        self.down = nn.ParameterList(down.clone() if cloned else torch.randn(1, 16) / 4 for _ in range(8))
        self.up = nn.ParameterList(torch.zeros(16, 1) for _ in range(8))

    def forward(self, x: Tensor) -> Tensor:
        y = self.base(x)
        for down, up in zip(self.down, self.up, strict=True):
            y = y + x @ down.T @ up.T
        return y


def _adapters(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    return _Adapters(cloned=broken), *_WIDE(0), nn.MSELoss()


class _Columns(nn.Module):
    """One small head per output."""

    def __init__(self, *, listed: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 64), nn.ReLU())
        self.heads = nn.ModuleList([_expert(64, 8, 1)] * 4 if listed else [_expert(64, 8, 1) for _ in range(4)])

    def forward(self, x: Tensor) -> Tensor:
        h = self.body(x)
        return torch.cat([head(h) for head in self.heads], 1)


def _columns(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    return _Columns(listed=broken), *_CURVED(0), functional.smooth_l1_loss


class _Guess(nn.Module):
    """A residual block and a readout that tells one of the following tokens."""

    def __init__(self, width: int, vocabulary: int) -> None:
        super().__init__()
        self.mix = nn.Linear(width, width)
        self.out = nn.Linear(width, vocabulary, bias=False)

    def forward(self, h: Tensor) -> Tensor:
        return self.out(h + functional.silu(self.mix(h)))


class _ThreeAhead(nn.Module):
    """A GRU with a head for each of the next three tokens, told as a dict."""

    def __init__(self, *, listed: bool) -> None:
        super().__init__()
        self.table = nn.Embedding(10, 24)
        self.memory = nn.GRU(24, 40, batch_first=True)
        heads = [_Guess(40, 10)] * 3 if listed else [_Guess(40, 10) for _ in range(3)]
        self.heads = nn.ModuleList(heads)

    def forward(self, ids: Tensor) -> dict[str, Tensor]:
        states, _ = self.memory(self.table(ids))
        return {"logits": torch.stack([head(states) for head in self.heads], 2)}


def _ahead_loss(output: dict[str, Tensor], target: Tensor) -> Tensor:
    return functional.cross_entropy(output["logits"].flatten(0, 2), target.flatten())


def _three_ahead(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    inputs, targets = _next_three(0)
    return _ThreeAhead(listed=broken), {"ids": inputs}, targets, _ahead_loss


def _three_ahead_batches(step: int) -> tuple[Any, Any]:
    inputs, targets = _next_three(step)
    return {"ids": inputs}, targets


class _MeanAndWidth(nn.Module):
    """A regression that tells mean and log variance, one head each."""

    def __init__(self, *, listed: bool) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(6, 32), nn.ELU(), nn.Linear(32, 32), nn.ELU())
        self.heads = nn.ModuleList([nn.Linear(32, 1)] * 2 if listed else [nn.Linear(32, 1), nn.Linear(32, 1)])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.trunk(x)
        mean, log_var = (head(h) for head in self.heads)
        return mean, log_var


def _gaussian_loss(output: tuple[Tensor, Tensor], target: Tensor) -> Tensor:
    mean, log_var = output
    return functional.gaussian_nll_loss(mean, target, functional.softplus(log_var) + 1e-2)


def _mean_and_width(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    return _MeanAndWidth(listed=broken), *_uneven(0), _gaussian_loss


def _listed_experts(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    experts: list[nn.Module] = [_expert(6, 3, 4)] * 8 if broken else [_expert(6, 3, 4) for _ in range(8)]
    return _Mixture(experts), *_CURVED(0), nn.L1Loss()


CASES: tuple[Case, ...] = (
    *pair(
        "experts-copied-under-even-gate",
        _experts,
        family="moe",
        rules=("parallel-clones", "gradient-blocked"),
        why="Eight deep copies of one expert under a gate that starts even: equal gradients, and none for the gate.",
        training=Training(batches=_CURVED, learning_rate=1e-2, steps=300),
    ),
    *pair(
        "ensemble-seeded-in-constructor",
        _seeded_members,
        family="mlp",
        rules=("parallel-clones", "seed-inside"),
        why="Every member of a jointly trained ensemble seeds itself with 42, so all are one (report 4).",
        training=Training(batches=_CURVED, learning_rate=1e-2, steps=300),
    ),
    *pair(
        "mixture-density-cloned-heads",
        _density,
        family="mlp",
        rules=("parallel-clones",),
        why="Both components of a mixture density head are copies on one input: the mixture stays a single bell.",
        training=Training(batches=_forked, learning_rate=1e-2, steps=300),
    ),
    *pair(
        "conv-branches-deepcopied",
        _branches,
        family="cnn",
        rules=("parallel-clones",),
        why="Eight parallel branches are deep copies and their maps are added: one branch, eight times as loud.",
        training=Training(batches=_PICTURES, learning_rate=5e-3, steps=150),
    ),
    *pair(
        "adapters-parallel-copied",
        _adapters,
        family="lora",
        rules=("parallel-clones",),
        why="Eight added rank-1 adapters share their first factor's values: together they stay of rank one (report 2).",
        training=Training(batches=_WIDE, learning_rate=1e-2, steps=200),
    ),
    *pair(
        "heads-by-list-multiplication",
        _columns,
        family="mlp",
        rules=("one-object-many-outputs",),
        why="[head] * 4: all four outputs are one column (report 6).",
        training=Training(batches=_CURVED, learning_rate=1e-2, steps=200),
    ),
    *pair(
        "three-ahead-one-head",
        _three_ahead,
        family="rnn",
        rules=("one-object-many-outputs",),
        why="Three heads for three future tokens are [Guess()] * 3, one object (report 5).",
        training=Training(batches=_three_ahead_batches, learning_rate=1e-2, steps=120),
    ),
    *pair(
        "mean-and-width-one-head",
        _mean_and_width,
        family="mlp",
        rules=("one-object-many-outputs",),
        why="Mean and log variance come from one linear layer listed twice (report 7).",
        training=Training(batches=_uneven, learning_rate=1e-2, steps=200),
    ),
    *pair(
        "experts-by-list-multiplication",
        _listed_experts,
        family="moe",
        rules=("one-object-many-outputs", "gradient-blocked"),
        why="[expert] * 8 under a soft gate: the mixture is one small net and the gate has nothing to choose.",
        training=Training(batches=_CURVED, learning_rate=1e-2, steps=300),
    ),
)
"""Clones in parallel, one object for several outputs."""
