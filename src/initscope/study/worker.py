"""One worker process: takes ensembles from standard input, trains them with one thread, answers on standard output.

Started by `initscope.study.pool`, which hands it the module path. It stops when its input closes, at once, so that no
worker outlives its driver.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import IO

from initscope.base.errors import InitscopeError
from initscope.study.wire import Message, encode_result, receive, send


def main() -> None:
    """Serves the driver until it closes the input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the driver decides
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a user's model prints must not mix with the answers
    inbox: queue.Queue[Message] = queue.Queue()
    threading.Thread(target=_read, args=(sys.stdin.buffer, inbox), daemon=True).start()
    setup = inbox.get()
    try:
        train = _trainer(setup, answers)
    except Exception as error:
        send(answers, _trouble(error))
        return
    send(answers, {"kind": "ready"})
    while True:
        train(inbox.get())


def _read(stream: IO[bytes], inbox: queue.Queue[Message]) -> None:
    while (received := receive(stream)) is not None:
        inbox.put(received[0])
    os._exit(0)


def _trainer(setup: Message, answers: IO[bytes]):  # type: ignore[no-untyped-def]  # a closure over torch, imported here
    import numpy as np
    import torch

    from initscope.records.study import Study
    from initscope.store.faults import guarded
    from initscope.study.prepare import Preparer
    from initscope.train.ensemble import train_ensemble
    from initscope.train.task import RunIdentity

    sys.path[:] = setup["path"]  # only now: a user's own random.py must not stand in for Python's while torch loads
    torch.set_num_threads(1)
    study = Study.model_validate_json(setup["study"])
    with guarded(Path(setup["inputs"])):
        inputs = torch.from_numpy(np.load(setup["inputs"], mmap_mode="c"))
        labels = torch.from_numpy(np.load(setup["labels"], mmap_mode="c"))
    preparer = Preparer(study, inputs, labels, setup["n_classes"], device=setup["device"])

    def train(message: Message) -> None:
        def progress(epoch: int) -> None:
            send(answers, {"kind": "progress", "epoch": epoch})

        try:
            runs = [RunIdentity(**run) for run in message["runs"]]
            result = train_ensemble(preparer.task(runs), progress=progress)
            head, blob = encode_result(result)
            send(answers, {"kind": "result", **head}, blob)
        except Exception as error:
            send(answers, _trouble(error))

    return train


def _trouble(error: Exception) -> Message:
    if isinstance(error, InitscopeError):
        parts = {name: getattr(error, name) for name in ("what", "where", "value", "legal", "do")}
        parts["value"] = None if error.value is None else str(error.value)
        return {"kind": "refused", "error": type(error).__name__, "parts": parts}
    return {"kind": "failed", "error": "".join(traceback.format_exception(error))[-4000:]}
