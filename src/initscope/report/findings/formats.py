"""Every format by its name."""

from __future__ import annotations

from collections.abc import Callable

from initscope.report.findings.concise import concise
from initscope.report.findings.github import github
from initscope.report.findings.html import html
from initscope.report.findings.json_format import json_text
from initscope.report.findings.junit import junit
from initscope.report.findings.printing import Printing
from initscope.report.findings.sarif import sarif
from initscope.report.findings.text import text

FORMATS: dict[str, Callable[[Printing], str]] = {
    "text": text,
    "concise": concise,
    "json": json_text,
    "sarif": sarif,
    "github": github,
    "junit": junit,
    "html": html,
}
"""Name -> the function that writes a report so; "text" alone reads `width` and `colour`."""
