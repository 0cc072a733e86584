"""The chance level of a cross-entropy that a model computed itself: labels are out of reach, classes are not."""

from __future__ import annotations

from math import log

import numpy as np

from initscope.checker.evidence import Absent, Chance
from initscope.checker.instruments.logits import loss_logits
from initscope.checker.instruments.trace import Trace


def inner_chance(trace: Trace) -> Chance | Absent:
    """Returns ln C for the one averaged cross-entropy that the loss is; Absent where it is anything else.

    The best constant is not known without the labels: ln C, which equal logits reach, stands for it.
    """
    found = loss_logits(trace)
    if len(found) != 1 or found[0].binary or found[0].classes < 2:
        return Absent(reason="the model computed its loss itself, and it is not one cross-entropy")
    logits = found[0]
    picked = [
        trace.ops[index] for index in trace.consumers[logits.op.result] if trace.ops[index].name.startswith("nll_loss")
    ]
    if len(picked) != 1 or 1 not in picked[0].numbers[:1]:
        return Absent(reason="the model computed its loss itself, and it is not a mean")
    level = log(logits.classes)
    activity = logits.op.activity
    return Chance(
        best=level,
        zero=level,
        vector=np.zeros(logits.classes),
        n_targets=logits.rows,
        classes=logits.classes,
        confidence=activity.peak if activity is not None else float("nan"),
    )
