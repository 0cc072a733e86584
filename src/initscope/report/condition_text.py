"""What a condition overwrites, in words, from its table of patterns and initializers."""

from __future__ import annotations

from initscope.base.calls import Call, parse_call
from initscope.records.study import Condition

NOTHING = "nothing is overwritten: every weight and bias keeps its random default"
EVERY = {
    "*": "every weight and bias",
    "*.*": "every weight and bias",
    "*.weight": "every weight",
    "*.bias": "every bias",
}
CONSTANTS = {"zeros": "0", "ones": "1"}


def describe(condition: Condition) -> str:
    """Returns one line that says what the condition's table does to a fresh default network.

    A later pattern wins over an earlier one, so the parts are in order, joined with "then" where they may meet.

    Arguments: `condition` maps a parameter-name pattern to an initializer's call text.

    Example:
        >>> describe({"*.weight": "zeros"})
        'every weight = 0; biases keep their random default'
        >>> describe({"hidden1.weight": "zeros"})
        '"hidden1.weight" = 0; the rest keeps its random default'
    """
    if not condition:
        return NOTHING
    parts = [f"{_whom(pattern)} {_what(parse_call(text))}" for pattern, text in condition.items()]
    joined = parts[0]
    for index, part in enumerate(parts[1:], start=1):
        joined += (", then " if _may_meet(list(condition)[:index], list(condition)[index]) else ", ") + part
    return joined + _rest(set(condition))


def _whom(pattern: str) -> str:
    if pattern in EVERY:
        return EVERY[pattern]
    if pattern.endswith(".*") and not _is_pattern(pattern[:-2]):
        return f'every parameter of "{pattern[:-2]}"'
    return f'every "{pattern}"' if _is_pattern(pattern) else f'"{pattern}"'


def _what(call: Call) -> str:
    if call.name in CONSTANTS:
        return f"= {CONSTANTS[call.name]}"
    values = [*call.positional, *(value for _, value in call.keywords)]
    if call.name == "constant" and len(values) == 1:
        return f"= {values[0]!r}"
    return f"drawn from {call}"


def _may_meet(earlier: list[str], later: str) -> bool:
    return any(_overlap(pattern, later) for pattern in earlier)


def _overlap(one: str, other: str) -> bool:
    if not _is_pattern(one) and not _is_pattern(other):
        return one == other
    # Patterns that end in different plain names (.weight, .bias) cannot match one parameter.
    ends = (one.rpartition(".")[2], other.rpartition(".")[2])
    return ends[0] == ends[1] or any(_is_pattern(end) for end in ends)


def _rest(patterns: set[str]) -> str:
    if patterns & {"*", "*.*"} or {"*.weight", "*.bias"} <= patterns:
        return ""
    if patterns == {"*.weight"}:
        return "; biases keep their random default"
    if patterns == {"*.bias"}:
        return "; weights keep their random default"
    return "; the rest keeps its random default"


def _is_pattern(text: str) -> bool:
    return any(sign in text for sign in "*?[")
