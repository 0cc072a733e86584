"""A rule's page, as Markdown for the documents and as text for a terminal, from its docstring."""

from __future__ import annotations

import ast
import re
import textwrap

from initscope.report.findings.rule_info import BASES, CODE, HEADINGS, NEEDS, RuleInfo

WORD = {"error": "error", "warn": "warning", "info": "note"}


def rule_markdown(rule: RuleInfo) -> str:
    """Returns the page as Markdown: the facts in a table, then the sections of the docstring under headings."""
    lines = [f"# `{rule.name}` ({rule.code})", ""]
    parts = rule.parts
    if parts[""]:
        lines += [_prose(parts[""]), ""]
    lines += ["| | |", "|---|---|", *(f"| {name} | {said} |" for name, said in facts(rule))]
    for title in HEADINGS:
        if parts.get(title):
            lines += ["", f"## {title}", "", _section(title, parts[title])]
    return "\n".join(lines) + "\n"


def rule_text(rule: RuleInfo, *, width: int = 100) -> str:
    """Returns the page for a terminal of `width` columns."""
    lines = [f"{rule.name}  {rule.code}", ""]
    parts = rule.parts
    lines += [*_rows(parts[""], width, indent=0), ""]
    label = max(len(name) for name, _ in facts(rule)) + 2
    for name, said in facts(rule):
        rows = textwrap.wrap(said.replace("`", ""), width - label, break_on_hyphens=False)
        lines += [f"{name if number == 0 else '':<{label}}{row}" for number, row in enumerate(rows)]
    for title in HEADINGS:
        if parts.get(title):
            lines += ["", title, *_rows(parts[title], width, indent=2, code=is_code(title, parts[title]))]
    return "\n".join(lines).rstrip() + "\n"


def facts(rule: RuleInfo) -> list[tuple[str, str]]:
    """Returns the table under the first sentence: (word, what is said)."""
    lowered = ", lowered by one where inputs are made up" if rule.data_dependent else ""
    found = [
        ("family", rule.family),
        ("severity", f"{WORD[rule.gravest]} at most{lowered}"),
        ("basis", f"{rule.basis}: {BASES[rule.basis]}" if rule.basis in BASES else rule.basis),
        ("needs", ", ".join(NEEDS.get(need, need) for need in rule.needs) or "the model alone"),
    ]
    if rule.requires:
        found.append(("silent after", ", ".join(f"`{name}`" for name in rule.requires)))
    return found


def is_code(title: str, text: str) -> bool:
    """Returns whether a section holds code alone: an example that Python can read."""
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return title in CODE


def _section(title: str, text: str) -> str:
    if is_code(title, text) and "```" not in text:
        return f"```python\n{text}\n```"
    return _prose(text)


def _prose(text: str) -> str:
    """Markdown of prose: indented blocks as code, signs that Markdown would take for markup made plain."""
    blocks = []
    for block in re.split(r"\n\s*\n", text):
        if re.search(r"^ {4}", block):
            head = [line for line in block.splitlines() if not line.startswith("    ")]
            body = [line for line in block.splitlines() if line.startswith("    ")]
            whole = not head or block.splitlines()[: len(head)] == head
            if whole:
                blocks += ["\n".join(map(_plain, head))] if head else []
                blocks.append("```python\n" + textwrap.dedent("\n".join(body)) + "\n```")
                continue
        blocks.append("\n".join(map(_plain, block.splitlines())))
    return "\n\n".join(blocks)


def _plain(row: str) -> str:
    pieces = row.split("`")
    for index in range(0, len(pieces), 2):
        pieces[index] = re.sub(r"(?<!^)([*_<>])", r"\\\1", pieces[index])
    return "`".join(pieces)


def _rows(text: str, width: int, *, indent: int, code: bool = False) -> list[str]:
    """The text wrapped, code and lists kept line by line."""
    margin = " " * indent
    if code:
        return [f"{margin}{line}".rstrip() for line in text.splitlines()]
    rows: list[str] = []
    for block in re.split(r"\n\s*\n", text):
        rows += [""] if rows else []
        if re.search(r"^(?: {4}|[-*] )", block, flags=re.MULTILINE):
            rows += [f"{margin}{line}".rstrip() for line in block.splitlines()]
        else:
            rows += textwrap.wrap(
                " ".join(block.split()), width, initial_indent=margin, subsequent_indent=margin, break_on_hyphens=False
            )
    return rows
