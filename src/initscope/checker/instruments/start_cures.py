"""The line of code that gives one parameter a start."""

from __future__ import annotations

from collections.abc import Iterable

from initscope.checker.evidence import ParameterFacts

_METHODS = {
    "weight": "he_normal",
    "bias": "zeros",
    "embedding": "normal(std=0.02)",
    "norm weight": "ones",
    "norm bias": "zeros",
    "norm_gain": "ones",
    "norm_bias": "zeros",
}


def starting_cure(facts: Iterable[ParameterFacts]) -> str:
    """Returns code that draws these parameters (and buffers) anew: one `initscope.initialize` call where their layer "
    "is known."""
    known: list[str] = []
    others: list[str] = []
    for one in facts:
        method = _METHODS.get(one.role)
        if method is not None and not one.buffer and not (method == "he_normal" and one.fan_in is None):
            known.append(f'"{one.path}": "{method}"')
        else:
            others.append(_by_hand(one))
    calls = [f"initscope.initialize(model, {{{', '.join(known)}}})"] if known else []
    return "; ".join([*calls, *others])


def set_to(path: str, *, value: float, buffer: bool = False) -> str:
    """Returns code that fills a tensor with one value."""
    held = _held(path, buffer=buffer)
    return f"nn.init.zeros_({held})" if value == 0 else f"nn.init.constant_({held}, {value:.6g})"


def _held(path: str, *, buffer: bool) -> str:
    return f'model.get_{"buffer" if buffer else "parameter"}("{path}")'


def _by_hand(facts: ParameterFacts) -> str:
    if len([size for size in facts.shape if size > 1]) > 1:
        spread = min(0.1, max(facts.shape) ** -0.5)
        return f"nn.init.normal_({_held(facts.path, buffer=facts.buffer)}, std={spread:.3g})"
    return set_to(facts.path, value=0.0, buffer=facts.buffer)
