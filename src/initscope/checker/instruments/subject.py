"""What is checked: a model with a batch and a loss, and how one pass of it is run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from initscope.checker.instruments.recording import Recording
from initscope.modules.arguments import call_of, leaves, replaced


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """A model, what it is called with, and the loss of what it returns.

    `loss_of` takes the model's output and returns the scalar loss; None where only a forward pass is wanted.
    `synthetic` says that the inputs were made up.
    """

    model: nn.Module
    inputs: Any
    targets: Any = None
    loss_of: Callable[[Any], Tensor] | None = None
    synthetic: bool = False
    seed: int = 0

    @property
    def user_loss(self) -> bool:
        """False for the stand-in; a loss says it itself, once it was called."""
        return self.loss_of is not None and bool(getattr(self.loss_of, "given", True))

    @property
    def batch(self) -> int | None:
        """The number of samples: the first axis that targets and an input share, else the inputs' common first axis."""
        given = [tensor for tensor in leaves(call_of(self.inputs)) if isinstance(tensor, Tensor) and tensor.ndim]
        wanted = [tensor for tensor in leaves(self.targets) if isinstance(tensor, Tensor) and tensor.ndim]
        for target in wanted:
            if any(target.shape[0] in tensor.shape[:2] for tensor in given):
                return int(target.shape[0])
        firsts = {int(tensor.shape[0]) for tensor in given}
        return firsts.pop() if len(firsts) == 1 else int(given[0].shape[0]) if given else None

    def call(self, recording: Recording | None = None) -> Any:
        """Runs the model on copies of its inputs, which are entered into `recording` first."""
        positional, keywords = call_of(self.inputs)
        named = [*((str(number), value) for number, value in enumerate(positional)), *keywords.items()]
        copies = [
            replaced(value, lambda tensor: tensor.detach().clone().requires_grad_(tensor.requires_grad))
            for _, value in named
        ]
        if recording is not None:
            for (name, _), value in zip(named, copies, strict=True):
                for tensor in leaves(value):
                    recording.input(tensor, name)  # type: ignore[arg-type]  # leaves of Tensor
        return self.model(*copies[: len(positional)], **dict(zip(keywords, copies[len(positional) :], strict=True)))

    def gradients(self) -> Tensor:
        """Runs forward and backward once, into `.grad`; returns the loss."""
        if self.loss_of is None:
            raise ValueError("a subject without a loss has no gradients")
        self.forget_gradients()
        loss = self.loss_of(self.call())
        if loss.requires_grad:
            loss.backward()  # type: ignore[no-untyped-call]  # torch ships it without types
        return loss.detach()

    def forget_gradients(self) -> None:
        """Sets every `.grad` to None, which frees as much memory as the parameters take."""
        for parameter in self.model.parameters():
            parameter.grad = None

    @staticmethod
    def as_training(model: nn.Module) -> None:
        """Puts a model in evaluation mode as a whole into training mode; another stays as its parts are."""
        if not model.training:
            model.train()
            for module in model.modules():
                frozen = list(module.parameters(recurse=False))
                if (
                    isinstance(module, nn.modules.batchnorm._BatchNorm)
                    and frozen
                    and not any(one.requires_grad for one in frozen)
                ):
                    module.eval()


def device_of(model: nn.Module) -> torch.device:
    """Returns where the first parameter lies, the CPU without one."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
