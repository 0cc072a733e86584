"""Small learnable tasks with fixed teachers, and the book in which healthy designs are entered."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from calibration.case import Case, Training

Batch = tuple[Any, Any]
Task = Callable[[int], Batch]
"""From the number of a batch to (inputs, targets); the teacher behind them is always the same."""

VOCABULARY = 32
CLASSES = 4


class Book:
    """Healthy designs as they are entered: `@book.healthy(...)` over a function that returns the model."""

    def __init__(self) -> None:
        self._cases: list[Case] = []

    @property
    def cases(self) -> tuple[Case, ...]:
        """All that was entered, in order."""
        return tuple(self._cases)

    def healthy(
        self,
        name: str,
        why: str,
        *,
        family: str,
        task: Task,
        loss: Callable[[Any, Any], Tensor] = functional.cross_entropy,
        steps: int = 120,
        learning_rate: float = 3e-3,
        optimizer: Literal["sgd", "momentum", "adam", "adamw"] = "adam",
    ) -> Callable[[Callable[[], nn.Module]], Callable[[], nn.Module]]:
        """Returns the decorator that enters a case trained on fresh batches of `task`; the check has the first one."""

        def enter(model: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
            training = Training(optimizer=optimizer, learning_rate=learning_rate, steps=steps, batches=_later(task))
            self._cases.append(
                Case(
                    name=name,
                    kind="healthy",
                    family=family,
                    why=why,
                    training=training,
                    build=lambda: (model(), *task(0), loss),
                )
            )
            return model

        return enter


def _later(task: Task) -> Task:
    return lambda step: task(step + 1)


def stream(seed: int) -> torch.Generator:
    """Returns a generator of its own: the tasks leave the global ones alone."""
    return torch.Generator().manual_seed(seed)


def _teacher(*shape: int) -> Tensor:
    return torch.randn(shape, generator=stream(1234))


def vectors(number: int, *, batch: int = 64, features: int = 16) -> tuple[Tensor, Tensor]:
    """Returns standard normal rows and the class of the largest of four linear scores."""
    inputs = torch.randn(batch, features, generator=stream(number))
    return inputs, (inputs @ _teacher(features, CLASSES)).argmax(1)


def regression(number: int, *, batch: int = 64, features: int = 8) -> tuple[Tensor, Tensor]:
    """Returns standard normal rows and a smooth function of two projections, of variance about 1/2."""
    inputs = torch.randn(batch, features, generator=stream(number))
    scores = inputs @ _teacher(features, 2) / math.sqrt(features)
    return inputs, (torch.sin(2 * scores[:, :1]) + 0.5 * scores[:, 1:]) * 0.8


def images(number: int, *, batch: int = 32, channels: int = 3, side: int = 16) -> tuple[Tensor, Tensor]:
    """Returns noisy copies of four smooth templates, about standardised, and which template it was."""
    templates = functional.interpolate(_teacher(CLASSES, channels, 4, 4), size=(side, side), mode="bilinear")
    generator = stream(number)
    labels = torch.randint(CLASSES, (batch,), generator=generator)
    noise = torch.randn(batch, channels, side, side, generator=generator)
    return templates[labels] + 0.7 * noise, labels


def pictures(number: int, *, batch: int = 32, channels: int = 1, side: int = 16) -> tuple[Tensor, Tensor]:
    """Returns images in 0..1 (blurred templates, some noise) and themselves as targets."""
    noisy, _ = images(number, batch=batch, channels=channels, side=side)
    values = torch.sigmoid(functional.avg_pool2d(noisy, 3, stride=1, padding=1) * 2)
    return values, values


def tokens(number: int, *, batch: int = 16, length: int = 16) -> tuple[Tensor, Tensor]:
    """Returns rows of token ids that follow a fixed permutation nine times in ten, and the next ids as targets."""
    generator = stream(number)
    order = torch.randperm(VOCABULARY, generator=stream(1234))
    ids = [torch.randint(VOCABULARY, (batch,), generator=generator)]
    for _ in range(length):
        jump = torch.rand(batch, generator=generator) < 0.1
        ids.append(torch.where(jump, torch.randint(VOCABULARY, (batch,), generator=generator), order[ids[-1]]))
    rows = torch.stack(ids, 1)
    return rows[:, :-1], rows[:, 1:]


def sequences(number: int, *, batch: int = 32, length: int = 20, features: int = 4) -> tuple[Tensor, Tensor]:
    """Returns standard normal sequences and whether the first feature's mean over time is positive."""
    inputs = torch.randn(batch, length, features, generator=stream(number))
    return inputs, (inputs[:, :, 0].mean(1) > 0).long()


def coordinates(number: int, *, batch: int = 128) -> tuple[Tensor, Tensor]:
    """Returns points in the square -1..1 and a smooth wave over it."""
    points = torch.rand(batch, 2, generator=stream(number)) * 2 - 1
    return points, torch.sin(4 * points[:, :1]) * torch.cos(3 * points[:, 1:])


def classes_of(sentence: int) -> tuple[Tensor, Tensor]:
    """Returns rows of token ids and the class (of four) to which most of a row's tokens belong."""
    generator = stream(sentence)
    labels = torch.randint(CLASSES, (32,), generator=generator)
    ids = torch.randint(VOCABULARY, (32, 12), generator=generator)
    own = labels[:, None] * (VOCABULARY // CLASSES) + torch.randint(
        VOCABULARY // CLASSES, (32, 12), generator=generator
    )
    return torch.where(torch.rand(32, 12, generator=generator) < 0.5, own, ids), labels


def of_tokens(logits: Tensor, targets: Tensor) -> Tensor:
    """Returns the cross-entropy of logits, Float "batch position class", at every position."""
    return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


def zero(layer: nn.Module) -> nn.Module:
    """Sets all parameters of a layer to zero and returns it."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def he(layer: nn.Linear, *, scale: float = 1.0) -> nn.Linear:
    """Starts a layer with He's deviation times `scale` and biases of zero, and returns it."""
    nn.init.normal_(layer.weight, std=scale * math.sqrt(2 / layer.in_features))
    nn.init.zeros_(layer.bias)
    return layer
