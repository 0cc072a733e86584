"""The same study the way initscope runs it: whole, with its worker processes, into a folder."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from initscope.records.dataset import Dataset
from initscope.store.folder import open_folder
from initscope.study.file import load_study
from initscope.study.plan import make_plan
from initscope.study.session import Watcher, train_missing


def train_study(data: Dataset, *, seeds: int, epochs: int, workers: int | None) -> tuple[float, int, int]:
    """Returns (seconds, runs, worker processes) of the founding study, from a plan to the last stored run.

    Starting the workers, tracing, measuring inside the networks and storing are all in the time.
    """
    study = load_study("surprising-demo", overrides=[f"seeds={seeds}", f"train.epochs={epochs}"])
    plan = make_plan(study, data)
    used: list[int] = []
    watcher = Watcher(planned=lambda runs, stored, count: used.append(count))
    with tempfile.TemporaryDirectory() as folder, open_folder(Path(folder) / "out", create=True) as store:
        started = time.perf_counter()
        train_missing(plan, data, store, device="cpu", workers=workers, command=["bench"], watcher=watcher)
        seconds = time.perf_counter() - started
    return seconds, len(plan.runs), used[0]
