"""The guard of a check: whatever is measured inside, model and process are afterwards exactly as they were."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from initscope.checker.instruments.kept import kept_values
from initscope.modules.generators import seeded_generators
from initscope.modules.guard import untouched
from initscope.modules.unfused import unfused


@contextmanager
def undisturbed(model: nn.Module, *, seed: int) -> Iterator[None]:
    """Leaves `model` and the process as they were when the block is left, by an error too.

    Beyond `modules.guard.untouched`: the values of parameters and of tensors held as plain attributes are put back,
    to the bit and in place; torch's switches (fused attention and transformer kernels, oneDNN's recurrent kernels,
    gradient mode, compiled modules, warnings) are set for measuring inside and restored. Inside, gradients are on and
    generators stand at `seed`. Threads of the user's that train the same model meanwhile are not guarded against.
    """
    with ExitStack() as stack:
        kept = stack.enter_context(kept_values(model))
        stack.enter_context(untouched(model))
        stack.callback(kept.restore)
        stack.enter_context(seeded_generators(seed))
        stack.enter_context(_as_written(model))
        stack.enter_context(torch.inference_mode(mode=False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _as_written(model: nn.Module) -> Iterator[None]:
    """Takes fused kernels apart, so that what happens inside them is seen."""
    recurrent = any(isinstance(module, nn.RNNBase) for module in model.modules())
    with unfused(), ExitStack() as stack:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
            if recurrent:
                stack.enter_context(torch.backends.mkldnn.flags(enabled=False))
                stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        yield
