"""The pytest plug-in: the fixture `assert_healthy_init`, and `pytest --initscope pkg.mod:factory`, one item a rule.

pytest loads this module in every run of whoever has initscope installed, so it imports nothing heavy: torch is loaded
when the fixture is called or the option is given.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from initscope.integrations.asserting import HealthyInit
    from initscope.integrations.verdicts import TargetVerdicts, Verdict

OPTION, KEY = "initscope_targets", "initscope"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds --initscope."""
    parser.getgroup("initscope", "how networks start").addoption(
        "--initscope",
        action="append",
        default=[],
        dest=OPTION,
        metavar="TARGET",
        help="check the network that TARGET builds (package.module:factory, path/file.py:factory, timm:name, hf:name): "
        "one item a rule; repeat for more. [tool.initscope] of pyproject.toml holds select, ignore and fail-on.",
    )


@pytest.fixture
def assert_healthy_init() -> HealthyInit:
    """A function that fails the test where a network's start is not sound.

    assert_healthy_init(model, inputs=None, targets=None, loss_fn=None, *, allow=(), fail_on="error", seed=0)
    """
    from initscope.integrations.asserting import healthy_init

    return healthy_init


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Any, Any]:
    """Puts the targets of --initscope behind what the session collects."""
    report = yield
    if isinstance(collector, pytest.Session) and report.outcome == "passed":
        targets = dict.fromkeys(collector.config.getoption(OPTION))
        report.result = [*report.result, *(TargetCollector.of(collector, target) for target in targets)]
    return report


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Checks the targets once in the process that starts workers (pytest-xdist), and hands each the verdicts."""
    config = node.config
    targets = dict.fromkeys(config.getoption(OPTION))
    node.workerinput[KEY] = {target: verdicts_for(config, target).plain() for target in targets}


def verdicts_for(config: pytest.Config, target: str) -> TargetVerdicts:
    """Returns the verdicts on a target: checked at the first call, kept for the others of the run."""
    from initscope.integrations.verdicts import TargetVerdicts, verdicts_of

    held: dict[str, TargetVerdicts] = config.stash.setdefault(_HELD, {})
    if target not in held:
        given = getattr(config, "workerinput", {}).get(KEY, {}).get(target)
        if given is not None:
            held[target] = TargetVerdicts.of_plain(given)
        else:
            run = not config.getoption("collectonly")
            held[target] = verdicts_of(target, folder=config.invocation_params.dir, run=run)
    return held[target]


_HELD = pytest.StashKey[dict[str, Any]]()


class TargetCollector(pytest.Collector):
    """One TARGET: an item a rule, or one error where it cannot be built or run."""

    target: str

    @classmethod
    def of(cls, session: pytest.Session, target: str) -> TargetCollector:
        """Returns the collector of `target`."""
        name = f"initscope[{target}]"
        made: TargetCollector = cls.from_parent(session, name=name, nodeid=name)
        made.target = target
        return made

    def collect(self) -> Iterator[RuleItem]:
        """Yields the items; the check has then been run."""
        found = verdicts_for(self.config, self.target)
        if found.error is not None:
            raise self.CollectError(f"initscope cannot check {self.target}\n{found.error}")
        for verdict in found.verdicts:
            yield RuleItem.of(self, verdict)


class RuleItem(pytest.Item):
    """One rule on one target: passed, failed with its findings, skipped with the reason, an error where it crashed."""

    verdict: Verdict

    @classmethod
    def of(cls, parent: TargetCollector, verdict: Verdict) -> RuleItem:
        """Returns the item of one verdict."""
        made: RuleItem = cls.from_parent(parent, name=verdict.name)
        made.verdict = verdict
        return made

    def setup(self) -> None:
        """Raises where the rule crashed: pytest calls that an error, not a failure."""
        if self.verdict.outcome == "error":
            raise RuleFault(self.verdict.text)

    def runtest(self) -> None:
        """Says what the rule said."""
        if self.verdict.outcome == "failed":
            raise RuleFault(self.verdict.text)
        if self.verdict.outcome == "skipped":
            pytest.skip(self.verdict.text)
        if self.verdict.text:
            self.add_report_section("call", "initscope", self.verdict.text)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Returns the findings alone, without frames of ours."""
        return str(excinfo.value) if isinstance(excinfo.value, RuleFault) else super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Any, int | None, str]:
        """Returns what heads a failure: the target and the rule."""
        return self.path, None, self.nodeid


class RuleFault(Exception):
    """Findings of a rule, or its crash."""
