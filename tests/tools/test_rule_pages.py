"""How the pages of the rules are made from their docstrings, and how a stale or incomplete one is noticed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from initscope.cli.catalogues import rule_infos
from initscope.report.findings.rule_info import FAMILIES, RuleInfo
from initscope.report.findings.rule_page import rule_markdown, rule_text
from tests.report.findings.made_up import DOC, RULES
from tools import rule_pages

FADES = next(rule for rule in RULES if rule.name == "signal-fades")
PAGE = """\
# `signal-fades` (INI301)

Finds signals that fade on their way.

| | |
|---|---|
| family | Signal and gradient scale |
| severity | error at most |
| basis | ratio: a measured ratio against a calibrated range |
| needs | one forward pass |

## Why it is bad

What the last layers see is noise.

## Criterion

S_last / S_first below 1e-3.

## When it is fine

Branches that start at zero.

## Example

```python
nn.Linear(64, 64)
```

## Corrected

```python
initscope.initialize(model, "orthogonal")
```

## Fix

Draw the weights with the gain of the activation.

## References

Schoenholz et al. 2017.
"""


def test_a_page_has_the_facts_and_the_sections_of_the_docstring() -> None:
    assert rule_markdown(FADES) == PAGE.replace("S_last / S_first", "S\\_last / S\\_first")


def test_sections_may_be_indented_underlined_or_follow_a_colon() -> None:
    doc = "Finds x.\n\nWhy it is bad:\n    a\n    b\n\nFix\n---\n\nc *d* `e*f`\n"
    rule = RuleInfo(code="INI999", name="x", gravest="info", doc=doc)
    assert rule.parts == {"": "Finds x.", "Why it is bad": "a\nb", "Fix": "c *d* `e*f`"}
    assert "c \\*d\\* `e*f`" in rule_markdown(rule)


def test_the_summary_is_the_first_sentence_on_one_line() -> None:
    rule = RuleInfo(code="INI999", name="x", gravest="info", doc="Finds a\nb. And more.\n\nMore.")
    assert rule.summary == "Finds a b."


def test_an_example_in_prose_is_prose_and_its_indented_lines_are_code() -> None:
    doc = "X.\n\nExample\n\nTwo lines, one bad\n\n    a = 1\n\nare enough.\n"
    text = rule_markdown(RuleInfo(code="INI999", name="x", gravest="info", doc=doc))
    assert "Two lines, one bad\n\n```python\na = 1\n```\n\nare enough." in text


def test_the_terminal_shows_the_same_sections_within_the_width() -> None:
    long = replace(FADES, doc=DOC.replace("noise.", "noise, " * 40 + "so."))
    lines = rule_text(long, width=80).splitlines()
    assert max(map(len, lines)) <= 80
    assert [line for line in lines if line and not line.startswith(" ")][6:] == [
        "Why it is bad", "Criterion", "When it is fine", "Example", "Corrected", "Fix", "References",
    ]  # fmt: skip


def test_the_index_lists_every_rule_by_family() -> None:
    text = rule_pages.index_text(RULES)
    row = "| INI301 | [`signal-fades`](signal-fades.md) | error | Finds signals that fade on their way. |"
    head = "## Signal and gradient scale\n\n| code | rule | at most | what it finds |\n|---|---|---|---|\n"
    assert head + row in text
    assert text.count("](") == len(RULES) + 1


def test_the_rules_that_silence_a_rule_are_links() -> None:
    pages = rule_pages.wanted((replace(FADES, requires=("dead-units",)), RULES[3]))
    assert "| silent after | [`dead-units`](dead-units.md) |" in pages["signal-fades.md"]


def test_a_page_that_is_stale_missing_or_left_over_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "rules"
    folder.mkdir()
    pages = rule_pages.wanted((FADES,))
    (folder / "index.md").write_text(pages["index.md"])
    (folder / "gone.md").write_text("")
    assert rule_pages.stale(pages, folder) == ["rules/signal-fades.md is stale", "rules/gone.md belongs to no rule"]
    (folder / "signal-fades.md").write_text(pages["signal-fades.md"])
    (folder / "gone.md").unlink()
    assert rule_pages.stale(pages, folder) == []


def test_a_section_that_a_docstring_lacks_is_found() -> None:
    assert rule_pages.gaps(FADES) == []
    assert rule_pages.gaps(replace(FADES, doc=DOC.replace("Criterion", "Criteria"))) == [
        "signal-fades has no section 'Criterion'"
    ]


def test_writing_makes_the_pages_fresh_and_removes_those_of_no_rule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rule_pages, "ROOT", tmp_path)
    monkeypatch.setattr(rule_pages, "PAGES", tmp_path / "docs" / "rules")
    monkeypatch.setattr(rule_pages, "rule_infos", lambda: (FADES,))
    assert rule_pages.main(["--check"]) == 1
    assert rule_pages.main([]) == 0
    (tmp_path / "docs" / "rules" / "gone.md").write_text("")
    assert rule_pages.main([]) == 0
    assert rule_pages.main(["--check"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "docs/rules is fresh"


def test_the_pages_in_the_documents_are_those_of_the_rules() -> None:
    assert rule_pages.stale(rule_pages.wanted(rule_infos()), rule_pages.PAGES) == []


@pytest.mark.parametrize("rule", rule_infos(), ids=lambda rule: rule.name)
def test_the_docstring_of_every_rule_has_every_section(rule: RuleInfo) -> None:
    assert rule_pages.gaps(rule) == []
    assert rule.code.startswith(tuple(FAMILIES))
    assert rule.summary.endswith(".") and len(rule.summary) <= 160
