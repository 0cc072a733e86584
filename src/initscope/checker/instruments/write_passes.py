"""Which lines of a build wrote which tensors, and what each write left: where one statement undid another."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from torch import nn

from initscope.checker.evidence import Builds, ParameterFacts, Write
from initscope.checker.instruments.writes import replaces_values

Law = Literal["constant", "random", "shaped", "unknown"]
"""What a write left: one number; draws; values that are neither (a table, a copy); not measured."""

FAR = 2.0
"""Ratio of standard deviations from which two random laws are another start."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Undone:
    """A user's write that a later one of another law replaced: `early`, `late`, and in what they differ.

    `early_line`, `late_line` are the parts of the call chains that tell them apart, innermost first; `others` are
    tensors that the late line wrote and the early one did not.
    """

    path: str
    early: Write
    late: Write
    early_line: tuple[str, ...]
    late_line: tuple[str, ...]
    others: tuple[str, ...]


def law_of(write: Write) -> Law:
    """Returns what kind of values a write left."""
    if math.isnan(write.std):
        return "unknown"
    if write.std <= 1e-12 * max(abs(write.mean), 1.0) or write.op in ("zero_", "fill_"):
        return "constant"
    return "random" if write.random else "shaped"


@dataclass(frozen=True, kw_only=True, eq=False)
class Passes:
    """The writes of one build by tensor and by line."""

    builds: Builds
    model: nn.Module
    facts: Mapping[str, ParameterFacts]

    @cached_property
    def by_tensor(self) -> dict[str, list[Write]]:
        """Path -> its writes, in order; tied names share theirs."""
        found: dict[str, list[Write]] = {}
        for write in self.builds.writes:
            for path in write.tensors:
                found.setdefault(path, []).append(write)
        return found

    @cached_property
    def _kinds(self) -> dict[str, tuple[type, str]]:
        modules = dict(self.model.named_modules(remove_duplicate=False))
        return {
            path: (type(modules.get(path.rpartition(".")[0], self.model)), path.rpartition(".")[2])
            for write in self.builds.writes
            for path in write.tensors
        }

    def kind(self, path: str) -> tuple[type, str]:
        """Returns the class that owns a tensor, and the tensor's own name there."""
        return self._kinds[path]

    def covered(self, line: tuple[str, ...]) -> frozenset[str]:
        """Returns the tensors that the line, or beginning of a call chain, wrote."""
        found = self._coverage.get(line)
        if found is None:
            found = frozenset(
                path for write in self.builds.writes if write.site[: len(line)] == line for path in write.tensors
            )
            self._coverage[line] = found
        return found

    @cached_property
    def _coverage(self) -> dict[tuple[str, ...], frozenset[str]]:
        return {}

    def undone(self) -> Iterator[Undone]:
        """Yields every write by the user's code into a parameter whose values the next replacing write took away for "
        "good."""
        for path, writes in self.by_tensor.items():
            facts = self.facts.get(path)
            replacing = [number for number, one in enumerate(writes) if one.whole and replaces_values(one)]
            if facts is None or facts.buffer or not replacing or not writes[replacing[-1]].site:
                continue
            if any(replaces_values(one) and not one.framework for one in writes[replacing[-1] + 1 :]):
                continue
            for number, early in enumerate(writes[: replacing[-1]]):
                late = writes[next(one for one in replacing if one > number)]
                if early.framework or not early.site or not late.site or early.site == late.site:
                    continue
                if differs(early, late, shape=facts.shape) and differs(early, writes[replacing[-1]], shape=facts.shape):
                    yield self._pair(path, early, late)

    def _pair(self, path: str, early: Write, late: Write) -> Undone:
        length = _apart(early.site, late.site)
        lines = early.site[:length], late.site[:length]
        others = tuple(sorted(self.covered(lines[1]) - self.covered(lines[0])))
        return Undone(path=path, early=early, late=late, early_line=lines[0], late_line=lines[1], others=others)


def differs(early: Write, late: Write, *, shape: tuple[int, ...]) -> bool:
    """Returns whether what two writes left is another start: a constant or a table in place of draws, or the reverse,
    another constant, or random laws whose deviations differ by a factor of two and more.

    Biases that were drawn around zero and are zero now, constants that give way to draws in a matrix, and rows of
    zeros in a table are not.
    """
    before, after = law_of(early), law_of(late)
    if "unknown" in (before, after):
        return False
    flat = len([size for size in shape if size > 1]) < 2
    if before == "constant":
        return _constant_lost(early, late, after, flat=flat)
    if before == "shaped":
        return after != "shaped" or abs(early.mean - late.mean) + abs(early.std - late.std) > 0.1 * early.std
    if after == "shaped":
        return False
    if flat:
        return abs(early.mean - late.mean) > 2 * early.std if after == "random" else abs(early.mean) > early.std
    if after == "constant":
        return True
    return max(early.std, late.std) >= FAR * min(early.std, late.std)


def _constant_lost(early: Write, late: Write, after: Law, *, flat: bool) -> bool:
    value = early.mean
    if after == "constant":
        if value == 0:
            return late.mean == 1 and early.whole
        return abs(value - late.mean) > 1e-3 * abs(value)
    if value == 0:
        return early.whole and not flat
    if flat:
        return abs(value - late.mean) > 3 * late.std
    return early.whole and abs(value) < 0.1 * late.std


def _apart(first: tuple[str, ...], second: tuple[str, ...]) -> int:
    """The length of the beginnings that tell two chains apart."""
    for number, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return number + 1
    return min(len(first), len(second)) + 1
