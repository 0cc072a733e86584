"""A forward pass as it is written: no fused transformer kernel, nothing compiled."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch


@contextmanager
def unfused() -> Iterator[None]:
    """Keeps torch's transformer layers from their fused kernel, and compiled functions from being compiled."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    compiling = "torch._dynamo" in sys.modules
    try:
        with torch.compiler.set_stance("force_eager") if compiling else nullcontext():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)
