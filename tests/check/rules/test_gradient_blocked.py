"""Gradients that stay exactly zero, and zeros that do not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from initscope.checker.rules.gradient_blocked import GradientBlocked
from initscope.checker.rules.healthy_zero import HealthyZero
from tests.check.rules.judging import alarms, assert_fix_ends, findings

INPUTS = torch.randn(32, 8, generator=torch.Generator().manual_seed(0))
WANTED = torch.randn(32, 4, generator=torch.Generator().manual_seed(1))
TOKENS = torch.randn(16, 5, 8, generator=torch.Generator().manual_seed(2))
Build = Callable[[], nn.Module]


def _zero(module: nn.Module) -> nn.Module:
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


class _LowRank(nn.Module):
    """A frozen layer with a low-rank term, applied to data or merged into the weight first."""

    def __init__(self, *, both: bool, merged: bool = False) -> None:
        super().__init__()
        self.base, self.merged = nn.Linear(8, 4).requires_grad_(requires_grad=False), merged
        self.down, self.up = nn.Parameter(torch.randn(2, 8)), nn.Parameter(torch.zeros(4, 2))
        if both:
            nn.init.zeros_(self.down)

    def forward(self, x: Tensor) -> Tensor:
        if self.merged:
            return functional.linear(x, self.base.weight + self.up @ self.down)
        return self.base(x) + x @ self.down.T @ self.up.T


class _Gated(nn.Module):
    """A branch under a gate of zero."""

    def __init__(self, *, zero_branch: bool, bend: Callable[[Tensor], Tensor] = lambda gate: gate) -> None:
        super().__init__()
        self.gate, self.branch, self.bend = nn.Parameter(torch.zeros(1)), nn.Linear(8, 8), bend
        self.out = nn.Linear(8, 4)
        if zero_branch:
            _zero(self.branch)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(x + self.bend(self.gate) * torch.tanh(self.branch(x)))


class _Buffered(nn.Module):
    """A gate of zero that nobody made a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.branch, self.out = nn.Linear(8, 8), nn.Linear(8, 4)
        self.register_buffer("gate", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.out(x + self.gate * self.branch(x))


def _two_last_zero() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 12), nn.Tanh(), _zero(nn.Linear(12, 12)), nn.Tanh(), _zero(nn.Linear(12, 4)))


def _zero_under_relu() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 12), nn.Tanh(), _zero(nn.Linear(12, 12)), nn.ReLU(), nn.Linear(12, 4))


class _Both(nn.Module):
    """Both directions of a recurrent net, of which only the last position is read."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.out = nn.GRU(8, 6, bidirectional=True, batch_first=True), nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.net(x)[0][:, -1])


class _Chosen(nn.Module):
    """Experts of which each sample takes one."""

    def __init__(self) -> None:
        super().__init__()
        self.router, self.experts = nn.Linear(8, 12), nn.ModuleList(nn.Linear(8, 4) for _ in range(12))

    def forward(self, x: Tensor) -> Tensor:
        weight, index = self.router(x).softmax(-1).max(-1)
        out = x.new_zeros(len(x), 4)
        for number, expert in enumerate(self.experts):
            rows = (index == number).nonzero()[:, 0]
            out = out.index_add(0, rows, expert(x[rows]) * weight[rows, None])
        return out


class _Attended(nn.Module):
    """Attention over a single key: queries and keys change nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.out = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.mix(x[:, :1], x[:, :1], x[:, :1])[0][:, 0])


class _Conditioned(nn.Module):
    """A second input that is zero in this batch."""

    def __init__(self) -> None:
        super().__init__()
        self.main, self.side = nn.Linear(8, 4), nn.Linear(8, 4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.main(x) + self.side(torch.zeros_like(x))


@pytest.mark.parametrize(
    ("build", "guilty"),
    [
        (lambda: _LowRank(both=True), {"down", "up"}),
        (lambda: _LowRank(both=True, merged=True), {"down", "up"}),
        (lambda: _Gated(zero_branch=True), {"gate", "branch.weight"}),
        (lambda: _Gated(zero_branch=False, bend=torch.relu), {"gate"}),
        (lambda: _Gated(zero_branch=False, bend=torch.square), {"gate"}),
        (_two_last_zero, {"2.weight", "4.weight"}),
        (_zero_under_relu, {"2.weight"}),
    ],
    ids=["low-rank", "merged", "gate-and-branch", "gate-under-relu", "gate-squared", "two-last", "zero-under-relu"],
)
def test_a_product_of_zeros_is_an_error_that_names_both(build: Build, guilty: set[str]) -> None:
    (found,) = alarms(GradientBlocked, build, INPUTS, WANTED, functional.mse_loss)
    assert found.severity == "error" and guilty <= set(found.where)


def test_a_zero_that_is_no_parameter_is_a_warning() -> None:
    (found,) = alarms(GradientBlocked, _Buffered, INPUTS, WANTED, functional.mse_loss)
    assert (found.severity, set(found.where)) == ("warn", {"branch.weight", "branch.bias"})


@pytest.mark.parametrize(
    ("build", "inputs"),
    [
        (lambda: _LowRank(both=False), INPUTS),
        (lambda: _LowRank(both=False, merged=True), INPUTS),
        (lambda: _Gated(zero_branch=False), INPUTS),
        (lambda: nn.Sequential(nn.Linear(8, 8), nn.ReLU(), _zero(nn.Linear(8, 4))), INPUTS),
        (lambda: nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4)), INPUTS),
        (_Both, TOKENS),
        (_Chosen, INPUTS[:4]),
        (_Attended, TOKENS),
        (_Conditioned, INPUTS),
    ],
    ids=[
        "lora",
        "merged",
        "rezero",
        "zero-head",
        "bias-before-norm",
        "reverse-step",
        "experts",
        "one-key",
        "zero-input",
    ],
)
def test_zeros_that_leave_or_that_the_batch_makes_are_silent(build: Build, inputs: Tensor) -> None:
    assert alarms(GradientBlocked, build, inputs, WANTED[: len(inputs)], functional.mse_loss) == ()


def test_drawing_one_factor_at_random_ends_the_finding() -> None:
    for build in (lambda: _LowRank(both=True), lambda: _Gated(zero_branch=True), _two_last_zero, _zero_under_relu):
        assert_fix_ends(GradientBlocked, build, INPUTS, WANTED, functional.mse_loss)
    assert_fix_ends(
        GradientBlocked, lambda: _Gated(zero_branch=False, bend=torch.relu), INPUTS, WANTED, functional.mse_loss
    )


def test_a_loss_that_is_flat_for_everything_is_an_error() -> None:
    (found,) = alarms(
        GradientBlocked, lambda: nn.Linear(8, 4), INPUTS, WANTED, lambda output, _: functional.relu(output - 100).sum()
    )
    assert found.message == (
        "the gradient of the loss is exactly zero for all 2 parameters, at the start and after the probe "
        "steps: the loss is "
        "flat here, so nothing can train"
    )


def test_the_message_names_the_product_and_what_lies_behind() -> None:
    (found,) = findings(GradientBlocked, lambda: _Gated(zero_branch=True), INPUTS, WANTED, functional.mse_loss)
    assert found.message == (
        "gate, branch.weight, branch.bias are zero and multiplied with each other: the gradient of each is "
        "exactly zero at the "
        "start and after 3 probe steps, so none of them ever moves"
    )


def test_healthy_zeros_are_told_in_one_line() -> None:
    build = lambda: nn.Sequential(nn.Linear(8, 8), nn.ReLU(), _zero(nn.Linear(8, 4)))  # noqa: E731  # one line
    (found,) = findings(HealthyZero, build, INPUTS, WANTED, functional.mse_loss)
    assert (found.severity, found.where) == ("info", ("2.weight",))
    assert found.message == (
        "2 parameters have an exactly zero gradient at the start behind zeros that move first (2.weight); "
        "all leave zero by "
        "probe step 1, so these zeros are sound"
    )


def test_a_start_without_zeros_gives_no_line() -> None:
    assert findings(HealthyZero, lambda: nn.Linear(8, 4), INPUTS, WANTED, functional.mse_loss) == ()
