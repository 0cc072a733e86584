"""Copies in parallel, copies in series, and one object under several names."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from initscope.checker.rules.clones_in_series import ClonesInSeries
from initscope.checker.rules.one_object_many_outputs import OneObjectManyOutputs
from initscope.checker.rules.parallel_clones import ParallelClones
from tests.check.rules.judging import alarms, assert_fix_ends, findings

INPUTS = torch.randn(32, 8, generator=torch.Generator().manual_seed(0))
WANTED = torch.randn(32, 4, generator=torch.Generator().manual_seed(1))
TOKENS = torch.randn(8, 5, 8, generator=torch.Generator().manual_seed(2))
Build = Callable[[], nn.Module]


class _Sum(nn.Module):
    """Branches on one input, added, averaged or joined."""

    def __init__(self, branches: list[nn.Module], *, how: str = "sum") -> None:
        super().__init__()
        self.branches, self.how = nn.ModuleList(branches), how

    def forward(self, x: Tensor) -> Tensor:
        made = torch.stack([branch(x) for branch in self.branches])
        return made.transpose(0, 1).flatten(1) if self.how == "join" else made.mean(0)


def _branch(outputs: int = 4) -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, outputs))


def _copies(branch: nn.Module, times: int) -> list[nn.Module]:
    return [copy.deepcopy(branch) for _ in range(times)]


class _Mixed(nn.Module):
    """Copied experts under a gate that starts even."""

    def __init__(self) -> None:
        super().__init__()
        self.experts, self.gate = nn.ModuleList(_copies(_branch(), 3)), nn.Linear(8, 3)
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)

    def forward(self, x: Tensor) -> Tensor:
        share = self.gate(x).softmax(-1)
        return sum(share[:, [number]] * expert(x) for number, expert in enumerate(self.experts))  # type: ignore[return-value]


class _Adapters(nn.Module):
    """Low-rank terms in parallel whose first factors are copies, as bare parameters."""

    def __init__(self) -> None:
        super().__init__()
        down = torch.randn(2, 8)
        self.base = nn.Linear(8, 4)
        self.down = nn.ParameterList(down.clone() for _ in range(3))
        self.up = nn.ParameterList(torch.zeros(4, 2) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + sum(x @ a.T @ b.T for a, b in zip(self.down, self.up, strict=True))


class _Shared(nn.Module):
    """Two heads on one trunk that both register it."""

    def __init__(self) -> None:
        super().__init__()
        trunk = nn.Sequential(nn.Linear(8, 6), nn.Tanh())
        self.policy, self.value = nn.Sequential(trunk, nn.Linear(6, 4)), nn.Sequential(trunk, nn.Linear(6, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.policy(x) + self.value(x)


class _TwoViews(nn.Module):
    """A Siamese network: one encoder for two inputs, registered twice."""

    def __init__(self) -> None:
        super().__init__()
        self.left = self.right = _branch()

    def forward(self, x: Tensor) -> Tensor:
        return self.left(x) - self.right(x.flip(1))


class _Series(nn.Module):
    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers, self.out = nn.ModuleList(layers), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return self.out(x)


class _SelfAttention(nn.Module):
    """Attention whose query and key are one projection, on purpose."""

    def __init__(self) -> None:
        super().__init__()
        self.query = self.key = nn.Linear(8, 8)
        self.value = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return ((self.query(x) @ self.key(x).mT).softmax(-1) @ self.value(x)).mean(1)


class _Dropped(nn.Module):
    """Two passes of one network that differ by dropout, for a consistency loss."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 4), nn.Dropout(0.5))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) + self.net(x)


@pytest.mark.parametrize(
    "build", [lambda: _Sum(_copies(_branch(), 3)), _Mixed, _Adapters], ids=["mean", "gate", "adapters"]
)
def test_copies_in_parallel_with_equal_gradients_are_an_error(build: Build) -> None:
    (found,) = alarms(ParallelClones, build, INPUTS, WANTED, functional.mse_loss)
    assert found.severity == "error" and found.evidence["copies"] == 3


@pytest.mark.parametrize(
    "build",
    [
        lambda: _Sum([_branch() for _ in range(3)]),
        lambda: _Sum(_copies(_branch(1), 4), how="join"),
        lambda: _Series(_copies(nn.Linear(8, 8), 3)),
        lambda: _Sum([_branch()] * 3),
        _TwoViews,
    ],
    ids=["own", "targets-of-their-own", "series", "one-object", "siamese"],
)
def test_branches_that_differ_in_values_or_gradients_are_no_parallel_clones(build: Build) -> None:
    assert alarms(ParallelClones, build, INPUTS, WANTED, functional.mse_loss) == ()


def test_frozen_copies_are_no_clones() -> None:
    def build() -> nn.Module:
        branches = _copies(_branch(), 2)
        branches[1].requires_grad_(requires_grad=False)
        return _Sum(branches)

    assert findings((ParallelClones, ClonesInSeries), build, INPUTS, WANTED, functional.mse_loss) == ()


def test_drawing_the_copies_again_ends_the_finding() -> None:
    assert_fix_ends(ParallelClones, lambda: _Sum(_copies(_branch(), 3)), INPUTS, WANTED, functional.mse_loss)
    assert_fix_ends(ParallelClones, _Adapters, INPUTS, WANTED, functional.mse_loss)


def test_the_message_names_the_modules_that_correspond() -> None:
    (found,) = findings(ParallelClones, lambda: _Sum(_copies(_branch(), 3)), INPUTS, WANTED, functional.mse_loss)
    assert found.where == ("branches.0", "branches.1", "branches.2")
    assert found.message == (
        "branches.0, branches.1, branches.2 start bit for bit equal and after 3 probe steps still agree to "
        "1e-12, gradients "
        "too: 3 copies in parallel act as one"
    )


def test_copies_in_series_are_an_information() -> None:
    (found,) = findings(
        ClonesInSeries, lambda: _Series(_copies(nn.Linear(8, 8), 3)), INPUTS, WANTED, functional.mse_loss
    )
    assert (found.severity, found.where) == ("info", ("layers.0", "layers.1", "layers.2"))


def test_layers_drawn_on_their_own_give_no_information() -> None:
    build = lambda: _Series([nn.Linear(8, 8) for _ in range(3)])  # noqa: E731  # one line reads better here
    assert findings(ClonesInSeries, build, INPUTS, WANTED, functional.mse_loss) == ()


@pytest.mark.parametrize(
    "build", [lambda: _Sum([_branch(1)] * 4, how="join"), lambda: _Sum([_branch()] * 3)], ids=["columns", "mean"]
)
def test_one_object_for_several_branches_is_an_error(build: Build) -> None:
    (found,) = alarms(OneObjectManyOutputs, build, INPUTS, WANTED, functional.mse_loss)
    assert found.severity == "error" and found.where[:2] == ("branches.0", "branches.1")


def test_a_layer_called_in_every_step_of_a_recurrence_is_an_information() -> None:
    class Spiking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Linear(8, 16), nn.Linear(16, 4)

        def forward(self, x: Tensor) -> Tensor:
            membrane = counted = torch.zeros(len(x), 16)
            for _ in range(5):
                membrane = 0.9 * membrane + self.body(x)
                spikes = torch.sigmoid(membrane - 1)
                counted, membrane = counted + spikes, membrane - spikes
            return self.head(counted / 5)

    (found,) = findings(OneObjectManyOutputs, Spiking, INPUTS, WANTED, functional.mse_loss)
    assert (found.severity, found.fix) == ("info", "# compute it once, before the loop")


def test_one_head_called_twice_for_two_answers_is_a_warning() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(8, 2)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return self.head(x), self.head(x)

    def loss(output: tuple[Tensor, Tensor], target: Tensor) -> Tensor:
        return ((output[0] - target[:, :2]) ** 2 / output[1].exp() + output[1]).mean()

    (found,) = alarms(OneObjectManyOutputs, Twice, INPUTS, WANTED, loss)
    assert (found.severity, found.where) == ("warn", ("head",))


@pytest.mark.parametrize(
    ("build", "inputs"),
    [
        (_Shared, INPUTS),
        (_TwoViews, INPUTS),
        (lambda: _Series([nn.Linear(8, 8)] * 3), INPUTS),
        (lambda: _Sum([_branch() for _ in range(3)]), INPUTS),
        (_SelfAttention, TOKENS),
        (_Dropped, INPUTS),
    ],
    ids=["shared-trunk", "siamese", "series", "own", "shared-query-key", "dropout"],
)
def test_modules_shared_on_purpose_are_no_alarm(build: Build, inputs: Tensor) -> None:
    assert alarms(OneObjectManyOutputs, build, inputs, WANTED[: len(inputs)], functional.mse_loss) == ()


def test_a_list_that_repeats_one_module_in_series_is_an_information() -> None:
    (found,) = findings(
        OneObjectManyOutputs, lambda: _Series([nn.Linear(8, 8)] * 3), INPUTS, WANTED, functional.mse_loss
    )
    assert found.severity == "info"
    assert found.message == (
        "layers.0, layers.1, layers.2 are one module registered 3 times: they share all weights, as in a network that "
        "repeats a layer on purpose"
    )
