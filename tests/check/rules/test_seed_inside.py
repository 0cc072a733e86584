"""INI703 seed-inside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from initscope.checker.rules.seed_inside import SeedInside
from tests.check.rules.built import findings


class _Seeded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(42)
        self.layer = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


def _by_the_factory() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(8, 8)


def _own_generator() -> nn.Module:
    layer = nn.Linear(8, 8)
    nn.init.normal_(layer.weight, generator=torch.Generator().manual_seed(7))
    return layer


def _by_numpy() -> nn.Module:
    layer = nn.Linear(8, 8)
    layer.weight = nn.Parameter(torch.from_numpy(np.random.default_rng(3).normal(size=(8, 8)).astype("float32")))
    return layer


def _with(build: Callable[[], nn.Module]) -> Callable[[], Any]:
    return lambda: (build(), torch.randn(4, 8))


@pytest.mark.parametrize(
    ("build", "severity"), [(_Seeded, "warn"), (_by_the_factory, "info"), (_own_generator, "info"), (_by_numpy, "info")]
)
def test_weights_that_do_not_depend_on_the_callers_seed_are_told(build: Callable[[], nn.Module], severity: str) -> None:
    assert [one.severity for one in findings(SeedInside, _with(build))] == [severity]


def test_the_message_names_the_line_that_seeds() -> None:
    (one,) = findings(SeedInside, _with(_Seeded))
    assert one.location is not None and one.location.file == __file__
    assert one.message == (
        "layer.weight, layer.bias hold bit for bit the same values under two seeds of the caller's: a module's own "
        "class seeds a "
        f"global generator at test_seed_inside.py:{one.location.line}, so all runs start alike"
    )


def _constants_and_tables() -> nn.Module:
    net = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 32))
    nn.init.eye_(net[0].weight)
    net[2].weight.data.copy_(torch.arange(256.0).sin().reshape(32, 8))
    net[0].bias.data[2:4] = 1.0
    return net


@pytest.mark.parametrize("build", [lambda: nn.Linear(8, 8), _constants_and_tables])
def test_draws_from_the_callers_generator_and_fixed_tables_are_sound(build: Callable[[], nn.Module]) -> None:
    assert findings(SeedInside, _with(build)) == ()
