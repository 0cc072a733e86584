"""What torch's operators do to data, by name."""

from __future__ import annotations

LINEAR = frozenset({
    "mm", "addmm", "bmm", "baddbmm", "addbmm", "mv", "addmv", "dot", "vdot", "linear", "convolution",
    "_convolution", "matmul", "convolution_overrideable", "mkldnn_convolution", "cudnn_convolution", "_trilinear",
    "_sparse_addmm", "_sparse_mm", "_addmm_activation", "mkldnn_linear", "_scaled_mm", "_int_mm", "einsum",
})  # fmt: skip
"""Products of matrices: linear where one side is made of parameters, matmul where both carry data."""

LOOKUP = frozenset({"embedding", "_embedding_bag", "_embedding_bag_forward_only", "embedding_renorm"})
INDEXING = frozenset({"index", "index_select", "gather", "take"})
"""Lookups where a parameter is read at places the data choose, else views."""

ACTIVATION = frozenset({
    "relu", "relu6", "leaky_relu", "gelu", "silu", "sigmoid", "tanh", "elu", "celu", "selu", "hardtanh",
    "hardswish", "hardsigmoid", "softplus", "mish", "log_sigmoid_forward", "log_sigmoid", "prelu", "_prelu_kernel",
    "rrelu", "rrelu_with_noise", "sin", "cos", "clamp", "clamp_min", "clamp_max", "threshold", "softshrink",
    "hardshrink", "abs", "exp", "expm1", "log", "log1p", "erf", "square", "pow", "sqrt", "rsqrt", "reciprocal",
    "atan", "softsign", "glu", "maximum", "minimum", "sinh", "cosh", "asinh", "arctan", "logit", "tan", "neg",
    "sign", "sgn", "round", "floor",
})  # fmt: skip
SOFTMAX = frozenset({"_softmax", "_log_softmax", "softmax", "log_softmax", "_safe_softmax"})
NORM = frozenset({
    "native_layer_norm", "native_group_norm", "native_batch_norm", "_native_batch_norm_legit",
    "_batch_norm_with_update", "_native_batch_norm_legit_no_training", "cudnn_batch_norm", "_fused_rms_norm",
    "rms_norm", "batch_norm", "layer_norm", "_batch_norm_no_update", "group_norm", "instance_norm",
    "_batch_norm_impl_index",
})  # fmt: skip
SUM = frozenset({"add", "sub", "rsub", "addcmul", "addcdiv", "lerp"})
PRODUCT = frozenset({"mul", "div", "multiply", "divide", "true_divide", "floor_divide"})
JOIN = frozenset(
    {"cat", "stack", "concat", "where", "scatter", "index_put", "masked_scatter", "index_add", "scatter_add"}
)
REDUCE = frozenset({
    "mean", "sum", "amax", "amin", "max", "min", "var", "var_mean", "std", "std_mean", "max_pool2d_with_indices",
    "prod", "max_pool3d_with_indices", "avg_pool2d", "avg_pool3d", "avg_pool1d", "_adaptive_avg_pool2d",
    "_adaptive_avg_pool3d", "adaptive_max_pool2d", "linalg_vector_norm", "norm", "logsumexp", "cumsum",
    "adaptive_avg_pool2d", "mkldnn_max_pool2d", "max_pool1d_with_indices", "median", "any", "all", "argmax",
    "argmin", "topk", "sort", "_linalg_det", "trace",
})  # fmt: skip
VIEW = frozenset({
    "view", "_unsafe_view", "reshape", "t", "transpose", "permute", "expand", "slice", "select", "unsqueeze",
    "squeeze", "as_strided", "unbind", "split", "split_with_sizes", "chunk", "unfold", "alias", "flatten", "narrow",
    "_reshape_alias", "detach", "diagonal", "unflatten", "movedim", "view_as_real", "view_as_complex", "repeat",
    "flip", "roll", "constant_pad_nd", "pixel_shuffle", "pixel_unshuffle", "upsample_nearest2d",
    "upsample_bilinear2d", "tril", "triu", "im2col", "col2im", "lift_fresh", "repeat_interleave",
    "upsample_nearest1d", "_reshape_copy", "view_copy", "expand_copy", "pad", "reflection_pad2d",
    "reflection_pad1d", "replication_pad2d", "masked_select", "slice_scatter", "select_scatter", "split_copy",
    "unsafe_split", "unsafe_chunk", "swapaxes",
})  # fmt: skip
COPY = frozenset(
    {
        "clone",
        "_to_copy",
        "copy",
        "contiguous",
        "masked_fill",
        "fill",
        "zero",
        "nan_to_num",
        "native_dropout",
        "dropout",
    }
)
LOSS = frozenset({
    "nll_loss_forward", "nll_loss2d_forward", "binary_cross_entropy", "binary_cross_entropy_with_logits",
    "mse_loss", "kl_div", "smooth_l1_loss", "huber_loss", "l1_loss", "soft_margin_loss", "multi_margin_loss",
    "multilabel_margin_loss_forward", "_ctc_loss", "hinge_embedding_loss", "poisson_nll_loss",
})  # fmt: skip
FRESH = frozenset({
    "empty_like", "zeros_like", "ones_like", "full_like", "rand_like", "randn_like", "randint_like", "new_empty",
    "new_zeros", "new_ones", "new_full", "new_empty_strided", "empty_strided", "bernoulli",
})  # fmt: skip
"""Operators that take a tensor for its shape alone: nothing of its content goes on."""

CUTS = frozenset(
    {
        "detach",
        "argmax",
        "argmin",
        "sign",
        "round",
        "floor",
        "_local_scalar_dense",
        "one_hot",
        "bernoulli",
        "multinomial",
    }
)
"""Operators behind which no gradient flows."""


def kind_of(name: str, *, data: int, made: int) -> str:
    """Returns the kind of an operator called `name`.

    `data` operands carry data, `made` ones are made of parameters; others are constants and buffers.
    """
    if name in LINEAR:
        return "linear" if data and made and (data == 1 or name in ("addmm", "baddbmm", "_trilinear")) else "matmul"
    if name in LOOKUP or (name in INDEXING and data and made):
        return "lookup"
    for kinds, kind in (
        (ACTIVATION, "activation"), (SOFTMAX, "softmax"), (NORM, "norm"), (JOIN, "join"), (REDUCE, "reduce"),
        (VIEW | INDEXING, "view"), (COPY, "copy"), (LOSS, "loss"),
    ):  # fmt: skip
        if name in kinds:
            return kind
    if name in SUM:
        return "sum" if data > 1 else "bias" if made else "scale"
    if name in PRODUCT:
        return "product" if data > 1 else "gain" if made else "scale"
    return "other"
