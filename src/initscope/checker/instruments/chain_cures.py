"""The call that gives a chain of layers weights which keep the signal, for the activations that follow them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from initscope.checker.evidence import Evidence, ParameterFacts
from initscope.checker.instruments.chains import Station
from initscope.checker.instruments.graph import next_activation
from initscope.checker.instruments.trace import Trace

HE = frozenset(
    {
        "relu",
        "clamp_min",
        "threshold",
        "relu6",
        "hardtanh",
        "leaky_relu",
        "prelu",
        "_prelu_kernel",
        "rrelu",
        "rrelu_with_noise",
    }
)
NAMED = {"gelu": "gelu", "silu": "silu", "elu": "elu", "mish": "mish", "softplus": "softplus", "hardswish": "hardswish"}


def layers_of(stations: Sequence[Station]) -> tuple[Station, ...]:
    """Returns the layers among stations, lookups left out."""
    return tuple(one for one in stations if one.kind == "layer" and one.op.kind == "linear")


def activation_behind(trace: Trace, station: Station) -> str:
    """Returns the name of the activation that reads a layer, "" without one."""
    found = next_activation(trace, station.value)
    return found.name if found is not None else ""


def method_for(activation: str) -> str:
    """Returns the initialisation, as text, that keeps the signal of a layer followed by `activation`."""
    if activation in HE:
        return "he_normal"
    if activation == "tanh":
        return "orthogonal(gain='tanh')"
    if activation in NAMED:
        return f"he_normal(gain='{NAMED[activation]}')"
    if activation in ("sin", "cos"):
        return "lecun_normal"
    return "orthogonal"


def cure(evidence: Evidence, stations: Sequence[Station], *, biases: bool = True) -> str:
    """Returns an `initscope.initialize` call for the layers among `stations`, their biases zero."""
    trace = evidence.trace
    if not isinstance(trace, Trace):
        return ""
    entries: dict[str, str] = {}
    plain: dict[str, float] = {}
    sigmoid = False
    for station in layers_of(stations):
        name = activation_behind(trace, station)
        sigmoid = sigmoid or name in ("sigmoid", "hardsigmoid")
        facts = evidence.parameters.get(station.op.weight)
        if facts is not None and facts.fan_in is None:
            plain[station.op.weight] = _std(trace, station, facts, name)
        else:
            entries[station.op.weight] = method_for(name)
        bias = bias_of(evidence, station)
        if biases and bias:
            entries[bias] = "zeros"
    if sigmoid:
        return (
            "sigmoids in series lose three quarters of the signal each whatever the weights: put "
            "tanh, ReLU or GELU in their "
            f"place, or nn.LayerNorm before each of them ({', '.join(one.name for one in layers_of(stations)[:6])})"
        )
    lines = [f'nn.init.normal_(model.get_parameter("{path}"), std={std:.4g})' for path, std in plain.items()]
    if entries:
        shown = ", ".join(f'"{path}": "{method}"' for path, method in entries.items())
        lines.append(f"initscope.initialize(model, {{{shown}}})")
    return "\n".join(lines)


def _std(trace: Trace, station: Station, facts: ParameterFacts, activation: str) -> float:
    """He's deviation, LeCun's without a rectifier, for a bare parameter: its fan-in read from what it made."""
    units = trace.values[station.op.result].shape[-1] if trace.values[station.op.result].shape else 1
    fan_in = max(math.prod(facts.shape) // max(units, 1), 1)
    gain = 2.0 if activation in HE or activation in NAMED else 1.0
    return math.sqrt(gain / fan_in)


def bias_of(evidence: Evidence, station: Station) -> str:
    """Returns the path of the bias that a layer adds, "" without one."""
    trace = evidence.trace
    if not isinstance(trace, Trace):
        return ""
    read = [station.op]
    made = trace.producer(station.value)
    if made is not None and made.kind == "bias":
        read.append(made)
    for op in read:
        for index in op.operands:
            for path in trace.values[index].parameters:
                facts = evidence.parameters.get(path)
                if path != station.op.weight and facts is not None and len(facts.shape) == 1:
                    return path
    return ""
