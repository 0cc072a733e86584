"""How the files of faults write down a broken network together with its repaired twin."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from calibration.case import Case, Training

Batches = Callable[[int], tuple[Any, Any]]


class Build(Protocol):
    """Builds the broken network, or its twin where `mended`: (model, inputs, targets, loss_fn)."""

    def __call__(self, *, mended: bool) -> tuple[Any, ...]:
        """Returns (model, inputs, targets, loss_fn)."""
        ...


class Faults:
    """Collects the pairs of one file, in the order they are written."""

    def __init__(self) -> None:
        self._cases: list[Case] = []

    @property
    def cases(self) -> tuple[Case, ...]:
        """Every broken network, each followed by its twin."""
        return tuple(self._cases)

    def pair(
        self,
        name: str,
        family: str,
        rules: str,
        *,
        why: str,
        sound: str,
        training: Training | None = None,
        mended_batches: Batches | None = None,
        no_training: str = "",
    ) -> Callable[[Build], Build]:
        """Enters a broken network and its twin, built by the decorated function.

        `rules` are names apart by blanks, the best first. `why` says what is wrong, `sound` what was repaired. Both are
        trained by `training`; `mended_batches` are the twin's own where the data is what was repaired.
        """
        mended_training = training
        if training is not None and mended_batches is not None:
            mended_training = Training(
                optimizer=training.optimizer,
                learning_rate=training.learning_rate,
                steps=training.steps,
                batches=mended_batches,
            )

        def enter(build: Build) -> Build:
            self._cases.append(
                Case(
                    name=name,
                    kind="broken",
                    family=family,
                    build=partial(build, mended=False),
                    why=why,
                    rules=tuple(rules.split()),
                    twin=f"{name}-mended",
                    training=training,
                    why_no_training=no_training,
                )
            )
            self._cases.append(
                Case(
                    name=f"{name}-mended",
                    kind="twin",
                    family=family,
                    build=partial(build, mended=True),
                    why=sound,
                    training=mended_training,
                    why_no_training=no_training,
                )
            )
            return build

        return enter


def adam(batches: Batches | None, *, rate: float = 3e-3, steps: int = 150) -> Training:
    """Returns a training by Adam."""
    return Training(optimizer="adam", learning_rate=rate, steps=steps, batches=batches)


def sgd(batches: Batches | None, *, rate: float = 0.05, steps: int = 150) -> Training:
    """Returns a training by gradient descent without momentum."""
    return Training(optimizer="sgd", learning_rate=rate, steps=steps, batches=batches)


def momentum(batches: Batches | None, *, rate: float = 0.02, steps: int = 150) -> Training:
    """Returns a training by gradient descent with momentum."""
    return Training(optimizer="momentum", learning_rate=rate, steps=steps, batches=batches)
