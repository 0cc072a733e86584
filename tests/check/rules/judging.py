"""What some rules say of a network, for their tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from initscope.checker.evidence import Absent, Builds, Evidence
from initscope.checker.instruments.builds import examine_builds, first_build
from initscope.checker.instruments.examine import examine
from initscope.checker.instruments.loss_choice import ChosenLoss
from initscope.checker.instruments.subject import Subject
from initscope.checker.rule import Rule
from initscope.checker.runner import judge
from initscope.records.finding import Finding

Loss = Callable[[Any, Any], torch.Tensor]


def evidence_of(build: Callable[[], nn.Module], inputs: Any, targets: Any, loss: Loss | None) -> Evidence:
    """Returns all that is measured of the model that `build` makes."""
    model, log = first_build(build, seed=0)
    builds: Builds | Absent = examine_builds(build, model, log, seed=0)
    subject = Subject(model=model, inputs=inputs, targets=targets, loss_of=ChosenLoss(loss, targets, seed=0), seed=0)
    return examine(subject, builds=builds, locate=lambda path: None)


def findings(
    rule: type[Rule] | tuple[type[Rule], ...],
    build: Callable[[], nn.Module],
    inputs: Any,
    targets: Any = None,
    loss: Loss | None = None,
) -> tuple[Finding, ...]:
    """Returns the findings of one rule, or of several, alone; a rule that crashes or is skipped raises."""
    rules = rule if isinstance(rule, tuple) else (rule,)
    evidence = evidence_of(build, inputs, targets, loss)
    verdict = judge(evidence, rules)
    assert not verdict.failed, verdict.failed[0].trace
    assert not verdict.skipped, verdict.skipped
    return verdict.findings


def alarms(
    rule: type[Rule] | tuple[type[Rule], ...],
    build: Callable[[], nn.Module],
    inputs: Any,
    targets: Any = None,
    loss: Loss | None = None,
) -> tuple[Finding, ...]:
    """Returns those findings that are errors or warnings."""
    return tuple(one for one in findings(rule, build, inputs, targets, loss) if one.severity != "info")


def assert_fix_ends(rule: type[Rule], build: Callable[[], nn.Module], inputs: Any, targets: Any, loss: Loss) -> None:
    """Fails unless the rule alarms, and no longer does once the code it offers was run on the model."""
    import initscope

    found = alarms(rule, build, inputs, targets, loss)
    assert found, f"{rule.name} finds nothing to mend"

    def mended() -> nn.Module:
        model = build()
        for finding in found:
            exec(finding.fix, {"model": model, "nn": nn, "initscope": initscope})
        return model

    assert not alarms(rule, mended, inputs, targets, loss)
