"""Whether tensors lie in one memory, and whether they share entries of it."""

from __future__ import annotations

from torch import Tensor


def may_overlap(first: Tensor, second: Tensor) -> bool:
    """Returns False where two tensors of one storage surely share no entry: slices beside each other along one axis."""
    if first.stride() != second.stride() or first.ndim == 0:
        return True
    distance = abs(int(first.storage_offset()) - int(second.storage_offset()))
    for axis, step in enumerate(first.stride()):
        if step and distance % step == 0 and distance // step:
            shift, others = distance // step, [one for number, one in enumerate(first.stride()) if number != axis]
            size = max(first.shape[axis], second.shape[axis])
            if shift >= size and all(one > step * size or one <= step for one in others):
                return False
    return True


def storage_key(tensor: Tensor) -> int | None:
    """Returns what tensors over one storage have in common, None for kinds without a storage of their own."""
    try:
        return int(tensor.untyped_storage()._cdata)
    except (NotImplementedError, RuntimeError):
        return None  # sparse ones, for instance
