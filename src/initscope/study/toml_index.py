"""Where each key and each value of a TOML text stands: `tomllib` reads values and gives no positions.

The scanner never validates. It is right on valid TOML; on anything else it may raise ValueError.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field

Path = tuple[str | int, ...]
Span = tuple[int, int]

_STRINGS = (
    r'"""(?:\\.|[^\\])*?"""(?:"{0,2})',
    r"'''.*?'''(?:'{0,2})",
    r'"(?!"")(?:\\.|[^"\\\n])*"',
    r"'(?!'')[^'\n]*'",
)
_STRING = re.compile("|".join(_STRINGS), re.DOTALL)
_BARE_KEY = re.compile(r"""[^\s=.,\[\]{}#"']+""")
_BARE_VALUE = re.compile(r"[^,\]}#\n]+")
_BLANK = re.compile(r"[ \t]*")
_GAP = re.compile(r"(?:\s|#[^\n]*)*")
_Part = tuple[str, Span]


@dataclass(frozen=True, kw_only=True)
class Repeat:
    """A key that is given a second time: its path, the span of the first key and that of the second."""

    path: Path
    first: Span
    second: Span


@dataclass(frozen=True, kw_only=True)
class TomlIndex:
    """Spans, as offsets into the text, of the keys and values of a TOML text, by path.

    A path holds keys and, inside arrays, indices: `("conditions", "all-zero", "*")`, `("model", "hidden", 1)`. Every
    path has a key span; a table under a header of its own has no value span; an array's item has one span for both.
    `stopped` is the offset where the scanner lost its way, None on valid TOML.
    """

    keys: Mapping[Path, Span] = field(default_factory=dict)
    values: Mapping[Path, Span] = field(default_factory=dict)
    repeats: tuple[Repeat, ...] = ()
    stopped: int | None = None

    def key(self, path: Path) -> Span | None:
        """Returns the span of the key at `path`, without its neighbours in a dotted key; None where there is none."""
        return self.keys.get(path)

    def value(self, path: Path) -> Span | None:
        """Returns the span of the value at `path`, or of its key where the value has no text of its own."""
        return self.values.get(path, self.keys.get(path))


def index_toml(text: str) -> TomlIndex:
    """Returns where everything stands in a valid TOML text; raises ValueError where the scanner loses its way.

    Example:
        >>> text = 'seeds = 10'
        >>> start, end = index_toml(text).values[("seeds",)]
        >>> text[start:end]
        '10'
    """
    scanner = _Scanner(text)
    scanner.document()
    return TomlIndex(keys=scanner.keys, values=scanner.values, repeats=tuple(scanner.repeats))


def index_prefix(text: str) -> TomlIndex:
    """Returns what can be found up to the place where the scanner loses its way: for texts that are not valid."""
    scanner = _Scanner(text)
    stopped = None
    try:
        scanner.document()
    except (ValueError, RecursionError):
        stopped = scanner.at
    return TomlIndex(keys=scanner.keys, values=scanner.values, repeats=tuple(scanner.repeats), stopped=stopped)


def unquoted(key: str) -> str:
    """Returns the key that a bare or quoted TOML key stands for; raises ValueError where it is neither."""
    return str(next(iter(tomllib.loads(f"{key} = 0")))) if key[:1] in {'"', "'"} else key


class _Scanner:
    """One pass over a text; `keys`, `values` and `repeats` fill up on the way to the offset `at`."""

    def __init__(self, text: str) -> None:
        self._text, self.at = text, 0
        self._tables_of_array: dict[Path, int] = {}
        self._headers: set[Path] = set()
        self.keys: dict[Path, Span] = {}
        self.values: dict[Path, Span] = {}
        self.repeats: list[Repeat] = []

    def document(self) -> None:
        """Scans the whole text."""
        table: Path = ()
        self._skip(_GAP)
        while self.at < len(self._text):
            if self._next("["):
                table = self._header()
            else:
                self._pair(table)
            self._skip(_GAP)

    def _header(self) -> Path:
        """Scans `[a.b]` or `[[a.b]]` and returns the path of the table it opens."""
        width = 2 if self._text.startswith("[[", self.at) else 1
        self.at += width
        parts = self._dotted_key()
        self._expect("]" * width)
        path: Path = ()
        for key, span in parts[:-1]:
            path = self._latest((*path, key), span)
        key, span = parts[-1]
        path = (*path, key)
        if width == 1:
            return self._open(path, span)
        self.keys.setdefault(path, span)
        index = self._tables_of_array.get(path, 0)
        self._tables_of_array[path] = index + 1
        self.keys[(*path, index)] = span
        return (*path, index)

    def _latest(self, path: Path, span: Span) -> Path:
        """Returns `path`, or its latest item where it is an array of tables; notes where it first stands."""
        self.keys.setdefault(path, span)
        count = self._tables_of_array.get(path)
        return path if count is None else (*path, count - 1)

    def _open(self, path: Path, span: Span) -> Path:
        """Notes a table's own header, which counts more than the headers of the tables inside it."""
        if path in self._headers or path in self.values or path in self._tables_of_array:
            self._repeat(path, span)
        else:
            self._headers.add(path)
            self.keys[path] = span
        return path

    def _pair(self, table: Path) -> None:
        """Scans `key = value`, where the key may be dotted."""
        path = table
        parts = self._dotted_key()
        for key, span in parts[:-1]:
            path = (*path, key)
            if path in self.values:
                self._repeat(path, span)
            self.keys.setdefault(path, span)
        key, span = parts[-1]
        path = (*path, key)
        if path in self.keys:
            self._repeat(path, span)
        self.keys.setdefault(path, span)
        self._expect("=")
        self._skip(_BLANK)
        self._value(path)

    def _repeat(self, path: Path, second: Span) -> None:
        self.repeats.append(Repeat(path=path, first=self.keys[path], second=second))

    def _dotted_key(self) -> list[_Part]:
        """Scans `a."b c".d` and the blanks around it."""
        parts = [self._simple_key()]
        while self._next("."):
            self.at += 1
            parts.append(self._simple_key())
        return parts

    def _simple_key(self) -> _Part:
        self._skip(_BLANK)
        start = self.at
        quoted = self._text[start : start + 1] in {'"', "'"}
        self._take(_STRING if quoted else _BARE_KEY)
        span = (start, self.at)
        self._skip(_BLANK)
        return unquoted(self._text[slice(*span)]), span

    def _value(self, path: Path) -> None:
        """Scans one value and notes its span."""
        start = self.at
        if self._next("["):
            self._array(path)
        elif self._next("{"):
            self._inline_table(path)
        elif self._next('"') or self._next("'"):
            self._take(_STRING)
        else:
            self.at = start + len(self._take(_BARE_VALUE).rstrip())
        self.values.setdefault(path, (start, self.at))

    def _array(self, path: Path) -> None:
        self.at += 1
        self._skip(_GAP)
        index = 0
        while not self._next("]"):
            start = self.at
            self._value((*path, index))
            self.keys.setdefault((*path, index), (start, self.at))
            index += 1
            self._comma("]")
        self.at += 1

    def _inline_table(self, path: Path) -> None:
        self.at += 1
        self._skip(_GAP)
        while not self._next("}"):
            self._pair(path)
            self._comma("}")
        self.at += 1

    def _comma(self, closing: str) -> None:
        """Steps over what stands between two items; there must be a comma unless the closing bracket follows."""
        self._skip(_GAP)
        if not self._next(closing):
            self._expect(",")
            self._skip(_GAP)

    def _next(self, mark: str) -> bool:
        return self._text.startswith(mark, self.at)

    def _expect(self, mark: str) -> None:
        if not self._next(mark):
            raise ValueError(f"expected {mark!r} at offset {self.at}")
        self.at += len(mark)

    def _take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self.at)
        if not found:
            raise ValueError(f"nothing to read at offset {self.at}")
        self.at = found.end()
        return found.group()

    def _skip(self, pattern: re.Pattern[str]) -> None:
        found = pattern.match(self._text, self.at)
        if found:
            self.at = found.end()
