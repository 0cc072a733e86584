"""What one rule, and those it requires, say of the network that a factory builds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

import initscope
from initscope.api.check import check_start, started
from initscope.checker.rule import Rule
from initscope.checker.settings import Settings
from initscope.records.finding import Finding


def findings(rule: type[Rule], factory: Callable[[], Any]) -> tuple[Finding, ...]:
    """Returns every finding of `rule`; the test fails where a rule crashed or this one was skipped."""
    record = check_start(started(factory, seed=0), settings=Settings(), rules=[rule])
    assert not record.failed, record.failed
    assert not record.skipped, record.skipped
    return tuple(one for one in record.findings if one.name == rule.name)


def alarms(rule: type[Rule], factory: Callable[[], Any]) -> tuple[Finding, ...]:
    """Returns the errors and warnings of `rule`."""
    return tuple(one for one in findings(rule, factory) if one.severity != "info")


def mended(factory: Callable[[], Any], fix: str) -> Callable[[], Any]:
    """Returns a factory that runs the code of a fix on the model it built."""

    def build() -> Any:
        returned = factory()
        model = returned[0] if isinstance(returned, tuple) else returned
        with torch.no_grad():
            exec(fix, {"model": model, "nn": nn, "torch": torch, "initscope": initscope})
        return returned

    return build
