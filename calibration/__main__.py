"""`python -m calibration`: checks every case and says how often the checker is right; trains them where asked.

make calibrate                                  check all, print hits, misses, false alarms and margins
make calibrate ARGS="--cases 'zero-*'"          some of them, by name, kind or family
make calibrate ARGS="--prove --write"           train them too, and write docs/calibration.md and results.json
make calibrate ARGS="--prove missing --write"   the same, training only what no training was written of
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from calibration import report
from calibration.case import Case
from calibration.desk import work
from calibration.jobs import SEEDS, check_case, train_case
from calibration.page import page
from calibration.proof import BELOW, proofs
from calibration.records import Checked, Observed, Proof
from calibration.table import all_cases, chosen
from calibration.training import PROGRESS
from initscope.base.errors import InitscopeError, UsageError

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "calibration.md"
RESULTS = ROOT / "calibration" / "results.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the calibration and returns the exit code: 1 where a sound network got an error or a case was in trouble."""
    options = _options(arguments)
    try:
        return _run(options)
    except InitscopeError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code


def _run(options: argparse.Namespace) -> int:
    every = all_cases()
    cases = chosen(every, options.cases)
    if options.list:
        sys.stdout.write("".join(f"{case.kind:<13}{case.family:<15}{case.name}\n" for case in cases))
        return 0
    if options.write and options.rules:
        raise UsageError("what some rules say alone is not written", where="--write", do="leave out --rules")
    before = _stored()
    checked = _kept(before, "checked") | ({} if options.no_check else _checks(cases, options))
    proven = _kept(before, "proof") | _trainings(cases, before, options)
    table = [_observed(case, checked, proven) for case in cases]
    gravest = _gravest(options.rules)
    sys.stdout.write(report.text(table, gravest))
    if options.write:
        _write([_observed(case, checked, proven) for case in every], gravest)
    return _code(table)


def _observed(case: Case, checked: dict[str, Checked], proven: dict[str, Proof]) -> Observed:
    return Observed(
        name=case.name, kind=case.kind, family=case.family, rules=case.rules, why=case.why,
        checked=checked.get(case.name), proof=proven.get(case.name),
    )  # fmt: skip


def _checks(cases: Sequence[Case], options: argparse.Namespace) -> dict[str, Checked]:
    """Returns what was said of each case; over several seeds, everything that was said under any of them."""
    tasks = [(case.name, seed) for case in cases for seed in range(options.seed, options.seed + options.seeds)]
    job = partial(check_case, select=tuple(options.rules))
    found: dict[str, Checked] = {}
    for name, _, answer in work(job, tasks, limit_s=options.limit, processes=options.processes):
        said = Checked.without(answer) if isinstance(answer, str) else answer
        found[name] = said if name not in found else found[name].joined(said)
        _progress(f"checked {name}: {answer if isinstance(answer, str) else f'{answer.seconds:.1f} s'}", options)
    return found


def _trainings(cases: Sequence[Case], before: dict[str, Observed], options: argparse.Namespace) -> dict[str, Proof]:
    """Returns what trainings prove: of all these cases, of those without a written proof, or of none, as asked."""
    if options.prove is None:
        return {}
    if options.prove == "missing":
        cases = [case for case in cases if case.name not in _kept(before, "proof")]
    every = {case.name: case for case in all_cases()}
    needed = {case.name: case for case in cases} | {case.twin: every[case.twin] for case in cases if case.twin}
    outcomes: dict[str, Any] = {}
    tasks = [(name, 0) for name in needed]
    for name, _, answer in work(train_case, tasks, limit_s=options.training_limit, processes=options.processes):
        outcomes[name] = answer
        _progress(f"trained {name}" + (f": {answer}" if isinstance(answer, str) else ""), options)
    return proofs(needed, outcomes)


def _stored() -> dict[str, Observed]:
    """Returns what was written last: trainings are dear, and a change of a rule does not touch them."""
    return report.read(json.loads(RESULTS.read_text(encoding="utf-8"))) if RESULTS.exists() else {}


def _kept(before: dict[str, Observed], what: str) -> dict[str, Any]:
    return {name: getattr(one, what) for name, one in before.items() if getattr(one, what) is not None}


def _gravest(chosen_rules: Sequence[str]) -> dict[str, str]:
    """Returns each rule's highest severity, by name, in the order of the codes."""
    from initscope.checker.rule import RULES

    rules = sorted((rule for _, rule in RULES.items()), key=lambda rule: rule.code)
    return {rule.name: rule.gravest for rule in rules if not chosen_rules or {rule.name, rule.code} & set(chosen_rules)}


def _write(table: Sequence[Observed], gravest: dict[str, str]) -> None:
    PAGE.write_text(page(table, gravest, seeds=SEEDS, progress=PROGRESS, below=BELOW), encoding="utf-8")
    RESULTS.write_text(json.dumps(report.stored(table), indent=1) + "\n", encoding="utf-8")


def _code(table: Sequence[Observed]) -> int:
    bad = [
        one.name
        for one in table
        if one.checked is not None
        and (one.checked.trouble or one.checked.failed or (one.kind != "broken" and one.checked.rules("error")))
    ]
    return 1 if bad else 0


def _progress(line: str, options: argparse.Namespace) -> None:
    if options.verbose:
        sys.stderr.write(line + "\n")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m calibration", description=__doc__.splitlines()[0])
    parser.add_argument("--cases", action="append", default=[], metavar="PATTERN", help="names, kinds or families")
    parser.add_argument("--rules", nargs="+", default=[], metavar="RULE", help="check by these rules alone")
    parser.add_argument(
        "--prove", nargs="?", const="all", choices=("all", "missing"), help="train and compare with the labels: "
        "all cases, or those without a written proof",
    )  # fmt: skip
    parser.add_argument("--no-check", action="store_true", help="do not check: take what was written last")
    parser.add_argument(
        "--write", action="store_true", help=f"write {PAGE.name} and {RESULTS.name}; cases not chosen keep theirs"
    )
    parser.add_argument("--list", action="store_true", help="list the cases and stop")
    parser.add_argument("--seed", type=int, default=0, help="the first seed of the checks (0)")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds each case is checked under (1)")
    parser.add_argument("--limit", type=float, default=120.0, metavar="S", help="seconds a check may take (120)")
    parser.add_argument(
        "--training-limit", type=float, default=600.0, metavar="S", help="seconds a training may take (600)"
    )
    parser.add_argument("--processes", type=int, default=2, help="processes at work (2)")
    parser.add_argument("--verbose", action="store_true", help="say what was done, case by case")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
