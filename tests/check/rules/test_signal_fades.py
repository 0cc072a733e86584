"""INI301 signal-fades."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from initscope.checker.rules.signal_fades import SignalFades
from tests.check.rules.chain_models import INPUTS, LABELS, LOSS, Stream, he, of_logits, plain
from tests.check.rules.judging import alarms, assert_fix_ends


def _small(weight: Tensor) -> object:
    return nn.init.normal_(weight, std=0.01)


def test_a_default_network_of_thirty_layers_is_an_error() -> None:
    assert [one.severity for one in alarms(SignalFades, plain(30), INPUTS, LABELS, LOSS)] == ["error"]


def test_small_weights_under_tanh_are_found_with_the_numbers_and_the_cure() -> None:
    (one,) = alarms(SignalFades, plain(10, activation=nn.Tanh, draw=_small), INPUTS, LABELS, LOSS)
    decades = -float(one.evidence["decades"] or 0)
    assert one.message == (
        f"over 10 layers, 0 to 18, the difference between samples falls by {decades:.1f} decades "
        f"({10 ** float(one.evidence['decades_per_layer'] or 0):.2g} times a layer): the head sees nothing of the input"
    )
    assert one.where[0] in {str(number) for number in range(2, 20, 2)}
    assert '"4.weight": "orthogonal(gain=\'tanh\')", "4.bias": "zeros"' in one.fix


def test_five_sigmoid_layers_are_a_warning() -> None:
    assert [one.severity for one in alarms(SignalFades, plain(5, activation=nn.Sigmoid), INPUTS, LABELS, LOSS)] == [
        "warn"
    ]


class _Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.matrices = nn.ParameterList(nn.Parameter(torch.randn(24, 24) * 0.02) for _ in range(7))
        self.enter, self.leave = nn.Linear(16, 24), nn.Linear(24, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.enter(x)
        for matrix in self.matrices:
            x = functional.gelu(x @ matrix)
        return self.leave(x), x


def test_matrices_used_by_hand_are_found() -> None:
    (one,) = alarms(SignalFades, _Functional, INPUTS, LABELS, lambda output, target: LOSS(output[0], target))
    assert one.where[0].startswith("matrices.")


def test_the_fix_ends_the_finding() -> None:
    assert_fix_ends(SignalFades, plain(20), INPUTS, LABELS, LOSS)
    assert_fix_ends(SignalFades, plain(12, activation=nn.Tanh, draw=_small), INPUTS, LABELS, LOSS)


def test_usual_networks_and_normalised_small_weights_are_left_in_peace() -> None:
    assert not alarms(SignalFades, plain(5), INPUTS, LABELS, LOSS)
    assert not alarms(SignalFades, plain(20, draw=he), INPUTS, LABELS, LOSS)
    assert not alarms(SignalFades, plain(20, draw=_small, norm=nn.BatchNorm1d), INPUTS, LABELS, LOSS)
    assert not alarms(SignalFades, plain(8, draw=_small, norm=nn.LayerNorm), INPUTS, LABELS, LOSS)


def test_branches_that_start_at_zero_or_nearly_so_are_left_in_peace() -> None:
    assert not alarms(SignalFades, lambda: Stream(12, scale=0.0), INPUTS, LABELS, of_logits)
    assert not alarms(SignalFades, lambda: Stream(12, scale=1e-6, norm=True), INPUTS, LABELS, of_logits)


def test_a_tiny_head_is_no_part_of_the_chain() -> None:
    def build() -> nn.Module:
        model = plain(4, draw=he)()
        nn.init.normal_(model[-1].weight, std=1e-8)  # type: ignore[index]  # a Sequential
        return model

    assert not alarms(SignalFades, build, INPUTS, LABELS, LOSS)
