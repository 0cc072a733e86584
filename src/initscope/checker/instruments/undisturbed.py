"""The guard of a check: whatever is measured inside, model and process are afterwards exactly as they were."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from initscope.modules.generators import seeded_generators
from initscope.modules.guard import untouched


@contextmanager
def undisturbed(model: nn.Module, *, seed: int) -> Iterator[None]:
    """Leaves `model` and the process as they were when the block is left, by an error too.

    Beyond `modules.guard.untouched`: the values of parameters and of tensors held as plain attributes are put back,
    to the bit and in place; torch's switches (fused attention and transformer kernels, oneDNN's recurrent kernels,
    gradient mode, compiled modules, warnings) are set for measuring inside and restored. Inside, gradients are on and
    generators stand at `seed`. Threads of the user's that train the same model meanwhile are not guarded against.
    """
    kept = _Kept.of(model)
    with ExitStack() as stack:
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
    fastpath = torch.backends.mha.get_fastpath_enabled()
    recurrent = any(isinstance(module, nn.RNNBase) for module in model.modules())
    with ExitStack() as stack:
        stack.callback(torch.backends.mha.set_fastpath_enabled, fastpath)
        torch.backends.mha.set_fastpath_enabled(False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
            if recurrent:
                stack.enter_context(torch.backends.mkldnn.flags(enabled=False))
                stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        if "torch._dynamo" in sys.modules:
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        yield


class _Kept:
    """Copies of every parameter and of every tensor that a module holds as a plain attribute."""

    def __init__(self, tensors: list[tuple[Tensor, Tensor, int]]) -> None:
        self._tensors = tensors

    @classmethod
    def of(cls, model: nn.Module) -> _Kept:
        found: dict[int, Tensor] = {id(one): one for one in model.parameters() if _has_values(one)}
        for module in model.modules():
            for held in list(module.__dict__.values()):
                items = held if isinstance(held, list | tuple) else held.values() if type(held) is dict else (held,)
                found.update({id(one): one for one in items if isinstance(one, Tensor) and _has_values(one)})
        return cls([(one, one.detach().clone(), _version(one)) for one in found.values()])

    def restore(self) -> None:
        """Writes only into what changed, and drops the copies."""
        with torch.no_grad():
            for tensor, values, version in self._tensors:
                if _version(tensor) != version or not _same(tensor, values):
                    if tensor.shape != values.shape:
                        tensor.set_(values)  # type: ignore[call-overload]  # the overload for a tensor alone
                    else:
                        tensor.data.copy_(values)
        self._tensors = []


def _has_values(tensor: Tensor) -> bool:
    lazy = nn.parameter.is_lazy(tensor)
    return not lazy and not tensor.is_meta and tensor.layout == torch.strided


def _version(tensor: Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version


def _same(tensor: Tensor, values: Tensor) -> bool:
    """Whether all entries are equal; NaN is unlike itself, and is then written once more, which changes no bit."""
    try:
        return tensor.shape == values.shape and torch.equal(tensor, values)
    except (RuntimeError, NotImplementedError):
        return False
