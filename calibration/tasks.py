"""Small synthetic tasks: a function from the step to (inputs, targets), the same for every run and every network.

Each task is drawn from generators of its own: its teacher from `seed`, its batch from `seed` and the step. Step 0 is
the batch that a factory hands out.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Task = Callable[[int], tuple[Tensor, Tensor]]


def generator(seed: int, step: int = -1) -> torch.Generator:
    """Returns the generator of a task's batch at `step`; of its teacher without one."""
    return torch.Generator().manual_seed(100_003 * seed + step + 1)


def blobs(seed: int, *, batch: int, features: int, classes: int, centres: int = 3, noise: float = 0.5) -> Task:
    """Gaussian blobs, `centres` of them per class, unit variance per feature over all: not linearly separable."""
    middle = torch.randn(classes * centres, features, generator=generator(seed))

    def draw(step: int) -> tuple[Tensor, Tensor]:
        source = generator(seed, step)
        which = torch.randint(0, classes * centres, (batch,), generator=source)
        shift = torch.randn(batch, features, generator=source)
        return (middle[which] + noise * shift) / (1 + noise**2) ** 0.5, which % classes

    return draw


def teacher(seed: int, *, batch: int, features: int, outputs: int, width: int = 32, bend: float = 1.5) -> Task:
    """Regression on a random two-layer tanh network; inputs normal, targets of mean zero and unit variance.

    `bend` is the spread of the pre-activations: the larger, the less a linear map can tell.
    """
    source = generator(seed)
    first = torch.randn(features, width, generator=source) * bend / features**0.5
    second = torch.randn(width, outputs, generator=source)

    def answer(inputs: Tensor) -> Tensor:
        return torch.tanh(inputs @ first) @ second

    probe = answer(torch.randn(4096, features, generator=source))
    mean, std = probe.mean(0), probe.std(0)

    def draw(step: int) -> tuple[Tensor, Tensor]:
        source = generator(seed, step)
        inputs = torch.randn(batch, features, generator=source)
        targets = (answer(inputs) - mean) / std
        return inputs, targets + 0.05 * torch.randn(batch, outputs, generator=source)

    return draw


def waves(seed: int, *, batch: int, features: int, outputs: int, width: int = 8, bend: float = 1.2) -> Task:
    """Regression on even waves of random directions, unit variance: a linear map can tell nothing of them."""
    source = generator(seed)
    first = torch.randn(features, width, generator=source) * bend / features**0.5
    second = torch.randn(width, outputs, generator=source)

    def answer(inputs: Tensor) -> Tensor:
        return torch.cos(inputs @ first) @ second

    probe = answer(torch.randn(4096, features, generator=source))
    mean, std = probe.mean(0), probe.std(0)

    def draw(step: int) -> tuple[Tensor, Tensor]:
        inputs = torch.randn(batch, features, generator=generator(seed, step))
        return inputs, (answer(inputs) - mean) / std

    return draw


def images(
    seed: int, *, batch: int, channels: int, size: int, classes: int, noise: float = 0.7, signed: bool = True
) -> Task:
    """Images: one smooth pattern per class, plus noise; unit variance. Signs are random, so the mean tells nothing.

    Without `signed` all signs are positive, which a linear map can learn.
    """
    coarse = torch.randn(classes, channels, 4, 4, generator=generator(seed))
    pattern = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")
    pattern = pattern / pattern.std(dim=(1, 2, 3), keepdim=True)

    def draw(step: int) -> tuple[Tensor, Tensor]:
        source = generator(seed, step)
        labels = torch.randint(0, classes, (batch,), generator=source)
        sign = torch.randint(0, 2, (batch, 1, 1, 1), generator=source) * 2.0 - 1.0 if signed else 1.0
        grain = torch.randn(batch, channels, size, size, generator=source)
        return (sign * pattern[labels] + noise * grain) / (1 + noise**2) ** 0.5, labels

    return draw


def smooth_images(seed: int, *, batch: int, channels: int, size: int, coarse: int = 4) -> Task:
    """Smooth random images, inputs and targets alike (autoencoding); few degrees of freedom, unit variance."""
    scale = 1.35

    def draw(step: int) -> tuple[Tensor, Tensor]:
        seedling = torch.randn(batch, channels, coarse, coarse, generator=generator(seed, step))
        image = scale * torch.nn.functional.interpolate(seedling, size=(size, size), mode="bilinear")
        return image, image

    return draw


def low_rank(seed: int, *, batch: int, features: int, rank: int) -> Task:
    """Vectors from a curved surface of `rank` dimensions, inputs and targets alike; unit variance."""
    frame = torch.randn(rank, features, generator=generator(seed)) * 1.5 / rank**0.5

    def draw(step: int) -> tuple[Tensor, Tensor]:
        vectors = torch.tanh(torch.randn(batch, rank, generator=generator(seed, step)) @ frame) / 0.7
        return vectors, vectors

    return draw


def markov(seed: int, *, batch: int, length: int, vocabulary: int, sharpness: float = 2.5) -> Task:
    """Token sequences whose next token depends on the last two; targets are the inputs moved by one."""
    table = torch.softmax(sharpness * torch.randn(vocabulary, vocabulary, vocabulary, generator=generator(seed)), -1)

    def draw(step: int) -> tuple[Tensor, Tensor]:
        source = generator(seed, step)
        tokens = [torch.randint(0, vocabulary, (batch,), generator=source) for _ in range(2)]
        for _ in range(length - 1):
            tokens.append(torch.multinomial(table[tokens[-2], tokens[-1]], 1, generator=source)[:, 0])
        text = torch.stack(tokens, 1)
        return text[:, :length], text[:, 1 : length + 1]

    return draw


def recall(seed: int, *, batch: int, length: int, classes: int, channels: int = 1) -> Task:
    """Sequences of noise whose first step carries the class (one of `classes` codes), to be told at the end."""
    codes = 1.5 * torch.randn(classes, channels + classes, generator=generator(seed))

    def draw(step: int) -> tuple[Tensor, Tensor]:
        source = generator(seed, step)
        labels = torch.randint(0, classes, (batch,), generator=source)
        sequence = 0.3 * torch.randn(batch, length, channels + classes, generator=source)
        sequence[:, 0] += codes[labels]
        return sequence, labels

    return draw


def tally(seed: int, *, batch: int, length: int, classes: int) -> Task:
    """Sequences of noise, to be told which of the first channels has the largest sum: every step counts alike."""

    def draw(step: int) -> tuple[Tensor, Tensor]:
        sequence = torch.randn(batch, length, classes + 1, generator=generator(seed, step))
        return sequence, sequence[..., :classes].sum(1).argmax(-1)

    return draw


def reversal(seed: int, *, batch: int, length: int, vocabulary: int) -> Task:
    """Tokens and, at each position, the token at the mirrored position (reversal): order matters, content does not."""

    def draw(step: int) -> tuple[Tensor, Tensor]:
        tokens = torch.randint(0, vocabulary, (batch, length), generator=generator(seed, step))
        return tokens, tokens.flip(1)

    return draw
