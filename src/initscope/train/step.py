"""The one vectorised step: per-run losses, correct answers and gradients of a whole ensemble.

    loss_r(theta_r) = mean over the batch of -log softmax(f(x; theta_r))_y,      r = 1 .. runs

`torch.func.vmap` of `grad` over a functional call of an ordinary module, written once; then traced into the plain
batched operations it amounts to (`make_fx`), so that a training loop of thousands of steps pays for arithmetic and not
for functorch's dispatch. Tracing changes no operation: traced and untraced steps are equal to the bit (tested).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.fx.experimental.proxy_tensor import make_fx

from initscope.base.errors import InitscopeError, UsageError
from initscope.train.aligned import AlignedProducts
from initscope.train.graph import simplify
from initscope.train.randomness import KeyedDropout

if TYPE_CHECKING:
    from jaxtyping import Float, Int

Tensors = dict[str, Tensor]
StepResult = tuple[Tensors, Tensor, Tensor]
"""Gradients {path: Float "run *shape"}, losses Float "run", correct answers Int "run"."""
Step = Callable[[Tensors, Tensors, Tensor, Tensor, Tensor, Tensor], StepResult]
"""step(parameters, buffers, inputs, labels, run_keys, update): buffers (BatchNorm's) are updated in place."""


def cross_entropy(
    logits: Float[Tensor, "sample cls"], labels: Int[Tensor, "sample"]
) -> Float[Tensor, ""]:
    """Returns the mean over samples of -log softmax(logits)[label], in nats."""
    return -logits.log_softmax(dim=-1).gather(-1, labels.unsqueeze(-1)).squeeze(-1).mean()


def vectorised_step(model: nn.Module, *, n_classes: int = 1) -> Step:
    """Returns the untraced step of an ensemble of `model`s (in training mode); the module's own values are not used.

    `n_classes` is the least number of scores a sample that the labels call for.
    """

    def run_loss(
        parameters: Tensors, buffers: Tensors, inputs: Tensor, labels: Tensor, run_key: Tensor, update: Tensor
    ) -> tuple[Tensor, Tensor]:
        with KeyedDropout(run_key, update):
            logits = functional_call(model, (parameters, buffers), (inputs,))
        check_logits(logits, inputs, n_classes=n_classes)
        return cross_entropy(logits, labels), (logits.argmax(dim=-1) == labels).sum()

    gradient = vmap(grad_and_value(run_loss, has_aux=True), in_dims=(0, 0, 0, 0, 0, None))

    def step(
        parameters: Tensors, buffers: Tensors, inputs: Tensor, labels: Tensor, run_keys: Tensor, update: Tensor
    ) -> StepResult:
        with AlignedProducts():
            gradients, (losses, correct) = gradient(parameters, buffers, inputs, labels, run_keys, update)
        return gradients, losses, correct

    return step


def traced_step(
    model: nn.Module, example: tuple[Tensors, Tensors, Tensor, Tensor, Tensor, Tensor], *, n_classes: int = 1
) -> Step:
    """Returns the step traced on arguments of the shapes of `example`, which is left as it was.

    Raises: UsageError that names the module's class and the reason where it does not survive `vmap`.
    """
    parameters, buffers, *rest = example
    copies = {name: value.clone() for name, value in buffers.items()}
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # vmap's fallback is slow only while it is traced
            graph = make_fx(vectorised_step(model, n_classes=n_classes))(parameters, copies, *rest)
    except InitscopeError:
        raise
    except Exception as error:
        raise refusal(model, error) from error
    return cast(Step, simplify(graph))


_REASONS = (
    (
        "calling .item() on a Tensor",
        "its forward pass reads a tensor's value, by .item() or by a branch that depends on it",
    ),
    (
        "vmap: called random operation",
        "its forward pass draws random numbers by other means than dropout's functions",
    ),
)
"""What torch.func says -> what we say; any other error is quoted by its first line."""


def refusal(model: nn.Module, error: Exception) -> UsageError:
    """Returns the error that says why a model cannot be trained as an ensemble."""
    text = str(error).strip()
    reason = next((words for mark, words in _REASONS if mark in text), text.partition("\n")[0] or type(error).__name__)
    return UsageError(
        f"this model cannot be trained as an ensemble: {reason}",
        where=f"model {type(model).__name__}",
        legal="a module that survives torch.func.vmap: no .item(), no branching on tensor values, "
        "no in-place change of plain tensors",
        do="mend the forward pass, or train it run by run outside initscope",
    )


def check_logits(logits: object, inputs: Tensor, *, n_classes: int = 1) -> None:
    """Raises UsageError where a model's output is not one row of at least `n_classes` class scores a sample."""
    matrix = logits.shape if isinstance(logits, Tensor) and logits.ndim == 2 else (0, 0)
    if matrix[0] != len(inputs) or matrix[1] < n_classes:
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise UsageError(
            "the model's output is not a matrix of class scores",
            value=found,
            legal=f"a tensor of shape (samples, classes), here ({len(inputs)}, {n_classes})",
        )
