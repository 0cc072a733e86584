"""Networks that start far above the chance loss, and their repaired twins."""

from __future__ import annotations

import math
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from calibration.cases.faulty_pair import Faults, adam, momentum, sgd
from calibration.cases.faulty_tasks import clusters, curves, images, tags, tokens

FAULTS = Faults()

DIGITS = partial(clusters, features=32, classes=10)
VALUES = partial(curves, features=10)
COMMON_TAGS = partial(tags, threshold=0.3)


def _language_loss(logits: Tensor, target: Tensor) -> Tensor:
    return functional.cross_entropy(logits.flatten(0, 1), target.flatten())


class _Layer(nn.Module):
    """A pre-norm decoder layer."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.fc1 = nn.Linear(width, 2 * width)
        self.fc2 = nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (p.unflatten(-1, (self.heads, -1)).transpose(1, 2) for p in self.qkv(self.norm1(x)).chunk(3, -1))
        seen = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(seen.transpose(1, 2).flatten(2))
        return x + self.fc2(functional.gelu(self.fc1(self.norm2(x))))


class _Decoder(nn.Module):
    """A small language model of the usual kind; `tied` shares the embedding with the output."""

    def __init__(
        self, vocabulary: int = 48, width: int = 64, *, tied: bool, head_std: float = 0.02, table_std: float = 0.02
    ) -> None:
        super().__init__()
        self.tok = nn.Embedding(vocabulary, width)
        self.pos = nn.Embedding(20, width)
        self.layers = nn.ModuleList([_Layer(width, 4) for _ in range(2)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        for m in self.layers.modules():
            if isinstance(m, nn.Linear):
                nn.init.normal_(m.weight, std=0.02)
                nn.init.zeros_(m.bias)
        nn.init.normal_(self.pos.weight, std=0.02)
        nn.init.normal_(self.head.weight, std=head_std)
        if tied:
            self.head.weight = self.tok.weight
        nn.init.normal_(self.tok.weight, std=table_std)

    def forward(self, ids: Tensor) -> Tensor:
        h = self.tok(ids) + self.pos.weight[: ids.shape[1]]
        for layer in self.layers:
            h = layer(h)
        return self.head(self.norm(h))


@FAULTS.pair(
    "initial-loss-untied-head-std-1",
    "transformer",
    "initial-loss confident-and-wrong",
    why="The untied output of a language model drawn with std 1 instead of d^-0.5 (report 30).",
    sound="The output is drawn with std 0.02.",
    training=sgd(tokens, rate=0.2, steps=100),
)
def _untied_head(*, mended: bool) -> tuple[Any, ...]:
    return _Decoder(tied=False, head_std=0.02 if mended else 1.0), *tokens(0), _language_loss


@FAULTS.pair(
    "initial-loss-head-normal-default",
    "cnn",
    "initial-loss confident-and-wrong",
    why="nn.init.normal_(fc.weight) with its default std of 1 on the classifier of a convolutional network.",
    sound="nn.init.normal_(fc.weight, std=0.01).",
    no_training="BatchNorm under the head keeps the trunk alive, and six classes of this task are learnt in ten steps",
)
def _normal_default(*, mended: bool) -> tuple[Any, ...]:
    net = nn.Sequential(
        *(nn.Conv2d(3, 24, 3, padding=1), nn.BatchNorm2d(24), nn.SiLU(), nn.Conv2d(24, 48, 3, stride=2)),
        *(nn.BatchNorm2d(48), nn.SiLU(), nn.Flatten(), nn.Linear(48 * 25, 6)),
    )
    if mended:
        nn.init.normal_(net[-1].weight, std=0.01)
    else:
        nn.init.normal_(net[-1].weight)
    return net, *images(0), nn.CrossEntropyLoss()


class _Towers(nn.Module):
    """Two towers whose matching pairs are to be found within the batch."""

    def __init__(self, *, normalise: bool) -> None:
        super().__init__()
        self.left = nn.Sequential(nn.Linear(24, 64), nn.GELU(), nn.Linear(64, 128))
        self.right = nn.Sequential(nn.Linear(24, 64), nn.GELU(), nn.Linear(64, 128))
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.15)))
        self.normalise = normalise
        for m in self.modules():
            if isinstance(m, nn.Linear):
                nn.init.kaiming_normal_(m.weight, nonlinearity="relu")
                nn.init.zeros_(m.bias)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        a, b = self.left(left), self.right(right)
        if self.normalise:
            a, b = functional.normalize(a, dim=-1), functional.normalize(b, dim=-1)
        return self.log_scale.exp() * a @ b.T


def _views(step: int) -> tuple[tuple[Tensor, Tensor], Tensor]:
    points, _ = clusters(step, n=48, features=24, classes=2, apart=0.0)
    other, _ = clusters(step, n=48, features=24, classes=2, apart=0.0, seed=91)
    return (points, points.flip(1) + 0.3 * other), torch.arange(48)


@FAULTS.pair(
    "initial-loss-temperature-without-norm",
    "mlp",
    "initial-loss confident-and-wrong",
    why="The inverse temperature 1 / 0.15 on embeddings that were never normalised: logits in the hundreds.",
    sound="Both embeddings are normalised before they are compared.",
    training=adam(_views, rate=1e-3),
)
def _temperature(*, mended: bool) -> tuple[Any, ...]:
    return _Towers(normalise=mended), *_views(0), functional.cross_entropy


@FAULTS.pair(
    "initial-loss-value-head",
    "mlp",
    "initial-loss",
    why="A value head drawn with std 3: the squared error starts a hundred times above the variance of the returns.",
    sound="The value head is orthogonal with gain 1.",
    training=adam(VALUES, rate=5e-4),
)
def _value_head(*, mended: bool) -> tuple[Any, ...]:
    trunk = [nn.Linear(10, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh()]
    for layer in trunk[::2]:
        nn.init.orthogonal_(layer.weight, 2**0.5)
        nn.init.zeros_(layer.bias)
    value = nn.Linear(64, 1)
    if mended:
        nn.init.orthogonal_(value.weight, 1.0)
    else:
        nn.init.normal_(value.weight, 0.0, 3.0)
    nn.init.zeros_(value.bias)
    return nn.Sequential(*trunk, value), *VALUES(0), nn.MSELoss()


@FAULTS.pair(
    "initial-loss-tags-gain-20",
    "mlp",
    "initial-loss",
    why="The output layer of a tagger multiplied by 20 'to start with an opinion': BCE starts many nats above chance.",
    sound="The output layer as drawn.",
    training=adam(COMMON_TAGS, rate=1e-3),
)
def _tags_gain(*, mended: bool) -> tuple[Any, ...]:
    net = nn.Sequential(nn.Linear(24, 96), nn.LayerNorm(96), nn.GELU(), nn.Linear(96, 30))
    if not mended:
        net[-1].weight.data *= 20
    return net, *COMMON_TAGS(0), nn.BCEWithLogitsLoss()


@FAULTS.pair(
    "confident-and-wrong-sum-pooling",
    "cnn",
    "confident-and-wrong initial-loss",
    why="A mild one: sum instead of mean over positions before the classifier, logits a hundred times too large.",
    sound="The mean over positions.",
    training=momentum(images, rate=0.05, steps=100),
)
def _sum_pooling(*, mended: bool) -> tuple[Any, ...]:
    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(3, 24, 3, padding=1)
            self.conv2 = nn.Conv2d(24, 32, 3, padding=1)
            self.out = nn.Linear(32, 6)
            for conv in (self.conv1, self.conv2):
                nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
                nn.init.zeros_(conv.bias)

        def forward(self, x: Tensor) -> Tensor:
            h = functional.relu(self.conv2(functional.relu(self.conv1(x))))
            return self.out(h.mean((-2, -1)) if mended else h.sum((-2, -1)))

    return Pooled(), *images(0), functional.cross_entropy


@FAULTS.pair(
    "confident-and-wrong-initializer-range",
    "transformer",
    "confident-and-wrong initial-loss",
    why="initializer_range=0.5 in the configuration of a classifier head over a LayerNorm: logits of deviation 4.",
    sound="initializer_range=0.02.",
    no_training="every optimizer mends a head that is four times too large within twenty steps of this task",
)
def _initializer_range(*, mended: bool) -> tuple[Any, ...]:
    config = SimpleNamespace(initializer_range=0.02 if mended else 0.5, hidden=64)

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense = nn.Linear(32, config.hidden)
            self.norm = nn.LayerNorm(config.hidden)
            self.out = nn.Linear(config.hidden, 10)
            nn.init.normal_(self.out.weight, mean=0.0, std=config.initializer_range)
            nn.init.zeros_(self.out.bias)

        def forward(self, features: Tensor) -> dict[str, Tensor]:
            return {"logits": self.out(self.norm(self.dense(features)))}

    return Classifier(), {"features": DIGITS(0)[0]}, DIGITS(0)[1], _logits_loss


def _logits_loss(output: dict[str, Tensor], target: Tensor) -> Tensor:
    return functional.cross_entropy(output["logits"], target)


@FAULTS.pair(
    "confident-and-wrong-summed-members",
    "mlp",
    "confident-and-wrong initial-loss",
    why="A mild one: the logits of 24 members are added up, not averaged.",
    sound="The logits of the members are averaged.",
    no_training="the members share the work: after a few updates their sum is as good as their mean",
)
def _summed_members(*, mended: bool) -> tuple[Any, ...]:
    class Committee(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.members = nn.ModuleList(
                [nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10)) for _ in range(24)]
            )
            for member in self.members:
                nn.init.kaiming_normal_(member[0].weight, nonlinearity="relu")
                nn.init.xavier_normal_(member[2].weight)

        def forward(self, x: Tensor) -> Tensor:
            votes = torch.stack([member(x) for member in self.members])
            return votes.mean(0) if mended else votes.sum(0)

    return Committee(), *DIGITS(0), functional.cross_entropy


@FAULTS.pair(
    "tied-scale-embedding-default",
    "transformer",
    "tied-scale initial-loss",
    why="The output is tied to an nn.Embedding left at its default std of 1: logits of deviation 8 (report 29).",
    sound="The shared table is drawn with std 0.02.",
    training=adam(tokens, rate=1e-3, steps=100),
)
def _tied_default(*, mended: bool) -> tuple[Any, ...]:
    return _Decoder(tied=True, table_std=0.02 if mended else 1.0), *tokens(0), _language_loss


class _TiedGru(nn.Module):
    def __init__(self, std: float) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(48, 56) * std)
        self.rnn = nn.GRU(56, 56, batch_first=True)
        self.norm = nn.LayerNorm(56)
        self.b = nn.Parameter(torch.zeros(48))

    def forward(self, ids: Tensor) -> Tensor:
        states, _ = self.rnn(functional.embedding(ids, self.table))
        return functional.linear(self.norm(states), self.table, self.b)


@FAULTS.pair(
    "tied-scale-functional-gru",
    "rnn",
    "tied-scale initial-loss",
    why="torch.randn as the table of a GRU language model that reuses it as output by functional.linear.",
    sound="The table is drawn with std 0.1.",
    training=adam(tokens, rate=2e-3, steps=60),
)
def _tied_gru(*, mended: bool) -> tuple[Any, ...]:
    return _TiedGru(0.1 if mended else 1.0), *tokens(0), _language_loss


class _Masked(nn.Module):
    """Guesses tokens from both sides; the decoder is the embedding's matrix with a bias of its own."""

    def __init__(self, std: float) -> None:
        super().__init__()
        self.embed = nn.Embedding(48, 96)
        self.mix = nn.Conv1d(96, 96, 3, padding=1)
        self.transform = nn.Sequential(nn.Linear(96, 96), nn.GELU(), nn.LayerNorm(96))
        self.decoder = nn.Linear(96, 48)
        self.decoder.weight = self.embed.weight
        nn.init.normal_(self.embed.weight, std=std)
        nn.init.zeros_(self.decoder.bias)

    def forward(self, input_ids: Tensor) -> SimpleNamespace | dict[str, Tensor]:
        h = self.embed(input_ids)
        h = h + self.mix(h.transpose(1, 2)).transpose(1, 2)
        return {"logits": self.decoder(self.transform(h))}


@FAULTS.pair(
    "tied-scale-masked-mild",
    "transformer",
    "tied-scale initial-loss",
    why="A mild one: a tied table of std 0.4 at width 96, logits of deviation 4.",
    sound="The tied table has std 96^-0.5.",
    no_training="a table three times too large costs only the first steps of a task as easy as this one",
)
def _tied_masked(*, mended: bool) -> tuple[Any, ...]:
    inputs, targets = tokens(0)
    return _Masked(96**-0.5 if mended else 0.4), {"input_ids": inputs}, targets, _masked_loss


def _masked_loss(output: dict[str, Tensor], target: Tensor) -> Tensor:
    return functional.cross_entropy(output["logits"].transpose(1, 2), target)


CASES = FAULTS.cases
"""Broken networks, each followed by its twin."""
