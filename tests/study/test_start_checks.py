"""Every condition of a study is checked before training: what is looked at, what is kept, what it must not change."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import initscope
from initscope.checker.evidence import Evidence
from initscope.checker.rule import RULES, Rule
from initscope.records.finding import Finding
from initscope.records.start_check import StartCheck, StartFinding
from initscope.study import start_checks
from initscope.train.task import seed_data
from tests.support.small_study import FACTORY, assert_same_study, factory_study, write_small

Run = Callable[..., initscope.StudyResults]
SEEN: list[Evidence] = []


class AllZeroWeight(Rule):
    """A weight that is zero, remembered with all that the check saw."""

    code, name, gravest, basis, needs = "INI998", "weight-is-zero", "error", "exact", ("capture",)

    def judge(self, evidence: Evidence) -> Iterable[Finding]:
        SEEN.append(evidence)
        for path, facts in evidence.parameters.items():
            if path.endswith("weight") and facts.zero:
                yield self.finding(f"{path} is zero", where=[path], evidence={}, fix="")


class Crashes(Rule):
    """A rule that raises."""

    code, name, gravest, basis, needs = "INI999", "rule-that-crashes", "error", "exact", ()

    def judge(self, evidence: Evidence) -> Iterable[Finding]:
        raise LookupError("nothing there")


@pytest.fixture(autouse=True)
def _one_rule(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Makes `AllZeroWeight` the only rule there is."""
    monkeypatch.setattr(RULES, "_variants", {AllZeroWeight.name: AllZeroWeight})
    monkeypatch.setattr(RULES, "_aliases", {AllZeroWeight.code: AllZeroWeight.name})
    monkeypatch.setattr(RULES, "_loaded", True)
    SEEN.clear()
    yield
    SEEN.clear()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the small study in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    path = write_small(tmp_path)

    def made(*, out: str = "out", study: Path = path, **options: object) -> initscope.StudyResults:
        return initscope.run(study, out=tmp_path / out, workers=1, **options)  # type: ignore[arg-type]  # as given

    return made


ZERO = tuple(
    StartFinding(code="INI998", name="weight-is-zero", severity="error", where=(path,), message=f"{path} is zero")
    for path in ("input.weight", "hidden1.weight", "output.weight")
)


@pytest.mark.slow
def test_every_condition_is_checked_at_the_start_of_its_first_run(run: Run) -> None:
    found = run().start_checks
    assert [(one.condition, one.seed, one.rules, one.crashed, one.error) for one in found] == [
        ("default", 0, 1, (), ""), ("zero", 0, 1, (), ""), ("small", 0, 1, (), ""),
    ]  # fmt: skip
    assert [sorted(finding.where for finding in one.findings) for one in found] == [
        [], sorted(finding.where for finding in ZERO if finding.where[0] in SEEN[1].parameters), [],
    ]  # fmt: skip
    assert found[1].trouble and not found[0].trouble


@pytest.mark.slow
def test_what_is_checked_is_the_very_start_of_the_run_on_its_own_training_samples(tmp_path: Path) -> None:
    results = initscope.run(
        "surprising-demo", seeds=1, epochs=1, conditions=["default"], out=tmp_path / "out", workers=1
    )
    (evidence,) = SEEN
    assert evidence.batch == 256 and not evidence.synthetic and evidence.loss_kind == "cross_entropy"
    for path in results.study.kept_parameters:
        kept = results.weights("default", 0, path, "initial")
        assert kept is not None
        assert np.array_equal(evidence.model.get_parameter(path).detach().numpy(), kept)
    data = initscope_data()
    train = seed_data(len(data), seed=0, root_seed=1, test_fraction=results.study.data.test_fraction).train_index
    own = {row.tobytes() for row in data[train]}
    assert all(row.tobytes() in own for row in evidence.inputs.numpy())


def initscope_data() -> np.ndarray:
    """The inputs of the embedded digits."""
    from initscope.datasets.source import load

    return load("digits").inputs


@pytest.mark.slow
def test_resuming_checks_nothing_twice_and_a_new_condition_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(conditions=["default", "zero"]).start_checks
    assert len(SEEN) == 2
    again = run(seeds=3).start_checks
    assert [one.model is not None for one in SEEN] == [True] * 3
    assert again[:2] == first and again[2].condition == "small"


@pytest.mark.slow
def test_runs_are_the_same_bits_with_and_without_the_checks(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(out="with", report=True)
    monkeypatch.setattr("initscope.study.session.check_starts", lambda *given, **named: None)
    run(out="without", report=True)
    assert_same_study(tmp_path / "with", tmp_path / "without")


@pytest.mark.slow
def test_a_check_that_raises_is_recorded_and_not_repeated_and_the_study_runs(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: object, **named: object) -> None:
        raise RuntimeError("no forward pass today\nand more")

    with monkeypatch.context() as patched:
        patched.setattr(start_checks, "examine", refuse)
        results = run(conditions=["default"])
    assert len(results.records.runs) == 2
    wanted = (StartCheck(condition="default", seed=0, error="RuntimeError: no forward pass today"),)
    assert results.start_checks == wanted
    assert run(conditions=["default"]).start_checks == wanted


@pytest.mark.slow
def test_a_rule_that_crashes_is_named_beside_what_the_others_found(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RULES._variants, Crashes.name, Crashes)
    (found,) = run(conditions=["zero"]).start_checks
    assert found.crashed == ("rule-that-crashes",) and found.rules == 1 and found.trouble


@pytest.mark.slow
def test_a_factory_of_the_user_s_is_checked_and_generators_and_threads_stay(run: Run, tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(FACTORY)
    study = write_small(tmp_path, factory_study("nets:make"), name="own.toml")
    states = generators()
    (found,) = run(study=study).start_checks
    after = generators()
    assert found.known and not found.findings
    assert states == after


def generators() -> tuple[object, ...]:
    """The states of the global generators, and torch's number of threads."""
    legacy = np.random.get_state(legacy=False)  # noqa: NPY002  # the user's generator is what must not move
    assert isinstance(legacy, dict)
    drawn = legacy["state"]["key"].tolist(), legacy["state"]["pos"]
    return torch.get_rng_state().tolist(), random.getstate(), drawn, torch.get_num_threads()
