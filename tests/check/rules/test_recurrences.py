"""INI307 recurrent-decay and INI308 recurrent-blow-up."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from initscope.checker.rules.recurrent_blow_up import RecurrentBlowUp
from initscope.checker.rules.recurrent_decay import RecurrentDecay
from tests.check.rules.chain_models import LOSS, SERIES, SERIES_LABELS, Memory
from tests.check.rules.judging import alarms, assert_fix_ends

BOTH = (RecurrentDecay, RecurrentBlowUp)


def _rnn(std: float, *, every: bool = False) -> nn.Module:
    memory = nn.RNN(5, 32, batch_first=True)
    nn.init.normal_(memory.weight_hh_l0, std=std)
    return Memory(memory, every=every)


def _lstm(forget: float) -> nn.Module:
    memory = nn.LSTM(5, 24, batch_first=True)
    with torch.no_grad():
        memory.bias_ih_l0[24:48] = forget
    return Memory(memory)


class _Decays(nn.Module):
    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.decay = nn.Parameter(torch.empty(24).uniform_(low, high))
        self.enter, self.leave = nn.Linear(5, 24), nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        drive = self.enter(x).transpose(0, 1)
        state = torch.zeros_like(drive[0])
        for step in drive:
            state = self.decay * state + step
        return self.leave(state)


class _Loop(nn.Module):
    def __init__(self, std: float) -> None:
        super().__init__()
        self.enter, self.state, self.leave = nn.Linear(5, 32), nn.Linear(32, 32, bias=False), nn.Linear(32, 4)
        nn.init.normal_(self.state.weight, std=std)

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(len(x), 32)
        for step in x.unbind(1):
            state = functional.relu(self.enter(step) + self.state(state))
        return self.leave(state)


def _found(rule: type[RecurrentDecay] | type[RecurrentBlowUp], model: nn.Module) -> list[str]:
    return [one.severity for one in alarms(rule, lambda: model, SERIES, SERIES_LABELS, LOSS)]


def test_a_small_recurrent_matrix_forgets_at_once() -> None:
    (one,) = alarms(RecurrentDecay, lambda: _rnn(0.02), SERIES, SERIES_LABELS, LOSS)
    rate = float(one.evidence["decades_per_step"] or 0)
    assert one.where == ("memory.weight_hh_l0",)
    assert one.message.startswith(f"going back in time the gradient shrinks by a factor of {10**rate:.2g} a step")
    assert one.evidence["steps"] == 40
    assert 0 < float(one.evidence["spectral_radius"] or 0) < 0.3
    assert one.fix == 'initscope.initialize(model, {"memory.weight_hh_l0": "orthogonal"})'


@pytest.mark.slow
def test_shut_forget_gates_and_fast_decays_and_a_loop_by_hand_forget() -> None:
    assert _found(RecurrentDecay, _lstm(-4.0)) == ["warn"]
    assert _found(RecurrentDecay, _Decays(0.1, 0.5)) == ["warn"]
    assert _found(RecurrentDecay, _Loop(0.03)) == ["warn"]


@pytest.mark.slow
def test_the_fixes_end_the_findings() -> None:
    for build in (lambda: _rnn(0.02), lambda: _lstm(-4.0), lambda: _Decays(0.1, 0.5), lambda: _Loop(0.03)):
        assert_fix_ends(RecurrentDecay, build, SERIES, SERIES_LABELS, LOSS)
    assert_fix_ends(RecurrentBlowUp, lambda: _Loop(0.5), SERIES, SERIES_LABELS, LOSS)


@pytest.mark.slow
def test_default_layers_and_targets_at_every_step_are_left_in_peace() -> None:
    for memory in (nn.LSTM, nn.GRU, nn.RNN):
        assert not alarms(
            BOTH, lambda memory=memory: Memory(memory(5, 32, batch_first=True)), SERIES, SERIES_LABELS, LOSS
        )
    assert not alarms(BOTH, lambda: _rnn(0.02, every=True), SERIES, SERIES_LABELS, LOSS)
    assert not alarms(BOTH, lambda: _Decays(0.9, 0.999), SERIES, SERIES_LABELS, LOSS)


def test_short_sequences_are_not_judged() -> None:
    assert not alarms(BOTH, lambda: _rnn(0.02), SERIES[:, :5], SERIES_LABELS, LOSS)


def test_loud_recurrences_blow_up() -> None:
    assert _found(RecurrentBlowUp, _Loop(0.5)) == ["error"]
    assert _found(RecurrentBlowUp, _Decays(1.1, 1.2)) == ["warn"]
    assert _found(RecurrentBlowUp, _rnn(1.0)) == ["error"]


class _FixedPoint(nn.Module):
    """One layer again and again on the same input: a contraction by design, no recurrence in time."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.again, self.leave = nn.Linear(5, 16), nn.Linear(16, 16, bias=False), nn.Linear(16, 4)
        nn.init.normal_(self.again.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        given = self.enter(x)
        state = torch.zeros_like(given)
        for _ in range(20):
            state = torch.tanh(self.again(state) + given)
        return self.leave(state)


def test_a_fixed_point_iteration_is_no_recurrence() -> None:
    assert not alarms(BOTH, _FixedPoint, SERIES[:, 0], SERIES_LABELS, LOSS)
