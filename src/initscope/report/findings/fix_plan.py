"""The cures of all findings together, as Python with a comment before each."""

from __future__ import annotations

import textwrap

from initscope.report.findings.code_lines import fold_code
from initscope.report.findings.printing import PLAIN, Printing, one_line, printable


def fix_plan(printing: Printing) -> str:
    """Returns the whole plan: every cure once, in the order of the findings, under what it cures.

    `model` is the finished model. Findings without a cure that code can say are listed at the end.
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
        "import initscope",
    ]
    for number, (fix, causes) in enumerate(cures.items(), start=1):
        lines += ["", *_comments(f"{number}. {causes[0]}", printing.width)]
        for cause in causes[1:]:
            lines += _comments(cause, printing.width)
        lines += fold_code(fix, width=printing.width)
    for said in without:
        lines += ["", *_comments(f"no cure in code: {said}", printing.width)]
    return "\n".join(lines) + "\n"


def _comments(said: str, width: int) -> list[str]:
    return textwrap.wrap(said, width, initial_indent="# ", subsequent_indent="#   ", break_on_hyphens=False)
