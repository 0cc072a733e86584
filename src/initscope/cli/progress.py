"""How far a study has come: a live line on a terminal, plain lines elsewhere, nothing when quiet."""

from __future__ import annotations

import contextlib
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from initscope.base.quantities import counted, duration

if TYPE_CHECKING:
    from rich.console import Console

    from initscope.records.run import RunRecord
    from initscope.study.session import Watcher

PLAIN_EVERY_S = 5.0
"""Seconds between two plain lines."""


class Progress(ABC):
    """Counts runs and run-epochs, and shows them. Use it in a `with`."""

    def __init__(self, *, epochs: int) -> None:
        self._epochs = epochs
        self.runs = self.stored = self.done = self._epochs_done = 0
        self._started = time.monotonic()

    @property
    def watcher(self) -> Watcher:
        """What the session calls."""
        from initscope.study.session import Watcher

        return Watcher(planned=self._planned, epoch=self._epoch, stored=self._stored)

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def say(self, text: str) -> None:
        """Shows what is going on now."""
        self._say(text)

    def drawn(self, name: str) -> None:
        """Shows that a figure has been drawn."""
        self._say(f"drawn {name}")

    @property
    def share(self) -> float:
        """Share of the run-epochs of this session that are done, 0 to 1."""
        todo = (self.runs - self.stored) * self._epochs
        return min(1.0, self._epochs_done / todo) if todo else 1.0

    @property
    def remaining_s(self) -> float | None:
        """Seconds still to go at the pace so far; None before the first epoch."""
        if not self._epochs_done:
            return None
        return (time.monotonic() - self._started) * (1.0 / self.share - 1.0)

    def line(self) -> str:
        """Returns "runs 16 of 80, epochs 240 of 800, 12 s to go"."""
        todo = (self.runs - self.stored) * self._epochs
        left = self.remaining_s
        rest = f", {duration(left)} to go" if left is not None and self._epochs_done < todo else ""
        return f"runs {self.stored + self.done} of {self.runs}, epochs {self._epochs_done} of {todo}{rest}"

    def _planned(self, runs: int, stored: int, workers: int) -> None:
        self.runs, self.stored, self._started = runs, stored, time.monotonic()
        kept = f"; {stored} are stored already" if stored else ""
        self._say(f"{counted(runs, 'run')} of {counted(self._epochs, 'epoch')}{kept}; {counted(workers, 'worker')}")

    def _epoch(self, runs: int, epochs: int) -> None:
        todo = (self.runs - self.stored) * self._epochs
        self._epochs_done = min(todo, self._epochs_done + runs)  # an ensemble that loses its worker begins again
        self._update()

    def _stored(self, records: Sequence[RunRecord]) -> None:
        self.done += len(records)
        self._update()

    @abstractmethod
    def _open(self) -> None: ...

    @abstractmethod
    def _close(self) -> None: ...

    @abstractmethod
    def _update(self) -> None: ...

    @abstractmethod
    def _say(self, text: str) -> None: ...


class SilentProgress(Progress):
    """Shows nothing."""

    def _open(self) -> None: ...

    def _close(self) -> None: ...

    def _update(self) -> None: ...

    def _say(self, text: str) -> None: ...


class PlainProgress(Progress):
    """A line every few seconds on stderr, for logs and pipes."""

    _last = 0.0

    def _open(self) -> None: ...

    def _close(self) -> None: ...

    def _update(self) -> None:
        now = time.monotonic()
        if now - self._last >= PLAIN_EVERY_S or self.stored + self.done == self.runs:
            self._last = now
            self._put(self.line())

    def _say(self, text: str) -> None:
        if not text.startswith("drawn "):
            self._put(text)

    @staticmethod
    def _put(text: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # whoever read the lines has gone; the training goes on
            print(text, file=sys.stderr, flush=True)


class LiveProgress(Progress):
    """A bar that stays on its line, with runs, epochs and the time to go."""

    def __init__(self, *, epochs: int, console: Console) -> None:
        super().__init__(epochs=epochs)
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bar

        self._bar = Bar(
            BarColumn(bar_width=24), TextColumn("{task.description}", markup=False), console=console, transient=True
        )
        self._task = self._bar.add_task("starting workers", total=1.0)

    def _open(self) -> None:
        self._bar.start()

    def _close(self) -> None:
        self._bar.stop()

    def _update(self) -> None:
        self._bar.update(self._task, completed=self.share, description=self.line())

    def _say(self, text: str) -> None:
        self._bar.update(self._task, description=text)


def make_progress(*, quiet: bool, epochs: int) -> Progress:
    """Returns the display that fits: nothing when quiet, a live bar on a terminal, plain lines elsewhere."""
    if quiet:
        return SilentProgress(epochs=epochs)
    if not sys.stderr.isatty():
        return PlainProgress(epochs=epochs)
    from rich.console import Console

    return LiveProgress(epochs=epochs, console=Console(stderr=True))
