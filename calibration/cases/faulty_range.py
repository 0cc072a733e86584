"""Networks whose units sit where the slope has gone, or whose inputs have a scale of their own; and their twins."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from calibration.cases.faulty_pair import Faults, adam, momentum, sgd
from calibration.cases.faulty_tasks import averages, clusters, images, memories, table

FAULTS = Faults()

DIGITS = partial(clusters, features=64, classes=8, apart=0.5)
RAW_IMAGES = partial(images, raw=True)
STANDARD_TABLE = partial(table, standard=True)


class _SigmoidNet(nn.Module):
    """The two-layer sigmoid network of every first lesson, with its own matrices."""

    def __init__(self, spread: float) -> None:
        super().__init__()
        self.wih = nn.Parameter(torch.randn(64, 64) * spread)
        self.who = nn.Parameter(torch.randn(64, 8) * spread)

    def forward(self, x: Tensor) -> Tensor:
        return (x @ self.wih).sigmoid() @ self.who


@FAULTS.pair(
    "saturated-sigmoid-std-4",
    "mlp",
    "saturated initial-loss",
    why="Weights of std 4 under a sigmoid: nearly every hidden unit is 0 or 1 (report 43).",
    sound="Weights of std 1 / sqrt(64).",
    training=sgd(DIGITS, rate=0.3),
)
def _sigmoid_std_4(*, mended: bool) -> tuple[Any, ...]:
    return _SigmoidNet(0.125 if mended else 4.0), *DIGITS(0), functional.cross_entropy


class _TanhImages(nn.Module):
    def __init__(self, *, normalise: bool) -> None:
        super().__init__()
        self.normalise = normalise
        self.c1 = nn.Conv2d(3, 12, 3)
        self.c2 = nn.Conv2d(12, 16, 3, stride=2)
        self.fc = nn.Linear(16 * 16, 6)
        for layer in (self.c1, self.c2, self.fc):
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, image: Tensor) -> Tensor:
        x = (image - 127.5) / 64.0 if self.normalise else image
        x = torch.tanh(self.c1(x))
        x = torch.tanh(self.c2(x))
        return self.fc(x.flatten(1))


@FAULTS.pair(
    "saturated-tanh-raw-pixels",
    "cnn",
    "saturated input-scale",
    why="Pixels 0 ... 255 go straight into a tanh: the first layer is a sign function (report 43).",
    sound="The pixels are centred and scaled before the first layer.",
    training=sgd(RAW_IMAGES, rate=0.05, steps=30),
)
def _raw_pixels_tanh(*, mended: bool) -> tuple[Any, ...]:
    return _TanhImages(normalise=mended), *RAW_IMAGES(0), functional.cross_entropy


class _SetAttention(nn.Module):
    """One block of self-attention with a residual, heads written out by hand."""

    def __init__(self, scale: float, width: int = 64, heads: int = 2) -> None:
        super().__init__()
        self.heads, self.scale = heads, scale
        self.embed = nn.Linear(32, width)
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width)
        self.read = nn.Linear(width, 32)
        nn.init.normal_(self.qkv.weight, std=1.2 * width**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x)
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(self.norm(h)).chunk(3, dim=-1)
        )
        weights = torch.softmax(q @ k.transpose(-2, -1) * self.scale, dim=-1)
        mixed = (weights @ v).transpose(1, 2).flatten(2)
        return self.read(h + self.out(mixed))


@FAULTS.pair(
    "saturated-attention-without-root",
    "transformer",
    "saturated",
    why="softmax(q k^T) without 1/sqrt(d): scores of deviation 8, each query sees one key (report 49).",
    sound="The scores are divided by sqrt(d).",
    training=adam(averages, rate=1e-3, steps=100),
)
def _no_root(*, mended: bool) -> tuple[Any, ...]:
    return _SetAttention(32**-0.5 if mended else 1.0), *averages(0), functional.mse_loss


@FAULTS.pair(
    "saturated-attention-root-inverted",
    "transformer",
    "saturated",
    why="The scores are multiplied by sqrt(d) where they should be divided by it (report 49).",
    sound="The scores are divided by sqrt(d).",
    training=adam(averages, rate=1e-3, steps=100),
)
def _root_inverted(*, mended: bool) -> tuple[Any, ...]:
    return _SetAttention(16**-0.5 if mended else 16**0.5, heads=4), *averages(0), nn.MSELoss()


class _Unrolled(nn.Module):
    def __init__(self, cell: nn.RNNCell, head: nn.Linear) -> None:
        super().__init__()
        self.cell, self.head = cell, head

    def forward(self, series: Tensor) -> Tensor:
        h = series.new_zeros(len(series), self.cell.hidden_size)
        for t in range(series.shape[1]):
            h = self.cell(series[:, t], h)
        return self.head(h)


@FAULTS.pair(
    "saturated-tanh-cell-std-2",
    "rnn",
    "saturated recurrent-blow-up",
    why="A tanh cell with recurrent weights of std 2: the state jumps between the corners of the cube.",
    sound="An orthogonal recurrent matrix and inputs weighted by 0.2.",
    training=adam(memories),
)
def _cell_std_2(*, mended: bool) -> tuple[Any, ...]:
    cell = nn.RNNCell(8, 40, bias=False)
    head = nn.Linear(40, 4)
    if mended:
        nn.init.orthogonal_(cell.weight_hh)
        nn.init.normal_(cell.weight_ih, std=0.2)
    else:
        nn.init.normal_(cell.weight_hh, std=2.0)
        nn.init.normal_(cell.weight_ih, std=2.0)
    return _Unrolled(cell, head), *memories(0), functional.cross_entropy


@FAULTS.pair(
    "saturated-tanh-gain-8",
    "mlp",
    "saturated",
    why="A mild one: xavier_uniform_(gain=8) where 5/3 was meant, in a stack of three tanh layers.",
    sound="The gain of tanh, 5/3.",
    training=momentum(DIGITS, rate=0.01),
)
def _gain_8(*, mended: bool) -> tuple[Any, ...]:
    net = nn.Sequential()
    for _ in range(3):
        layer = nn.Linear(64, 64)
        nn.init.xavier_uniform_(layer.weight, gain=nn.init.calculate_gain("tanh") if mended else 8.0)
        nn.init.zeros_(layer.bias)
        net.extend([layer, nn.Tanh()])
    head = nn.Linear(64, 8)
    nn.init.normal_(head.weight, std=0.02)
    net.append(head)
    return net, *DIGITS(0), nn.CrossEntropyLoss()


class _Regressor(nn.Module):
    def __init__(self, columns: int) -> None:
        super().__init__()
        self.l1 = nn.Linear(columns, 64)
        self.l2 = nn.Linear(64, 64)
        self.l3 = nn.Linear(64, 1)
        nn.init.kaiming_normal_(self.l1.weight, nonlinearity="relu")
        nn.init.kaiming_normal_(self.l2.weight, nonlinearity="relu")
        nn.init.normal_(self.l3.weight, std=0.05)

    def forward(self, row: Tensor) -> Tensor:
        return self.l3(functional.relu(self.l2(functional.relu(self.l1(row)))))


@FAULTS.pair(
    "input-scale-metres",
    "mlp",
    "input-scale initial-loss",
    why="Rooms, years and metres as they stand in the table: the distance in metres is all that the network sees.",
    sound="The same rows, every column standardised.",
    training=adam(table, rate=1e-3, steps=200),
    mended_batches=STANDARD_TABLE,
)
def _metres(*, mended: bool) -> tuple[Any, ...]:
    return _Regressor(4), *(STANDARD_TABLE if mended else table)(0), functional.mse_loss


class _PlainConv(nn.Module):
    def __init__(self, scale: tuple[float, float]) -> None:
        super().__init__()
        self.mean, self.std = scale
        self.features = nn.Sequential(
            *(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        )
        self.classifier = nn.Linear(32, 6)
        for m in self.features:
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, nonlinearity="relu")
                nn.init.zeros_(m.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features((x - self.mean) / self.std))


@FAULTS.pair(
    "input-scale-bytes",
    "cnn",
    "input-scale initial-loss confident-and-wrong",
    why="Images of 0 ... 255 into a plain rectifier network without any normalisation.",
    sound="The images are normalised by their mean and deviation.",
    training=momentum(RAW_IMAGES, rate=0.02),
)
def _bytes(*, mended: bool) -> tuple[Any, ...]:
    return _PlainConv((120.0, 60.0) if mended else (0.0, 1.0)), *RAW_IMAGES(0), functional.cross_entropy


def _concentrations(step: int, *, unit: float = 1e-6) -> tuple[Tensor, Tensor]:
    rows, labels = clusters(step, features=12, classes=5, apart=1.0)
    return rows * unit, labels


IN_MICROMOL = partial(_concentrations, unit=1.0)


@FAULTS.pair(
    "input-scale-moles",
    "mlp",
    "input-scale input-blind",
    why="Concentrations in mol: values near 1e-6 vanish beside the default biases, all samples look alike.",
    sound="The same concentrations in micromol.",
    training=adam(_concentrations, rate=1e-3),
    mended_batches=IN_MICROMOL,
)
def _moles(*, mended: bool) -> tuple[Any, ...]:
    net = nn.Sequential(nn.Linear(12, 48), nn.GELU(), nn.Linear(48, 48), nn.GELU(), nn.Linear(48, 5))
    return net, *(IN_MICROMOL if mended else _concentrations)(0), nn.CrossEntropyLoss()


def _prices(step: int, *, standard: bool = False) -> tuple[Tensor, Tensor]:
    series, labels = memories(step, features=2)
    return (series if standard else 4200.0 + 90.0 * series), labels


STANDARD_PRICES = partial(_prices, standard=True)


@FAULTS.pair(
    "input-scale-prices",
    "rnn",
    "input-scale saturated",
    why="Prices near 4200 into an LSTM: every gate is shut or open whatever the day.",
    sound="Prices standardised.",
    training=adam(_prices),
    mended_batches=STANDARD_PRICES,
)
def _lstm_prices(*, mended: bool) -> tuple[Any, ...]:
    class Ticker(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.LSTM(2, 32, batch_first=True)
            self.head = nn.Linear(32, 4)

        def forward(self, days: Tensor) -> Tensor:
            states, _ = self.rnn(days)
            return self.head(states[:, -1])

    return Ticker(), *(STANDARD_PRICES if mended else _prices)(0), functional.cross_entropy


def _kelvin(step: int, *, centre: float = 0.0) -> tuple[Tensor, Tensor]:
    rows, labels = clusters(step, features=10, classes=6, apart=1.0)
    return 290.0 + 8.0 * rows - centre, labels


@FAULTS.pair(
    "input-scale-kelvin",
    "mlp",
    "input-scale",
    why="A mild one: temperatures in kelvin, a common offset of 290 with differences of 8.",
    sound="The mean is subtracted and the rest divided by the deviation in the first line of forward.",
    training=sgd(_kelvin, rate=0.02),
)
def _kelvin_net(*, mended: bool) -> tuple[Any, ...]:
    class Stations(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = nn.Linear(10, 64)
            self.out = nn.Linear(64, 6)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            if mended:
                x = (x - 290.0) / 8.0
            return {"logits": self.out(functional.elu(self.hidden(x)))}

    return Stations(), *_kelvin(0), lambda output, target: functional.cross_entropy(output["logits"], target)


CASES = FAULTS.cases
"""Broken networks, each followed by its twin."""
