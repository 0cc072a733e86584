"""The check that training callbacks share: on the first real batch, before the first step, without a trace."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable
from typing import Any

from torch import nn

from initscope.api.arguments import texts
from initscope.api.check import Start, check_start
from initscope.api.check_report import Report
from initscope.base.errors import UnsoundStartError, UsageError, unknown_name
from initscope.checker.rule_names import resolve_rules
from initscope.checker.settings import Settings
from initscope.integrations.told import FAIL_ON, failing_text

DO = 'mend the start, or InitCheck(fail_on="never") to train all the same'
LOGGER = logging.getLogger("initscope")


class FirstBatch:
    """One check of one training run, with the options of its callback.

    Arguments: `select` and `ignore` name rules as `initscope.check` does; `fail_on` is "error" (raise before the first
    step on errors and crashed rules), "warn" (on warnings too) or "never" (only log the report); `seed` decides what
    the model draws during the check. `report` is None until a batch was checked.

    Raises: UsageError for unknown rules or another `fail_on`.
    """

    def __init__(
        self, *, select: Iterable[str] = (), ignore: Iterable[str] = (), fail_on: str = "error", seed: int = 0
    ) -> None:
        if fail_on not in FAIL_ON:
            raise unknown_name("severity", fail_on, FAIL_ON, where="InitCheck(fail_on=...)")
        self._settings = Settings(
            select=resolve_rules(texts(select, name="select"), where="InitCheck(select=...)"),
            ignore=resolve_rules(texts(ignore, name="ignore"), where="InitCheck(ignore=...)"),
        )
        self._fail_on, self._seed = fail_on, seed
        self.report: Report | None = None

    def check(
        self,
        model: nn.Module,
        inputs: Any,
        *,
        name: str,
        targets: Any = None,
        loss: Callable[[Any, Any], Any] | None = None,
        tell: bool = True,
    ) -> None:
        """Checks `model` on a batch and logs the report, where `tell`.

        Raises: UnsoundStartError where the start is not sound. A model that cannot be checked is a warning: training
        will meet the same trouble and say it itself.
        """
        start = Start(model=model, inputs=inputs, targets=targets, loss=loss, name=name)
        try:
            self.report = Report(record=check_start(start, settings=self._settings, seed=self._seed))
        except UsageError as error:
            warnings.warn(f"initscope did not check the start of {name}: {error}", stacklevel=2)
            return
        record = self.report.record
        said = failing_text(record, fail_on=self._fail_on)
        if said is not None:
            head, _, rest = said.partition("\n\n")
            raise UnsoundStartError(head, value=f"\n\n{rest}\n", do=DO)
        if tell:
            loud = any(one.severity != "info" for one in record.findings) or bool(record.failed)
            LOGGER.log(logging.WARNING if loud else logging.INFO, "%s", self.report)
