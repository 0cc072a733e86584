"""Small made-up tasks on which the faulty networks and their twins are trained; batch i is the same for everyone."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional


def _stream(step: int, seed: int) -> Generator:
    return Generator().manual_seed(seed * 1_000_003 + step + 1)


def clusters(
    step: int,
    *,
    n: int = 64,
    features: int = 20,
    classes: int = 8,
    apart: float = 0.7,
    rare: float = 0.0,
    seed: int = 1,
) -> tuple[Tensor, Tensor]:
    """Points of unit scale around a centre per class. `rare` is the share of all classes but the first together."""
    centres = torch.randn(classes, features, generator=_stream(-1, seed)) * apart
    stream = _stream(step, seed)
    labels = torch.randint(classes, (n,), generator=stream)
    if rare:
        labels = torch.where(torch.rand(n, generator=stream) < rare, labels % (classes - 1) + 1, 0)
    points = (centres[labels] + torch.randn(n, features, generator=stream)) / math.sqrt(1 + apart**2)
    return points, labels


def curves(
    step: int,
    *,
    n: int = 64,
    features: int = 8,
    outputs: int = 1,
    offset: float = 0.0,
    size: float = 1.0,
    seed: int = 2,
) -> tuple[Tensor, Tensor]:
    """Regression: sums of two sines of random directions, with variance about size^2 around `offset`."""
    directions = torch.randn(features, 2 * outputs, generator=_stream(-1, seed)) / math.sqrt(features)
    inputs = torch.randn(n, features, generator=_stream(step, seed))
    waves = torch.sin(1.5 * inputs @ directions).unflatten(1, (2, outputs)).sum(1)
    return inputs, offset + size * waves


def images(
    step: int, *, n: int = 32, channels: int = 3, size: int = 12, classes: int = 6, raw: bool = False, seed: int = 3
) -> tuple[Tensor, Tensor]:
    """Images of a smooth pattern per class under noise: centred with unit scale, or `raw` in 0 ... 255."""
    coarse = torch.randn(classes, channels, 4, 4, generator=_stream(-1, seed))
    patterns = functional.interpolate(coarse, size=(size, size), mode="bilinear")
    stream = _stream(step, seed)
    labels = torch.randint(classes, (n,), generator=stream)
    pictures = patterns[labels] + 0.7 * torch.randn(n, channels, size, size, generator=stream)
    return ((120 + 55 * pictures).clamp(0, 255).round() if raw else pictures), labels


def tokens(
    step: int, *, n: int = 16, length: int = 20, vocabulary: int = 48, noise: float = 0.1, seed: int = 4
) -> tuple[Tensor, Tensor]:
    """Sequences in which a fixed permutation gives the next token, but for noise; targets are the next tokens."""
    follows = torch.randperm(vocabulary, generator=_stream(-1, seed))
    stream = _stream(step, seed)
    chain = [torch.randint(vocabulary, (n,), generator=stream)]
    for _ in range(length):
        random = torch.randint(vocabulary, (n,), generator=stream)
        chain.append(torch.where(torch.rand(n, generator=stream) < noise, random, follows[chain[-1]]))
    text = torch.stack(chain, 1)
    return text[:, :-1], text[:, 1:]


def averages(step: int, *, n: int = 24, length: int = 16, features: int = 32, seed: int = 5) -> tuple[Tensor, Tensor]:
    """Sets of vectors; each target is a fixed linear map of the mean over the set, of unit scale."""
    mix = torch.randn(features, features, generator=_stream(-1, seed)) / math.sqrt(features)
    inputs = torch.randn(n, length, features, generator=_stream(step, seed))
    return inputs, (inputs.mean(1, keepdim=True) * math.sqrt(length) @ mix).expand(n, length, features)


def memories(
    step: int, *, n: int = 48, length: int = 16, features: int = 8, classes: int = 4, seed: int = 6
) -> tuple[Tensor, Tensor]:
    """Noise sequences whose first two steps carry the mark of the class."""
    marks = torch.randn(classes, features, generator=_stream(-1, seed)) * 2
    stream = _stream(step, seed)
    labels = torch.randint(classes, (n,), generator=stream)
    series = 0.5 * torch.randn(n, length, features, generator=stream)
    series[:, :2] += marks[labels].unsqueeze(1)
    return series, labels


def tags(
    step: int, *, n: int = 64, features: int = 24, outputs: int = 30, threshold: float = 1.0, seed: int = 7
) -> tuple[Tensor, Tensor]:
    """Several yes-or-no answers a sample: whether a linear score exceeds `threshold` (2.0: about one in 40)."""
    scores = torch.randn(features, outputs, generator=_stream(-1, seed)) / math.sqrt(features)
    inputs = torch.randn(n, features, generator=_stream(step, seed))
    return inputs, (inputs @ scores > threshold).float()


def spots(step: int, *, n: int = 12, size: int = 16, seed: int = 8) -> tuple[Tensor, Tensor]:
    """Noise images with two bright spots each; the target map is one at their centres and zero elsewhere."""
    stream = _stream(step, seed)
    pictures = 0.5 * torch.randn(n, 1, size, size, generator=stream)
    target = torch.zeros(n, 1, size, size)
    for sample in range(n):
        for row, column in torch.randint(1, size - 1, (2, 2), generator=stream).tolist():
            pictures[sample, 0, row - 1 : row + 2, column - 1 : column + 2] += 2.0
            target[sample, 0, row, column] = 1.0
    return pictures, target


def table(step: int, *, n: int = 64, standard: bool = False, seed: int = 9) -> tuple[Tensor, Tensor]:
    """Flats: area in square metres, distance to the centre in metres, year, rooms; the target is a unit-scale price.

    `standard` gives the columns with mean zero and standard deviation one.
    """
    columns = torch.randn(n, 4, generator=_stream(step, seed))
    area, distance, year, rooms = columns.unbind(1)
    price = torch.sin(1.2 * area) + 0.7 * torch.cos(1.5 * distance) + 0.5 * year * rooms
    raw = columns * torch.tensor([35.0, 4000.0, 25.0, 1.2]) + torch.tensor([90.0, 9000.0, 1975.0, 3.5])
    return (columns if standard else raw), price.unsqueeze(1)


def picture(
    step: int, *, points: int = 512, waves: float = 9.0, scale: float = 1.0, seed: int = 10
) -> tuple[Tensor, Tensor]:
    """A picture as a function: places in -scale ... scale, and the brightness there, made of short waves."""
    stream = _stream(step, seed)
    places = 2 * torch.rand(points, 2, generator=stream) - 1
    x, y = places.unbind(1)
    bright = torch.sin(waves * x) * torch.cos(0.7 * waves * y) + 0.5 * torch.sin(waves * (x + y))
    return places * scale, bright.unsqueeze(1)
