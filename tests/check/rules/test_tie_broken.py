"""INI704 tie-broken."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from initscope.checker.rules.tie_broken import TieBroken
from tests.check.rules.built import alarms, findings, mended


class _Language(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.mix = nn.Embedding(20, 12), nn.Linear(12, 12)
        self.score = nn.Linear(12, 20, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        return self.score(self.mix(self.table(ids)))


def _tied() -> _Language:
    net = _Language()
    net.score.weight = net.table.weight
    return net


def _copied() -> nn.Module:
    net = _Language()
    net.score.weight = nn.Parameter(net.table.weight.detach().clone())
    return net


def _replaced() -> nn.Module:
    net = _tied()
    net.table.weight = nn.Parameter(0.02 * torch.randn(20, 12))
    return net


def _head_replaced() -> nn.Module:
    net = _Language()
    net.table.weight = net.score.weight
    net.score.weight = nn.Parameter(0.02 * torch.randn(20, 12))
    return net


def _data() -> nn.Module:
    net = _Language()
    net.score.weight.data = net.table.weight.data
    return net.double()


class _Functional(nn.Module):
    """x @ W with a table of its own, transposed."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(20, 12))
        self.back = nn.Parameter(self.table.detach().t().clone())

    def forward(self, ids: Tensor) -> Tensor:
        return functional.embedding(ids, self.table).tanh() @ self.back


def _with(build: Callable[[], nn.Module]) -> Callable[[], Any]:
    return lambda: (build(), torch.arange(12).reshape(3, 4))


@pytest.mark.parametrize("build", [_copied, _replaced, _head_replaced, _data, _Functional])
def test_two_matrices_that_were_one_are_a_warning(build: Callable[[], nn.Module]) -> None:
    assert [one.severity for one in findings(TieBroken, _with(build))] == ["warn"]


def test_the_message_names_both_and_the_fix_ties_them() -> None:
    (one,) = alarms(TieBroken, _with(_copied))
    assert one.message == (
        "table.weight and score.weight hold bit for bit the same [20, 12] draws in two memories: they were tied and "
        "are trained apart"
    )
    assert alarms(TieBroken, mended(_with(_copied), one.fix)) == ()


class _Auto(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.decode = nn.Linear(width, 12)
        self.encode = nn.Linear(12, width)
        self.decode.weight.data.copy_(self.encode.weight.t())

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x).relu())


@pytest.mark.parametrize(("width", "severity"), [(6, "warn"), (48, "info")])
def test_a_transposed_copy_is_a_warning_where_the_code_is_narrow_only(width: int, severity: str) -> None:
    assert [one.severity for one in findings(TieBroken, lambda: (_Auto(width), torch.randn(5, 12)))] == [severity]


class _Momentum(nn.Module):
    """A tied student beside its frozen, tied teacher."""

    def __init__(self) -> None:
        super().__init__()
        self.student = _tied()
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)

    def forward(self, ids: Tensor) -> Tensor:
        return self.student(ids) - self.teacher(ids)


def _clones() -> nn.Module:
    layer = nn.Linear(12, 12)
    return nn.Sequential(nn.Embedding(20, 12), layer, nn.Tanh(), copy.deepcopy(layer))


@pytest.mark.parametrize("build", [_Language, _tied, _Momentum, _clones, lambda: _tied().double()])
def test_tied_untied_and_cloned_networks_are_sound(build: Callable[[], nn.Module]) -> None:
    assert findings(TieBroken, _with(build)) == ()
