"""INI704 tie-broken."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from initscope.checker.evidence import Builds, Evidence, ParameterFacts
from initscope.checker.instruments.trace import Trace
from initscope.checker.rule import Rule, register
from initscope.records.finding import Finding, Severity

ENTRIES = 16
"""Entries below which equal values may be chance or a pattern."""


@dataclass(frozen=True, kw_only=True)
class Broken:
    """Two parameters that were one, or should be: `equal` values, `transposed` ones, or a storage `borrowed` from the "
    "other's class."""

    first: str
    second: str
    how: Literal["equal", "rows", "transposed", "borrowed"]
    share: float = 1.0


@register
class TieBroken(Rule):
    """Finds an embedding and an output projection, or an encoder and its transposed decoder, that were tied and are
    not.

    Why it is bad

    A tie is an identity of parameters. A new `nn.Parameter`, a copy of `.data`, a deep copy of one half or a cast of
    tensors that only share memory ends it without a word: there are two matrices now, which start alike and drift
    apart; the model is larger than intended, and a checkpoint loads into half of it.

    Criterion

    Exact, between a trainable matrix that is looked up and a trainable one that multiplies (each used in one way
    only): bitwise equal values in two memories, of all rows or of all but those of a longer table; or the memory of
    one was drawn by the constructor of the other's class (an embedding's standard normal inside a linear layer),
    which assigning the one to the other does. Two matrices that multiply and are bitwise transposes of each other are
    a warning where the code is narrower than the input, else information: overcomplete autoencoders start so on
    purpose.

    When it is fine

    One parameter under two names; two matrices drawn independently; copies that are frozen or whose original is tied
    itself (targets of self-supervision, momentum encoders).

    Example

        self.head.weight = self.embed.weight
        self.embed.weight = nn.Parameter(torch.randn(vocabulary, width) * 0.02)

    Corrected

        self.embed.weight = nn.Parameter(torch.randn(vocabulary, width) * 0.02)
        self.head.weight = self.embed.weight

    Fix

    Tie again after the last replacement, by assigning the parameter itself.

    References

    fastai pull request 2090 and transformers issue 42418 show how passes meet tied weights.
    """

    code = "INI704"
    name = "tie-broken"
    gravest = "warn"
    needs = ("capture",)
    basis = "exact"
    requires = ("uninitialised", "non-finite")

    def judge(self, evidence: Evidence) -> Iterable[Finding]:
        """Yields one finding for each pair."""
        for one in _broken(evidence):
            yield self._told(evidence, one)

    def _told(self, evidence: Evidence, one: Broken) -> Finding:
        first, second = evidence.parameters[one.first], evidence.parameters[one.second]
        both = f"{one.first} and {one.second}"
        told = {
            "equal": f"{both} hold bit for bit the same {list(first.shape)} draws in two memories",
            "rows": f"{one.share:.0%} of the rows of {both} are bit for bit the same draws in two memories",
            "transposed": f"{one.second} is bit for bit the transpose of {one.first}, in a memory of its own",
            "borrowed": f"the memory of {one.second} was drawn by the class of {one.first}: they were one once",
        }[one.how]
        severity: Severity = "info" if one.how == "transposed" and not _narrows(evidence, one.first) else "warn"
        means = (
            "right for an overcomplete autoencoder, whose halves only start alike"
            if severity == "info"
            else "they were tied and are trained apart"
        )
        fix = (
            f"use torch.nn.functional.linear(x, {_get(one.first)}.t()) in forward, without the copy"
            if one.how == "transposed"
            else f"{_holder(one.second)}.{one.second.rpartition('.')[2]} = {_get(one.first)}"
        )
        return self.finding(
            f"{told}: {means}",
            where=[one.second, one.first],
            evidence={"share": one.share, "entries": min(_numel(first), _numel(second)), "how": one.how},
            fix=fix,
            severity=severity,
            location=evidence.locate(one.second),
        )


def _broken(evidence: Evidence) -> Iterator[Broken]:
    trace = evidence.trace
    assert isinstance(trace, Trace)
    tensors: dict[str, Tensor] = {
        path: tensor for path, tensor in evidence.model.named_parameters() if _is_matrix(evidence.parameters.get(path))
    }
    looked_up = {op.weight for op in trace.ops if op.kind == "lookup"}
    multiplied = list(dict.fromkeys(op.weight for op in trace.ops if op.kind == "linear"))
    tables = [path for path in tensors if path in looked_up and path not in multiplied]
    matrices = [path for path in multiplied if path in tensors and path not in looked_up]
    for table in tables:
        for matrix in matrices:
            how = _relation(evidence, table, matrix, tensors)
            if how is not None:
                yield how
    corners: dict[object, list[str]] = {}
    for path in matrices:
        corners.setdefault(_corner(tensors[path]), []).append(path)
    for second in matrices:
        for first in corners.get(_corner(tensors[second].t()), []):
            if (
                matrices.index(first) < matrices.index(second)
                and _same(tensors[first], tensors[second].t())
                and not _same(tensors[first], tensors[second])
            ):
                yield Broken(first=first, second=second, how="transposed")


def _corner(matrix: Tensor) -> object:
    """What matrices of equal bits share: type, shape and the first entries of the diagonal and beside it."""
    return matrix.dtype, matrix.shape, tuple(matrix.detach()[:2, :2].reshape(-1).tolist())


def _relation(evidence: Evidence, table: str, matrix: str, tensors: dict[str, Tensor]) -> Broken | None:
    first, second = tensors[table], tensors[matrix]
    for other in (second, second.t()):
        if first.shape == other.shape and _same(first, other):
            return Broken(first=table, second=matrix, how="equal")
        rows = min(len(first), len(other))
        if first.shape[1:] == other.shape[1:] and 2 * rows > max(len(first), len(other)):
            equal = int((first[:rows].detach() == other[:rows].detach().to(first.dtype)).all(1).sum())
            if equal * first.shape[1] >= ENTRIES and 2 * equal > max(len(first), len(other)):
                return Broken(first=table, second=matrix, how="rows", share=equal / max(len(first), len(other)))
    if first.shape == second.shape and _borrowed(evidence, table, matrix):
        return Broken(first=table, second=matrix, how="borrowed")
    return None


def _borrowed(evidence: Evidence, table: str, matrix: str) -> bool:
    """Whether the memory of one was drawn by the constructor of the other's class, as torch's own classes do it."""
    builds = evidence.builds
    if not isinstance(builds, Builds):
        return False
    modules = dict(evidence.model.named_modules())
    kinds = [type(modules.get(path.rpartition(".")[0])) for path in (table, matrix)]
    if not (issubclass(kinds[0], nn.Embedding) and issubclass(kinds[1], nn.Linear)):
        return False
    ops = [
        {write.op for write in builds.writes if write.framework and path in write.tensors} for path in (table, matrix)
    ]
    return "normal_" in ops[1] or "uniform_" in ops[0]


def _same(first: Tensor, second: Tensor) -> bool:
    if first.shape != second.shape or first.dtype != second.dtype or first.data_ptr() == second.data_ptr():
        return False
    return bool((first[0] == second[0]).all()) and torch.equal(first.detach(), second.detach())


def _is_matrix(facts: ParameterFacts | None) -> bool:
    return (
        facts is not None
        and len(facts.shape) == 2
        and facts.trainable
        and not facts.constant
        and facts.finite
        and min(facts.shape) > 1
        and facts.std > 0
        and _numel(facts) >= ENTRIES
        and not facts.tied
    )


def _narrows(evidence: Evidence, path: str) -> bool:
    """Whether the product with a matrix has fewer units than what it is given."""
    trace = evidence.trace
    assert isinstance(trace, Trace)
    for op in trace.forward_ops("linear"):
        given = [trace.values[index] for index in trace.data_operands(op)]
        if op.weight == path and given and given[0].shape:
            return trace.values[op.result].shape[-1] < given[0].shape[-1]
    return False


def _numel(facts: ParameterFacts) -> int:
    return facts.shape[0] * facts.shape[1]


def _get(path: str) -> str:
    return f'model.get_parameter("{path}")'


def _holder(path: str) -> str:
    module = path.rpartition(".")[0]
    return f'model.get_submodule("{module}")' if module else "model"
