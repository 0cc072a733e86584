"""One line a finding, for a search or an editor that jumps to file:line."""

from __future__ import annotations

from initscope.report.findings.printing import Printing, one_line


def concise(printing: Printing) -> str:
    """Returns `file:line: severity code name where: message` for each finding, gravest first.

    A finding without a place in a file is shown under the target; a rule that crashed is a line too. No finding is no
    line.
    """
    target = printing.report.target
    lines = []
    for finding in printing.findings:
        where = finding.where[0] if finding.where else target
        head = f"{printing.place(finding) or target}: {finding.severity} {finding.code} {finding.name}"
        lines.append(f"{head} {where}: {finding.message}")
    lines += [f"{target}: failed {one.rule}: {one.error}" for one in printing.report.failed]
    return "".join(f"{one_line(line)}\n" for line in lines)
