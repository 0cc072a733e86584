"""Starts in which modules in series are copies of each other: worth an information, no more; and their twins."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from calibration import tasks
from calibration.case import Case
from calibration.pair import pair

_WIDE = tasks.teacher(91, batch=64, features=16, outputs=16, width=16, bend=2.0)
_TEXT = tasks.markov(92, batch=16, length=16, vocabulary=10)


def _expert(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


class _Block(nn.Module):
    """A pre-norm block of attention and MLP."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mix = nn.MultiheadAttention(width, 2, batch_first=True)
        self.mlp = _expert(width, 2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        x = x + self.mix(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.second(x))


class _Reader(nn.Module):
    """Embedding, blocks, readout."""

    def __init__(self, blocks: list[nn.Module]) -> None:
        super().__init__()
        self.embed = nn.Embedding(10, 16)
        self.blocks = nn.Sequential(*blocks)
        self.out = nn.Linear(16, 10)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.out(self.blocks(self.embed(tokens))).transpose(1, 2)


def _copied_blocks(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    block = _Block(16)
    blocks: list[nn.Module] = [copy.deepcopy(block) if broken else _Block(16) for _ in range(4)]
    return _Reader(blocks), *_TEXT(0), nn.CrossEntropyLoss()


def _library_encoder(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, batch_first=True, norm_first=True)
    encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
    if not broken:
        for parameter in encoder.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
    return _Reader([encoder]), *_TEXT(0), nn.CrossEntropyLoss()


class _LowRank(nn.Module):
    """A linear layer whose base is frozen, with a low-rank adapter beside it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.base = nn.Linear(width, width)
        self.base.requires_grad_(False)
        self.a, self.b = nn.Linear(width, 4, bias=False), nn.Linear(4, width, bias=False)
        nn.init.zeros_(self.b.weight)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.base(x) + self.b(self.a(x)))


def _copied_adapters(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    layers = [_LowRank(16) for _ in range(3)]
    if broken:
        for layer in layers[1:]:
            layer.a.load_state_dict(layers[0].a.state_dict())
    return nn.Sequential(*layers, nn.Linear(16, 16)), *_WIDE(0), nn.MSELoss()


_IN_SERIES = "Copies in series get different gradients and train apart: an information, and no training shows a harm."

CASES: tuple[Case, ...] = (
    *pair(
        "transformer-blocks-deepcopied",
        _copied_blocks,
        family="transformer",
        rules=("clones-in-series",),
        why="Four blocks in series are deep copies of one (report 3).",
        why_no_training=_IN_SERIES,
    ),
    *pair(
        "library-encoder-equal-layers",
        _library_encoder,
        family="transformer",
        rules=("clones-in-series",),
        why="nn.TransformerEncoder copies the layer it is given; nobody started the copies anew (report 1).",
        why_no_training=_IN_SERIES,
    ),
    *pair(
        "adapters-equal-in-all-layers",
        _copied_adapters,
        family="lora",
        rules=("clones-in-series",),
        why="The first adapter factor was loaded into all layers (report 2).",
        why_no_training=_IN_SERIES,
    ),
)
"""Clones in series."""
