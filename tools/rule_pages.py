"""`python -m tools.rule_pages`: writes docs/rules/ from the rules' docstrings; `--check` compares what is there."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from initscope.cli.catalogues import rule_infos
from initscope.report.findings.rule_info import HEADINGS, RuleInfo
from initscope.report.findings.rule_page import WORD, rule_markdown

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs" / "rules"
NOTE = "<sub>Written by `make docs` from the docstring; do not edit.</sub>\n"
HEAD = """\
# Rules

What `initscope check` looks for, as `initscope list rules` shows it; `initscope explain NAME` prints a page. How to
use the check, and what it needs: [checking a start](../check.md).
"""


def main(arguments: list[str] | None = None) -> int:
    """Writes the pages, or with --check reports what is stale, missing or left over; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.rule_pages", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a page is stale or missing")
    options = parser.parse_args(arguments)
    rules = rule_infos()
    if options.check:
        faults = [*stale(wanted(rules), PAGES), *(fault for rule in rules for fault in gaps(rule))]
        print("\n".join([*faults, "run: make docs"]) if faults else "docs/rules is fresh")
        return 1 if faults else 0
    pages = wanted(rules)
    PAGES.mkdir(parents=True, exist_ok=True)
    for path in PAGES.glob("*.md"):
        if path.name not in pages:
            path.unlink()
    for name, text in pages.items():
        (PAGES / name).write_text(text, encoding="utf-8")
    print(f"wrote {len(pages)} pages to {PAGES.relative_to(ROOT)}")
    return 0


def wanted(rules: Sequence[RuleInfo]) -> dict[str, str]:
    """Returns {file name: text} of every page and of the index."""
    pages = {f"{rule.name}.md": f"{linked(rule_markdown(rule), rules)}\n{NOTE}" for rule in rules}
    return {"index.md": index_text(rules), **pages}


def index_text(rules: Sequence[RuleInfo]) -> str:
    """Returns the list of all rules by family, each with code, gravest severity and first sentence."""
    lines = [HEAD]
    for family, members in groupby(rules, key=lambda rule: rule.family):
        lines += [f"## {family}", "", "| code | rule | at most | what it finds |", "|---|---|---|---|"]
        for rule in members:
            said = rule.summary.replace("|", "\\|")
            lines.append(f"| {rule.code} | [`{rule.name}`]({rule.name}.md) | {WORD[rule.gravest]} | {said} |")
        lines.append("")
    return "\n".join(lines)


def linked(text: str, rules: Sequence[RuleInfo]) -> str:
    """Returns a page with the rules it is silent after as links."""
    rows = text.splitlines(keepends=True)
    for number, row in enumerate(rows):
        if row.startswith("| silent after"):
            for rule in rules:
                row = row.replace(f"`{rule.name}`", f"[`{rule.name}`]({rule.name}.md)")
            rows[number] = row
    return "".join(rows)


def stale(pages: dict[str, str], folder: Path) -> list[str]:
    """Returns one line for every page that is missing, different, or of a rule that is no more."""
    found = []
    for name, text in pages.items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            found.append(f"{folder.name}/{name} is stale")
    left = sorted(path.name for path in folder.glob("*.md") if path.name not in pages)
    return [*found, *(f"{folder.name}/{name} belongs to no rule" for name in left)]


def gaps(rule: RuleInfo) -> list[str]:
    """Returns one line for every section that a rule's docstring lacks."""
    missing = [title for title in ("", *HEADINGS) if not rule.parts.get(title)]
    return [f"{rule.name} has no section {title!r}" if title else f"{rule.name} says nothing" for title in missing]


if __name__ == "__main__":
    sys.exit(main())
