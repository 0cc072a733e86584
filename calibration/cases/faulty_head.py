"""Networks with an unsuited output: prior, bounded logits, a second softmax, blindness; and their repaired twins."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from calibration.cases.faulty_pair import Faults, adam
from calibration.cases.faulty_tasks import clusters, curves, images, spots, tags, tokens

FAULTS = Faults()

RARE = partial(clusters, n=256, features=16, classes=4, rare=0.03)
RARE_TAGS = partial(tags, outputs=40, threshold=2.2)
RENTS = partial(curves, offset=25.0)
TWENTY = partial(clusters, features=32, classes=20, apart=1.0)
HUNDRED = partial(clusters, features=48, classes=100, apart=1.2, n=128)
GENRES = partial(tags, outputs=12, threshold=0.5)


def _per_spot(logits: Tensor, target: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits, target, reduction="sum") / target.sum()


@FAULTS.pair(
    "prior-bias-detection-head",
    "detection",
    "prior-bias",
    why="A detection head with bias 0 where one cell in 128 is an object: background is all of the loss (report 45).",
    sound="The bias of the head is -log((1 - p) / p).",
    training=adam(spots, rate=5e-4, steps=60),
)
def _detection(*, mended: bool) -> tuple[Any, ...]:
    net = nn.Sequential(nn.Conv2d(1, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 24, 3, padding=1), nn.ReLU())
    for m in net:
        if isinstance(m, nn.Conv2d):
            nn.init.kaiming_normal_(m.weight, nonlinearity="relu")
            nn.init.zeros_(m.bias)
    head = nn.Conv2d(24, 1, 1)
    nn.init.normal_(head.weight, std=0.01)
    nn.init.constant_(head.bias, -math.log(127.0) if mended else 0.0)
    return net.append(head), *spots(0), _per_spot


@FAULTS.pair(
    "prior-bias-rare-classes",
    "mlp",
    "prior-bias",
    why="97 % of the samples are of one class and the output bias is zero: the first steps learn the frequencies.",
    sound="The output bias is the logarithm of the class frequencies.",
    no_training="what is lost are the updates that learn four frequencies, too few to be told apart from luck",
)
def _rare_classes(*, mended: bool) -> tuple[Any, ...]:
    net = nn.Sequential(nn.Linear(16, 64), nn.Tanh(), nn.Linear(64, 4))
    nn.init.xavier_normal_(net[0].weight)
    nn.init.normal_(net[2].weight, std=0.01)
    nn.init.zeros_(net[2].bias)
    if mended:
        net[2].bias.data = torch.tensor([0.97, 0.01, 0.01, 0.01]).log()
    return net, *RARE(0), nn.CrossEntropyLoss()


@FAULTS.pair(
    "prior-bias-rare-tags",
    "mlp",
    "prior-bias",
    why="Forty tags of which each holds for one sample in seventy, and output biases of zero.",
    sound="Every output bias is the log odds of its tag.",
    no_training="within a short training only the frequencies are learnt, and the twin has them from the start",
)
def _rare_tags(*, mended: bool) -> tuple[Any, ...]:
    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = nn.Linear(24, 64)
            self.out = nn.Linear(64, 40)
            nn.init.normal_(self.out.weight, std=0.01)
            nn.init.constant_(self.out.bias, math.log(0.014 / 0.986) if mended else 0.0)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"tags": self.out(functional.gelu(self.hidden(x)))}

    loss = nn.BCEWithLogitsLoss()
    return Tagger(), *RARE_TAGS(0), lambda output, target: loss(output["tags"], target)


@FAULTS.pair(
    "prior-bias-regression-mean",
    "mlp",
    "prior-bias initial-loss",
    why="Targets around 25 with a spread of 1, and an output bias of zero: the loss starts 600 times the variance.",
    sound="The output bias is the mean of the targets.",
    training=adam(RENTS, rate=3e-3, steps=200),
)
def _regression_mean(*, mended: bool) -> tuple[Any, ...]:
    net = nn.Sequential(nn.Linear(8, 64), nn.SiLU(), nn.Linear(64, 1))
    nn.init.constant_(net[2].bias, 25.0 if mended else 0.0)
    return net, *RENTS(0), nn.MSELoss()


class _Cosine(nn.Module):
    """A classifier by angles."""

    def __init__(self, features: int, classes: int, scale: float) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(features, 64), nn.ReLU(), nn.Linear(64, 128))
        self.proxies = nn.Parameter(torch.randn(classes, 128))
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * functional.linear(functional.normalize(self.body(x)), functional.normalize(self.proxies))


@FAULTS.pair(
    "bounded-logits-cosine-unscaled",
    "mlp",
    "bounded-logits",
    why="Cosines between -1 and 1 as logits of twenty classes: the loss cannot fall below 1.3.",
    sound="The cosines are multiplied by 9.",
    training=adam(TWENTY),
)
def _cosine(*, mended: bool) -> tuple[Any, ...]:
    return _Cosine(32, 20, 9.0 if mended else 1.0), *TWENTY(0), functional.cross_entropy


@FAULTS.pair(
    "bounded-logits-scale-3-of-100",
    "mlp",
    "bounded-logits",
    why="A mild one: cosines times 3 for a hundred classes, a floor at a third of chance.",
    sound="Cosines times 10.",
    training=adam(HUNDRED, rate=5e-3, steps=250),
)
def _cosine_mild(*, mended: bool) -> tuple[Any, ...]:
    return _Cosine(48, 100, 10.0 if mended else 3.0), *HUNDRED(0), nn.CrossEntropyLoss()


@FAULTS.pair(
    "bounded-logits-tanh-output",
    "cnn",
    "bounded-logits",
    why="A tanh on the logits of a classifier, kept from the time when it was an encoder.",
    sound="The tanh is gone.",
    training=adam(images, rate=1e-3),
)
def _tanh_output(*, mended: bool) -> tuple[Any, ...]:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 32, 3, stride=2)
            self.norm = nn.GroupNorm(4, 32)
            self.fc = nn.Linear(32 * 25, 6)

        def forward(self, x: Tensor) -> Tensor:
            logits = self.fc(functional.relu(self.norm(self.conv(x))).flatten(1))
            return logits if mended else torch.tanh(logits)

    return Net(), *images(0), functional.cross_entropy


def _pairs(step: int) -> tuple[dict[str, Tensor], Tensor]:
    points, _ = clusters(step, n=64, features=20, classes=2, apart=0.0, seed=31)
    return {"text": points, "image": points.roll(3, dims=1)}, torch.arange(64)


def _both_ways(output: tuple[Tensor, Tensor], target: Tensor) -> Tensor:
    return (functional.cross_entropy(output[0], target) + functional.cross_entropy(output[1], target)) / 2


@FAULTS.pair(
    "bounded-logits-contrastive-no-temperature",
    "transformer",
    "bounded-logits",
    why="A contrastive loss on bare cosines of 64 pairs: without a temperature the floor is near chance.",
    sound="The cosines are divided by a temperature of 0.1.",
    training=adam(_pairs, rate=2e-3),
)
def _contrastive(*, mended: bool) -> tuple[Any, ...]:
    class DualEncoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.t = nn.Sequential(nn.Linear(20, 64), nn.GELU(), nn.Linear(64, 96))
            self.i = nn.Sequential(nn.Linear(20, 64), nn.GELU(), nn.Linear(64, 96))

        def forward(self, text: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
            t, i = self.t(text), self.i(image)
            t, i = t / t.norm(dim=-1, keepdim=True), i / i.norm(dim=-1, keepdim=True)
            similar = t @ i.t()
            if mended:
                similar = similar / 0.1
            return similar, similar.t()

    return DualEncoder(), *_pairs(0), _both_ways


@FAULTS.pair(
    "double-activation-softmax-module",
    "mlp",
    "double-activation",
    why="nn.Softmax as the last module and CrossEntropyLoss behind it: the loss stays above a floor (report 48).",
    sound="The module gives logits.",
    training=adam(clusters),
)
def _softmax_module(*, mended: bool) -> tuple[Any, ...]:
    net = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 8))
    return (net if mended else net.append(nn.Softmax(dim=1))), *clusters(0), nn.CrossEntropyLoss()


@FAULTS.pair(
    "double-activation-language-model",
    "transformer",
    "double-activation",
    why="Probabilities in the output dictionary of a language model whose loss takes logits (report 48).",
    sound="The dictionary holds logits.",
    training=adam(tokens, rate=5e-3, steps=200),
)
def _softmax_language(*, mended: bool) -> tuple[Any, ...]:
    class Bigram(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.emb = nn.Embedding(48, 32)
            self.mix = nn.TransformerEncoderLayer(32, 2, 64, dropout=0.0, batch_first=True, norm_first=True)
            self.norm = nn.LayerNorm(32)
            self.out = nn.Linear(32, 48)

        def forward(self, ids: Tensor) -> dict[str, Tensor]:
            mask = nn.Transformer.generate_square_subsequent_mask(ids.shape[1])
            h = self.out(self.norm(self.mix(self.emb(ids), src_mask=mask, is_causal=True)))
            return {"prediction": h if mended else functional.softmax(h, dim=-1)}

    inputs, targets = tokens(0)
    return (
        Bigram(),
        inputs,
        targets,
        lambda o, t: functional.cross_entropy(o["prediction"].reshape(-1, 48), t.reshape(-1)),
    )


@FAULTS.pair(
    "double-activation-sigmoid-tags",
    "mlp",
    "double-activation",
    why="torch.sigmoid in forward and BCEWithLogitsLoss outside: the probability never falls below one half.",
    sound="The forward pass returns logits.",
    training=adam(GENRES),
)
def _sigmoid_tags(*, mended: bool) -> tuple[Any, ...]:
    class Genres(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1 = nn.Linear(24, 64)
            self.fc2 = nn.Linear(64, 12)

        def forward(self, x: Tensor) -> Tensor:
            h = self.fc2(functional.leaky_relu(self.fc1(x), 0.1))
            return h if mended else torch.sigmoid(h)

    return Genres(), *GENRES(0), nn.BCEWithLogitsLoss()


@FAULTS.pair(
    "double-activation-segmentation",
    "cnn",
    "double-activation",
    why="Softmax over the channel axis of a segmentation map, written out with exp, and cross-entropy after it.",
    sound="The map is one of logits.",
    training=adam(None, rate=5e-3, steps=120),
)
def _segmentation(*, mended: bool) -> tuple[Any, ...]:
    class Segmenter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down = nn.Conv2d(3, 24, 3, padding=1)
            self.up = nn.Conv2d(24, 4, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            h = self.up(functional.silu(self.down(x)))
            return h if mended else h.exp() / h.exp().sum(1, keepdim=True)

    pictures, _ = images(0, n=16)
    maps = (pictures[:, 0] > 0).long() + 2 * (pictures[:, 1] > 0.5).long()
    return Segmenter(), pictures, maps, functional.cross_entropy


@FAULTS.pair(
    "input-blind-deep-sigmoid",
    "mlp",
    "input-blind signal-fades back-signal-fades",
    why="Twelve sigmoid layers with the default weights: every sample gives the same output (report 42).",
    sound="Twelve tanh layers with orthogonal weights.",
    training=adam(clusters, rate=1e-3),
)
def _deep_sigmoid(*, mended: bool) -> tuple[Any, ...]:
    layers: list[nn.Module] = []
    for fan_in in [20] + [48] * 11:
        layers += [nn.Linear(fan_in, 48), nn.Tanh() if mended else nn.Sigmoid()]
        if mended:
            nn.init.orthogonal_(layers[-2].weight, 1.1)
            nn.init.zeros_(layers[-2].bias)
    return nn.Sequential(*layers, nn.Linear(48, 8)), *clusters(0), functional.cross_entropy


@FAULTS.pair(
    "input-blind-deep-default",
    "mlp",
    "input-blind signal-fades",
    why="Thirty rectifier layers with the default gain of 1/sqrt(3): only the biases reach the output (report 32).",
    sound="He's weights and biases of zero.",
    training=adam(clusters, rate=3e-4, steps=120),
)
def _deep_default(*, mended: bool) -> tuple[Any, ...]:
    net = nn.Sequential(nn.Linear(20, 128), nn.ReLU())
    for _ in range(29):
        net.extend([nn.Linear(128, 128), nn.ReLU()])
    net.append(nn.Linear(128, 8))
    if mended:
        for m in net[:-1]:
            if isinstance(m, nn.Linear):
                nn.init.kaiming_normal_(m.weight, nonlinearity="relu")
                nn.init.zeros_(m.bias)
    return net, *clusters(0), nn.CrossEntropyLoss()


@FAULTS.pair(
    "input-blind-norm-of-one-value",
    "cnn",
    "input-blind gradient-blocked",
    why="GroupNorm with one channel a group after global pooling: a group of one value is always zero.",
    sound="GroupNorm over all pooled channels together.",
    training=adam(images, rate=2e-3),
)
def _norm_of_one(*, mended: bool) -> tuple[Any, ...]:
    net = nn.Sequential(
        *(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, stride=2), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.GroupNorm(1 if mended else 32, 32), nn.Flatten(), nn.Linear(32, 6)),
    )
    for conv in (net[0], net[2]):
        nn.init.kaiming_uniform_(conv.weight, nonlinearity="relu")
    return net, *images(0), functional.cross_entropy


CASES = FAULTS.cases
"""Broken networks, each followed by its twin."""
