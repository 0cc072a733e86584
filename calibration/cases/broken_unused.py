"""Broken starts in which parameters take no part, or are frozen though nobody trained them, and their twins."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from calibration import tasks
from calibration.case import Case, Training
from calibration.pair import pair

_WAVES = tasks.waves(41, batch=64, features=8, outputs=3)
_REVERSED = tasks.reversal(42, batch=32, length=8, vocabulary=6)
_TEXT = tasks.markov(43, batch=16, length=16, vocabulary=10)
_PICTURES = tasks.images(44, batch=32, channels=3, size=12, classes=8)
_GROUPS = tasks.blobs(45, batch=64, features=8, classes=6, centres=4)


class _Reader(nn.Module):
    """A one-block encoder that tells a token at every position; positions are to be added."""

    def __init__(self, *, broken: bool) -> None:
        super().__init__()
        self.broken = broken
        self.tokens = nn.Embedding(6, 32)
        self.places = nn.Embedding(8, 32)
        layer = nn.TransformerEncoderLayer(32, 2, 64, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1)
        self.out = nn.Linear(32, 6)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tokens(ids)
        if not self.broken:
            x = x + self.places(torch.arange(ids.shape[1]))
        return self.out(self.encoder(x))


def _of_rows(output: Tensor, target: Tensor) -> Tensor:
    return functional.cross_entropy(output.flatten(0, 1), target.flatten())


def _places(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    return _Reader(broken=broken), *_REVERSED(0), _of_rows


class _Forgotten(nn.Module):
    """Three linear layers, the middle one written into the constructor alone."""

    def __init__(self, *, broken: bool) -> None:
        super().__init__()
        self.broken = broken
        self.stem = nn.Linear(8, 48)
        self.hidden = nn.Sequential(nn.ReLU(), nn.Linear(48, 48), nn.ReLU())
        self.out = nn.Linear(48, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.out(x if self.broken else self.hidden(x))


def _hidden(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    return _Forgotten(broken=broken), *_WAVES(0), nn.MSELoss()


class _TwoInputs(nn.Module):
    """Two named inputs, each with an encoder; the second encoder's call was lost in a merge."""

    def __init__(self, *, broken: bool) -> None:
        super().__init__()
        self.broken = broken
        self.left = nn.Sequential(nn.Linear(4, 32), nn.Tanh())
        self.right = nn.Sequential(nn.Linear(4, 32), nn.Tanh())
        self.joint = nn.Sequential(nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 6))

    def forward(self, left: Tensor, right: Tensor) -> dict[str, Tensor]:
        h = self.left(left)
        if not self.broken:
            h = h + self.right(right)
        return {"scores": self.joint(h)}


def _named(step: int) -> tuple[Any, Any]:
    inputs, targets = _GROUPS(step)
    return {"left": inputs[:, :4], "right": inputs[:, 4:]}, targets


def _of_scores(output: dict[str, Tensor], target: Tensor) -> Tensor:
    return functional.cross_entropy(output["scores"], target)


def _two_inputs(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    return _TwoInputs(broken=broken), *_named(0), _of_scores


class _Template(nn.Module):
    """An encoder that keeps the layer it was cloned from."""

    def __init__(self, *, broken: bool) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        if broken:
            self.layer = layer
        self.table = nn.Embedding(10, 16)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.out = nn.Linear(16, 10)

    def forward(self, ids: Tensor) -> Tensor:
        return self.out(self.encoder(self.table(ids)))


def _template(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    return _Template(broken=broken), *_TEXT(0), _of_rows


class _Detector(nn.Module):
    """A convolutional net whose deeper stages hang on nothing."""

    def __init__(self, *, broken: bool) -> None:
        super().__init__()
        self.broken = broken
        self.one = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU())
        self.two = nn.Sequential(nn.Conv2d(6, 24, 3, stride=2, padding=1), nn.ReLU())
        self.squeeze = nn.Conv2d(24, 6, 1)
        self.head = nn.Linear(6, 8)

    def forward(self, image: Tensor) -> Tensor:
        maps = self.one(image)
        if not self.broken:
            maps = self.squeeze(self.two(maps))
        return self.head(maps.mean((2, 3)))


def _stages(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    return _Detector(broken=broken), *_PICTURES(0), nn.CrossEntropyLoss()


def _frozen_backbone(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    backbone = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.ReLU()
    )
    if broken:
        for parameter in backbone.parameters():
            parameter.requires_grad = False
    model = nn.Sequential(backbone, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 8))
    return model, *_PICTURES(0), nn.CrossEntropyLoss()


def _bags(step: int) -> tuple[Tensor, Tensor]:
    """Bags of twelve words out of thirty; each word speaks for one of four classes, the loudest class wins."""
    words = torch.randint(0, 30, (64, 12), generator=tasks.generator(46, step))
    scores = torch.randn(30, 4, generator=tasks.generator(46))
    return words, scores[words].sum(1).argmax(-1)


def _frozen_table(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    vectors = torch.randn(30, 5)
    model = nn.Sequential(nn.EmbeddingBag.from_pretrained(vectors, freeze=broken), nn.Linear(5, 4))
    return model, *_bags(0), functional.cross_entropy


def _all_but_last(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    model = nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 32), nn.GELU(), nn.Linear(32, 3))
    if broken:
        for parameter in list(model.parameters())[:-2]:
            parameter.requires_grad_(False)
    return model, *_WAVES(0), nn.SmoothL1Loss()


class _Encoder(nn.Module):
    """A hand-written encoder block under a linear readout, as for linear probing."""

    def __init__(self, *, freeze: bool) -> None:
        super().__init__()
        self.embed = nn.Embedding(6, 16)
        self.place = nn.Parameter(torch.randn(8, 16))
        self.attend = nn.MultiheadAttention(16, 2, batch_first=True)
        self.norm = nn.LayerNorm(16)
        self.probe = nn.Linear(16, 6)
        if freeze:
            self.requires_grad_(False)
            self.probe.requires_grad_(True)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids) + self.place
        return self.probe(self.norm(x + self.attend(x, x, x)[0]))


def _probed(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    return _Encoder(freeze=broken), *_REVERSED(0), _of_rows


CASES: tuple[Case, ...] = (
    *pair(
        "positions-never-added",
        _places,
        family="transformer",
        rules=("never-used",),
        why="The position embedding is made and never added, so the encoder cannot tell positions apart.",
        training=Training(batches=_REVERSED, learning_rate=5e-3, steps=200),
    ),
    *pair(
        "hidden-layers-not-called",
        _hidden,
        family="mlp",
        rules=("never-used",),
        why="The hidden layers are constructed and skipped in forward: what remains is linear (report 51).",
        training=Training(batches=_WAVES, learning_rate=5e-3, steps=300),
    ),
    *pair(
        "second-encoder-lost",
        _two_inputs,
        family="mlp",
        rules=("never-used",),
        why="Two named inputs come in, one encoder is called; the other is dead weight.",
        training=Training(batches=_named, learning_rate=1e-2, steps=200),
    ),
    *pair(
        "template-layer-kept",
        _template,
        family="transformer",
        rules=("never-used",),
        why="The layer handed to nn.TransformerEncoder stays on self beside its copies (report 52).",
        why_no_training="The spare layer changes nothing that is computed: it wastes memory and breaks DDP.",
    ),
    *pair(
        "conv-stage-not-wired",
        _stages,
        family="cnn",
        rules=("never-used",),
        why="The second stage and its squeeze are defined and forward goes straight to the head.",
        training=Training(batches=_PICTURES, learning_rate=5e-3, steps=150),
    ),
    *pair(
        "frozen-backbone-without-weights",
        _frozen_backbone,
        family="cnn",
        rules=("frozen-random",),
        why="The backbone is frozen as for fine-tuning, and its weights were never loaded.",
        training=Training(batches=_PICTURES, learning_rate=5e-3, steps=200),
    ),
    *pair(
        "frozen-random-table",
        _frozen_table,
        family="embedding",
        rules=("frozen-random",),
        why="from_pretrained() was given random vectors while the real ones were missing; it freezes them.",
        training=Training(batches=_bags, learning_rate=3e-2, steps=200),
    ),
    *pair(
        "all-but-last-frozen",
        _all_but_last,
        family="mlp",
        rules=("frozen-random",),
        why="A transfer-learning loop froze all but the last layer of a network that starts from scratch.",
        training=Training(batches=_WAVES, learning_rate=5e-3, steps=300),
    ),
    *pair(
        "linear-probe-on-nothing",
        _probed,
        family="transformer",
        rules=("frozen-random",),
        why="A linear probe over a transformer block that nobody trained.",
        training=Training(batches=_REVERSED, learning_rate=1e-2, steps=250),
    ),
)
"""Parameters that are never read, and random ones that are frozen."""
