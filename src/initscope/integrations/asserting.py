"""What a test says of a network's start: it is healthy, but for what is allowed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from torch import nn

from initscope.api.check import check
from initscope.api.check_report import Report
from initscope.base.errors import UsageError, unknown_name
from initscope.checker.rule_names import known_rules, resolve_rules
from initscope.checker.rules.unused_suppression import unused_findings
from initscope.checker.selection import silence
from initscope.checker.settings import PathIgnore, Settings
from initscope.integrations.told import FAIL_ON, failing_text
from initscope.records.finding import CheckReport

Allow = Iterable[str] | Mapping[str, str | Iterable[str] | Mapping[str, str]]
EVERYWHERE, NO_REASON = "*", "allowed by the test"
WHERE = "assert_healthy_init(allow=...)"
LEGAL = '["dead-units"], {"dead-units": "why"}, {"dead-units": ["gate"]} or {"dead-units": {"gate": "why"}}'


class HealthyInit(Protocol):
    """The type of the fixture `assert_healthy_init`."""

    def __call__(
        self,
        model: nn.Module | Callable[[], Any],
        inputs: Any = None,
        targets: Any = None,
        loss_fn: Callable[[Any, Any], Any] | str | None = None,
        *,
        allow: Allow = (),
        fail_on: str = "error",
        seed: int = 0,
    ) -> Report:
        """Returns the report, or fails the test."""


def healthy_init(
    model: nn.Module | Callable[[], Any],
    inputs: Any = None,
    targets: Any = None,
    loss_fn: Callable[[Any, Any], Any] | str | None = None,
    *,
    allow: Allow = (),
    fail_on: str = "error",
    seed: int = 0,
) -> Report:
    """Returns the report of `initscope.check`; fails where the start is not sound.

    Arguments:
        model, inputs, targets, loss_fn, seed: as `initscope.check` takes them.
        allow: what may be: names of rules; or {name: reason}; or {name: paths of modules or parameters}; or {name:
            {path: reason}}. A path covers what lies below it and may be a pattern ("blocks.*.gate"). An allowance
            that silences nothing is a warning of its own.
        fail_on: "error"; "warn" fails on warnings too; "never" fails on nothing.

    Raises: AssertionError with every finding and every rule that crashed; UsageError for a model that cannot be run and
        for unknown rules.
    """
    __tracebackhide__ = True
    if fail_on not in FAIL_ON:
        raise unknown_name("severity", fail_on, FAIL_ON, where="assert_healthy_init(fail_on=...)")
    settings = Settings(per_path_ignores=allowed(allow))
    record = _silenced(check(model, inputs, targets, loss_fn, seed=seed).record, settings)
    said = failing_text(record, fail_on=fail_on)
    if said is not None:
        raise AssertionError(said)
    return Report(record=record)


def allowed(allow: Allow) -> tuple[PathIgnore, ...]:
    """Returns what a test allows, one entry a rule and path. Raises: UsageError for an unknown rule or another form."""
    if isinstance(allow, str) or not isinstance(allow, Iterable):
        raise _malformed(allow)
    given = allow if isinstance(allow, Mapping) else dict.fromkeys(allow, NO_REASON)
    found: list[PathIgnore] = []
    for name, value in given.items():
        if not isinstance(name, str):
            raise _malformed(name)
        rules = resolve_rules([name], where=WHERE)
        found += [PathIgnore(pattern=path, rules=rules, reason=reason) for path, reason in _places(value)]
    return tuple(found)


def _places(value: object) -> list[tuple[str, str]]:
    """(path, reason) of an allowance: a text is a reason, anything else holds paths."""
    if isinstance(value, str):
        pairs: list[tuple[object, object]] = [(EVERYWHERE, value)]
    elif isinstance(value, Mapping):
        pairs = list(value.items())
    elif isinstance(value, Iterable):
        pairs = [(path, NO_REASON) for path in value]
    else:
        raise _malformed(value)
    if not pairs:
        raise _malformed(value)
    found = []
    for path, reason in pairs:
        if not isinstance(path, str) or not isinstance(reason, str) or not reason.strip():
            raise _malformed(value)
        found.append((path or EVERYWHERE, reason.strip()))
    return found


def _malformed(value: object) -> UsageError:
    return UsageError("what is allowed cannot be read", where=WHERE, value=repr(value)[:80], legal=LEGAL)


def _silenced(record: CheckReport, settings: Settings) -> CheckReport:
    """The record without what is allowed; allowances that silenced nothing are findings."""
    unjudged = {one.rule for one in record.skipped} | {one.rule for one in record.failed}
    judged = set(known_rules()) - unjudged
    kept, silenced, unused = silence(record.findings, settings=settings, judged=judged)
    left = tuple(unused_findings(unused))
    return replace(record, findings=(*kept, *left), silenced=(*record.silenced, *silenced))
