"""Healthy networks with losses and gradients of their own: counts, variances, derivatives, sparse gradients."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from calibration.cases.healthy_tasks import CLASSES, VOCABULARY, Book, of_tokens, regression, stream, tokens, vectors

book = Book()
plain = partial(book.healthy, family="mlp", task=vectors)


class _SkipGram(nn.Module):
    """Word vectors of uniform +-0.5 / d, context vectors zero."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.contexts = nn.Embedding(VOCABULARY, 24), nn.Embedding(VOCABULARY, 24)
        nn.init.uniform_(self.words.weight, -0.5 / 24, 0.5 / 24)
        nn.init.zeros_(self.contexts.weight)

    def forward(self, ids: Tensor) -> Tensor:
        return self.words(ids) @ self.contexts.weight.T


@book.healthy(
    "skip-gram-zero-contexts",
    "One of two factors is zero: word vectors move once context vectors have.",
    family="embedding",
    task=tokens,
    loss=of_tokens,
    learning_rate=2e-2,
    steps=200,
)
def _skip_gram() -> nn.Module:
    return _SkipGram()


class _Factors(nn.Module):
    """Ratings as products of small vectors plus biases of zero and a mean."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = nn.ModuleList([nn.Embedding(30, 8, sparse=True), nn.Embedding(40, 8, sparse=True)])
        self.shifts = nn.ModuleList([nn.Embedding(30, 1), nn.Embedding(40, 1)])
        self.mean = nn.Parameter(torch.zeros(1))
        for table, shift in zip(self.tables, self.shifts, strict=True):
            nn.init.normal_(table.weight, std=0.1)
            nn.init.zeros_(shift.weight)

    def forward(self, users: Tensor, things: Tensor) -> Tensor:
        left, right = (table(ids) for table, ids in zip(self.tables, (users, things), strict=True))
        shifts = [shift(ids)[:, 0] for shift, ids in zip(self.shifts, (users, things), strict=True)]
        return (left * right).sum(1) + shifts[0] + shifts[1] + self.mean


def _ratings(number: int) -> tuple[tuple[Tensor, Tensor], Tensor]:
    generator, fixed = stream(number), stream(1234)
    users, things = torch.randint(30, (256,), generator=generator), torch.randint(40, (256,), generator=generator)
    taste, level = (
        torch.randn(30, 2, generator=fixed) @ torch.randn(2, 40, generator=fixed),
        torch.randn(30, generator=fixed),
    )
    return (users, things), 3 + 0.3 * taste[users, things] + level[users]


@book.healthy(
    "matrix-factors-sparse-gradients",
    "Small factors, biases of zero, sparse gradients, ratings around three.",
    family="embedding",
    task=_ratings,
    loss=functional.mse_loss,
    optimizer="sgd",
    learning_rate=0.5,
    steps=300,
)
def _factors() -> nn.Module:
    return _Factors()


class _Wave(nn.Module):
    """Gated dilated convolutions with a sum of skips and causal padding."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, width)
        self.gates = nn.ModuleList([nn.Conv1d(width, 2 * width, 2, dilation=2**step) for step in range(4)])
        self.skips = nn.ModuleList([nn.Conv1d(width, 2 * width, 1) for _ in range(4)])
        self.head = nn.Conv1d(width, VOCABULARY, 1)

    def forward(self, ids: Tensor) -> Tensor:
        x, total = self.embedding(ids).transpose(1, 2), 0.0
        for step, (gate, skip) in enumerate(zip(self.gates, self.skips, strict=True)):
            value, open_ = gate(functional.pad(x, (2**step, 0))).chunk(2, dim=1)
            kept, out = skip(torch.tanh(value) * torch.sigmoid(open_)).chunk(2, dim=1)
            x, total = x + kept, total + out
        return self.head(functional.relu(total)).transpose(1, 2)


@book.healthy(
    "gated-dilated-convolutions",
    "The last block's way back into the stream is not read by anyone, as published.",
    family="cnn",
    task=tokens,
    loss=of_tokens,
    learning_rate=5e-3,
    steps=150,
)
def _wave() -> nn.Module:
    return _Wave()


class _Physics(nn.Module):
    """Returns a field and its slope by a derivative taken inside the forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.field = nn.Sequential(nn.Linear(1, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            value = self.field(x)
            slope = torch.autograd.grad(value.sum(), x, create_graph=True)[0]
        return value, slope


def _decay(number: int) -> tuple[Tensor, Tensor]:
    time = torch.rand(64, 1, generator=stream(number))
    return time, torch.exp(-2 * time)


def _residual_of_decay(output: tuple[Tensor, Tensor], target: Tensor) -> Tensor:
    value, slope = output
    return functional.mse_loss(slope, -2 * value) + functional.mse_loss(value, target)


@book.healthy(
    "physics-informed",
    "A derivative is taken inside the forward pass: the loss's gradient is a second one.",
    family="siren",
    task=_decay,
    loss=_residual_of_decay,
    steps=200,
)
def _physics() -> nn.Module:
    return _Physics()


class _Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 64), nn.Softplus(), nn.Linear(64, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


def _counts(number: int) -> tuple[Tensor, Tensor]:
    inputs, score = regression(number)
    return inputs, torch.poisson(torch.exp(2 * score), generator=stream(number))


@plain(
    "poisson-log-link",
    "The output is a log rate that the loss exponentiates; it starts near zero.",
    task=_counts,
    loss=functional.poisson_nll_loss,
    steps=200,
)
def _counting() -> nn.Module:
    return _Counting()


class _Spread(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.mean = nn.Sequential(nn.Linear(8, 64), nn.Tanh()), nn.Linear(64, 1)
        self.spread = nn.Linear(64, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.body(x)
        return self.mean(hidden), functional.softplus(self.spread(hidden)) + 1e-3


@plain(
    "heteroscedastic-softplus",
    "Mean and variance by two heads, the variance through a softplus.",
    task=regression,
    loss=lambda output, target: functional.gaussian_nll_loss(output[0], target, output[1]),
    steps=200,
)
def _heteroscedastic() -> nn.Module:
    return _Spread()


class _Reversal(torch.autograd.Function):
    """The identity whose gradient has the other sign."""

    @staticmethod
    def forward(_context: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        """Returns a view of x."""
        return x.view_as(x)

    @staticmethod
    def backward(_context: torch.autograd.function.FunctionCtx, slope: Tensor) -> Tensor:
        """Returns the gradient turned round, a tenth of it."""
        return -0.1 * slope


class _Adversary(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.kind, self.domain = nn.Linear(16, 64), nn.Linear(64, CLASSES), nn.Linear(64, CLASSES)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = functional.relu(self.body(x))
        return self.kind(hidden), self.domain(_Reversal.apply(hidden))


@plain(
    "gradient-reversal",
    "A second head trains the body against itself through a function with a backward of its own.",
    loss=lambda output, target: (
        functional.cross_entropy(output[0], target) + 0.1 * functional.cross_entropy(output[1], (target + 1) % CLASSES)
    ),
)
def _adversary() -> nn.Module:
    return _Adversary()


CASES = book.cases
