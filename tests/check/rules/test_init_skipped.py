"""INI702 init-skipped."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from initscope.checker.rules.init_skipped import InitSkipped
from tests.check.rules.built import alarms, findings, mended


def _he(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")


def _layers(*sizes: int) -> list[nn.Module]:
    found: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        found += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return found


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(32, 64), nn.Linear(64, 32)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.two(self.one(x).relu())


class _Dense(nn.Linear):
    pass


def _with(build: Callable[[], nn.Module]) -> Callable[[], Any]:
    return lambda: (build(), torch.randn(8, 16))


def _first_level() -> nn.Module:
    net = nn.Sequential(nn.Linear(16, 64), nn.Linear(64, 32), nn.Sequential(*_layers(32, 64, 64, 32)), nn.Linear(32, 4))
    for child in net.children():
        _he(child)
    return net


def _one_block_forgotten() -> nn.Module:
    net = nn.Sequential(nn.Linear(16, 32), *(_Block() for _ in range(4)), nn.Linear(32, 4))
    for block in net[1:4]:
        block.apply(_he)
    return net


def _exact_type() -> nn.Module:
    net = nn.Sequential(
        nn.Linear(16, 48), nn.ReLU(), _Dense(48, 48), nn.ReLU(), _Dense(48, 48), nn.ReLU(), nn.Linear(48, 4)
    )
    for module in net:
        if type(module) is nn.Linear:
            nn.init.normal_(module.weight, std=0.3)
    return net


@pytest.mark.parametrize(
    ("build", "missed"),
    [
        (_first_level, ("2.0.weight", "2.2.weight", "2.4.weight")),
        (_one_block_forgotten, ("4.one.weight", "4.two.weight", "5.weight")),
        (_exact_type, ("2.weight", "4.weight")),
    ],
)
def test_layers_that_a_pass_left_out_are_found_and_the_fix_helps(
    build: Callable[[], nn.Module], missed: tuple[str, ...]
) -> None:
    (one,) = alarms(InitSkipped, _with(build))
    assert (one.severity, one.where) == ("warn", missed)
    code = one.fix.rpartition(": initscope")[2]
    assert alarms(InitSkipped, mended(_with(build), f"initscope{code}")) == ()


def test_the_message_says_which_line_and_which_layers() -> None:
    (one,) = alarms(InitSkipped, _with(_exact_type))
    assert one.location is not None
    assert one.message == (
        f"the init line at test_init_skipped.py:{one.location.line} drew 2 Linear weights and passed 2 by: 2.weight, "
        "4.weight still hold "
        f"torch's default, {_worst(one)} with std {one.evidence['std']:.3g} where that line gives "
        f"{one.evidence['expected_std']:.3g}"
    )


def _worst(one: Any) -> str:
    return next(path for path in one.where if f"{path} with std" in one.message)


def _head_default() -> nn.Module:
    net = nn.Sequential(*_layers(16, 32, 48, 32), nn.Linear(32, 4))
    net[:-1].apply(_he)
    return net


def _made_later() -> nn.Module:
    trunk = nn.Sequential(*_layers(16, 32, 48, 32)).apply(_he)
    return nn.Sequential(trunk, nn.Linear(32, 48), nn.ReLU(), nn.Linear(48, 32))


def _last_of_branches() -> nn.Module:
    blocks = [_Block() for _ in range(4)]
    for block in blocks:
        nn.init.normal_(block.two.weight, std=0.002)
    return nn.Sequential(nn.Linear(16, 32), *blocks, nn.Linear(32, 4))


def _zero_branches() -> nn.Module:
    net = nn.Sequential(nn.Linear(16, 32), _Block(), _Block(), nn.Linear(32, 4))
    for weight in (net[1].two.weight, net[2].two.weight, net[3].weight):
        nn.init.zeros_(weight)
    return net


def _same_law() -> nn.Module:
    net = _first_level()
    for module in net[2]:
        if isinstance(module, nn.Linear):
            module.reset_parameters()
    for child in net.children():
        if isinstance(child, nn.Linear):
            nn.init.uniform_(child.weight, -(child.in_features**-0.5), child.in_features**-0.5)
    return net


def _adapters() -> nn.Module:
    class Adapted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.base, self.down, self.up = nn.Linear(16, 16), nn.Linear(16, 2), nn.Linear(2, 16)
            self.base.requires_grad_(False)
            nn.init.normal_(self.down.weight)
            nn.init.zeros_(self.up.weight)

        def forward(self, x: Tensor) -> Tensor:
            return self.base(x) + self.up(self.down(x))

    return nn.Sequential(Adapted(), Adapted())


@pytest.mark.parametrize("build", [_head_default, _made_later, _last_of_branches, _zero_branches, _same_law, _adapters])
def test_layers_left_at_the_default_on_purpose_are_sound(build: Callable[[], nn.Module]) -> None:
    assert findings(InitSkipped, _with(build)) == ()
