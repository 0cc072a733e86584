"""The cures of all findings together, as Python with a comment before each."""

from __future__ import annotations

import ast
import builtins
import textwrap
from collections.abc import Iterable

from initscope.report.findings.code_lines import fold_code
from initscope.report.findings.printing import PLAIN, Printing, one_line, printable

IMPORTS = {
    "math": "import math",
    "torch": "import torch",
    "nn": "from torch import nn",
    "functional": "from torch.nn import functional",
    "initscope": "import initscope",
}
"""What a cure may read beside `model`, and how the plan gets it."""


def fix_plan(printing: Printing) -> str:
    """Returns the whole plan: every cure once, in the order of the findings, under what it cures.

    `model` is the finished model. Cures that stand in the user's own code, or that words alone
    can say, are comments; findings without any are listed at the end.
    """
    cures: dict[str, list[str]] = {}
    without = []
    for finding in printing.findings:
        if finding.severity == "info":
            continue
        where = f" at {finding.where[0]}" if finding.where else ""
        said = one_line(f"{PLAIN[finding.severity]} {finding.code} {finding.name}{where}: {finding.message}")
        if finding.fix.strip():
            cures.setdefault(printable(finding.fix).strip("\n"), []).append(said)
        else:
            without.append(said)
    if not cures and not without:
        return f"# {one_line(printing.report.target)}: nothing to mend\n"
    lines = [
        f"# What mends {one_line(printing.report.target)}; `model` is the model that it builds.",
        *_imports(cures),
    ]
    for number, (fix, causes) in enumerate(cures.items(), start=1):
        lines += ["", *_comments(f"{number}. {causes[0]}", printing.width)]
        for cause in causes[1:]:
            lines += _comments(cause, printing.width)
        lines += fold_code(fix if _names(fix) is not None else _as_comment(fix), width=printing.width)
    for said in without:
        lines += ["", *_comments(f"no cure in code: {said}", printing.width)]
    return "\n".join(lines) + "\n"


def _names(fix: str) -> frozenset[str] | None:
    """The modules that a cure reads; None where it is no Python, or reads what this plan does not define."""
    try:
        tree = ast.parse(fix)
    except (SyntaxError, ValueError):
        return None
    read, known = set[str](), {"model", *dir(builtins)}
    for statement in tree.body:
        names = [node for node in ast.walk(statement) if isinstance(node, ast.Name)]
        stored = {node.id for node in names if isinstance(node.ctx, ast.Store)}
        own = set() if isinstance(statement, ast.Assign) else stored  # an assignment reads before it stores
        read |= {node.id for node in names if isinstance(node.ctx, ast.Load)} - known - own
        known |= stored
    return frozenset(read) if read <= set(IMPORTS) else None


def _imports(cures: Iterable[str]) -> list[str]:
    read = frozenset[str]().union({"initscope"}, *(_names(fix) or frozenset() for fix in cures))
    return [line for name, line in IMPORTS.items() if name in read]


def _as_comment(fix: str) -> str:
    return "\n".join(line if line.lstrip().startswith("#") else f"# {line}" for line in fix.splitlines())


def _comments(said: str, width: int) -> list[str]:
    return textwrap.wrap(said, width, initial_indent="# ", subsequent_indent="#   ", break_on_hyphens=False)
