"""INI306 residual-unscaled."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from initscope.checker.rules.residual_unscaled import ResidualUnscaled
from initscope.checker.rules.signal_grows import SignalGrows
from tests.check.rules.chain_models import INPUTS, LABELS, LOSS, Stream, of_logits
from tests.check.rules.judging import alarms, assert_fix_ends


def test_he_branches_on_a_bare_stream_are_found_with_numbers() -> None:
    (one,) = alarms(ResidualUnscaled, lambda: Stream(30), INPUTS, LABELS, of_logits)
    first, last = one.evidence["first_signal"], one.evidence["last_signal"]
    assert one.severity == "error"
    assert one.message == (
        f"the residual stream grows from {first:.2g} to {last:.2g} over 30 sums "
        f"({10 ** (float(one.evidence['decades'] or 0) / 30):.3g} times each): "
        "the branches keep the size of the stream and nothing scales them down"
    )
    assert one.where[0] == "outer.29"


def test_eight_blocks_are_a_warning() -> None:
    assert [one.severity for one in alarms(ResidualUnscaled, lambda: Stream(8), INPUTS, LABELS, of_logits)] == ["warn"]


class _Convolutions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 4)
        self.blocks = nn.ModuleList(nn.Conv2d(8, 8, 3, padding=1) for _ in range(16))
        for block in self.blocks:
            nn.init.kaiming_normal_(block.weight, nonlinearity="linear")

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(functional.silu(x)) * 2 + x
        return self.head(x.mean((2, 3)))


def test_streams_of_convolutions_are_found() -> None:
    assert alarms(ResidualUnscaled, _Convolutions, torch.randn(8, 3, 9, 9), LABELS[:8], LOSS)


def test_the_fix_ends_the_finding() -> None:
    assert_fix_ends(ResidualUnscaled, lambda: Stream(20), INPUTS, LABELS, of_logits)


def test_scaled_zero_and_normalised_branches_are_left_in_peace() -> None:
    assert not alarms(ResidualUnscaled, lambda: Stream(30, scale=1 / 30), INPUTS, LABELS, of_logits)
    assert not alarms(ResidualUnscaled, lambda: Stream(30, scale=0.0), INPUTS, LABELS, of_logits)
    assert not alarms(ResidualUnscaled, lambda: Stream(30, norm=True), INPUTS, LABELS, of_logits)
    assert not alarms(ResidualUnscaled, lambda: Stream(3), INPUTS, LABELS, of_logits)


def test_it_explains_the_growing_signal() -> None:
    found = alarms((SignalGrows, ResidualUnscaled), lambda: Stream(30), INPUTS, LABELS, of_logits)
    assert [one.name for one in found] == ["residual-unscaled"]
