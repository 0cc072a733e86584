"""A baseline: the findings a project knows and has accepted, in a file, so that only new ones count."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from initscope.base.errors import UsageError
from initscope.records.finding import Finding

VERSION = 1
DO = "write it again with --write-baseline FILE"


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """How many findings of each fingerprint are known; `file` is where that was read."""

    counts: Mapping[str, int]
    file: str


def fingerprint(finding: Finding) -> str:
    """Returns what stays the same of a finding while numbers and lines change: its code and its first place.

    Example:
        >>> fingerprint(Finding(code="INI301", name="signal-fades", severity="warn", where=("fc2", "fc1"), message=""))
        'INI301 fc2'
    """
    return f"{finding.code} {finding.where[0]}" if finding.where else finding.code


def baseline_text(findings: Iterable[Finding], *, target: str) -> str:
    """Returns the content of a baseline file that silences these findings, its lines in a fixed order."""
    counts = Counter(map(fingerprint, findings))
    content = {"version": VERSION, "target": target, "findings": dict(sorted(counts.items()))}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def read_baseline(path: Path) -> Baseline:
    """Returns the baseline in a file; raises UsageError where it cannot be read or is none."""
    where = str(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise UsageError("the file is no baseline: it is nested too deeply", where=where, do=DO) from error
    except OSError as error:
        raise UsageError("cannot read the baseline", where=where, value=error.strerror, do=DO) from error
    except UnicodeDecodeError as error:
        raise UsageError("the baseline is not text in UTF-8", where=where, do=DO) from error
    except json.JSONDecodeError as error:
        place = f"{where}:{error.lineno}:{error.colno}"
        raise UsageError("the baseline is not JSON", where=place, value=error.msg, do=DO) from error
    return Baseline(counts=_counts(content, where), file=where)


def _counts(content: Any, where: str) -> dict[str, int]:
    if not isinstance(content, dict) or "version" not in content or not isinstance(content.get("findings"), dict):
        legal = 'an object with "version", "target" and "findings"'
        raise UsageError("the file is no baseline", where=where, legal=legal, do=DO)
    if content["version"] != VERSION:
        value = f"version {content['version']!r}"
        raise UsageError(
            "the baseline is of another version", where=where, value=value, legal=f"version {VERSION}", do=DO
        )
    for key, number in content["findings"].items():
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            legal = "how many such findings are known, 1 or more"
            raise UsageError(
                "a count of the baseline is not legal",
                where=f"{where}: findings: {key!r}",
                value=repr(number),
                legal=legal,
            )
    return dict(content["findings"])
