"""Models of timm by name, with random weights: `timm:resnet18`, `timm:resnet18(num_classes=10)`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from initscope.api.library_call import library, library_call, unknown_model
from initscope.base.errors import UsageError


def timm_factory(reference: str) -> Callable[[], nn.Module]:
    """Returns the function that builds the timm model `reference` names; nothing is downloaded.

    Raises: EnvironmentFault where timm is not installed; UsageError for an unknown name, with the nearest ones.
    """
    call = library_call(reference)
    timm = library("timm", wanted_by=call.reference)
    if not timm.is_model(call.name):
        names = timm.list_models()
        raise unknown_model(call, "a name that timm.list_models() gives", names)
    loading = [key for key in ("pretrained", "checkpoint_path") if call.keywords.get(key)]
    if loading:
        raise UsageError(
            f"{call.reference} is built with random weights", value=repr(reference), do=f"leave {loading[0]} out"
        )
    keywords: dict[str, Any] = {**call.keywords, "pretrained": False}

    def build() -> nn.Module:
        made: nn.Module = timm.create_model(call.name, **keywords)
        return made

    return build
