"""The errors a user can meet, all of one form: what, where, the value, what is legal, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InitscopeError(Exception):
    """An error with an exit code and a message of one form.

    Arguments: `what` is one sentence without a full stop; `where` a file, line, key or parameter path;
    `value` the value received; `legal` what would have been accepted; `do` the next step for the user.
    Parts that are `None` are left out of the message.
    """

    exit_code = 2

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        value: object = None,
        legal: str | None = None,
        do: str | None = None,
    ) -> None:
        self.what, self.where, self.value, self.legal, self.do = what, where, value, legal, do
        super().__init__(self._text())

    def _text(self) -> str:
        parts = (("where", self.where), ("got", self.value), ("legal", self.legal), ("do", self.do))
        lines = [f"  {label + ':':<7}{text}" for label, text in parts if text is not None]
        return "\n".join([self.what, *lines])


class UsageError(InitscopeError):
    """Bad input from the user: a name, an option, a study file, a data file. Exit code 2."""

    exit_code = 2


class UnsoundStartError(InitscopeError):
    """A check found what must not be. Exit code 1."""

    exit_code = 1


class RunsFailedError(InitscopeError):
    """Some runs of a study failed; the others are stored. Exit code 3."""

    exit_code = 3


class EnvironmentFault(InitscopeError):
    """Something around the program is missing: data, a device, a library, a readable store. Exit code 4."""

    exit_code = 4


def nearest(name: str, legal: Iterable[str]) -> str | None:
    """Returns the legal name closest to `name`, or None where nothing is close."""
    found = difflib.get_close_matches(name, list(legal), n=1, cutoff=0.5)
    return found[0] if found else None


def unknown_name(
    kind: str,
    name: str,
    legal: Iterable[str],
    *,
    where: str | None = None,
    also: Iterable[str] = (),
    listed: bool = True,
) -> UsageError:
    """Returns the error for a name that is not known: lists the legal ones and proposes the nearest.

    `also` are names that are known too, and not named as legal; `listed` says whether `initscope list` shows them.
    """
    names = sorted(legal)
    near = nearest(name, [*names, *also])
    shown = "initscope list shows what there is; " if listed else ""
    return UsageError(
        f"unknown {kind} {name!r}",
        where=where,
        legal=", ".join(names) if names else f"no {kind} is known here",
        do=f"did you mean {near!r}?" if near else f"{shown}choose a legal {kind}",
    )
