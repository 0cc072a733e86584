"""What a recurrent weight's own module tells: spectral radius, gate biases, and the cure that fits it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from initscope.checker.evidence import Evidence
from initscope.checker.instruments.recurrences import Recurrence
from initscope.checker.instruments.trace import Trace


@dataclass(frozen=True, kw_only=True, eq=False)
class RecurrentFacts:
    """Facts beside the rates; None where they make no sense.

    radius       spectral radius of a square recurrent matrix, the largest decay of a diagonal one gate_bias    mean
    over units of the biases that are added in the gate which keeps the state (LSTM: forget, GRU: update) activation
    name of the activation behind the weight kind         "lstm", "gru", "rnn" for torch's own modules, else ""
    """

    radius: float | None
    gate_bias: float | None
    activation: str
    kind: str


def recurrent_facts(evidence: Evidence, one: Recurrence) -> RecurrentFacts:
    """Returns what the module and the values of a recurrent weight show."""
    owner_path, _, name = one.weight.rpartition(".")
    owner = dict(evidence.model.named_modules()).get(owner_path, evidence.model)
    kind = next((word for word, types in _KINDS.items() if isinstance(owner, types)), "")
    held = dict(evidence.model.named_parameters()).get(one.weight)
    return RecurrentFacts(
        radius=None if held is None else _radius(held.detach(), diagonal=one.diagonal),
        gate_bias=_gate_bias(owner, kind, name),
        activation=_activation(evidence, one),
        kind=kind,
    )


_KINDS: dict[str, tuple[type, ...]] = {
    "lstm": (nn.LSTM, nn.LSTMCell),
    "gru": (nn.GRU, nn.GRUCell),
    "rnn": (nn.RNN, nn.RNNCell),
}


def cure(one: Recurrence, facts: RecurrentFacts) -> str:
    """Returns the code that gives the recurrence a memory: neither decay nor growth at the start."""
    owner = one.weight.rpartition(".")[0]
    if facts.kind == "lstm":
        return f'initscope.initialize(model, {{"{owner}.*": "lstm_gates"}})'
    if facts.kind == "gru":
        suffix = one.weight.rpartition(".")[2].removeprefix("weight_hh")
        bias = f"model.{owner}.bias_ih{suffix}"
        return f"with torch.no_grad(): {bias}[len({bias}) // 3 : 2 * len({bias}) // 3] = 2.0  # update gates start open"
    if one.diagonal:
        return (
            f"nn.init.uniform_(model.{one.weight}, 0.9, 0.999)  # as decays; their logarithm, "
            "where that is what is stored"
        )
    method = "identity" if facts.activation in ("relu", "clamp_min", "leaky_relu") else "orthogonal"
    return f'initscope.initialize(model, {{"{one.weight}": "{method}"}})'


def _radius(held: Tensor, *, diagonal: bool) -> float | None:
    values = held.double().cpu()
    if not bool(torch.isfinite(values).all()):
        return None
    if diagonal:
        return float(values.abs().max())
    if values.ndim != 2 or values.shape[0] != values.shape[1] or len(values) > 2048:
        return None
    return float(torch.linalg.eigvals(values).abs().max())


def _gate_bias(owner: nn.Module, kind: str, weight: str) -> float | None:
    if kind not in ("lstm", "gru"):
        return None
    suffix = weight.removeprefix("weight_hh")
    found = [getattr(owner, f"bias_{side}{suffix}", None) for side in ("ih", "hh")]
    biases = [one.detach().double() for one in found if isinstance(one, Tensor)]
    if not biases:
        return None
    units = len(biases[0]) // (4 if kind == "lstm" else 3)
    return float(sum(biases)[units : 2 * units].mean())  # type: ignore[index]  # a sum of tensors, at least one


def _activation(evidence: Evidence, one: Recurrence) -> str:
    """The name of the first activation behind the last use of the weight, at most six operators on."""
    trace = evidence.trace
    if not isinstance(trace, Trace):
        return ""
    last = [op for op in trace.forward_ops("linear", "gain") if op.weight == one.weight][-1]
    current = [last.result]
    for _ in range(6):
        readers = [trace.ops[number] for index in current for number in trace.consumers[index]]
        found = next((op.name for op in readers if op.kind == "activation"), "")
        if found:
            return found
        current = [index for op in readers for index in op.results]
    return ""
