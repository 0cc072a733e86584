"""How mistakes in a study file are shown: where, a sentence, the line with a caret below it, and what is legal."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from initscope.base.errors import UsageError
from initscope.base.quantities import counted
from initscope.records.study_mistakes import Mistake
from initscope.study.toml_index import Span

_WIDTH = 100
_MARGIN = "    "
_ROOM = _WIDTH - len(_MARGIN)
_LEAD = 24


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A mistake with its place: `where` is file:line:column or an option, `excerpt` the line and its carets."""

    where: str
    mistake: Mistake
    excerpt: tuple[str, str] | None = None

    def __str__(self) -> str:
        lines = [f"{self.where}: {self.mistake.what}"]
        lines += [f"{_MARGIN}{line}" for line in self.excerpt or ()]
        for label, text in (("legal", self.mistake.legal), ("do", self.mistake.do)):
            if text is not None:
                lines += _wrapped(f"  {label + ':':<7}", text)
        return "\n".join(_shown(line) for line in lines)


class StudyFileError(UsageError):
    """All mistakes of one study file at once; `problems` holds them one by one. Exit code 2."""

    problems: tuple[Problem, ...] = ()


def study_file_error(label: str, problems: Sequence[Problem]) -> StudyFileError:
    """Returns the error that shows all `problems` of the study file that users know as `label`."""
    head = f"{counted(len(problems), 'mistake')} in {label}"
    error = StudyFileError("\n\n".join([head, *map(str, problems)]))
    error.problems = tuple(problems)
    return error


def line_and_column(text: str, offset: int) -> tuple[int, int]:
    """Returns the line and the column of an offset, in characters, both counted from 1.

    Example:
        >>> line_and_column("a = 1\\nb = 2", 6)
        (2, 1)
    """
    return text.count("\n", 0, offset) + 1, offset - (text.rfind("\n", 0, offset) + 1) + 1


def excerpt(text: str, span: Span) -> tuple[str, str] | None:
    """Returns the first line of a span as a terminal shows it, and the carets below it; None where the line is blank.

    Tabs become four blanks, other control characters a replacement mark; wide letters count two columns. A line too
    long for the screen is cut around the span.
    """
    start = text.rfind("\n", 0, span[0]) + 1
    end = text.find("\n", span[0])
    line = text[start : len(text) if end < 0 else end].rstrip()
    if not line:
        return None
    before = _shown(line[: span[0] - start])
    marked = _shown(line[span[0] - start : span[1] - start])
    after = _shown(line[span[1] - start :])
    before, marked, after = _fitting(before, marked, after)
    carets = "^" * max(1, _columns(marked))
    return before + marked + after, " " * _columns(before) + carets


def _fitting(before: str, marked: str, after: str) -> tuple[str, str, str]:
    """Returns the three parts of a line, cut so that together they fit the screen."""
    if _columns(before + marked + after) <= _ROOM:
        return before, marked, after
    room_before = max(_LEAD, _ROOM - _columns(marked + after))
    if _columns(before) > room_before:
        while _columns(before) > room_before - 3:
            before = before[1:]
        before = "..." + before
    marked = _cut(marked, _ROOM - _columns(before))
    return before, marked, _cut(after, _ROOM - _columns(before + marked))


def _cut(text: str, room: int) -> str:
    if _columns(text) <= room:
        return text
    while text and _columns(text) > max(0, room - 3):
        text = text[:-1]
    return text + "..." if room >= 3 else text


def _shown(text: str) -> str:
    return "".join("    " if letter == "\t" else letter if letter.isprintable() else "\ufffd" for letter in text)


def _columns(text: str) -> int:
    """Returns how many terminal columns a text takes."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return len(text) + wide - sum(unicodedata.combining(letter) != 0 for letter in text)


def _wrapped(head: str, text: str) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    )
