"""INI302 signal-grows and INI304 back-signal-grows."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from initscope.checker.rules.back_signal_grows import BackSignalGrows
from initscope.checker.rules.signal_grows import SignalGrows
from tests.check.rules.chain_models import INPUTS, LABELS, LOSS, Stream, he, of_logits, plain
from tests.check.rules.judging import alarms, assert_fix_ends


def _unit(weight: Tensor) -> object:
    return nn.init.normal_(weight)


def _chaotic(weight: Tensor) -> object:
    return nn.init.normal_(weight, std=6 / weight.shape[1] ** 0.5)


def test_unit_normal_weights_in_eight_layers_are_an_error_with_numbers() -> None:
    (one,) = alarms(SignalGrows, plain(8, draw=_unit), INPUTS, LABELS, LOSS)
    first, last = one.evidence["first_signal"], one.evidence["last_signal"]
    assert one.severity == "error"
    assert one.message == (
        f"over 8 layers, 0 to 14, the signal grows from {first:.2g} to {last:.2g} "
        f"({10 ** float(one.evidence['decades_per_layer'] or 0):.2g} times a layer): loss and "
        "gradients start far too large"
    )


def test_a_mild_growth_is_a_warning() -> None:
    draw = lambda weight: nn.init.normal_(weight, std=(8 / weight.shape[1]) ** 0.5)  # noqa: E731  # one line
    assert [one.severity for one in alarms(SignalGrows, plain(8, draw=draw), INPUTS, LABELS, LOSS)] == ["warn"]


def test_convolutions_are_followed_too() -> None:
    def build() -> nn.Module:
        convolutions = [nn.Conv2d(3 if index == 0 else 8, 8, 3, padding=1) for index in range(7)]
        for one in convolutions:
            nn.init.normal_(one.weight, std=0.8)
        parts = [part for one in convolutions for part in (one, nn.LeakyReLU())]
        return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))

    assert alarms(SignalGrows, build, torch.randn(8, 3, 10, 10), LABELS[:8], LOSS)


def test_the_fix_ends_the_finding() -> None:
    assert_fix_ends(SignalGrows, plain(8, draw=_unit), INPUTS, LABELS, LOSS)
    assert_fix_ends(BackSignalGrows, plain(16, activation=nn.Tanh, draw=_chaotic), INPUTS, LABELS, LOSS)


def test_what_a_normalisation_ends_and_what_keeps_its_size_is_left_in_peace() -> None:
    assert not alarms(SignalGrows, plain(8, draw=_unit, norm=nn.LayerNorm), INPUTS, LABELS, LOSS)
    assert not alarms(SignalGrows, plain(20, draw=he), INPUTS, LABELS, LOSS)
    assert not alarms(SignalGrows, lambda: Stream(12, norm=True), INPUTS, LABELS, of_logits)
    assert not alarms(SignalGrows, plain(4, draw=he), INPUTS * 1e-4, LABELS, LOSS)


def test_a_chaotic_tanh_network_has_a_growing_gradient() -> None:
    (one,) = alarms(BackSignalGrows, plain(16, activation=nn.Tanh, draw=_chaotic), INPUTS, LABELS, LOSS)
    assert float(one.evidence["decades"] or 0) > 2.5


def test_a_batch_normalised_network_of_usual_depth_is_left_in_peace() -> None:
    assert not alarms(BackSignalGrows, plain(12, norm=nn.BatchNorm1d), INPUTS, LABELS, LOSS)
    assert not alarms(BackSignalGrows, plain(12, draw=he), INPUTS, LABELS, LOSS)


def test_a_growing_signal_explains_its_gradient() -> None:
    found = alarms((SignalGrows, BackSignalGrows), plain(8, draw=_unit), INPUTS, LABELS, LOSS)
    assert [one.name for one in found] == ["signal-grows"]
