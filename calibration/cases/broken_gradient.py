"""Broken starts that some gradient never leaves or reaches: products of zeros and cut graphs, and their twins."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from calibration import tasks
from calibration.case import Case, Training
from calibration.pair import pair

_CURVED = tasks.teacher(31, batch=64, features=8, outputs=4, width=12, bend=3.0)
_WAVES = tasks.waves(37, batch=64, features=8, outputs=4)
_GROUPS = tasks.blobs(32, batch=64, features=8, classes=6, centres=4)
_SHIFT = tasks.teacher(33, batch=64, features=16, outputs=16, width=16, bend=1.0)
_PICTURES = tasks.images(34, batch=32, channels=3, size=12, classes=6)
_TEXT = tasks.markov(35, batch=16, length=16, vocabulary=10)
_SMOOTH = tasks.smooth_images(36, batch=32, channels=1, size=12)


class _Adapted(nn.Module):
    """A frozen linear layer with a low-rank adapter; a slot that is used again is emptied first."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.lora_a = nn.Parameter(torch.empty(rank, base.in_features))
        self.lora_b = nn.Parameter(torch.empty(base.out_features, rank))
        self.reset()

    def reset(self) -> None:
        nn.init.kaiming_uniform_(self.lora_a, a=math.sqrt(5))
        nn.init.zeros_(self.lora_b)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + (x @ self.lora_a.T) @ self.lora_b.T


def _adapter_slot(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    model = nn.Sequential(_Adapted(nn.Linear(16, 32), 4), nn.Tanh(), _Adapted(nn.Linear(32, 16), 4))
    for layer in model:
        if broken and isinstance(layer, _Adapted):
            layer.lora_a.data.zero_()
    return model, *_SHIFT(0), functional.mse_loss


class _SwitchedBlock(nn.Module):
    """A residual block with a learnt gate that starts closed."""

    def __init__(self, width: int, *, broken: bool) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.gate = nn.Parameter(torch.zeros(1))
        if broken:
            nn.init.zeros_(self.down.weight)
            nn.init.zeros_(self.down.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.gate * self.down(functional.gelu(self.up(x)))


def _two_tricks(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    blocks = [_SwitchedBlock(8, broken=broken) for _ in range(4)]
    return nn.Sequential(*blocks, nn.Linear(8, 4)), *_WAVES(0), nn.MSELoss()


def _zero_pair(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    model = nn.Sequential(nn.Linear(8, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 6))
    nn.init.zeros_(model[4].weight)
    nn.init.zeros_(model[4].bias)
    if broken:
        nn.init.zeros_(model[2].weight)
        nn.init.zeros_(model[2].bias)
    return model, *_GROUPS(0), nn.CrossEntropyLoss()


class _GatedFusion(nn.Module):
    """Two views of the input; the second enters through a gate of two layers, as in a language-guided backbone."""

    def __init__(self, *, broken: bool) -> None:
        super().__init__()
        self.plain = nn.Linear(8, 4)
        self.guide = nn.Sequential(nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, 4))
        self.gate = nn.Sequential(nn.Linear(4, 4, bias=False), nn.ReLU(), nn.Linear(4, 4, bias=False), nn.Tanh())
        nn.init.zeros_(self.gate[2].weight)
        if broken:
            nn.init.zeros_(self.gate[0].weight)

    def forward(self, x: Tensor) -> Tensor:
        hint = self.guide(x)
        return self.plain(x) + self.gate(hint) * hint


def _zero_gate(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    return _GatedFusion(broken=broken), *_WAVES(0), functional.smooth_l1_loss


class _Aggregate(nn.Module):
    """Mixes the outputs of earlier layers with weights that a rectified layer tells."""

    def __init__(self, *, broken: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
        self.chooser = nn.Linear(8, 3)
        if broken:
            nn.init.zeros_(self.chooser.weight)
            nn.init.zeros_(self.chooser.bias)
        else:
            nn.init.normal_(self.chooser.weight, std=0.1)
            nn.init.constant_(self.chooser.bias, 0.1)
        self.out = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        states = []
        for layer in self.layers:
            x = torch.tanh(layer(x))
            states.append(x)
        share = functional.relu(self.chooser(states[0]))
        return self.out((share.unsqueeze(1) @ torch.stack(states, 1)).squeeze(1))


def _aggregate(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    return _Aggregate(broken=broken), *_CURVED(0), nn.MSELoss()


class _DeadBranch(nn.Module):
    """A convolutional residual block without norms whose branch was zeroed as a whole."""

    def __init__(self, channels: int, *, broken: bool) -> None:
        super().__init__()
        self.a = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.b = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        nn.init.zeros_(self.b.weight)
        if broken:
            nn.init.zeros_(self.a.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.b(functional.relu(self.a(x)))


def _dead_branches(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    model = nn.Sequential(
        nn.Conv2d(3, 12, 3, stride=2, padding=1),
        *[_DeadBranch(12, broken=broken) for _ in range(2)],
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(12, 6),
    )
    return model, *_PICTURES(0), nn.CrossEntropyLoss()


class _Classifier(nn.Module):
    """Features and head; somebody wanted the features for a plot and took them out of the graph."""

    def __init__(self, *, broken: bool) -> None:
        super().__init__()
        self.broken = broken
        self.features = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 6), nn.ReLU())
        self.head = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        h = self.features(x)
        self.last = h.detach()
        return self.head(self.last if self.broken else h)


def _detached(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    return _Classifier(broken=broken), *_GROUPS(0), functional.cross_entropy


class _Normalised(nn.Module):
    """A network that standardises its own hidden layer; through .data, which leaves the graph."""

    def __init__(self, *, broken: bool) -> None:
        super().__init__()
        self.broken = broken
        self.inner, self.middle, self.outer = nn.Linear(8, 10), nn.Linear(10, 10), nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.inner(x))
        source = h.data if self.broken else h
        h = (source - source.mean(0)) / (source.std(0) + 1e-5)
        return self.outer(torch.tanh(self.middle(h)))


def _through_data(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    return _Normalised(broken=broken), *_WAVES(0), nn.MSELoss()


class _Codebook(nn.Module):
    """An autoencoder over a discrete code; argmax where a softmax belongs."""

    def __init__(self, *, broken: bool) -> None:
        super().__init__()
        self.broken = broken
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(144, 64), nn.ReLU(), nn.Linear(64, 24))
        self.words = nn.Embedding(24, 16)
        self.decoder = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 144))

    def forward(self, image: Tensor) -> Tensor:
        scores = self.encoder(image)
        code = self.words(scores.argmax(-1)) if self.broken else scores.softmax(-1) @ self.words.weight
        return self.decoder(code).view_as(image)


def _argmax(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    return _Codebook(broken=broken), *_SMOOTH(0), functional.mse_loss


class _RoundTrip(nn.Module):
    """A recurrent language model that hands its embedding through numpy, for a filter that was never written."""

    def __init__(self, *, broken: bool) -> None:
        super().__init__()
        self.broken = broken
        self.embed = nn.Embedding(10, 2)
        self.mix = nn.Linear(2, 6)
        self.rnn = nn.GRU(6, 32, batch_first=True)
        self.out = nn.Linear(32, 10)

    def forward(self, tokens: Tensor) -> Tensor:
        x = torch.tanh(self.mix(self.embed(tokens)))
        if self.broken:
            x = torch.tensor(np.asarray(x.tolist(), dtype=np.float32))
        return self.out(self.rnn(x)[0]).transpose(1, 2)


def _numpy(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    return _RoundTrip(broken=broken), *_TEXT(0), nn.CrossEntropyLoss()


class _NoGrad(nn.Module):
    """A transformer whose stem sits in a no_grad block that was meant for evaluation."""

    def __init__(self, *, broken: bool) -> None:
        super().__init__()
        self.broken = broken
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 4, stride=4), nn.GELU())
        self.grow = nn.Linear(4, 24)
        layer = nn.TransformerEncoderLayer(24, 2, 48, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1)
        self.head = nn.Linear(24, 6)

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        with torch.set_grad_enabled(not self.broken):
            patches = self.grow(self.stem(pixels).flatten(2).transpose(1, 2))
        return {"logits": self.head(self.encoder(patches).mean(1))}


def _no_grad(*, broken: bool) -> tuple[Any, Any, Any, Any]:
    inputs, targets = _PICTURES(0)
    loss = nn.CrossEntropyLoss()
    return _NoGrad(broken=broken), {"pixels": inputs}, targets, lambda output, target: loss(output["logits"], target)


def _named_pictures(step: int) -> tuple[Any, Any]:
    inputs, targets = _PICTURES(step)
    return {"pixels": inputs}, targets


CASES: tuple[Case, ...] = (
    *pair(
        "adapter-both-factors-zero",
        _adapter_slot,
        family="lora",
        rules=("gradient-blocked",),
        why="Both low-rank factors are zero, so each keeps the other's gradient at zero (reports 9, 11).",
        training=Training(batches=_SHIFT, learning_rate=1e-2, steps=200),
    ),
    *pair(
        "zero-gate-over-zero-branch",
        _two_tricks,
        family="residual",
        rules=("gradient-blocked",),
        why="A ReZero gate on top of a zero-started last layer: two good tricks, no gradient (report 15).",
        training=Training(batches=_WAVES, learning_rate=1e-2, steps=200),
    ),
    *pair(
        "two-last-layers-zero",
        _zero_pair,
        family="mlp",
        rules=("gradient-blocked",),
        why="The last two layers of a tanh net are zero: only the last bias ever gets a gradient.",
        training=Training(batches=_GROUPS, learning_rate=5e-3, steps=200),
    ),
    *pair(
        "gate-of-two-zero-layers",
        _zero_gate,
        family="gated",
        rules=("gradient-blocked",),
        why="A gate of two zero layers with a ReLU between opens never (report 13).",
        training=Training(batches=_WAVES, learning_rate=1e-2, steps=300),
    ),
    *pair(
        "zero-chooser-under-relu",
        _aggregate,
        family="residual",
        rules=("gradient-blocked", "layer-dead"),
        why="A zero linear layer under ReLU, whose slope at zero is zero: the aggregation stays off (report 16).",
        training=Training(batches=_CURVED, learning_rate=1e-2, steps=200),
    ),
    *pair(
        "conv-branches-all-zero",
        _dead_branches,
        family="cnn",
        rules=("gradient-blocked",),
        why="Both convolutions of every residual branch start at zero (report 15).",
        training=Training(batches=_PICTURES, learning_rate=3e-3, steps=120),
    ),
    *pair(
        "features-detached-for-a-plot",
        _detached,
        family="mlp",
        rules=("never-reached",),
        why="detach() between features and head: the features stay as they were drawn (report 51).",
        training=Training(batches=_GROUPS, learning_rate=1e-2, steps=250),
    ),
    *pair(
        "own-normalisation-through-data",
        _through_data,
        family="mlp",
        rules=("never-reached",),
        why="A hand-written normalisation reads .data, which cuts the first layer off (report 54).",
        training=Training(batches=_WAVES, learning_rate=1e-2, steps=300),
    ),
    *pair(
        "argmax-in-the-middle",
        _argmax,
        family="autoencoder",
        rules=("never-reached",),
        why="The code is looked up by argmax without a straight-through estimate: the encoder gets no gradient.",
        training=Training(batches=_SMOOTH, learning_rate=3e-3, steps=250),
    ),
    *pair(
        "embedding-through-numpy",
        _numpy,
        family="rnn",
        rules=("never-reached",),
        why="The embedded tokens leave torch and come back as a new tensor: embedding and mixer never learn.",
        training=Training(batches=_TEXT, learning_rate=1e-2, steps=120),
    ),
    *pair(
        "stem-under-no-grad",
        _no_grad,
        family="transformer",
        rules=("never-reached",),
        why="The patch stem runs under no_grad, left over from an evaluation script (report 51).",
        training=Training(batches=_named_pictures, learning_rate=3e-3, steps=120),
    ),
)
"""Gradients that are zero for ever, and parameters that no gradient reaches."""
