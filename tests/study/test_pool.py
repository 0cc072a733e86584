"""The pool with workers that are made up: order, errors, deaths; and the module path a real one gets."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from initscope.base.errors import EnvironmentFault, UsageError
from initscope.study import pool
from initscope.study.pool import Listener, WorkerSetup, current_last, failed, train_all, write_shared
from initscope.study.wire import encode_result
from initscope.train.task import EnsembleResult, RunIdentity

SETUP = WorkerSetup(study="{}", inputs="", labels="", n_classes=2, device="cpu")
ENSEMBLES = tuple((RunIdentity(condition="default", seed=seed, key=f"key{seed}"),) for seed in range(4))


class Scripted:
    """Stands in for a worker: answers each ensemble as `plot` says (a message kind), "ready" once at its start."""

    plot: Iterator[str] = iter(())
    alive: list[Scripted] = []  # noqa: RUF012  # one list for all, emptied by each test

    class process:  # noqa: N801  # looks like the attribute it stands for
        returncode = -9

    def __init__(self, setup: WorkerSetup, events: Any) -> None:
        self.ensemble = None
        self._events = events
        self.alive.append(self)
        self._say(next(self.plot), b"")

    def _say(self, kind: str, blob: bytes, **parts: Any) -> None:
        self._events.put((self, None if kind == "dies" else {"kind": kind, **parts}, blob))

    def give(self, ensemble: Any) -> None:
        self.ensemble = ensemble
        kind = next(self.plot)
        if kind == "result":
            head, blob = encode_result(failed(ensemble, "as made up"))
            self._say("progress", b"", epoch=1)
            self._say(kind, blob, **head)
        elif kind == "refused":
            self._say(kind, b"", error="UsageError", parts={"what": "no", "value": "3"})
        else:
            self._say(kind, b"", error="Traceback\nOSError: tired")

    def stop(self) -> None:
        if self in self.alive:
            self.alive.remove(self)


def train(monkeypatch: pytest.MonkeyPatch, plot: str, *, ensembles: Any = ENSEMBLES, workers: int = 1) -> Any:
    """Trains made-up ensembles with workers that follow `plot`; returns the results and the epochs told."""
    monkeypatch.setattr(pool, "_Worker", Scripted)
    monkeypatch.setattr(Scripted, "plot", iter(plot.split()))
    Scripted.alive.clear()
    results: list[EnsembleResult] = []
    epochs: list[Any] = []
    listener = Listener(epoch=lambda ensemble, epoch: epochs.append((ensemble, epoch)), finished=results.append)
    try:
        train_all(ensembles, SETUP, workers=workers, listener=listener)
    finally:
        assert Scripted.alive == [], "a worker was left alive"
    return results, epochs


def seeds(results: list[EnsembleResult]) -> list[int]:
    return [record.seed for result in results for record in result.records]


def test_every_ensemble_is_handed_over_once(monkeypatch: pytest.MonkeyPatch) -> None:
    results, epochs = train(monkeypatch, "ready result result result result")
    assert seeds(results) == [0, 1, 2, 3]
    assert epochs == [(ensemble, 1) for ensemble in ENSEMBLES]


def test_there_are_never_more_workers_than_ensembles(monkeypatch: pytest.MonkeyPatch) -> None:
    results, _ = train(monkeypatch, "ready ready result result", ensembles=ENSEMBLES[:2], workers=9)
    assert sorted(seeds(results)) == [0, 1]


def test_the_ensemble_of_a_dead_worker_is_trained_next(monkeypatch: pytest.MonkeyPatch) -> None:
    results, _ = train(monkeypatch, "ready result dies ready result result result")
    assert seeds(results) == [0, 1, 2, 3]
    assert {record.error for result in results for record in result.records} == {"as made up"}


def test_an_ensemble_that_kills_three_workers_fails_and_the_others_are_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    results, _ = train(monkeypatch, "ready dies ready dies ready dies ready result result result")
    errors = {record.seed: record.error for result in results for record in result.records}
    assert errors.pop(0) == "its worker died 3 times, last with exit status -9"
    assert errors == dict.fromkeys((1, 2, 3), "as made up")


def test_an_ensemble_whose_model_raises_fails_with_the_traceback_and_its_worker_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    results, _ = train(monkeypatch, "ready failed result result result")
    first = results[0].records[0]
    assert (first.status, first.error) == ("failed", "Traceback\nOSError: tired")
    assert seeds(results) == [0, 1, 2, 3]


def test_a_refusal_ends_the_study_with_the_workers_own_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError) as caught:
        train(monkeypatch, "ready result refused")
    assert str(caught.value) == "no\n  got:   3"


def test_workers_that_die_at_birth_three_times_end_the_study(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EnvironmentFault) as caught:
        train(monkeypatch, "dies dies dies")
    assert str(caught.value) == (
        "worker processes die before they begin\n  got:   exit status -9\n"
        "  do:    run `initscope doctor`; look at the lines above for what the worker said"
    )


def test_a_listener_that_raises_leaves_no_worker_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "decode_result", lambda *_: pytest.fail("interrupted here"))
    with pytest.raises(pytest.fail.Exception):
        train(monkeypatch, "ready result result")


def test_the_current_folder_comes_last_in_a_workers_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert current_last((str(tmp_path), "/lib/a:b", "/lib c")) == ["/lib/a:b", "/lib c", str(tmp_path)]


def test_a_worker_program_that_cannot_be_started_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/no/such/python")
    with pytest.raises(EnvironmentFault) as caught:
        pool._started(SETUP)
    assert str(caught.value) == (
        "a worker process cannot be started\n  where: /no/such/python\n  got:   No such file or directory\n"
        "  do:    close other programs, or take fewer: --workers 1"
    )


def test_the_data_are_written_once_at_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    inputs, labels = np.arange(6, dtype=np.float32).reshape(3, 2), np.array([0, 1, 0])
    paths = write_shared(Path("out/.work"), inputs, labels)
    assert paths == (tmp_path / "out/.work/inputs.npy", tmp_path / "out/.work/labels.npy")
    assert np.load(paths[0]).tobytes() == inputs.tobytes() and np.load(paths[1]).tolist() == [0, 1, 0]


def test_data_that_cannot_be_written_are_a_fault_with_a_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentFault) as caught:
        write_shared(tmp_path / "file" / ".work", np.zeros((2, 2), np.float32), np.zeros(2, np.int64))
    assert str(caught.value) == (
        f"the folder cannot be used\n  where: {tmp_path}/file/.work\n  got:   Not a directory\n"
        "  do:    check the path and the disk, or choose another folder with --out"
    )


def test_a_worker_ends_when_its_input_closes(tmp_path: Path) -> None:
    worker = pool._started(SETUP)
    assert worker.stdin is not None and worker.stdout is not None
    worker.stdin.close()
    assert worker.wait(timeout=30) == 0
    assert worker.stdout.read() == b""
    worker.stdout.close()


@pytest.mark.skipif(os.name != "posix", reason="process groups of POSIX")
def test_a_worker_is_in_a_session_of_its_own_so_that_the_terminals_ctrl_c_is_the_drivers_alone() -> None:
    worker = pool._started(SETUP)
    try:
        assert os.getsid(worker.pid) == worker.pid != os.getsid(0)
    finally:
        worker.kill()
        worker.communicate()
    assert isinstance(worker, subprocess.Popen)
