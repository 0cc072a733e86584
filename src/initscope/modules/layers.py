"""The layers of a network in the order in which a forward pass reaches them, found from outside with hooks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from initscope.modules.generators import seeded_generators

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, *_TRANSPOSED)
_WEIGHTED = (nn.Linear, *_CONVOLUTIONS)
_ACTIVATION_FILE = nn.ReLU.__module__


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer with weights: its module's path, its number of units, and the activation that follows it, if a module.

    `unit_axis` is the axis of the output that runs over units: -1 (linear) or 1 (convolution). `row_axis` is the axis
    of the weight that does: 0, or 1 in a transposed convolution. `activation_call` says which of the activation
    module's calls in a forward pass is meant, since one module may serve several layers.
    """

    path: str
    units: int
    unit_axis: int
    row_axis: int
    has_bias: bool
    activation: str | None
    activation_call: int = 0


def find_layers(model: nn.Module, inputs: Tensor) -> tuple[Layer, ...]:
    """Returns the linear and convolutional layers that a forward pass of `model` on `inputs` runs, in that order.

    The activation of a layer is the first activation *module* reached after it and before the next layer; a
    functional one (`F.relu`) cannot be seen from outside and is None, so what needs it stays "not measured". A layer
    run twice is listed where it runs first. Hooks, modes and generators are as before when it returns or raises.
    """
    reached: list[str] = []
    names = {module: name for name, module in model.named_modules() if _can_be_reached(name, module)}

    def note(module: nn.Module, _inputs: object, _output: object) -> None:
        reached.append(names[module])

    with seeded_generators(0):
        run_hooked(model, dict.fromkeys(names.values(), note), lambda: model(inputs))
    return _pair(model, reached)


def _can_be_reached(name: str, module: nn.Module) -> bool:
    """Whether a module is a layer or has no parts; a parametrised layer has parts, and those are no layers."""
    if "parametrizations" in name.split("."):
        return False
    return isinstance(module, _WEIGHTED) or not list(module.children())


def run_hooked(model: nn.Module, hooks: dict[str, Callable[..., None]], forward: Callable[[], object]) -> None:
    """Calls `forward` with a forward hook on each named module, and takes the hooks off again whatever happens."""
    modules = dict(model.named_modules())
    handles = [modules[name].register_forward_hook(hook) for name, hook in hooks.items()]
    try:
        with torch.no_grad():
            forward()
    finally:
        for handle in handles:
            handle.remove()


def _pair(model: nn.Module, reached: list[str]) -> tuple[Layer, ...]:
    modules = dict(model.named_modules())
    layers: dict[str, Layer] = {}
    for position, path in enumerate(reached):
        module = modules[path]
        if isinstance(module, _WEIGHTED) and path not in layers:
            after = _activation_after(modules, reached, position)
            layers[path] = _layer(path, module)
            if after is not None:
                call = reached[:after].count(reached[after])
                layers[path] = replace(layers[path], activation=reached[after], activation_call=call)
    return tuple(layers.values())


def _activation_after(modules: dict[str, nn.Module], reached: list[str], position: int) -> int | None:
    for after in range(position + 1, len(reached)):
        module = modules[reached[after]]
        if isinstance(module, _WEIGHTED):
            return None
        if type(module).__module__ == _ACTIVATION_FILE or isinstance(module, nn.Identity):
            return after
    return None


def _layer(path: str, module: nn.Module) -> Layer:
    convolution = isinstance(module, _CONVOLUTIONS)
    return Layer(
        path=path,
        units=int(module.out_channels if convolution else module.out_features),  # type: ignore[arg-type]  # both int
        unit_axis=1 if convolution else -1,
        row_axis=1 if isinstance(module, _TRANSPOSED) else 0,
        has_bias=module.bias is not None,
        activation=None,
    )
