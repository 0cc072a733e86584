"""What a project has decided about `check`: the table [tool.initscope] of the nearest pyproject.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from initscope.base.errors import UsageError, nearest, unknown_name
from initscope.checker.baseline import Baseline
from initscope.checker.rule_names import LEGAL, resolve_rules

FailOn = Literal["error", "warn", "never"]
FAIL_ON: tuple[FailOn, ...] = get_args(FailOn)
FILE = "pyproject.toml"
KEYS = ("select", "ignore", "fail-on", "per-path-ignores")
DO_SAY = {"rules": "name the rules that are to be silent there", "reason": "say why these rules are wrong there"}
PATH_IGNORE = '{ rules = ["dead-units"], reason = "..." }'


@dataclass(frozen=True, kw_only=True)
class PathIgnore:
    """Rules that say nothing of the modules and parameters that a pattern matches, and why.

    `pattern` is a glob over paths; what lies below a match is matched too. `rules` are names, resolved.
    """

    pattern: str
    rules: tuple[str, ...]
    reason: str


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Which rules speak, where, and from which severity on a check fails.

    `select` and `ignore` are names of rules, resolved; an empty `select` is every rule. `source` is the file the
    settings were read from, empty where there was none.
    """

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    fail_on: FailOn = "error"
    per_path_ignores: tuple[PathIgnore, ...] = ()
    baseline: Baseline | None = None
    source: str = ""


def find_settings(folder: Path, *, known: Mapping[str, str] | None = None) -> Settings:
    """Returns the settings of the nearest pyproject.toml with a table [tool.initscope], from `folder` upward.

    Arguments: `known` is {name: code} of the rules, all registered ones unless given.
    Raises: UsageError, with file, key, legal values and the nearest name, where that table is malformed.
    """
    for place in (folder.absolute(), *folder.absolute().parents):
        path = place / FILE
        if path.is_file():
            table = _table(path)
            if table is not None:
                return _Reader(path, known).settings(table)
    return Settings()


def _table(path: Path) -> Any:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise UsageError("the file is not TOML", where=str(path), value=str(error)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError("the file cannot be read", where=str(path), value=str(error)) from error
    tool = content.get("tool", {})
    return tool.get("initscope") if isinstance(tool, dict) else None


class _Reader:
    """Reads one table; every complaint names the file and the key."""

    def __init__(self, path: Path, known: Mapping[str, str] | None) -> None:
        self._path, self._known = path, known

    def settings(self, table: Any) -> Settings:
        if not isinstance(table, dict):
            raise self._wrong("", table, "a table")
        for key in table:
            if key not in KEYS:
                raise unknown_name("key", key, KEYS, where=f"{self._path}: tool.initscope")
        return Settings(
            select=self._rules("select", table["select"]) if "select" in table else (),
            ignore=self._rules("ignore", table["ignore"], empty=True) if "ignore" in table else (),
            fail_on=self._fail_on(table.get("fail-on", "error")),
            per_path_ignores=self._path_ignores(table.get("per-path-ignores", {})),
            source=str(self._path),
        )

    def _where(self, key: str) -> str:
        return f"{self._path}: tool.initscope{'.' if key else ''}{key}"

    def _wrong(self, key: str, value: object, legal: str, *, do: str | None = None) -> UsageError:
        what = f"{key.rpartition('.')[2] or 'the table'} is not legal"
        return UsageError(what, where=self._where(key), value=repr(value), legal=legal, do=do)

    def _rules(self, key: str, value: Any, *, empty: bool = False) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(part, str) for part in value) or not (value or empty):
            raise self._wrong(key, value, f"a list of {LEGAL}")
        return resolve_rules(value, where=self._where(key), known=self._known)

    def _fail_on(self, value: Any) -> FailOn:
        if not isinstance(value, str) or value not in FAIL_ON:
            near = nearest(value, FAIL_ON) if isinstance(value, str) else None
            do = f"did you mean {near!r}?" if near else None
            raise self._wrong("fail-on", value, ", ".join(FAIL_ON), do=do)
        return value

    def _path_ignores(self, value: Any) -> tuple[PathIgnore, ...]:
        legal = f"a table of path patterns, each with {PATH_IGNORE}"
        if not isinstance(value, dict):
            raise self._wrong("per-path-ignores", value, legal)
        return tuple(self._path_ignore(pattern, entry) for pattern, entry in value.items())

    def _path_ignore(self, pattern: str, entry: Any) -> PathIgnore:
        key = f'per-path-ignores."{pattern}"'
        if not isinstance(entry, dict):
            what = f"the entry of {pattern!r} is not legal"
            raise UsageError(what, where=self._where(key), value=repr(entry), legal=PATH_IGNORE)
        for name in entry:
            if name not in ("rules", "reason"):
                raise unknown_name("key", name, ("rules", "reason"), where=self._where(key))
        for name, do in DO_SAY.items():
            if name not in entry:
                raise UsageError(f"{name} is missing", where=self._where(key), legal=PATH_IGNORE, do=do)
        if not isinstance(entry["reason"], str) or not entry["reason"].strip():
            raise self._wrong(f"{key}.reason", entry["reason"], "a sentence", do=DO_SAY["reason"])
        rules = self._rules(f"{key}.rules", entry["rules"])
        return PathIgnore(pattern=pattern, rules=rules, reason=entry["reason"].strip())
