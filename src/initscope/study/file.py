"""Reading a study: by the name of a built-in one or from a TOML file, with single values changed by `--set`."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError

from initscope.base.errors import UsageError, nearest, unknown_name
from initscope.records.study import Study
from initscope.records.study_mistakes import KEY, KEY_RULE, Mistake, Path, study_mistakes
from initscope.study.builtin_studies import builtin_names, builtin_text
from initscope.study.overrides import Override, apply_override, parse_override, set_label
from initscope.study.problems import Problem, StudyFileError, excerpt, line_and_column, study_file_error
from initscope.study.sentences import mistakes_of
from initscope.study.syntax import syntax_mistake
from initscope.study.toml_index import Span, TomlIndex, index_toml

Change = str | tuple[str, str]
"""A `key.path=value` text, or that with the option the user gave instead, such as ("seeds=3", "--seeds 3")."""
Vets = Mapping[tuple[str, ...], Callable[[str], object]]
"""Further checks by path, where "*" stands for any key: each gets the text there and raises UsageError to refuse it."""


def load_study(reference: str, *, overrides: Sequence[Change] = (), vets: Vets | None = None) -> Study:
    """Returns the study that `reference` names, checked.

    Arguments: `reference` is the name of a built-in study or the path of a .toml file; `overrides` are `key.path=value`
    texts, applied in order; `vets` check names that only higher floors know, such as initializers.
    Raises: UsageError where there is no such study; StudyFileError with all mistakes of the study at once.

    Example:
        >>> load_study("surprising-demo", overrides=["train.epochs=3"]).train.epochs
        3
    """
    return read_source(reference, overrides=overrides).study(vets=vets)


def read_source(reference: str, *, overrides: Sequence[Change] = ()) -> StudySource:
    """Returns the study that `reference` names as it is written, not yet checked; raises as `load_study` does."""
    if reference in builtin_names():
        return _source(reference, builtin_text(reference), stem=reference, overrides=overrides)
    path = FilePath(reference)
    if not _looks_like_path(reference):
        raise _unknown_study(reference)
    return _source(reference, _file_text(path), stem=path.stem, overrides=overrides)


def source_of_study(study: Study, *, overrides: Sequence[Change] = ()) -> StudySource:
    """Returns a study made in Python as the TOML it is written as, to be changed and checked like a file."""
    return _source(f"study {study.name}", study.to_toml(), stem=study.name, overrides=overrides)


@dataclass(frozen=True, kw_only=True)
class StudySource:
    """A study as it is written: its text, the places in it, and the plain tables after the overrides."""

    label: str
    text: str
    stem: str
    index: TomlIndex
    tables: Mapping[str, Any]
    overrides: tuple[Override, ...] = ()
    misread: tuple[Problem, ...] = field(default=())

    def study(self, *, vets: Vets | None = None) -> Study:
        """Returns the checked study; raises StudyFileError with all mistakes in it."""
        tables = dict(self.tables)
        named = "name" in tables
        if not named and KEY.fullmatch(self.stem):
            tables["name"] = self.stem
        mistakes: list[Mistake] = [] if named or "name" in tables else [_unnamed(self.stem)]
        study: Study | None = None
        try:
            study = Study.model_validate(tables)
        except ValidationError as error:
            mistakes += [*mistakes_of(error, tables), *study_mistakes(tables)]
            mistakes = mistakes or [Mistake(path=(), what=str(error))]
        mistakes += _refusals(tables, vets or {}, {mistake.path for mistake in mistakes})
        if study is None or mistakes or self.misread:
            raise self.error(mistakes)
        return study

    def error(self, mistakes: Iterable[Mistake]) -> StudyFileError:
        """Returns the error that shows `mistakes` at their places, in the order of the file, the options last."""
        placed = sorted((self._placed(mistake) for mistake in mistakes), key=lambda pair: pair[0])
        return study_file_error(self.label, [*(problem for _, problem in placed), *self.misread])

    def where(self, path: Path, *, at: str = "value") -> str:
        """Returns "file:line:column" of the key or value at `path`, or the option that set it."""
        return self._placed(Mistake(path=path, what="", at="key" if at == "key" else "value"))[1].where

    def _placed(self, mistake: Mistake) -> tuple[tuple[int, int], Problem]:
        """Returns the problem with what it is sorted by: in the file by offset, then the options in their order."""
        path = mistake.path
        for order, override in reversed(list(enumerate(self.overrides))):
            if _set_by(override, path, self.index):
                return (1, order), Problem(where=override.label, mistake=mistake)
        span = self.index.key(path) if mistake.at == "key" else self.index.value(path)
        while span is None and path:
            path = path[:-1]
            span = self.index.value(path)
        return (0, span[0] if span else 0), _in_text(self.label, self.text, span, mistake)


def _source(label: str, text: str | bytes, *, stem: str, overrides: Sequence[Change]) -> StudySource:
    """Returns the source with its overrides applied; an override that cannot be read is kept as a problem."""
    text = _decoded(label, text) if isinstance(text, bytes) else text
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    try:
        tables = tomllib.loads(text)
        index = index_toml(text)
    except (ValueError, RecursionError) as error:
        mistake, span = syntax_mistake(error, text)
        raise study_file_error(label, [_in_text(label, text, span, mistake)]) from error
    applied: list[Override] = []
    misread: list[Problem] = []
    for change in overrides:
        option, shown = (change, None) if isinstance(change, str) else change
        try:
            override = parse_override(option, label=shown)
            apply_override(tables, override)
            applied.append(override)
        except UsageError as error:
            mistake = Mistake(path=(), what=error.what, legal=error.legal, do=error.do)
            misread.append(Problem(where=shown or set_label(option), mistake=mistake))
    return StudySource(
        label=label, text=text, stem=stem, index=index, tables=tables, overrides=tuple(applied), misread=tuple(misread)
    )


def _in_text(label: str, text: str, span: Span | None, mistake: Mistake) -> Problem:
    """Returns the problem at a span of the text; without a span it is one of the whole file and shows no line."""
    line, column = line_and_column(text, span[0]) if span else (1, 1)
    return Problem(where=f"{label}:{line}:{column}", mistake=mistake, excerpt=excerpt(text, span) if span else None)


def _set_by(override: Override, path: Path, index: TomlIndex) -> bool:
    """Returns whether the override set the value at `path`, or made the table that stands there."""
    length = min(len(override.path), len(path))
    if not path or override.path[:length] != path[:length]:
        return False
    return len(override.path) <= len(path) or path not in index.keys


def _refusals(tables: Mapping[str, Any], vets: Vets, known: set[Path]) -> Iterator[Mistake]:
    """Yields what the vets refuse, apart from values that have a mistake already."""
    for pattern, vet in vets.items():
        for path, value in _matches(tables, pattern):
            if path in known or not isinstance(value, str):
                continue
            try:
                vet(value)
            except UsageError as error:
                yield Mistake(path=path, what=error.what, legal=error.legal, do=error.do)


def _matches(tables: Any, pattern: tuple[str, ...], path: Path = ()) -> Iterator[tuple[Path, Any]]:
    if not pattern:
        yield path, tables
    elif isinstance(tables, Mapping):
        for key in tables if pattern[0] == "*" else [key for key in (pattern[0],) if key in tables]:
            yield from _matches(tables[key], pattern[1:], (*path, key))


def _unnamed(stem: str) -> Mistake:
    proposed = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._") or "study"
    what = f"the file gives the study no name, and its own, {stem!r}, cannot be one"
    return Mistake(path=("name",), what=what, legal=KEY_RULE, do=f'add at the top: name = "{proposed}"')


def _looks_like_path(reference: str) -> bool:
    return reference.endswith(".toml") or any(mark and mark in reference for mark in ("/", os.sep, os.altsep))


def _unknown_study(reference: str) -> UsageError:
    if reference and FilePath(f"{reference}.toml").is_file():
        return UsageError(
            f"unknown study {reference!r}",
            legal=f"{', '.join(builtin_names())}, or the path of a .toml file",
            do=f"did you mean the file '{reference}.toml'?",
        )
    return unknown_name("study", reference, builtin_names())


def _file_text(path: FilePath) -> bytes:
    """Returns the bytes of a study file; raises UsageError where there is none or it cannot be read."""
    try:
        if path.is_dir():
            raise UsageError("this is a folder, not a study file", where=str(path), legal="the path of a .toml file")
        if path.suffix != ".toml" and path.exists():
            raise UsageError("a study file ends with .toml", where=str(path), legal="the path of a .toml file")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UsageError("no such study file", where=str(path), do=_other_file(path)) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError("cannot read the study file", where=str(path), value=reason, do="make it readable") from error


def _other_file(path: FilePath) -> str:
    beside = [other.name for other in path.parent.glob("*.toml")] if path.parent.is_dir() else []
    near = nearest(path.name, beside)
    return f"did you mean {str(path.with_name(near))!r}?" if near else "initscope list studies shows the built-in ones"


def _decoded(label: str, content: bytes) -> str:
    """Returns the text of a file; raises StudyFileError at the first byte that is not UTF-8."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        if content.startswith((b"\xff\xfe", b"\xfe\xff")):
            mistake = Mistake(path=(), what="the file is UTF-16, and TOML is UTF-8", do="save it as UTF-8")
            raise study_file_error(label, [_in_text(label, "", None, mistake)]) from error
        before = content[: error.start].decode("utf-8").replace("\r\n", "\n")
        text = before + content[error.start :].decode("utf-8", errors="replace")
        what = f"the byte 0x{content[error.start]:02X} is not UTF-8"
        span = (len(before), len(before) + 1)
        mistake = Mistake(path=(), what=what, do="save the file as UTF-8")
        raise study_file_error(label, [_in_text(label, text, span, mistake)]) from error
