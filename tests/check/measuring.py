"""Evidence of small models, for tests of instruments and rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from initscope.checker.evidence import Absent, Evidence
from initscope.checker.instruments.examine import examine
from initscope.checker.instruments.loss_choice import ChosenLoss
from initscope.checker.instruments.subject import Subject
from initscope.checker.instruments.trace import Trace


def evidence_of(
    model: nn.Module, inputs: Any, targets: Any = None, loss: Callable[[Any, Any], Tensor] | None = None
) -> Evidence:
    """Returns what the instruments say of `model`, without builds."""
    subject = Subject(model=model, inputs=inputs, targets=targets, loss_of=ChosenLoss(loss, targets, seed=0))
    return examine(subject, builds=Absent(reason="no factory"), locate=lambda path: None)


def trace_of(
    model: nn.Module, inputs: Any, targets: Any = None, loss: Callable[[Any, Any], Tensor] | None = None
) -> Trace:
    """Returns the trace of one pass of `model`."""
    trace = evidence_of(model, inputs, targets, loss).trace
    assert isinstance(trace, Trace)
    return trace
