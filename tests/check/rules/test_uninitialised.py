"""INI601 uninitialised."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from initscope.checker.rules.uninitialised import Uninitialised
from tests.check.rules.built import alarms, findings, mended


class _Product(nn.Module):
    def __init__(self, weight: Tensor, *, read: bool = True) -> None:
        super().__init__()
        self.kernel = nn.Parameter(weight)
        self.offset = nn.Parameter(torch.zeros(6))
        self.read = read

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x @ self.kernel if self.read else x) + self.offset


def _of(weight: Tensor, **keywords: Any) -> tuple[nn.Module, Tensor]:
    return nn.Sequential(nn.Linear(4, 6), _Product(weight, **keywords), nn.Linear(6, 2)), torch.randn(8, 4)


def _empty() -> tuple[nn.Module, Tensor]:
    return _of(torch.empty(6, 6))


def _half() -> tuple[nn.Module, Tensor]:
    weight = torch.empty(6, 6)
    weight[:3].normal_()
    return _of(weight)


class _Table(nn.Module):
    def __init__(self, *, filled: bool) -> None:
        super().__init__()
        table = torch.empty(4)
        table[0::2] = 1.0
        if filled:
            table[1::2] = 2.0
        self.register_buffer("table", table)
        self.register_buffer("spare", torch.empty(4))
        self.out = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(x * self.table)


def _meta() -> tuple[nn.Module, Tensor]:
    with torch.device("meta"):
        net = nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 2))
    net.to_empty(device="cpu")
    for module in net:
        if isinstance(module, nn.Linear):
            module.reset_parameters()
    return net, torch.randn(8, 4)


def test_an_empty_parameter_is_an_error_that_says_what_it_means() -> None:
    (one,) = findings(Uninitialised, _empty)
    assert one.message == (
        "every entry of 1.kernel [6, 6] keeps whatever was in memory: nothing was ever written there, so the network "
        "starts, "
        "and may fail, differently on every machine"
    )
    assert (one.severity, one.where, one.fix) == (
        "error",
        ("1.kernel",),
        'nn.init.normal_(model.get_parameter("1.kernel"), std=0.1)',
    )


@pytest.mark.parametrize("factory", [_empty, _half, _meta])
def test_the_fix_makes_the_finding_go_away(factory: Any) -> None:
    (one,) = alarms(Uninitialised, factory)
    assert alarms(Uninitialised, mended(factory, one.fix)) == ()


def test_the_share_of_a_half_written_parameter_is_told() -> None:
    (one,) = alarms(Uninitialised, _half)
    assert one.evidence["share"] == 0.5


def test_a_norm_forgotten_after_the_meta_device_is_found() -> None:
    (one,) = alarms(Uninitialised, _meta)
    assert one.where == ("1.weight", "1.bias")


def test_a_buffer_that_is_read_is_found_and_one_that_is_not_is_left_alone() -> None:
    (one,) = findings(Uninitialised, lambda: (_Table(filled=False), torch.randn(8, 4)))
    assert one.where == ("table",)
    assert findings(Uninitialised, lambda: (_Table(filled=True), torch.randn(8, 4))) == ()


def test_a_parameter_that_nothing_reads_is_information() -> None:
    (one,) = findings(Uninitialised, lambda: _of(torch.empty(6, 6), read=False))
    assert (one.severity, one.where) == ("info", ("1.kernel",))


def test_written_parameters_are_sound() -> None:
    assert findings(Uninitialised, lambda: _of(torch.empty(6, 6).uniform_(-1, 1))) == ()
