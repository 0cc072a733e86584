"""INI701 init-lost."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from initscope.checker.rules.init_lost import InitLost
from tests.check.rules.built import alarms, findings


def _generic(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)


class _Branch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(8, 16), nn.Linear(16, 8)
        self.reset()

    def reset(self) -> None:
        nn.init.zeros_(self.down.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(self.up(x).relu())


class _Gate(nn.Module):
    """A layer of its own kind that starts shut, or with a table."""

    def __init__(self, *, table: bool = False) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.arange(1.0, 65.0).log().reshape(8, 8) if table else torch.empty(8, 8))
        self.other = nn.Parameter(torch.randn(8, 8) / 3)
        if not table:
            nn.init.zeros_(self.mix)

    def forward(self, x: Tensor) -> Tensor:
        return x + (x @ self.other) @ self.mix


def _whole(model: nn.Module) -> None:
    for parameter in model.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)


def _net(*parts: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), *parts, nn.Linear(8, 2))


def _with(build: Callable[[], nn.Module]) -> Callable[[], Any]:
    return lambda: (build(), torch.randn(6, 4))


def _branches_lost() -> nn.Module:
    return _net(_Branch(), _Branch()).apply(_generic)


def _gate_lost() -> nn.Module:
    net = _net(_Gate())
    _whole(net)
    return net


def _table_lost() -> nn.Module:
    net = _net(_Gate(table=True))
    _whole(net)
    return net


def _prior_lost() -> nn.Module:
    net = _net()
    nn.init.constant_(net[-1].bias, -4.6)
    return net.apply(_generic)


def _lora_lost() -> nn.Module:
    net = _net(nn.Linear(8, 2, bias=False), nn.Linear(2, 8))
    nn.init.kaiming_uniform_(net[1].weight)
    for module in net:
        if isinstance(module, nn.Linear):
            module.weight.data.zero_() if module.out_features == 2 else module.weight.data.normal_()
    return net


def _scaling_lost() -> nn.Module:
    blocks = [_Branch() for _ in range(3)]
    for block in blocks:
        nn.init.xavier_uniform_(block.down.weight)
        block.down.weight.data.mul_(0.2)
    return _net(*blocks).apply(_generic)


def _forget_gate_lost() -> nn.Module:
    class Memory(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.core = nn.LSTM(8, 8, batch_first=True)
            self.core.bias_ih_l0.data[8:16].fill_(1.0)

        def forward(self, x: Tensor) -> Tensor:
            return self.core(x[:, None])[0][:, -1]

    net = _net(Memory())
    for parameter in net.parameters():
        nn.init.xavier_uniform_(parameter) if parameter.dim() > 1 else nn.init.zeros_(parameter)
    return net


def _reset_lost() -> nn.Module:
    net = _net(_Branch())
    for module in net.modules():
        if isinstance(module, nn.Linear):
            module.reset_parameters()
    return net


@pytest.mark.parametrize(
    ("build", "path"),
    [
        (_branches_lost, "1.down.weight"),
        (_gate_lost, "1.mix"),
        (_table_lost, "1.mix"),
        (_prior_lost, "1.bias"),
        (_lora_lost, "1.weight"),
        (_reset_lost, "1.down.weight"),
        (_forget_gate_lost, "1.core.bias_ih_l0"),
    ],
)
def test_a_special_start_under_a_later_pass_is_an_error(build: Callable[[], nn.Module], path: str) -> None:
    (one,) = alarms(InitLost, _with(build))
    assert (one.severity, one.where[0]) == ("error", path)


def test_a_scale_that_a_later_pass_draws_away_is_a_warning() -> None:
    assert [one.severity for one in alarms(InitLost, _with(_scaling_lost))] == ["warn"]


def test_the_message_names_both_lines_and_what_they_wrote() -> None:
    (one,) = alarms(InitLost, _with(_prior_lost))
    early, late = one.evidence["early_line"], one.evidence["late_line"]
    assert one.message == (
        f"1.bias was set to -4.6 at {early}, and overwritten by 0 at {late}, which treats it like 0.bias: the first "
        "start is lost"
    )
    assert one.fix == f'run {early} after {late}: nn.init.constant_(model.get_parameter("1.bias"), -4.6)'


def test_the_same_lines_in_the_right_order_are_sound() -> None:
    def build() -> nn.Module:
        net = _net(_Branch(), _Branch()).apply(_generic)
        for module in net:
            if isinstance(module, _Branch):
                module.reset()
        nn.init.constant_(net[-1].bias, -4.6)
        return net

    assert findings(InitLost, _with(build)) == ()


class _Own(nn.Module):
    """A layer whose own reset draws all of its class."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel, self.shift = nn.Parameter(torch.empty(8, 8)), nn.Parameter(torch.empty(8))
        nn.init.normal_(self.kernel)
        nn.init.uniform_(self.shift, -0.1, 0.1)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.kernel + self.shift


def _redrawn() -> nn.Module:
    net = _net(_Own(), _Own())
    for parameter in net.parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=0.1)
        else:
            nn.init.zeros_(parameter)
    return net


def _placeholders() -> nn.Module:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Parameter(torch.zeros(8, 8))

        def forward(self, x: Tensor) -> Tensor:
            return x @ self.first

    net = _net(Tokens())
    _whole(net)
    return net


def _loaded() -> nn.Module:
    net, other = _net(_Branch()), _net(_Branch())
    with torch.no_grad():
        other[1].down.weight.normal_()
    net.load_state_dict(copy.deepcopy(other.state_dict()))
    return net


def _twice() -> nn.Module:
    return _net(nn.Linear(8, 8).apply(_generic)).apply(_generic)


@pytest.mark.parametrize("build", [_redrawn, _placeholders, _loaded, _twice])
def test_deliberate_second_starts_are_sound(build: Callable[[], nn.Module]) -> None:
    assert findings(InitLost, _with(build)) == ()
