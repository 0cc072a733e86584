"""Networks whose loss takes another kind of output than they give, and their repaired twins."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from calibration.cases.faulty_pair import Faults, adam
from calibration.cases.faulty_tasks import clusters, images, tokens

FAULTS = Faults()


@FAULTS.pair(
    "loss-mismatch-logits",
    "mlp",
    "loss-mismatch",
    why="NLLLoss on the raw output of the last layer: it falls without end and never compares the classes.",
    sound="LogSoftmax is the last module.",
    training=replace(adam(clusters), judged_by="accuracy"),
)
def _raw(*, mended: bool) -> tuple[Any, ...]:
    net = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 8))
    return (net.append(nn.LogSoftmax(dim=1)) if mended else net), *clusters(0), nn.NLLLoss()


@FAULTS.pair(
    "loss-mismatch-probabilities",
    "transformer",
    "loss-mismatch",
    why="Softmax where log_softmax was meant, in a language model whose loss is nll_loss.",
    sound="The network ends with log_softmax over the vocabulary.",
    no_training="a task as easy as this one is learnt through a loss of probabilities, too",
)
def _probabilities(*, mended: bool) -> tuple[Any, ...]:
    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.norm = nn.Embedding(48, 32), nn.LayerNorm(32)
            self.mix = nn.TransformerEncoderLayer(32, 2, 64, dropout=0.0, batch_first=True, norm_first=True)
            self.out = nn.Linear(32, 48)

        def forward(self, ids: Tensor) -> Tensor:
            mask = nn.Transformer.generate_square_subsequent_mask(ids.shape[1])
            h = self.out(self.norm(self.mix(self.table(ids), src_mask=mask, is_causal=True)))
            return (torch.log_softmax if mended else torch.softmax)(h, dim=-1)

    return Reader(), *tokens(0), lambda output, target: functional.nll_loss(output.transpose(1, 2), target)


@FAULTS.pair(
    "loss-mismatch-pixel-scores",
    "cnn",
    "loss-mismatch",
    why="A segmenter whose class scores per pixel go into nll_loss as they are.",
    sound="The scores go through log_softmax over the channels.",
    training=replace(adam(None, rate=5e-3, steps=120), judged_by="accuracy"),
)
def _pixels(*, mended: bool) -> tuple[Any, ...]:
    pictures, _ = images(0, n=16)
    maps = (pictures[:, 0] > 0).long() + 2 * (pictures[:, 1] > 0.5).long()
    net = nn.Sequential(nn.Conv2d(3, 24, 3, padding=1), nn.SiLU(), nn.Conv2d(24, 4, 3, padding=1))
    return (net.append(nn.LogSoftmax(dim=1)) if mended else net), pictures, maps, functional.nll_loss


CASES = FAULTS.cases
"""Broken networks, each followed by its twin."""
