"""Networks and a rule of these tests' own, so that no test here hangs on a rule of the catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

import initscope.api.check  # noqa: F401  # it registers a rule of its own, which must not happen inside `only`
from initscope.checker.evidence import Evidence
from initscope.checker.rule import RULES, Rule
from initscope.records.finding import Finding

FACTORIES = """\
import torch
from torch import nn
import tests.integrations.starts as starts

calls = []

def sound():
    return starts.network(), *starts.batch()

def sevens():
    calls.append(1)
    return starts.network(bias=7.0), *starts.batch()

def broken():
    raise ZeroDivisionError("no network today")

def misfit():
    return starts.network(), torch.zeros(8, 5)
"""
"""A module of a user's."""


class SevenBias(Rule):
    """A bias that is 7."""

    code, name, gravest, basis, needs = "INI997", "bias-is-seven", "error", "exact", ("capture",)

    def judge(self, evidence: Evidence) -> Iterable[Finding]:
        for path, facts in evidence.parameters.items():
            if path.endswith("bias") and facts.low == facts.high == 7.0:
                yield self.finding(
                    f"{path} is 7 everywhere", where=[path], evidence={"value": 7.0}, fix=f"init.zeros_(model.{path})"
                )


class SevenWarned(Rule):
    """The same, as a warning of the last layer alone."""

    code, name, gravest, basis, needs = "INI996", "last-bias-is-seven", "warn", "exact", ("capture",)

    def judge(self, evidence: Evidence) -> Iterable[Finding]:
        biases = [path for path in evidence.parameters if path.endswith("bias")]
        if evidence.parameters[biases[-1]].low == 7.0:
            yield self.finding(f"{biases[-1]} is 7", where=[biases[-1]], evidence={}, fix="")


class Crashes(Rule):
    """A rule that raises."""

    code, name, gravest, basis, needs = "INI995", "rule-that-crashes", "error", "exact", ()

    def judge(self, evidence: Evidence) -> Iterable[Finding]:
        raise LookupError("nothing there")


class NeedsBuilds(Rule):
    """A rule that needs a factory."""

    code, name, gravest, basis, needs = "INI994", "rule-on-builds", "error", "exact", ("builds",)

    def judge(self, evidence: Evidence) -> Iterable[Finding]:
        return ()


class NeedsBatch(Rule):
    """A rule that makes no sense on made-up inputs."""

    code, name, gravest, basis, needs = "INI993", "rule-on-batches", "error", "exact", ("batch",)

    def judge(self, evidence: Evidence) -> Iterable[Finding]:
        return ()


@contextmanager
def only(*rules: type[Rule]) -> Iterator[None]:
    """Makes `rules` the only ones there are."""
    kept = (RULES._variants, RULES._aliases, RULES._loaded)
    RULES._variants, RULES._aliases, RULES._loaded = {}, {}, True
    try:
        for rule in rules:
            RULES.register(rule.name, aliases=(rule.code,))(rule)
        yield
    finally:
        RULES._variants, RULES._aliases, RULES._loaded = kept


def network(bias: float = 0.1) -> nn.Sequential:
    """A small network whose last bias is given."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    nn.init.constant_(model[2].bias, bias)
    return model


def batch() -> tuple[Any, Any]:
    """Inputs and targets of it."""
    return torch.randn(16, 4, generator=torch.Generator().manual_seed(1)), torch.arange(16) % 3
