"""Which loss a check uses: the user's, one that fits the targets, the model's own, or the stand-in."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from initscope.checker.evidence import Absent
from initscope.checker.instruments.losses import Loss, StandIn, evaluated_loss, guessed_loss, own_loss


class ChosenLoss:
    """The loss of a model's output; chosen at the first call, and the same from then on.

    The first of these that there is: `loss`; the scalar that the model returned as `.loss`; the one that fits the
    targets; the stand-in. `given` is True for all but the stand-in, `name` says which it was.
    """

    def __init__(self, loss: Loss | None, targets: Any, *, seed: int) -> None:
        self._targets, self._seed = targets, seed
        self._loss = loss
        self.given = loss is not None
        self.name = "given" if loss is not None else "not chosen yet"

    def __call__(self, output: Any) -> Tensor:
        """Returns the loss of `output` as a scalar. Raises: UsageError where it is none."""
        if self._loss is None:
            self._loss = self._choose(output)
        return evaluated_loss(self._loss, output, self._targets)

    def _choose(self, output: Any) -> Loss:
        if own_loss(output) is not None:
            self.given, self.name = True, "the model's own"
            return lambda found, _: own_loss(found)
        if self._targets is not None:
            guessed = guessed_loss(output, self._targets)
            if not isinstance(guessed, Absent):
                self.given, self.name = True, f"assumed: {getattr(guessed, '__name__', 'loss').strip('_')}"
                return guessed
        self.given, self.name = False, "stand-in"
        return StandIn(seed=self._seed)
