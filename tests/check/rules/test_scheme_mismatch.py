"""INI305 scheme-mismatch."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from initscope.checker.rules.scheme_mismatch import SchemeMismatch
from tests.check.rules.chain_models import INPUTS, LABELS, LOSS, he, plain
from tests.check.rules.judging import alarms, assert_fix_ends

IMAGES = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(3))


def _convolutions(make: Callable[[], nn.Module], *, norm: bool = False) -> nn.Module:
    parts: list[nn.Module] = [nn.Conv2d(3, 32, 3, padding=1), nn.ReLU()]
    for _ in range(2):
        parts += [make(), *([nn.BatchNorm2d(32)] if norm else []), nn.ReLU()]
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 4))


def _grouped(groups: int, mode: str) -> nn.Module:
    layer = nn.Conv2d(32, 32, 3, padding=1, groups=groups)
    nn.init.kaiming_normal_(layer.weight, mode=mode, nonlinearity="relu")
    return layer


class _Swapped(nn.Module):
    def __init__(self, *, turned: bool) -> None:
        super().__init__()
        self.a, self.b, self.c = (
            nn.Parameter(torch.empty(rows, columns)) for rows, columns in ((16, 32), (32, 256), (256, 32))
        )
        self.head = nn.Linear(32, 4)
        for one in (self.a, self.b, self.c):
            nn.init.kaiming_normal_(one.T if turned else one, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        for one in (self.a, self.b, self.c):
            x = functional.relu(x @ one)
        return self.head(x)


def test_a_depthwise_kernel_drawn_over_all_channels_is_named_with_its_fans() -> None:
    found = alarms(SchemeMismatch, lambda: _convolutions(lambda: _grouped(32, "fan_out")), IMAGES, LABELS[:6], LOSS)
    assert [one.where[0] for one in found] == ["2.weight", "4.weight"]
    gain = float(found[0].evidence["gain"] or 0)
    assert found[0].message == (
        "the variance of 2.weight is that of he over its fan-out of all groups of 288 where its fan-in is 9: "
        f"the layer multiplies the mean square by {gain:.2g} instead of {gain * 32:.2g}"
    )


def test_matrices_of_x_at_w_drawn_as_if_they_were_w_at_x_are_found() -> None:
    found = alarms(SchemeMismatch, lambda: _Swapped(turned=False), INPUTS, LABELS, LOSS)
    assert {one.where[0] for one in found} == {"b", "c"}


def test_a_widening_layer_drawn_by_fan_out_is_found() -> None:
    def build() -> nn.Module:
        sizes = (16, 32, 256, 32)
        parts: list[nn.Module] = []
        for first, second in pairwise(sizes):
            layer = nn.Linear(first, second)
            nn.init.kaiming_uniform_(layer.weight, mode="fan_out", nonlinearity="relu")
            parts += [layer, nn.ReLU()]
        return nn.Sequential(*parts, nn.Linear(32, 4))

    assert alarms(SchemeMismatch, build, INPUTS, LABELS, LOSS)
    assert_fix_ends(SchemeMismatch, build, INPUTS, LABELS, LOSS)


def test_the_fix_ends_the_finding() -> None:
    assert_fix_ends(SchemeMismatch, lambda: _Swapped(turned=False), INPUTS, LABELS, LOSS)
    build = lambda: _convolutions(lambda: _grouped(32, "fan_out"))  # noqa: E731  # one line
    assert_fix_ends(SchemeMismatch, build, IMAGES, LABELS[:6], LOSS)


def test_right_fans_defaults_norms_and_fixed_deviations_are_left_in_peace() -> None:
    assert not alarms(SchemeMismatch, lambda: _Swapped(turned=True), INPUTS, LABELS, LOSS)
    assert not alarms(SchemeMismatch, lambda: _convolutions(lambda: _grouped(32, "fan_in")), IMAGES, LABELS[:6], LOSS)
    normed = lambda: _convolutions(lambda: _grouped(32, "fan_out"), norm=True)  # noqa: E731  # one line
    assert not alarms(SchemeMismatch, normed, IMAGES, LABELS[:6], LOSS)
    for draw in (None, he, nn.init.orthogonal_, lambda weight: nn.init.normal_(weight, std=0.02)):
        assert not alarms(SchemeMismatch, plain(6, draw=draw), INPUTS, LABELS, LOSS)
