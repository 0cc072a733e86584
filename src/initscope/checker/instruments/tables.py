"""Trainable tables whose rows are small: what they hold drowns at the start and is learnt at once."""

from __future__ import annotations

from initscope.checker.evidence import Evidence
from initscope.checker.instruments.trace import Trace

TABLE = 1e-2
"""Looked-up rows smaller than this drown under a default bias; Adam moves each entry by its rate, whatever its size."""


def small_tables(evidence: Evidence, trace: Trace) -> bool:
    """Returns whether what the data choose are small rows of tables that learn, and are not all zero."""
    chosen = [op for op in trace.forward_ops("lookup") if op.weight and evidence.parameters[op.weight].trainable]
    sizes = [moments.rms for op in chosen if (moments := trace.values[op.result].forward) is not None]
    return any(0 < size < TABLE for size in sizes)
