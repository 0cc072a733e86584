"""Mistakes that make a text no TOML at all: `tomllib` stops at the first; here it gets a place and plain words."""

from __future__ import annotations

import re

from initscope.records.study_mistakes import Mistake
from initscope.study.problems import line_and_column
from initscope.study.toml_index import Span, index_prefix

_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_AGAIN = ("Cannot overwrite", "Cannot declare", "Cannot mutate", "Duplicate inline table key")
_UNCLOSED = ("Expected \"'", "Unterminated string")
_WORD = re.compile(r"[A-Za-z_][^\s,\]}#]*")
_LETTER = re.compile(r"(?:Illegal|Found invalid) character (.*)")
_PLAIN = {
    "Expected '=' after a key in a key/value pair": "there is no '=' after the key",
    "Expected newline or end of document after a statement": "the line should have ended here",
    "Invalid value": "this is no TOML value",
    "Unescaped '\\' in a string": "a backslash in double quotes starts an escape, and this is none",
    "Invalid statement": "here a key, a [table] or a comment is wanted",
}


def syntax_mistake(error: Exception, text: str) -> tuple[Mistake, Span | None]:
    """Returns what `tomllib` found wrong with `text`, and where if it said so; `error` is what it raised."""
    if isinstance(error, RecursionError):
        return Mistake(path=(), what="lists or tables are nested too deeply"), None
    found = _PLACE.search(str(error))
    if not found:
        return Mistake(path=(), what=_lowered(str(error))), None
    message = str(error)[: found.start()]
    at = _offset(text, found)
    if message.startswith(_AGAIN):
        return _given_twice(message, text, at)
    if message.startswith(_UNCLOSED) and (opened := index_prefix(text).stopped) is not None:
        return Mistake(path=(), what="the quotes that open here are not closed"), (opened, opened + 1)
    if message.startswith("Unescaped"):
        at = max(text.rfind("\\", 0, at), 0)
    word = _WORD.match(text, at)
    do = _what_to_do(message, text, at)
    end = word.end() if word and do else at + 1
    return Mistake(path=(), what=_in_plain_words(message), do=do), (at, end)


def _in_plain_words(message: str) -> str:
    if found := _LETTER.fullmatch(message):
        unclosed = found.group(1) == "'\\n'"
        return (
            "the quotes are not closed on this line" if unclosed else f"the character {found.group(1)} is not allowed"
        )
    return _PLAIN.get(message, _lowered(message))


def _offset(text: str, found: re.Match[str]) -> int:
    """Returns the offset of tomllib's place; the end of a document is the end of its last line with something on it."""
    if found.group(1) is None:
        return len(text.rstrip())
    lines = text.split("\n")
    return sum(len(line) + 1 for line in lines[: int(found.group(1)) - 1]) + int(found.group(2)) - 1


def _given_twice(message: str, text: str, at: int) -> tuple[Mistake, Span]:
    """Returns the mistake for a key that is there already, at the second of the two."""
    end = text.find("\n", at)
    repeats = index_prefix(text if end < 0 else text[:end]).repeats
    if not repeats:
        return Mistake(path=(), what=_lowered(message)), (at, at + 1)
    last = repeats[-1]
    line, _ = line_and_column(text, last.first[0])
    what = f"{text[slice(*last.second)]!r} is given twice, first in line {line}"
    return Mistake(path=(), what=what, do="keep one of the two"), last.second


def _what_to_do(message: str, text: str, at: int) -> str | None:
    """Returns the cure for the commonest slips: text without quotes, a pattern without quotes, True."""
    if message == "Invalid value" and (word := _WORD.match(text, at)):
        value = word.group()
        return f"write {value.lower()}" if value in {"True", "False"} else f'put text in quotes: "{value}"'
    if message in {"Invalid statement", "Expected '=' after a key in a key/value pair"}:
        start = text.rfind("\n", 0, at) + 1
        key = text[start:].split("=")[0].split("\n")[0].strip()
        if re.fullmatch(r"[\w.*?-]*[*?][\w.*?-]*", key):
            return f'put the pattern in quotes: "{key}"'
    return r"write \\ for \, or put the text in single quotes" if message.startswith("Unescaped") else None


def _lowered(message: str) -> str:
    return message[:1].lower() + message[1:]
