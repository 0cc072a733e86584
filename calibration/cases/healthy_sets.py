"""Healthy networks on sets, graphs and several tasks, with parts that only training or only some batches use."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from calibration.cases.healthy_tasks import CLASSES, Book, images, stream, vectors

book = Book()
shaped = partial(book.healthy, family="structure", task=vectors)


class _GraphNet(nn.Module):
    """Graph convolutions over a dense normalised adjacency."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(8, 32), nn.Linear(32, 32)])
        self.head = nn.Linear(32, 2)
        for layer in self.layers:
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, adjacency: Tensor, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = functional.relu(adjacency @ layer(x))
        return self.head(x)


def _graphs(number: int) -> tuple[tuple[Tensor, Tensor], Tensor]:
    generator = stream(number)
    labels = torch.randint(2, (8, 24), generator=generator)
    alike = (labels[:, :, None] == labels[:, None, :]).float()
    edges = (torch.rand(8, 24, 24, generator=generator) < 0.1 + 0.4 * alike).float().triu(1)
    edges = edges + edges.transpose(1, 2) + torch.eye(24)
    degree = edges.sum(2) ** -0.5
    features = torch.randn(8, 24, 8, generator=generator) + labels[..., None] * 0.7
    return (edges * degree[:, :, None] * degree[:, None, :], features), labels


@shaped(
    "graph-convolution",
    "Averaging over neighbours makes nodes alike; two layers keep enough difference.",
    task=_graphs,
    loss=lambda output, target: functional.cross_entropy(output.flatten(0, 1), target.flatten()),
    steps=200,
)
def _graph() -> nn.Module:
    return _GraphNet()


class _DeepSet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.each = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64))
        self.all = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.all(functional.relu(self.each(x)).sum(1) / 4)


def _sets(number: int) -> tuple[Tensor, Tensor]:
    generator = stream(number)
    labels = torch.randint(2, (64,), generator=generator)
    spread = torch.where(labels == 1, 1.4, 0.8)[:, None, None]
    return torch.randn(64, 16, 4, generator=generator) * spread, labels


@shaped(
    "deep-set-sum-pooling",
    "A sum over sixteen elements makes the pooled value larger than its parts.",
    task=_sets,
    steps=150,
)
def _deep_set() -> nn.Module:
    return _DeepSet()


class _Tasks(nn.Module):
    """Two heads on one body: a class and a value; dicts in and out."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.kind, self.value = nn.Linear(64, CLASSES), nn.Linear(64, 1)

    def forward(self, *, features: Tensor) -> dict[str, Tensor]:
        hidden = self.body(features)
        return {"kind": self.kind(hidden), "value": self.value(hidden)}


def _two_tasks(number: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    inputs, labels = vectors(number)
    return {"features": inputs}, {"kind": labels, "value": inputs[:, :1] - inputs[:, 1:2]}


def _both(output: Any, target: Any) -> Tensor:
    return functional.cross_entropy(output["kind"], target["kind"]) + functional.mse_loss(
        output["value"], target["value"]
    )


@shaped(
    "two-tasks-dict",
    "Two heads and two losses in dicts: a classification and a regression.",
    task=_two_tasks,
    loss=_both,
)
def _multi() -> nn.Module:
    return _Tasks()


class _Auxiliary(nn.Module):
    """A deep branch with an auxiliary head that only training computes."""

    def __init__(self) -> None:
        super().__init__()
        self.early = nn.Sequential(nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.ReLU())
        self.late = nn.Sequential(nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU())
        self.helper, self.head = nn.Linear(16, CLASSES), nn.Linear(32, CLASSES)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        early = self.early(x)
        logits = self.head(self.late(early).mean((2, 3)))
        return (logits, self.helper(early.mean((2, 3)))) if self.training else (logits,)


def _with_helper(output: tuple[Tensor, ...], target: Tensor) -> Tensor:
    return sum(functional.cross_entropy(one, target) * weight for one, weight in zip(output, (1.0, 0.4), strict=False))


@shaped("auxiliary-head", "A second classifier half-way, in training alone.", task=images, loss=_with_helper)
def _auxiliary() -> nn.Module:
    return _Auxiliary()


class _Ensemble(nn.Module):
    """Five members drawn one by one, averaged: equal in shape, in nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.members = nn.ModuleList(
            [nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, CLASSES)) for _ in range(5)]
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([member(x) for member in self.members]).mean(0)


@shaped("ensemble-of-five", "Members of one shape in parallel, each with a draw of its own.")
def _ensemble() -> nn.Module:
    return _Ensemble()


class _Batched(nn.Module):
    """The same ensemble as one batched product over a stacked weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.randn(5, 16, 32) * (2 / 16) ** 0.5)
        self.second = nn.Parameter(torch.randn(5, 32, CLASSES) * 32**-0.5)
        self.shift = nn.Parameter(torch.zeros(5, 1, 32))

    def forward(self, x: Tensor) -> Tensor:
        return (functional.relu(torch.baddbmm(self.shift, x.expand(5, -1, -1), self.first)) @ self.second).mean(0)


@shaped("ensemble-batched", "Weights are stacked in one tensor and used as x W: no layer of torch's owns them.")
def _batched() -> nn.Module:
    return _Batched()


class _Prototypes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 8))
        self.centres, self.log_width = nn.Parameter(torch.randn(CLASSES, 8)), nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return -(torch.cdist(self.body(x), self.centres) ** 2) * self.log_width.exp()


@shaped(
    "prototype-distances",
    "Logits are squared distances to drawn centres: never zero in the mean, and balanced enough.",
    steps=200,
)
def _prototypes() -> nn.Module:
    return _Prototypes()


class _Kernels(nn.Module):
    """Radial basis functions of one common width around drawn centres."""

    def __init__(self) -> None:
        super().__init__()
        self.centres, self.width = nn.Parameter(torch.randn(96, 16)), nn.Parameter(torch.full((96,), 1 / 16.0))
        self.head = nn.Linear(96, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.exp(-(torch.cdist(x, self.centres) ** 2) * self.width))


@shaped(
    "radial-basis",
    "Outputs of the kernels are small and positive; their widths start equal.",
    steps=300,
    learning_rate=1e-2,
)
def _kernels() -> nn.Module:
    return _Kernels()


class _TableNet(nn.Module):
    """Categories by small embeddings, numbers by BatchNorm, as tables are fed."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = nn.ModuleList([nn.Embedding(size, 4) for size in (5, 12, 400)])
        self.norm = nn.BatchNorm1d(3)
        self.body = nn.Sequential(nn.Linear(15, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 1))

    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        columns = [table(categories[:, index]) for index, table in enumerate(self.tables)]
        return self.body(torch.cat([*columns, self.norm(numbers)], 1))


def _table(number: int) -> tuple[tuple[Tensor, Tensor], Tensor]:
    generator = stream(number)
    columns = [torch.randint(size, (64,), generator=generator) for size in (5, 12, 400)]
    numbers = torch.randn(64, 3, generator=generator) * torch.tensor([1.0, 50.0, 2000.0]) + 300
    target = (columns[0] % 2 * 2.0 - 1 + (numbers[:, 1] - 300) / 50 > 0).float()
    return (torch.stack(columns, 1), numbers), target[:, None]


@shaped(
    "categories-and-numbers",
    "Ids and raw numbers side by side, the numbers through BatchNorm.",
    task=_table,
    loss=functional.binary_cross_entropy_with_logits,
    steps=150,
)
def _tabular() -> nn.Module:
    return _TableNet()


class _HyperNet(nn.Module):
    """A small network makes the weights of a large layer from a learned code."""

    def __init__(self) -> None:
        super().__init__()
        self.code = nn.Parameter(torch.randn(8))
        self.maker = nn.Linear(8, 16 * 32)
        nn.init.normal_(self.maker.weight, std=(8 * 16) ** -0.5)
        nn.init.zeros_(self.maker.bias)
        self.head = nn.Linear(32, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.maker(self.code).view(32, 16)
        return self.head(functional.relu(functional.linear(x, weight)))


@shaped("hypernetwork", "Weights are computed, so the parameter behind them is a fan-in of eight with another's scale.")
def _hyper() -> nn.Module:
    return _HyperNet()


class _Gates(nn.Module):
    """A gated unit (values times a SiLU of gates) between RMS norms, drawn at 0.02."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(16, 32)
        self.norms = nn.ModuleList([nn.RMSNorm(32) for _ in range(3)])
        self.gates = nn.ModuleList([nn.Linear(32, 128, bias=False) for _ in range(3)])
        self.leaves = nn.ModuleList([nn.Linear(64, 32, bias=False) for _ in range(3)])
        self.final, self.head = nn.RMSNorm(32), nn.Linear(32, CLASSES, bias=False)
        for layer in (*self.gates, *self.leaves, self.head):
            nn.init.normal_(layer.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        for norm, gate, leave in zip(self.norms, self.gates, self.leaves, strict=True):
            value, open_ = gate(norm(x)).chunk(2, dim=-1)
            x = x + leave(value * functional.silu(open_))
        return self.head(self.final(x))


@shaped("gated-units-0.02", "A product of two small numbers makes branches tiny at first, beside a skip that is not.")
def _gated() -> nn.Module:
    return _Gates()


CASES = book.cases
