"""Lets torchvision be imported beside a torch that its compiled part was not built for.

torchvision's wheel on the package index is built for a CUDA torch. Beside the CPU torch its compiled part does not
load, which it bears in silence, but its Python part then asks torch for two operators that nobody declared and fails.
timm and transformers need neither operator, so tests and calibration declare both, without any code behind them.
"""

from __future__ import annotations

import functools
import importlib.util
from contextlib import suppress
from pathlib import Path

import torch

_BOXES = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
OPERATORS = ("nms", "qnms")


@functools.cache
def declare_vision_operators() -> torch.library.Library | None:
    """Declares torchvision::nms and torchvision::qnms where nothing has; call it before torchvision is imported.

    Returns the library that holds the declarations, kept alive by the cache: they last as long as it does. None where
    torchvision is absent, or its compiled part loads and brings the operators with it.
    """
    if importlib.util.find_spec("torchvision") is None or _declared():
        return None
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]  # torch ships it without types
    for name in OPERATORS:
        library.define(f"{name}{_BOXES}")  # type: ignore[no-untyped-call]  # as above
    return library


def _declared() -> bool:
    """Whether torch knows the first operator, after torchvision's compiled part was given the chance to bring it."""
    spec = importlib.util.find_spec("torchvision")
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        for compiled in sorted(Path(folder).glob("_C.*")):
            with suppress(OSError):
                torch.ops.load_library(compiled)  # type: ignore[no-untyped-call]  # as above
    return hasattr(torch.ops.torchvision, OPERATORS[0])
