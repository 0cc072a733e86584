"""What can be wrong in a study beyond the type of one value: names that do not agree, texts that cannot be read.

The checks take plain tables, as they stand in a file, and report everything they find; a part of the wrong type is
passed over here, because the models of `initscope.records.study` report it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from initscope.base.calls import parse_call
from initscope.base.errors import UsageError, nearest

KEY = re.compile(r"[a-z0-9][a-z0-9._-]*", re.IGNORECASE)
KEY_RULE = "letters, digits, '.', '_' and '-', with a letter or a digit first"
Path = tuple[str | int, ...]


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """One mistake in a study: what is wrong with the key or the value (`at`) that `path` leads to.

    `what` is a sentence without a full stop; `legal` and `do` are as in `initscope.base.errors`.
    """

    path: Path
    what: str
    at: Literal["key", "value"] = "value"
    legal: str | None = None
    do: str | None = None

    def __str__(self) -> str:
        rest = [f"{label}: {text}" for label, text in (("legal", self.legal), ("do", self.do)) if text is not None]
        return "; ".join([self.what, *rest])


def study_mistakes(study: Mapping[str, Any]) -> list[Mistake]:
    """Returns every disagreement inside a study given as plain tables."""
    found = [*condition_mistakes(study.get("conditions")), *model_mistakes(study.get("model"))]
    for name, figure in _items(study.get("figures")):
        if not KEY.fullmatch(name):
            what = f"the figure {name!r} cannot be the name of a file"
            found.append(Mistake(path=("figures", name), at="key", what=what, legal=KEY_RULE))
        found += figure_mistakes(figure, path=("figures", name))
    return found + list(name_mistakes(study))


def raise_mistakes(mistakes: Iterable[Mistake]) -> None:
    """Raises ValueError with all the mistakes, one a line, where there are any."""
    if texts := [str(mistake) for mistake in mistakes]:
        raise ValueError("\n  ".join(texts))


def condition_mistakes(conditions: object) -> Iterator[Mistake]:
    """Yields the condition keys that are not legal and the initializer texts that cannot be read."""
    for key, table in _items(conditions):
        if not KEY.fullmatch(key):
            what = f"the condition key {key!r} is not legal"
            yield Mistake(path=("conditions", key), at="key", what=what, legal=KEY_RULE)
        for pattern, text in _items(table):
            if isinstance(text, str):
                yield from _unreadable(("conditions", key, pattern), text)


def _unreadable(path: Path, text: str) -> Iterator[Mistake]:
    try:
        parse_call(text)
    except UsageError as error:
        yield Mistake(path=path, what=f"cannot read the initializer {text!r}", legal=error.legal)


def model_mistakes(model: object, *, path: Path = ("model",)) -> Iterator[Mistake]:
    """Yields what is wrong where a model has both a name and a factory, or options without a factory."""
    given = {key for key, value in _items(model) if value is not None and value != {}}
    if {"name", "factory"} <= given:
        what = "a model has a name or a factory, not both"
        yield Mistake(path=(*path, "factory"), at="key", what=what, do="remove one of the two")
    if "options" in given and "factory" not in given:
        what = "model options are the arguments of a factory, and there is no factory"
        yield Mistake(path=(*path, "options"), at="key", what=what, do="add factory, or remove the options")


def figure_mistakes(figure: object, *, path: Path = ()) -> Iterator[Mistake]:
    """Yields what is wrong where the parameters or shifts of a figure do not fit its kind."""
    table = dict(_items(figure))
    kind, parameters, shifts = table.get("kind"), table.get("parameters", ()), table.get("shifts", ())
    if not isinstance(parameters, list | tuple) or not isinstance(shifts, list | tuple):
        return
    if kind == "histogram" and len(parameters) != 1:
        what = f"a figure of kind 'histogram' shows one parameter, got {len(parameters)}"
        yield _parameters_mistake(path, table, what)
    if kind == "starting-values" and not parameters:
        yield _parameters_mistake(path, table, "a figure of kind 'starting-values' needs parameters")
    if kind == "starting-values" and shifts and len(shifts) != len(parameters):
        what = f"a figure needs as many shifts as parameters, got {len(shifts)} and {len(parameters)}"
        yield Mistake(path=(*path, "shifts"), what=what)


def _parameters_mistake(path: Path, table: Mapping[str, Any], what: str) -> Mistake:
    """Returns the mistake at `parameters` where the figure has them, otherwise at the figure itself."""
    here: Path = (*path, "parameters") if "parameters" in table else path
    do = 'name them by their paths: parameters = ["hidden1.weight"]'
    return Mistake(path=here, at="value" if "parameters" in table else "key", what=what, do=do)


def name_mistakes(study: Mapping[str, Any]) -> Iterator[Mistake]:
    """Yields the names of conditions, in baseline, about and figures, that are not in `conditions`."""
    conditions = study.get("conditions")
    if not isinstance(conditions, Mapping) or not conditions:
        return
    baseline = study.get("baseline", "default")
    if isinstance(baseline, str) and baseline not in conditions:
        yield _baseline_mistake(baseline, conditions, given="baseline" in study)
    for key, _ in _items(study.get("about")):
        if key not in conditions:
            yield _unknown_condition(("about", key), "about", key, conditions)
    for name, figure in _items(study.get("figures")):
        listed = dict(_items(figure)).get("conditions")
        for index, key in enumerate(listed if isinstance(listed, list | tuple) else ()):
            if isinstance(key, str) and key not in conditions:
                yield _unknown_condition(("figures", name, "conditions", index), f"the figure {name}", key, conditions)


def _baseline_mistake(baseline: str, conditions: Mapping[str, Any], *, given: bool) -> Mistake:
    if given:
        return _unknown_condition(("baseline",), "baseline", baseline, conditions)
    first = next(iter(conditions))
    do = f'add [conditions.{baseline}], or name another at the top: baseline = "{first}"'
    return Mistake(path=("conditions",), at="key", what=f"the baseline {baseline!r} is not in [conditions]", do=do)


def _unknown_condition(path: Path, where: str, key: str, conditions: Collection[str]) -> Mistake:
    near = nearest(key, conditions)
    hint = f"; did you mean {near!r}?" if near else ""
    what = f"{where} names the condition {key!r}, which is not in [conditions]{hint}"
    return Mistake(path=path, at="key" if path[0] == "about" else "value", what=what, legal=", ".join(conditions))


def _items(table: object) -> list[tuple[str, Any]]:
    """Returns the entries of a table; none where it is absent or something else."""
    return list(table.items()) if isinstance(table, Mapping) else []
