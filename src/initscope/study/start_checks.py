"""Every condition checked before training: the start of its first run, on its own samples, with the study's loss."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from initscope.checker.evidence import Absent
from initscope.checker.instruments.examine import examine
from initscope.checker.instruments.loss_choice import ChosenLoss
from initscope.checker.instruments.subject import Subject
from initscope.checker.rule import RULES, Rule
from initscope.checker.rule_names import known_rules
from initscope.checker.runner import judge, needs_of
from initscope.modules.writing import write_parameters
from initscope.records.dataset import Dataset
from initscope.records.start_check import StartCheck, StartFinding
from initscope.study.plan import Plan
from initscope.study.prepare import Preparer
from initscope.study.starts import given_batch
from initscope.train.task import RunIdentity, torch_dtype

SMALL_BYTES = 2**22
"""Networks with fewer bytes of parameters are checked with one thread: more of them wait for each other longer."""


def check_starts(
    plan: Plan, data: Dataset, runs: Collection[RunIdentity], *, stored: Callable[[StartCheck], None]
) -> None:
    """Checks the starts of `runs`, and hands each to `stored` as soon as it is known.

    A check that raises is a record that says so. The user's generators are left as they are.
    """
    if not runs:
        return
    with _threads(1 if plan.parameter_bytes < SMALL_BYTES else torch.get_num_threads()):
        checker = _Checker(plan, data)
        for run in runs:
            try:
                found = checker.check(run)
            except Exception as error:  # noqa: BLE001  # a user's network may raise anything; its study must still run
                found = StartCheck(condition=run.condition, seed=run.seed, error=_said(error))
            stored(found)


def runs_to_check(plan: Plan) -> tuple[RunIdentity, ...]:
    """Returns the runs whose starts are checked: of each condition that of the first seed."""
    first = min((run.seed for run in plan.runs), default=0)
    return tuple(run for run in plan.runs if run.seed == first)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Checker:
    """Builds the starts of one plan as the workers do, and judges them by every rule there is."""

    def __init__(self, plan: Plan, data: Dataset) -> None:
        self._study = plan.study
        self._inputs, self._labels = torch.from_numpy(data.inputs), torch.from_numpy(data.labels)
        self._preparer = Preparer(plan.study, self._inputs, self._labels, data.n_classes, device="cpu")
        self._rules: tuple[type[Rule], ...] = tuple(RULES.get(name) for name in known_rules())

    def check(self, run: RunIdentity) -> StartCheck:
        """Returns what every rule says of the start of `run`."""
        given = given_batch(self._study, self._inputs, self._labels, seed=run.seed)
        subject = Subject(
            model=self._started(run),
            inputs=given.data.to(torch_dtype(self._study.train)),
            targets=given.targets,
            loss_of=ChosenLoss(given.loss, given.targets, seed=self._study.root_seed),
            seed=self._study.root_seed,
        )
        absent = Absent(reason="a study draws its starts itself")
        evidence = examine(subject, builds=absent, locate=lambda path: None, wanted=needs_of(self._rules))
        verdict = judge(evidence, self._rules)
        return StartCheck(
            condition=run.condition,
            seed=run.seed,
            findings=tuple(
                StartFinding(code=one.code, name=one.name, severity=one.severity, where=one.where, message=one.message)
                for one in verdict.findings
            ),
            rules=len(self._rules) - len(verdict.skipped) - len(verdict.failed),
            crashed=tuple(one.rule for one in verdict.failed),
        )

    def _started(self, run: RunIdentity) -> nn.Module:
        """The network as the run will start it: the very values that workers train from, in the study's dtype."""
        task = self._preparer.task([run])
        model = copy.deepcopy(task.model).to(torch_dtype(self._study.train)).train()
        values = {**task.start, **task.buffers}
        with torch.no_grad():
            write_parameters(model, [(path, stacked[0]) for path, stacked in values.items()])
        return model


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".strip().splitlines()[0]
