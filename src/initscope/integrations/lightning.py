"""`InitCheck` for Lightning: the start is checked on the first real batch, before the first step.

    from initscope.integrations.lightning import InitCheck
    trainer = Trainer(callbacks=[InitCheck()])

Lightning (`lightning` or `pytorch_lightning`) is looked for when `InitCheck` is first asked for; nothing else of
initscope needs it.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import warnings
from functools import cache
from typing import Any

from torch import nn

from initscope.base.errors import EnvironmentFault, UsageError
from initscope.checker.allowances import allow, allowances_in
from initscope.integrations.first_batch import FirstBatch
from initscope.modules.guard import untouched

PACKAGES = ("lightning.pytorch", "pytorch_lightning")


class ModuleCheck(FirstBatch):
    """Checks a LightningModule; options as `FirstBatch`.

    What is run is `training_step` on the first batch, and its loss. What it logs with `self.log` is dropped; what it
    sends to a logger itself is not. A module that steps its optimisers by hand (`automatic_optimization` False) is not
    checked, and neither is a training that goes on from a checkpoint.
    """

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Checks at the first batch."""
        if batch_idx != 0 or trainer.global_step > 0 or self.report is not None:
            return
        name = type(pl_module).__name__
        if not getattr(pl_module, "automatic_optimization", True):
            text = "its training_step would step the optimisers (automatic_optimization is False)"
            warnings.warn(f"initscope did not check the start of {name}: {text}", stacklevel=2)
            return
        with untouched(pl_module):
            pl_module.__dict__.update(log=_drop, log_dict=_drop)  # the guard takes them off again
            self.check(_step_of(pl_module), (batch,), name=name, tell=getattr(trainer, "is_global_zero", True))


class TrainingStep(nn.Module):
    """A LightningModule seen as a network whose output is {"loss": ...}: its parameters under their own paths."""

    def __init__(self, pl_module: nn.Module) -> None:
        super().__init__()
        own = frozenset(self.__dict__) - {"_parameters", "_buffers", "_modules"}
        self.__dict__.update({name: value for name, value in pl_module.__dict__.items() if name not in own})
        self.__dict__["step"] = pl_module.training_step
        self.training = pl_module.training

    def forward(self, batch: Any) -> dict[str, Any]:
        """Returns the loss of a batch. Raises: UsageError where training_step returns none."""
        step = self.__dict__["step"]
        given = step(batch, 0) if _wants_index(step) else step(batch)
        loss = given.get("loss") if isinstance(given, dict) else given
        if loss is None:
            raise UsageError("training_step returned no loss for the first batch", where="training_step")
        return {"loss": loss}


def __getattr__(name: str) -> Any:
    if name == "InitCheck":
        return _callback()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@cache
def _callback() -> type[ModuleCheck]:
    """The callback, made for the package that is in use already where there are two."""
    missing: ImportError | None = None
    for package in sorted(PACKAGES, key=lambda name: name not in sys.modules):
        try:
            base = importlib.import_module(package).Callback
        except ImportError as error:
            missing = missing or error
            continue
        return type("InitCheck", (ModuleCheck, base), {"__doc__": ModuleCheck.__doc__, "__module__": __name__})
    raise EnvironmentFault("lightning is not installed", value=str(missing), do="pip install lightning") from missing


def _step_of(pl_module: nn.Module) -> TrainingStep:
    """The network to check; what is allowed on the module as a whole is allowed on it."""
    made = TrainingStep(pl_module)
    for one in allowances_in(pl_module):
        if one.path == "":
            allow(made, one.rule, reason=one.reason)
    return made


def _wants_index(step: Any) -> bool:
    parameters = inspect.signature(step).parameters.values()
    places = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    return len(places) > 1 or any(one.kind is one.VAR_POSITIONAL for one in parameters)


def _drop(*values: object, **options: object) -> None:
    return None
