"""`InitCheck` for the transformers Trainer: the start is checked on the first real batch, before the first step.

    from initscope.integrations.transformers import InitCheck
    trainer = Trainer(model=model, args=args, train_dataset=data, callbacks=[InitCheck()])

The library is looked for when `InitCheck` is first asked for; nothing else of initscope needs it.
"""

from __future__ import annotations

import importlib
import inspect
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from initscope.base.errors import EnvironmentFault
from initscope.integrations.first_batch import FirstBatch


class TrainerCheck(FirstBatch):
    """Checks a network that the transformers Trainer trains; options as `FirstBatch`.

    The first forward pass of the training is where the batch is seen: its inputs, on the model's device, are checked
    with the loss the model computes itself (`.loss`), a stand-in where it computes none. Training that resumes from a
    checkpoint is not checked: it starts nothing.
    """

    _handle: RemovableHandle | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, model: nn.Module | None = None, **rest: Any) -> None:
        """Waits for the first batch."""
        if model is None or state.global_step > 0:
            return
        tell = bool(getattr(state, "is_world_process_zero", True))

        def first(module: nn.Module, positional: tuple[Any, ...], keywords: dict[str, Any]) -> None:
            self._leave()
            self.check(module, _call(module, positional, keywords), name=type(module).__name__, tell=tell)

        compiled = getattr(args, "torch_compile", False)
        hook = torch.compiler.disable(first) if compiled else first  # type: ignore[no-untyped-call]  # torch: no types
        self._leave()
        self._handle = model.register_forward_pre_hook(hook, with_kwargs=True)

    def on_train_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Waits no longer, where no batch came."""
        self._leave()

    def _leave(self) -> None:
        if self._handle is not None:
            self._handle.remove()
            self._handle = None


def __getattr__(name: str) -> Any:
    if name == "InitCheck":
        return _callback()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@cache
def _callback() -> type[TrainerCheck]:
    try:
        base = importlib.import_module("transformers.trainer_callback").TrainerCallback
    except ImportError as error:
        raise EnvironmentFault(
            "transformers is not installed", value=str(error), do="pip install transformers"
        ) from error
    return type("InitCheck", (TrainerCheck, base), {"__doc__": TrainerCheck.__doc__, "__module__": __name__})


def _call(model: nn.Module, positional: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """The call as `check` takes one: keywords alone, or positions alone."""
    if not positional or not keywords:
        return keywords or positional
    bound = inspect.signature(model.forward).bind(*positional, **keywords)
    return bound.arguments
