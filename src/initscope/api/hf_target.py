"""Models of transformers by type or class, with random weights: `hf:bert`, `hf:llama(num_hidden_layers=2)`."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import torch
from torch import nn

from initscope.api.library_call import LibraryCall, library, library_call, unknown_model
from initscope.base.errors import EnvironmentFault, UsageError, nearest

LARGEST = 2_000_000_000
OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
ON = ("1", "ON", "YES", "TRUE")
TASKS = (
    "SEQ_TO_SEQ_CAUSAL_LM", "SPEECH_SEQ_2_SEQ", "MASKED_LM", "CAUSAL_LM", "ZERO_SHOT_IMAGE_CLASSIFICATION",
    "IMAGE_CLASSIFICATION", "CTC", "AUDIO_CLASSIFICATION", "IMAGE_TEXT_TO_TEXT", "SEMANTIC_SEGMENTATION",
    "OBJECT_DETECTION", "VIDEO_CLASSIFICATION",
)  # fmt: skip
"""The tasks whose head a model type is built with: the first that it has; none has the bare model."""

SIZES = (
    "num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "decoder_layers", "hidden_size",
    "n_embd", "d_model", "dim", "intermediate_size", "d_ff", "encoder_ffn_dim", "decoder_ffn_dim", "num_local_experts",
    "n_routed_experts", "num_experts", "vocab_size",
)  # fmt: skip
"""Settings that decide how many parameters there are, by the names configurations have for them."""


def hf_factory(reference: str) -> Callable[[], nn.Module]:
    """Returns the function that builds the transformers model `reference` names, a type or a class of the library.

    Its configuration is the library's default with the keywords given; no file is read and nothing is downloaded.

    Raises: EnvironmentFault where transformers is not installed; UsageError for an unknown name or setting, with the
        nearest, and for a model of more than two billion parameters, with the settings that shrink it.
    """
    call = library_call(reference)
    with offline():
        transformers = library("transformers", wanted_by=call.reference)
        kind = _model_class(transformers, call)
        make = kind.config_class
        _refuse_unknown_settings(make, call)
        _refuse_large(kind, make, call)

    def build() -> nn.Module:
        with offline():
            made: nn.Module = kind(make(**call.keywords))
        return made

    return build


@contextlib.contextmanager
def offline() -> Iterator[None]:
    """Forbids the hub's library every access to the network inside the block."""
    before = {name: os.environ.get(name) for name in OFFLINE}
    os.environ.update(dict.fromkeys(OFFLINE, "1"))
    hub: Any = sys.modules.get("huggingface_hub.constants")  # read from the environment once, when it was imported
    switch = getattr(hub, "HF_HUB_OFFLINE", None)
    if switch is not None:
        hub.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        hub = sys.modules.get("huggingface_hub.constants")
        if hub is not None:
            hub.HF_HUB_OFFLINE = (before["HF_HUB_OFFLINE"] or "").upper() in ON if switch is None else switch


def _model_class(transformers: ModuleType, call: LibraryCall) -> Any:
    """The class to build: one named, or that of a type's foremost task."""
    auto = transformers.models.auto.modeling_auto
    types = auto.MODEL_MAPPING_NAMES
    name = call.name
    if name not in types and name.lower().replace("-", "_") in types:
        name = name.lower().replace("-", "_")
    if name in types:
        for task in TASKS:
            found = getattr(auto, f"MODEL_FOR_{task}_MAPPING_NAMES", {}).get(name)
            if found is not None:
                return _class(transformers, _first(found), call)
        return _class(transformers, _first(types[name]), call)
    classes = [one for one in dir(transformers) if one[:1].isupper() and _is_model_name(one)]
    if name not in classes:
        legal = "a model type such as bert, gpt2, llama, vit, or a model class such as BertForMaskedLM"
        raise unknown_model(call, legal, [*types, *classes])
    return _class(transformers, name, call)


def _class(transformers: ModuleType, name: str, call: LibraryCall) -> Any:
    try:
        found = getattr(transformers, name)
    except (ImportError, AttributeError) as error:
        raise EnvironmentFault(f"{call.reference} cannot be loaded: {str(error).strip().splitlines()[0]}") from error
    if getattr(found, "config_class", None) is None:
        raise UsageError(
            f"{name} has no configuration of its own",
            value=call.reference,
            legal="a model class such as BertForMaskedLM",
        )
    return found


def _first(names: str | list[str] | tuple[str, ...]) -> str:
    return names if isinstance(names, str) else names[0]


def _is_model_name(name: str) -> bool:
    return not name.startswith(("Auto", "TF", "Flax")) and (
        name.endswith(("Model", "Head", "PreTraining", "Backbone")) or "For" in name or "LMHead" in name
    )


def _refuse_unknown_settings(make: Any, call: LibraryCall) -> None:
    """A configuration takes any keyword and forgets it: a misspelt one is told here."""
    default = make()
    known = sorted({*default.to_dict(), *getattr(default, "attribute_map", {})})
    for key in call.keywords:
        if key not in known and not hasattr(default, key):
            near = nearest(key, known)
            raise UsageError(
                f"{make.__name__} has no setting {key!r}",
                where=call.reference,
                legal=", ".join(known),
                do=f"did you mean {near!r}?" if near else None,
            )


def _refuse_large(kind: Any, make: Any, call: LibraryCall) -> None:
    config = make(**call.keywords)
    try:
        with torch.device("meta"):
            count = sum(one.numel() for one in kind(config).parameters())
    except (RuntimeError, NotImplementedError, TypeError, ValueError, AttributeError):
        return  # a constructor that reads values cannot be counted so; or it raises, and says it when it is built
    if count <= LARGEST:
        return
    text = getattr(config, "get_text_config", lambda: config)()
    inner = config if text is config else text
    sizes = [f"{name}={value}" for name in SIZES if isinstance(value := getattr(inner, name, None), int)]
    raise UsageError(
        f"{call.reference} has {count / 1e9:.1f} billion parameters with these settings",
        legal=f"at most {LARGEST / 1e9:.0f} billion",
        do=f"shrink it, as in {call.reference}(num_hidden_layers=2); it has {', '.join(sizes)}",
    )
