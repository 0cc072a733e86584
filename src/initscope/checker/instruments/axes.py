"""Which axis of an activation holds samples and which holds units, followed from operator to operator."""

from __future__ import annotations

from collections.abc import Sequence

CHANNELS_FIRST = frozenset({
    "convolution", "_convolution", "native_batch_norm", "_native_batch_norm_legit", "native_group_norm",
    "_batch_norm_with_update", "cudnn_batch_norm", "max_pool2d_with_indices", "avg_pool2d", "_adaptive_avg_pool2d",
    "convolution_overrideable", "mkldnn_convolution", "avg_pool3d", "max_pool3d_with_indices",
    "_adaptive_avg_pool3d", "_native_batch_norm_legit_no_training",
})  # fmt: skip
UNITS_LAST = frozenset(
    {"mm", "addmm", "bmm", "baddbmm", "embedding", "native_layer_norm", "linear", "mv", "addmv", "_fused_rms_norm"}
)


def unit_axis(name: str, shape: Sequence[int], parents: Sequence[tuple[Sequence[int], int | None]]) -> int | None:
    """Returns the axis of units of a result of `name`, given shape and unit axis of each data operand."""
    if not shape:
        return None
    if name in CHANNELS_FIRST and len(shape) > 1:
        return 1 if len(shape) > 2 or name.endswith(("norm", "legit")) else len(shape) - 1
    if name in UNITS_LAST:
        return len(shape) - 1
    for given, axis in parents:
        if axis is None:
            continue
        if len(given) == len(shape) and axis < len(shape) and given[axis] == shape[axis]:
            return axis
        if len(given) == len(shape) and name in ("transpose", "permute", "t") and shape.count(given[axis]) == 1:
            return list(shape).index(given[axis])
        if axis == 1 and len(shape) > 1 and len(shape) < len(given) and shape[1] == given[1]:
            return 1
    return len(shape) - 1


def takes_together(args: Sequence[object], given: Sequence[int], axis: int | None) -> bool:
    """Returns whether a reduction of a tensor of shape `given`, called with `args`, runs over its `axis`."""
    dims = args[1] if len(args) > 1 else None
    named = [dims] if isinstance(dims, int) and not isinstance(dims, bool) else dims
    if axis is None or not isinstance(named, list | tuple):
        return axis is not None and len(args) == 1
    return any(isinstance(one, int) and one % max(len(given), 1) == axis for one in named)


def sample_axis(shape: Sequence[int], samples: int | None, parents: Sequence[int | None]) -> int | None:
    """Returns the axis that holds samples (perhaps with positions, sample-major), None where none can be told."""
    if samples is None or not shape:
        return None
    if samples > 1 and any(one is not None and one < len(shape) and shape[one] == 1 for one in parents):
        return None  # taken together over the samples, or turned: another axis of that length is a coincidence
    for axis in (*[one for one in parents if one is not None], 0, 1):
        if axis < len(shape) and shape[axis] == samples:
            return axis
    return 0 if shape[0] and shape[0] % samples == 0 and len(shape) < 4 else None
