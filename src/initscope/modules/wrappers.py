"""Wrappers that stand between a user and their module: compiled, parallel and checkpointed models are what they wrap.

Streams and patterns see a parameter's path without the wrappers' segments, so that wrapping changes no draw.
"""

from __future__ import annotations

from torch import nn

SEGMENTS = frozenset({"_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module"})
"""Path segments that torch.compile, activation checkpointing and FSDP insert."""


def unwrapped(model: nn.Module) -> nn.Module:
    """Returns the module inside torch.compile's, DataParallel's and DistributedDataParallel's wrappers, or itself."""
    while True:
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
        elif isinstance(inner := dict(model.named_children()).get("_orig_mod"), nn.Module):
            model = inner
        else:
            return model


def plain_path(path: str) -> str:
    """Returns a parameter's or module's path without wrappers' segments.

    Example:
        >>> plain_path("blocks.0._checkpoint_wrapped_module.fc.weight")
        'blocks.0.fc.weight'
    """
    return ".".join(part for part in path.split(".") if part not in SEGMENTS)
