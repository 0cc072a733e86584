"""Inputs that models of known libraries say they take: timm by their settings, transformers by their configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from initscope.checker.instruments.input_layers import BATCH, LENGTH, batch_for
from initscope.checker.instruments.input_shapes import InputShape

Named = dict[str, InputShape]


def library_shapes(model: nn.Module) -> Iterator[tuple[InputShape, ...] | Named]:
    """Yields shapes to try: (shape,) from timm's `pretrained_cfg`, {name: shape} from a transformers `config`."""
    for attribute in ("pretrained_cfg", "default_cfg"):
        size = _get(getattr(model, attribute, None), "input_size")
        if isinstance(size, tuple | list) and all(isinstance(one, int) for one in size):
            yield (InputShape(sizes=(batch_for(*size), *size)),)
    config = getattr(model, "config", None)
    if config is not None and isinstance(getattr(model, "main_input_name", None), str):
        yield from _transformers(model, config)


def _transformers(model: Any, config: Any) -> Iterator[Named]:
    known = {
        "input_ids": _ids, "pixel_values": _pixels, "input_features": _features, "input_values": _signal,
        "pixel_values_videos": _video, "past_values": _nothing,
    }  # fmt: skip
    main = known.get(model.main_input_name, _ids)
    first = [{model.main_input_name: shape} for shape in main(config)]
    decoder = [{"decoder_input_ids": shape} for shape in _ids(config)]
    both = [{"input_ids": text, "pixel_values": image} for text in _ids(config) for image in _pixels(config)]
    if _get(config, "is_encoder_decoder"):
        yield from ({**one, **two} for one in first for two in decoder)
    if "vision_config" in vars(config) and "text_config" in vars(config):
        yield from both
    yield from first
    yield from ({**one, **two} for one in first for two in decoder)
    yield from both


def _ids(config: Any) -> list[InputShape]:
    text = _text(config)
    vocabulary = _get(text, "vocab_size")
    if not isinstance(vocabulary, int):
        return []
    room = _get(text, "max_position_embeddings", "n_positions", "max_target_positions", "max_seq_len")
    length = min(2 * LENGTH, room - 2 if isinstance(room, int) and room > 4 else 2 * LENGTH)
    return [InputShape(sizes=(BATCH // 2, max(length, 1)), dtype=torch.int64, below=vocabulary)]


def _pixels(config: Any) -> list[InputShape]:
    vision = _get(config, "vision_config") or config
    size, channels = _get(vision, "image_size"), _get(vision, "num_channels", "in_channels", "in_chans") or 3
    sizes = (size,) if isinstance(size, int) else tuple(size) if isinstance(size, tuple | list) else (224, 32)
    if isinstance(size, tuple | list) and len(size) == 2:
        return [InputShape(sizes=(batch_for(channels, *size), channels, *size))]
    return [InputShape(sizes=(batch_for(channels, one, one), channels, one, one)) for one in sizes]


def _features(config: Any) -> list[InputShape]:
    bins = _get(config, "num_mel_bins", "input_feat_per_channel", "feature_size", "feat_proj_dim") or 80
    frames = 2 * (_get(config, "max_source_positions") or 50)
    return [
        InputShape(sizes=(batch_for(bins, frames), bins, frames)),
        InputShape(sizes=(batch_for(bins, frames), min(frames, 200), bins)),
    ]


def _signal(config: Any) -> list[InputShape]:
    bins, frames = _get(config, "num_mel_bins"), _get(config, "max_length")
    spectrogram = [InputShape(sizes=(2, frames, bins))] if isinstance(bins, int) and isinstance(frames, int) else []
    return [*spectrogram, InputShape(sizes=(4, 8000)), InputShape(sizes=(4, 1, 8000))]


def _video(config: Any) -> list[InputShape]:
    frames = _get(config, "num_frames", "frames_per_clip") or 8
    return [InputShape(sizes=(2, frames, *shape.sizes[1:])) for shape in _pixels(config)]


def _nothing(config: Any) -> list[InputShape]:
    return []


def _text(config: Any) -> Any:
    text = getattr(config, "get_text_config", None)
    return text() if callable(text) else config


def _get(holder: Any, *names: str) -> Any:
    """The first of these entries or attributes that there is and that is not None."""
    for name in names:
        value = holder.get(name) if isinstance(holder, Mapping) else getattr(holder, name, None)
        if value is not None:
            return value
    return None
