"""A small pool of worker processes: one thread each, a dead one replaced and its ensemble trained again."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from initscope.base import errors
from initscope.records.run import History, RunRecord
from initscope.store.faults import guarded
from initscope.study.plan import Ensemble
from initscope.study.wire import Message, decode_result, receive, send
from initscope.train.task import EnsembleResult

ATTEMPTS = 3
"""How often an ensemble may lose its worker before its runs are recorded as failed."""
BEGIN = "import json, sys; sys.path[:] = json.loads(sys.argv.pop()); from initscope.study.worker import main; main()"
"""What a worker is started with: the path comes as data, since PYTHONPATH cannot hold every folder's name."""


@dataclass(frozen=True, kw_only=True)
class WorkerSetup:
    """What every worker is told once: the study, where the shared data lie, the device."""

    study: str
    inputs: str
    labels: str
    n_classes: int
    device: str
    path: tuple[str, ...] = field(default_factory=lambda: tuple(os.path.abspath(entry or ".") for entry in sys.path))


@dataclass(frozen=True, kw_only=True)
class Listener:
    """What the pool tells while it works: epochs of an ensemble, and finished ensembles (in order of finishing)."""

    epoch: Callable[[Ensemble, int], None]
    finished: Callable[[EnsembleResult], None]


class _Worker:
    """A worker process, its reader thread, and the ensemble it is on."""

    def __init__(self, setup: WorkerSetup, events: queue.Queue[tuple[_Worker, Message | None, bytes]]) -> None:
        self.process = _started(setup)
        self.ensemble: Ensemble | None = None
        self._events = events
        with contextlib.suppress(BrokenPipeError):
            self._send(asdict(setup))
        threading.Thread(target=self._read, daemon=True).start()

    def give(self, ensemble: Ensemble) -> None:
        """Sets the worker on an ensemble; a worker that has died meanwhile is noticed by its reader."""
        self.ensemble = ensemble
        with contextlib.suppress(BrokenPipeError):
            self._send({"runs": [asdict(run) for run in ensemble]})

    def stop(self) -> None:
        """Ends the process at once and waits for it."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()

    def _send(self, message: Message) -> None:
        assert self.process.stdin is not None, "the worker was started with a pipe"
        send(self.process.stdin, message)

    def _read(self) -> None:
        assert self.process.stdout is not None, "the worker was started with a pipe"
        with contextlib.suppress(ValueError, OSError):
            while (received := receive(self.process.stdout)) is not None:
                self._events.put((self, *received))
        self._events.put((self, None, b""))


def train_all(ensembles: Sequence[Ensemble], setup: WorkerSetup, *, workers: int, listener: Listener) -> None:
    """Trains every ensemble on `workers` processes and hands each result to `listener.finished` as it comes.

    An ensemble whose worker dies is given to a new one, at most `ATTEMPTS` times; then its runs are handed over as
    failed. Workers are stopped whatever happens, a KeyboardInterrupt included.

    Raises: the InitscopeError a worker refused an ensemble with.
    """
    _Pool(ensembles, setup, workers, listener).run()


class _Pool:
    def __init__(self, ensembles: Sequence[Ensemble], setup: WorkerSetup, workers: int, listener: Listener) -> None:
        self._waiting, self._open = deque(ensembles), len(ensembles)
        self._setup, self._listener = setup, listener
        self._events: queue.Queue[tuple[_Worker, Message | None, bytes]] = queue.Queue()
        self._count = max(1, min(workers, len(ensembles)))
        self._workers: set[_Worker] = set()
        self._lost: dict[Ensemble, int] = {}
        self._still_births = 0

    def run(self) -> None:
        """Works until every ensemble has been handed over."""
        try:
            while self._open:
                while len(self._workers) < min(self._count, self._open):
                    self._workers.add(_Worker(self._setup, self._events))
                worker, message, blob = self._next()
                if worker in self._workers:
                    self._handle(worker, message, blob)
        finally:
            for worker in self._workers:
                worker.stop()

    def _next(self) -> tuple[_Worker, Message | None, bytes]:
        while True:  # a wait with a limit lets Ctrl-C through on every platform
            with contextlib.suppress(queue.Empty):
                return self._events.get(timeout=0.5)

    def _handle(self, worker: _Worker, message: Message | None, blob: bytes) -> None:
        if message is None:
            self._buried(worker)
        elif message["kind"] == "progress":
            if worker.ensemble is not None:
                self._listener.epoch(worker.ensemble, message["epoch"])
        elif message["kind"] == "refused":
            raise _raised(message)
        else:
            self._closed(worker, message, blob)

    def _closed(self, worker: _Worker, message: Message, blob: bytes) -> None:
        """A worker is free: ready for its first ensemble, or done with one."""
        done, worker.ensemble = worker.ensemble, None
        if message["kind"] == "failed" and done is None:
            raise errors.EnvironmentFault("a worker could not start", value=message["error"])
        if self._waiting:
            worker.give(self._waiting.popleft())
        if done is not None:
            self._open -= 1
            self._listener.finished(
                decode_result(message, blob) if message["kind"] == "result" else failed(done, message["error"])
            )

    def _buried(self, worker: _Worker) -> None:
        """A worker has died: its ensemble goes back to the front, or is given up."""
        worker.stop()
        self._workers.discard(worker)
        ensemble = worker.ensemble
        if ensemble is None:
            self._still_births += 1
            if self._still_births >= ATTEMPTS:
                raise errors.EnvironmentFault(
                    "worker processes die before they begin",
                    value=f"exit status {worker.process.returncode}",
                    do="run `initscope doctor`; look at the lines above for what the worker said",
                )
            return
        self._lost[ensemble] = self._lost.get(ensemble, 0) + 1
        if self._lost[ensemble] < ATTEMPTS:
            self._waiting.appendleft(ensemble)
            return
        self._open -= 1
        reason = f"its worker died {ATTEMPTS} times, last with exit status {worker.process.returncode}"
        self._listener.finished(failed(ensemble, reason))


def _started(setup: WorkerSetup) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    try:
        return subprocess.Popen(
            [sys.executable, "-P", "-c", BEGIN, json.dumps(current_last(setup.path))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # Ctrl-C on the terminal is for the driver, who stops its workers
        )
    except OSError as error:
        raise errors.EnvironmentFault(
            "a worker process cannot be started",
            where=sys.executable or "no Python program is known",
            value=error.strerror or str(error),
            do="close other programs, or take fewer: --workers 1",
        ) from error


def current_last(path: Sequence[str]) -> list[str]:
    """Returns the module path with the current folder at its end, where no file of the user's hides one of Python's."""
    here = str(Path.cwd())
    return [entry for entry in path if entry != here] + [entry for entry in path if entry == here]


def failed(ensemble: Ensemble, error: str) -> EnsembleResult:
    """Returns the records of runs that gave no numbers."""
    empty = np.empty(0)
    records = tuple(
        RunRecord(
            condition=run.condition,
            seed=run.seed,
            key=run.key,
            status="failed",
            epochs=0,
            steps=0,
            n_test=0,
            class_shares=(),
            first_step_loss=float("nan"),
            wall_s=float("nan"),
            history=History(train_loss=empty, train_accuracy_percent=empty, test_accuracy_percent=empty),
            probes=None,
            error=error,
        )
        for run in ensemble
    )
    return EnsembleResult(records=records, weights={})


def write_shared(folder: Path, inputs: np.ndarray, labels: np.ndarray) -> tuple[Path, Path]:
    """Writes the data once where every worker maps them into memory, and returns the two absolute paths.

    Raises: EnvironmentFault where they cannot be written.
    """
    paths = folder.absolute() / "inputs.npy", folder.absolute() / "labels.npy"
    with guarded(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for path, values in zip(paths, (inputs, labels), strict=True):
            np.save(path, values, allow_pickle=False)
    return paths


def _raised(message: Message) -> errors.InitscopeError:
    kind = getattr(errors, message["error"], errors.UsageError)
    error: errors.InitscopeError = kind(**message["parts"])
    return error
