"""Broken starts whose memory decays or blows up over time, and their twins."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from calibration import tasks
from calibration.case import Case, Training
from calibration.pair import pair

_HUNDRED = tasks.recall(81, batch=32, length=100, classes=4)
_SIXTY = tasks.recall(82, batch=32, length=60, classes=4)
_FIFTY = tasks.recall(83, batch=32, length=50, classes=3)
_TALLY = tasks.tally(85, batch=32, length=60, classes=4)
_FORTY = tasks.recall(84, batch=32, length=40, classes=4)


class _Last(nn.Module):
    """A recurrent layer of torch's and a readout of its last state."""

    def __init__(self, memory: nn.RNNBase, classes: int) -> None:
        super().__init__()
        self.memory = memory
        self.head = nn.Linear(memory.hidden_size, classes)

    def forward(self, sequence: Tensor) -> Tensor:
        return self.head(self.memory(sequence)[0][:, -1])


def _small_matrix(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    memory = nn.RNN(5, 48, batch_first=True)
    if broken:
        nn.init.normal_(memory.weight_hh_l0, std=0.02)
    else:
        nn.init.orthogonal_(memory.weight_hh_l0)
    for bias in (memory.bias_ih_l0, memory.bias_hh_l0):
        nn.init.zeros_(bias)
    return _Last(memory, 4), *_HUNDRED(0), nn.CrossEntropyLoss()


def _forgetful(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    memory = nn.LSTM(5, 32, batch_first=True)
    with torch.no_grad():
        memory.bias_hh_l0.zero_()
        memory.bias_ih_l0.zero_()
        memory.bias_ih_l0[32:64] = -3.0 if broken else 3.0
    return _Last(memory, 4), *_SIXTY(0), nn.CrossEntropyLoss()


def _wrong_gate(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    memory = nn.GRU(5, 32, batch_first=True)
    with torch.no_grad():
        memory.bias_ih_l0[32:64].fill_(-4.0 if broken else 4.0)
    return _Last(memory, 4), *_SIXTY(0), functional.cross_entropy


class _Rectified(nn.Module):
    """A ReLU recurrence written by hand, one matrix for inputs and one for states."""

    def __init__(self, *, spread: float | None, radius: float = 1.0, width: int = 40, classes: int = 3) -> None:
        super().__init__()
        self.inputs = nn.Linear(classes + 1, width)
        self.states = nn.Linear(width, width, bias=False)
        self.readout = nn.Linear(width, classes)
        if spread is None:
            with torch.no_grad():
                self.states.weight.copy_(radius * torch.eye(width))
        else:
            nn.init.normal_(self.states.weight, std=spread)
        nn.init.zeros_(self.inputs.bias)

    def forward(self, sequence: Tensor) -> Tensor:
        state = sequence.new_zeros(len(sequence), self.states.in_features)
        for step in sequence.unbind(1):
            state = functional.relu(self.inputs(step) + self.states(state))
        return self.readout(state)


def _quiet_recurrence(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    return _Rectified(spread=0.05 if broken else None), *_FIFTY(0), nn.CrossEntropyLoss()


def _loud_recurrence(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    return _Rectified(spread=0.4 if broken else None), *_FIFTY(0), nn.CrossEntropyLoss()


class _Diagonal(nn.Module):
    """A diagonal linear recurrence with a learnt decay per channel, and a gated readout."""

    def __init__(self, decay: Tensor, classes: int = 4) -> None:
        super().__init__()
        self.decay = nn.Parameter(decay)
        self.enter = nn.Linear(classes + 1, len(decay), bias=False)
        nn.init.normal_(self.enter.weight, std=0.2)
        self.leave = nn.Sequential(nn.GELU(), nn.Linear(len(decay), classes))

    def forward(self, sequence: Tensor) -> dict[str, Tensor]:
        drive = self.enter(sequence)
        state = torch.zeros_like(drive[:, 0])
        for step in range(drive.shape[1]):
            state = self.decay * state + drive[:, step]
        return {"logits": self.leave(state)}


def _of_logits(output: dict[str, Tensor], target: Tensor) -> Tensor:
    return functional.cross_entropy(output["logits"], target)


def _fast_decay(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    decay = 0.2 + 0.4 * torch.rand(48) if broken else 0.97 + 0.03 * torch.rand(48)
    return _Diagonal(decay), *_FORTY(0), _of_logits


def _no_decay(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    decay = (1.2 if broken else 0.97) + 0.03 * torch.rand(48)
    return _Diagonal(decay), *_TALLY(0), _of_logits


def _loud_library(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    memory = nn.RNN(5, 32, nonlinearity="relu", batch_first=True)
    if broken:
        nn.init.xavier_normal_(memory.weight_hh_l0, gain=2.5)
    else:
        nn.init.eye_(memory.weight_hh_l0)
    nn.init.normal_(memory.weight_ih_l0, std=0.1)
    nn.init.zeros_(memory.bias_ih_l0)
    nn.init.zeros_(memory.bias_hh_l0)
    return _Last(memory, 4), *_FORTY(0), nn.CrossEntropyLoss()


class _Cell(nn.Module):
    """A residual recurrence, h + f(h, x), whose update is meant to be small."""

    def __init__(self, *, gain: float, width: int = 32, classes: int = 4) -> None:
        super().__init__()
        self.mix = nn.Linear(classes + 1 + width, 2 * width)
        self.back = nn.Linear(2 * width, width)
        self.head = nn.Linear(width, classes)
        self.width = width
        nn.init.zeros_(self.back.bias)
        nn.init.normal_(self.back.weight, std=gain / math.sqrt(2 * width))

    def forward(self, sequence: Tensor) -> Tensor:
        h = sequence.new_zeros(len(sequence), self.width)
        for step in sequence.unbind(1):
            h = h + self.back(functional.leaky_relu(self.mix(torch.cat([step, h], -1)), 0.1))
        return self.head(h)


def _loud_updates(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    return _Cell(gain=1.5 if broken else 0.05), *_FORTY(0), nn.CrossEntropyLoss()


CASES: tuple[Case, ...] = (
    *pair(
        "rnn-small-matrix-hundred-steps",
        _small_matrix,
        family="rnn",
        rules=("recurrent-decay",),
        why="A tanh RNN with recurrent std 0.02 over 100 steps: the first one is gone after a few.",
        training=Training(batches=_HUNDRED, learning_rate=1e-3, steps=200),
    ),
    *pair(
        "lstm-forget-bias-minus-three",
        _forgetful,
        family="rnn",
        rules=("recurrent-decay",),
        why="Forget gates start shut: a twentieth of the cell survives a step (report 44).",
        training=Training(batches=_SIXTY, learning_rate=3e-3, steps=150),
    ),
    *pair(
        "gru-update-gate-inverted",
        _wrong_gate,
        family="rnn",
        rules=("recurrent-decay",),
        why="The update gate's sign was taken from another paper: it starts at forgetting instead of keeping.",
        training=Training(batches=_SIXTY, learning_rate=3e-3, steps=150),
    ),
    *pair(
        "hand-written-recurrence-quiet",
        _quiet_recurrence,
        family="rnn",
        rules=("recurrent-decay",),
        why="A ReLU recurrence in a loop with std 0.05 at width 40; the twin starts from the identity.",
        training=Training(batches=_FIFTY, learning_rate=1e-3, steps=150),
    ),
    *pair(
        "diagonal-recurrence-forgets",
        _fast_decay,
        family="ssm",
        rules=("recurrent-decay",),
        why="Decays between 0.2 and 0.6 on a task over 40 steps.",
        training=Training(batches=_FORTY, learning_rate=3e-3, steps=150),
    ),
    *pair(
        "hand-written-recurrence-loud",
        _loud_recurrence,
        family="rnn",
        rules=("recurrent-blow-up", "signal-grows", "initial-loss"),
        why="The same recurrence with std 0.4: the state is multiplied by 1.8 in each of 50 steps.",
        training=Training(batches=_FIFTY, learning_rate=1e-3, steps=150),
    ),
    *pair(
        "diagonal-recurrence-above-one",
        _no_decay,
        family="ssm",
        rules=("recurrent-blow-up", "signal-grows", "initial-loss"),
        why="Decays of 1.2 to 1.23, an offset added instead of taken away, over 60 steps.",
        training=Training(batches=_TALLY, learning_rate=2e-3, steps=120),
    ),
    *pair(
        "library-relu-rnn-loud",
        _loud_library,
        family="rnn",
        rules=("recurrent-blow-up", "signal-grows", "initial-loss"),
        why="nn.RNN with ReLU and Xavier times 2.5 in the recurrent matrix.",
        training=Training(batches=_FORTY, learning_rate=1e-3, steps=150),
    ),
    *pair(
        "recurrent-residual-updates-loud",
        _loud_updates,
        family="rnn",
        rules=("recurrent-blow-up", "residual-unscaled", "signal-grows", "initial-loss"),
        why="A residual recurrence whose update is as large as its state, forty times over.",
        training=Training(batches=_FORTY, learning_rate=1e-3, steps=150),
    ),
)
"""Memories that decay, memories that blow up."""
