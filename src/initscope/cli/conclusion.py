"""The last screen of a command: the table, the answer, the report and the next command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from initscope.records.results import Results

WIDTH = 100


def conclude(records: Results, page: Path | None, *, next_command: str | None) -> None:
    """Prints the summary of `records`: as wide as the terminal, 100 columns where there is none."""
    from rich.console import Console

    from initscope.report.terminal import print_summary

    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    print_summary(records, console, report_path=None if page is None else str(page), next_command=next_command)
