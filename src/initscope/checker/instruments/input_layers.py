"""Shapes of inputs that the first layers of a network could take."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import torch
from torch import nn

from initscope.checker.instruments.input_shapes import InputShape
from initscope.modules.arguments import required_names

BATCH = 8
LENGTH = 16
IMAGE_SIZES = (32, 64, 128, 224, 28, 16, 96, 256, 8)
SIGNAL_LENGTHS = (64, 256, 1024, 16000)
CUBE_SIZES = (16, 32, 8)
ENTRIES = 6
"""How many of the first layers are asked."""


def batch_for(*sizes: int) -> int:
    """Returns the number of samples of this shape: 8, fewer where one is large."""
    entries = math.prod(sizes)
    return BATCH if entries <= 3 * 64 * 64 else 4 if entries <= 3 * 256 * 256 else 2


def guessed_shapes(model: nn.Module) -> Iterator[tuple[InputShape, ...]]:
    """Yields shapes to try, one a positional input, the likeliest first.

    Read are the kinds and sizes of the layers in the order they were registered, and how many inputs `forward` needs.
    """
    single = list(dict.fromkeys(_single(model)))
    count = max(len(required_names(model)[0]), 1)
    if count == 1:
        yield from ((shape,) for shape in single)
        return
    for shape in single:
        yield (shape,) * count
    yield from itertools.islice(itertools.product(single[:12], repeat=count), 200)


def id_bounds(model: nn.Module) -> tuple[int, ...]:
    """Returns numbers that ids may have to stay below: the first table's length, the shortest's, 2."""
    lengths = [one.num_embeddings for one in model.modules() if isinstance(one, nn.Embedding | nn.EmbeddingBag)]
    return tuple(dict.fromkeys((*lengths[:1], *([min(lengths)] if lengths else []), 2)))


def _single(model: nn.Module) -> Iterator[InputShape]:
    sequence = any(isinstance(one, nn.RNNBase | nn.MultiheadAttention) for one in model.modules())
    found = [shapes for module in model.modules() if (shapes := list(_of(module, sequence=sequence)))]
    for shapes in found[:ENTRIES]:
        yield from shapes
    if not found:
        yield from _of_parameters(model)
    for shapes in found[ENTRIES : 3 * ENTRIES]:
        yield shapes[0]


def _of(module: nn.Module, *, sequence: bool) -> Iterator[InputShape]:
    """The inputs that one layer takes."""
    if isinstance(module, nn.Embedding | nn.EmbeddingBag):
        for length in (LENGTH, 8, 4, 1):
            yield _ids((BATCH, length), module.num_embeddings)
        yield _ids((BATCH,), module.num_embeddings)
    elif isinstance(module, nn.RNNBase):
        batch_first = (BATCH, LENGTH) if module.batch_first else (LENGTH, BATCH)
        yield _floats(*batch_first, module.input_size)
    elif isinstance(module, nn.RNNCellBase):
        yield _floats(BATCH, LENGTH, module.input_size)
        yield _floats(BATCH, module.input_size)
    elif isinstance(module, nn.MultiheadAttention):
        for size in dict.fromkeys((module.embed_dim, module.kdim or module.embed_dim, module.vdim or module.embed_dim)):
            yield _floats(BATCH, LENGTH, size)
    elif isinstance(module, nn.Bilinear):
        yield _floats(BATCH, module.in1_features)
        yield _floats(BATCH, module.in2_features)
    elif isinstance(module, nn.Linear):
        yield from _of_linear(module.in_features or 32, sequence=sequence)
    elif isinstance(module, nn.modules.conv._ConvNd):
        yield from _of_convolution(module)
    elif isinstance(module, nn.modules.batchnorm._BatchNorm):
        yield from _of_batch_norm(module)
    elif isinstance(module, nn.LayerNorm):
        yield _floats(BATCH, *module.normalized_shape)
        yield _floats(BATCH, LENGTH, *module.normalized_shape)


def _of_linear(features: int, *, sequence: bool) -> Iterator[InputShape]:
    plain, positions = _floats(BATCH, features), _floats(BATCH, LENGTH, features)
    yield from (positions, plain) if sequence else (plain, positions)
    for channels in (1, 3):
        side = math.isqrt(features // channels)
        if side > 2 and channels * side * side == features:
            yield _floats(batch_for(features), channels, side, side)


def _of_convolution(module: nn.modules.conv._ConvNd) -> Iterator[InputShape]:
    channels, axes = module.in_channels or 3, len(module.kernel_size)
    if isinstance(module, nn.modules.conv._ConvTransposeNd):
        for size in (4, 1, 8):
            yield _floats(BATCH, channels, *(size,) * axes)
        yield _floats(BATCH, channels)
        return
    for size in {1: SIGNAL_LENGTHS, 2: IMAGE_SIZES, 3: CUBE_SIZES}[axes]:
        sizes = (channels, *(size,) * axes)
        yield _floats(batch_for(*sizes), *sizes)
    if axes == 1:
        yield _floats(BATCH, LENGTH, channels)


def _of_batch_norm(module: nn.modules.batchnorm._BatchNorm) -> Iterator[InputShape]:
    axes = {nn.BatchNorm2d: (32, 32), nn.BatchNorm3d: (8, 8, 8)}.get(type(module), ())
    yield _floats(BATCH, module.num_features, *axes)
    if not axes:
        yield _floats(BATCH, module.num_features, LENGTH)


def _of_parameters(model: nn.Module) -> Iterator[InputShape]:
    """Inputs for layers of the user's own: as long as an axis of the first matrices."""
    for parameter in itertools.islice((one for one in model.parameters() if one.ndim >= 2), 3):
        for size in dict.fromkeys((parameter.shape[-1], parameter.shape[0])):
            yield _floats(BATCH, size)
            yield _floats(BATCH, LENGTH, size)
            yield _ids((BATCH, LENGTH), size)
    for parameter in itertools.islice((one for one in model.parameters() if one.ndim == 1), 1):
        yield _floats(BATCH, len(parameter))


def _floats(*sizes: int) -> InputShape:
    return InputShape(sizes=sizes)


def _ids(sizes: tuple[int, ...], below: int) -> InputShape:
    return InputShape(sizes=sizes, dtype=torch.int64, below=below)
