"""Processes of their own for cases, each with a time limit, so that no case can take the others along."""

from __future__ import annotations

import multiprocessing
import os
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from typing import Any

Job = Callable[[str, int], Any]
"""A module-level function of a case's name and a seed; what it returns must travel between processes."""

START_S = 300.0
"""Seconds a process may take to start, its imports included; they are not part of a task's limit."""


def work(
    job: Job, tasks: Iterable[tuple[str, int]], *, limit_s: float, processes: int
) -> Iterator[tuple[str, int, Any]]:
    """Yields (name, seed, answer) in the order of `tasks`; the answer is a text where a job crashed or was too slow."""
    free: SimpleQueue[_Desk] = SimpleQueue()
    desks = [_Desk(job) for _ in range(processes)]
    for desk in desks:
        free.put(desk)

    def one(task: tuple[str, int]) -> tuple[str, int, Any]:
        desk = free.get()
        try:
            return *task, desk.answer(task, limit_s=limit_s)
        finally:
            free.put(desk)

    try:
        with ThreadPoolExecutor(processes) as pool:
            yield from pool.map(one, tasks)
    finally:
        for desk in desks:
            desk.close()


class _Desk:
    """One process that answers one task after another; it is replaced where it dies or is too slow."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._process: Any = None
        self._line: Connection | None = None

    def answer(self, task: tuple[str, int], *, limit_s: float) -> Any:
        try:
            line = self._line or self._open()
            line.send(task)
            if not line.poll(limit_s):
                self.close()
                return f"took more than {limit_s:g} s"
            return line.recv()
        except (EOFError, OSError):
            self._process.join(START_S)
            code = self._process.exitcode
            self.close()
            return f"the process died (exit code {code})"

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
        self._process = self._line = None

    def _open(self) -> Connection:
        context = multiprocessing.get_context("spawn")
        self._line, far = context.Pipe()
        self._process = context.Process(target=_serve, args=(self._job, far), daemon=True)
        self._process.start()
        far.close()
        if self._line.poll(START_S):
            self._line.recv()
        return self._line


def _serve(job: Job, line: Connection) -> None:
    """Answers tasks until the line is closed; one thread each, as several processes share the machine."""
    os.environ["OMP_NUM_THREADS"] = "1"
    warnings.simplefilter("ignore")
    import torch

    torch.set_num_threads(1)
    line.send("ready")
    while True:
        try:
            task = line.recv()
        except EOFError:
            return
        try:
            answer = job(*task)
        except Exception as error:  # noqa: BLE001  a case is told about, whatever it raises
            answer = f"{type(error).__name__}: {error}".splitlines()[0] + _place(error)
        line.send(answer)


def _place(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""


def seconds() -> Callable[[], float]:
    """Returns a clock that starts now."""
    start = time.perf_counter()
    return lambda: time.perf_counter() - start
