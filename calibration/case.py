"""What a case of the calibration is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

CaseKind = Literal["broken", "twin", "healthy", "architecture"]


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a case is trained to prove its label: `steps` updates of `optimizer` on fresh batches of `batches`.

    `batches(step)` returns (inputs, targets); None trains on the factory's own batch again and again. `judged_by` says
    what is compared: shares of right answers where the fault lies in the loss itself, whose values then mean nothing.
    """

    optimizer: Literal["sgd", "momentum", "adam", "adamw"] = "adam"
    learning_rate: float = 1e-3
    steps: int = 200
    batches: Callable[[int], tuple[Any, Any]] | None = None
    judged_by: Literal["loss", "accuracy"] = "loss"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One network at its start.

    name      unique, kebab case; says what was done ("tanh-stack-std-0.01")
    kind      broken, its repaired twin, a healthy design, a real architecture
    rules     of a broken one: the names of the rules that name a right cause, the best first; else empty
    twin      of a broken one: the name of the case that is the same network repaired
    family    "mlp", "cnn", "residual", "transformer", "rnn", "gan", "vae", "lora", "ssm", "moe", "siren", ...
    build     factory without arguments: returns (model, inputs, targets, loss_fn); draws from the global generators
    training  how its label is proven; None where short trainings cannot show the harm, then `why_no_training` says why
    why       one sentence: the fault, or why the design is sound though it looks odd
    """

    name: str
    kind: CaseKind
    family: str
    build: Callable[[], tuple[Any, Any, Any, Any]]
    why: str
    rules: tuple[str, ...] = ()
    twin: str = ""
    training: Training | None = None
    why_no_training: str = ""
