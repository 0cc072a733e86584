"""Healthy networks over time: recurrent nets under their known starts, state spaces, linear attention."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from calibration.cases.healthy_tasks import VOCABULARY, Book, classes_of, of_tokens, sequences, stream, tokens

book = Book()
over_time = partial(book.healthy, family="rnn", task=sequences, learning_rate=5e-3, steps=150)
language = partial(book.healthy, family="rnn", task=tokens, loss=of_tokens, learning_rate=5e-3, steps=150)


class _Last(nn.Module):
    """Reads the last output of a recurrent network into two classes."""

    def __init__(self, core: Any, width: int) -> None:
        super().__init__()
        self.core, self.head = core, nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.core(x)[0][:, -1])


class _Language(nn.Module):
    def __init__(self, core: Any, width: int) -> None:
        super().__init__()
        self.embedding, self.core = nn.Embedding(VOCABULARY, width), core
        self.head = nn.Linear(width, VOCABULARY)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.core(self.embedding(ids))[0])


@language("default-lstm-language", "torch's LSTM as it is; a forget bias of zero is enough over sixteen steps.")
def _lstm() -> nn.Module:
    return _Language(nn.LSTM(32, 32, batch_first=True), 32)


@language("default-gru-two-layers", "Two GRU layers with dropout between them.")
def _gru() -> nn.Module:
    return _Language(nn.GRU(32, 32, num_layers=2, dropout=0.1, batch_first=True), 32)


@over_time(
    "default-tanh-rnn", "A plain recurrent net over twenty steps forgets the first ones and still learns a mean."
)
def _plain() -> nn.Module:
    return _Last(nn.RNN(4, 48, batch_first=True), 48)


@over_time("lstm-forget-bias-1", "The forget gate's bias is one, the other gates' zero: a constant written in a slice.")
def _forget() -> nn.Module:
    core = nn.LSTM(4, 32, batch_first=True)
    nn.init.orthogonal_(core.weight_hh_l0)
    with torch.no_grad():
        for bias in (core.bias_ih_l0, core.bias_hh_l0):
            bias.zero_()
        core.bias_ih_l0[32:64] = 1.0
    return _Last(core, 32)


@over_time(
    "lstm-chrono", "Chrono start: forget biases log U(1, T - 1), input biases their negatives; gates are far open."
)
def _chrono() -> nn.Module:
    core = nn.LSTM(4, 32, batch_first=True)
    with torch.no_grad():
        remembered = torch.log(torch.empty(32).uniform_(1, 19))
        for bias in (core.bias_ih_l0, core.bias_hh_l0):
            bias.zero_()
        core.bias_hh_l0[32:64] = remembered
        core.bias_hh_l0[:32] = -remembered
    return _Last(core, 32)


@over_time(
    "irnn-identity",
    "Le's IRNN: the recurrent matrix is the identity, so its units are told apart by the input.",
    learning_rate=1e-3,
)
def _irnn() -> nn.Module:
    core = nn.RNN(4, 48, nonlinearity="relu", batch_first=True)
    nn.init.eye_(core.weight_hh_l0)
    nn.init.normal_(core.weight_ih_l0, std=0.05)
    nn.init.zeros_(core.bias_ih_l0)
    nn.init.zeros_(core.bias_hh_l0)
    return _Last(core, 48)


@over_time("orthogonal-rnn", "An orthogonal recurrent matrix keeps the state's length.", learning_rate=2e-3)
def _orthogonal() -> nn.Module:
    core = nn.RNN(4, 48, batch_first=True)
    nn.init.orthogonal_(core.weight_hh_l0)
    nn.init.normal_(core.weight_ih_l0, std=0.1)
    return _Last(core, 48)


@over_time(
    "bilstm-last-output",
    "Of the backward direction only the first step's output is read: its recurrent matrix "
    "meets a state of zeros and has no gradient.",
)
def _bilstm() -> nn.Module:
    return _Last(nn.LSTM(4, 24, bidirectional=True, batch_first=True), 48)


class _Cells(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRUCell(4, 32), nn.Linear(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(len(x), 32)
        for step in x.unbind(1):
            state = self.cell(step, state)
        return self.head(state)


@over_time("gru-cell-by-hand", "A loop over a cell: one object called twenty times in series, as recurrence is.")
def _cells() -> nn.Module:
    return _Cells()


class _Translator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.source = nn.Embedding(VOCABULARY + 1, 32, padding_idx=VOCABULARY)
        self.target = nn.Embedding(VOCABULARY + 1, 32)
        self.encoder, self.decoder = nn.GRU(32, 48, batch_first=True), nn.GRU(32, 48, batch_first=True)
        self.head = nn.Linear(96, VOCABULARY)

    def forward(self, source: Tensor, shifted: Tensor) -> Tensor:
        memory, state = self.encoder(self.source(source))
        output, _ = self.decoder(self.target(shifted), state)
        weights = torch.softmax(output @ memory.transpose(1, 2) / math.sqrt(48), -1)
        return self.head(torch.cat([output, weights @ memory], -1))


def _translation(number: int) -> tuple[tuple[Tensor, Tensor], Tensor]:
    source, _ = tokens(number, length=10)
    meaning = torch.randperm(VOCABULARY, generator=stream(99))[source]
    shifted = torch.cat([torch.full_like(meaning[:, :1], VOCABULARY), meaning[:, :-1]], 1)
    return (source, shifted), meaning


@language(
    "seq2seq-teacher-forcing",
    "The decoder is fed the right answers, and a padding row stays zero.",
    task=_translation,
    steps=250,
)
def _translator() -> nn.Module:
    return _Translator()


def _speech(number: int) -> tuple[Tensor, Tensor]:
    generator = stream(number)
    labels = torch.randint(1, 5, (16, 4), generator=generator)
    frames = functional.one_hot(labels.repeat_interleave(5, 1), 5).float() @ torch.randn(5, 8, generator=stream(1234))
    return frames + 0.2 * torch.randn(frames.shape, generator=generator), labels


def _alignment(output: Tensor, labels: Tensor) -> Tensor:
    logits = output.log_softmax(-1).transpose(0, 1)
    lengths = [torch.full((len(labels),), count) for count in (output.shape[1], labels.shape[1])]
    return functional.ctc_loss(logits, labels, lengths[0], lengths[1])


class _Speech(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.front = nn.Conv1d(8, 32, 3, padding=1)
        self.core, self.head = nn.GRU(32, 32, bidirectional=True, batch_first=True), nn.Linear(64, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.front(x.transpose(1, 2))).transpose(1, 2)
        return self.head(self.core(x)[0])


@over_time(
    "ctc-speech",
    "CTC sums over alignments: its loss is no cross-entropy and needs no prior bias.",
    task=_speech,
    loss=_alignment,
    steps=250,
)
def _ctc() -> nn.Module:
    return _Speech()


class _Selective(nn.Module):
    """A selective state space: rows of A_log are equal, D is one, dt bias the inverse softplus of 1e-3..0.1."""

    def __init__(self, width: int, states: int = 8, rank: int = 4) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(width, 4 * width, bias=False), nn.Linear(2 * width, width, bias=False)
        self.mix = nn.Conv1d(2 * width, 2 * width, 4, groups=2 * width, padding=3)
        self.select = nn.Linear(2 * width, rank + 2 * states, bias=False)
        self.dt = nn.Linear(rank, 2 * width)
        self.A_log = nn.Parameter(torch.log(torch.arange(1.0, states + 1)).repeat(2 * width, 1))
        self.D = nn.Parameter(torch.ones(2 * width))
        nn.init.uniform_(self.dt.weight, -(rank**-0.5), rank**-0.5)
        step = torch.exp(torch.rand(2 * width) * (math.log(0.1) - math.log(1e-3)) + math.log(1e-3))
        with torch.no_grad():
            self.dt.bias.copy_(step + torch.log(-torch.expm1(-step)))

    def forward(self, x: Tensor) -> Tensor:
        x, gate = self.enter(x).chunk(2, dim=-1)
        x = functional.silu(self.mix(x.transpose(1, 2))[..., : x.shape[1]]).transpose(1, 2)
        rank = self.dt.in_features
        low, into, out = self.select(x).split([rank, self.A_log.shape[1], self.A_log.shape[1]], dim=-1)
        step = functional.softplus(self.dt(low))
        decay = torch.exp(step[..., None] * -torch.exp(self.A_log))
        state, outputs = torch.zeros_like(decay[:, 0]), []
        for time in range(x.shape[1]):
            state = decay[:, time] * state + (step * x)[:, time, :, None] * into[:, time, None, :]
            outputs.append((state * out[:, time, None, :]).sum(-1))
        return self.leave((torch.stack(outputs, 1) + x * self.D) * functional.silu(gate))


class _Mixers(nn.Module):
    """A language model of pre-norm residual mixers over time."""

    def __init__(self, mixers: list[nn.Module], width: int = 32) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, width)
        self.mixers = nn.ModuleList(mixers)
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in mixers])
        self.final, self.head = nn.LayerNorm(width), nn.Linear(width, VOCABULARY, bias=False)
        nn.init.normal_(self.embedding.weight, std=0.02)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids)
        for norm, mixer in zip(self.norms, self.mixers, strict=True):
            x = x + mixer(norm(x))
        return self.head(self.final(x))


time_mixing = partial(book.healthy, task=tokens, loss=of_tokens, learning_rate=5e-3, steps=150)


@time_mixing(
    "selective-state-space",
    "Rows of A_log are equal and D is all ones: the channels part by what they see.",
    family="ssm",
)
def _mamba() -> nn.Module:
    return _Mixers([_Selective(32), _Selective(32)])


class _Diagonal(nn.Module):
    """A diagonal state space of complex poles (S4D-Lin), applied as a convolution."""

    def __init__(self, width: int, states: int = 16) -> None:
        super().__init__()
        step = torch.exp(torch.rand(width) * (math.log(0.1) - math.log(1e-3)) + math.log(1e-3))
        self.log_step = nn.Parameter(step.log())
        self.out = nn.Parameter(torch.view_as_real(torch.randn(width, states, dtype=torch.cfloat)))
        self.log_decay = nn.Parameter(torch.log(0.5 * torch.ones(width, states)))
        self.frequency = nn.Parameter(math.pi * torch.arange(states).float().repeat(width, 1))
        self.skip, self.mix = nn.Parameter(torch.randn(width)), nn.Linear(width, 2 * width)

    def forward(self, x: Tensor) -> Tensor:
        length = x.shape[1]
        poles = torch.complex(-torch.exp(self.log_decay), self.frequency)
        scaled = poles * self.log_step.exp()[:, None]
        weights = torch.view_as_complex(self.out) * (torch.exp(scaled) - 1) / poles
        powers = torch.exp(scaled[..., None] * torch.arange(length))
        kernel = 2 * torch.einsum("cn,cnl->cl", weights, powers).real
        spectrum = torch.fft.rfft(kernel, 2 * length) * torch.fft.rfft(x.transpose(1, 2), 2 * length)
        mixed = torch.fft.irfft(spectrum, 2 * length)[..., :length].transpose(1, 2) + x * self.skip
        return functional.glu(self.mix(functional.gelu(mixed)), -1)


@time_mixing(
    "s4d-diagonal",
    "Complex poles on a grid, equal in every channel: structure, not a lost draw.",
    family="ssm",
    steps=200,
)
def _s4d() -> nn.Module:
    return _Mixers([_Diagonal(32), _Diagonal(32)])


class _LinearAttention(nn.Module):
    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads, self.qkv, self.out = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (part.unflatten(-1, (self.heads, -1)) for part in self.qkv(x).chunk(3, dim=-1))
        query, key = functional.elu(query) + 1, functional.elu(key) + 1
        memory = torch.einsum("bthd,bthe->bthde", key, value).cumsum(1)
        total = torch.einsum("bthd,bthd->bth", query, key.cumsum(1))
        return self.out((torch.einsum("bthd,bthde->bthe", query, memory) / (total[..., None] + 1e-6)).flatten(2))


@time_mixing(
    "linear-attention", "Positive feature maps instead of a softmax: nothing to saturate.", family="transformer"
)
def _linear() -> nn.Module:
    return _Mixers([_LinearAttention(32), _LinearAttention(32)])


class _Gated(nn.Module):
    """A real-gated linear recurrence whose decays start between 0.9 and 0.999."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.enter, self.gate, self.out = (nn.Linear(width, width) for _ in range(3))
        decay = torch.empty(width).uniform_(0.9, 0.999)
        self.decay = nn.Parameter(torch.log(decay / (1 - decay)))

    def forward(self, x: Tensor) -> Tensor:
        keep, value = torch.sigmoid(self.decay), self.enter(x) * torch.sigmoid(self.gate(x))
        state, outputs = torch.zeros_like(value[:, 0]), []
        for step in value.unbind(1):
            state = keep * state + torch.sqrt(1 - keep**2) * step
            outputs.append(state)
        return self.out(torch.stack(outputs, 1))


@time_mixing("gated-linear-recurrence", "Decays near one sit at the far end of a sigmoid on purpose.", family="ssm")
def _gated() -> nn.Module:
    return _Mixers([_Gated(32), _Gated(32)])


class _Pooled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(200, 16, padding_idx=0)
        self.convolution, self.head = nn.Conv1d(16, 32, 3, padding=1), nn.Linear(32, 4)

    def forward(self, ids: Tensor) -> Tensor:
        x = functional.relu(self.convolution(self.embedding(ids).transpose(1, 2)))
        return self.head(x.amax(2))


@book.healthy(
    "padding-and-absent-rows",
    "A padding row of zeros, and most rows of the table are not in the batch.",
    family="cnn",
    task=lambda number: classes_of(number),
    steps=150,
)
def _text() -> nn.Module:
    return _Pooled()


CASES = book.cases
