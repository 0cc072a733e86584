"""A process that opens a folder and works on it until it is killed: `python -m tests.store.writer MODE OUT`."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from initscope.base.errors import InitscopeError
from initscope.store import rows, weights
from initscope.store.folder import StudyFolder, open_folder
from tests.store.material import IDENTITY, ensemble

CONDITIONS, PER_ENSEMBLE = ("default", "all-zero"), 3


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def next_ensemble(folder: StudyFolder) -> None:
    """Stores the ensemble behind those that are there."""
    first = len(folder.keys()) // len(CONDITIONS)
    folder.save_ensemble(*ensemble(CONDITIONS, range(first, first + PER_ENSEMBLE)))


def die_at(module: object, name: str, number: int) -> None:
    """Kills this process at the call of `module.name` with that number."""
    plain, calls = getattr(module, name), []

    def dying(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return plain(*arguments)

    setattr(module, name, dying)


def main(mode: str, out: Path) -> int:
    try:
        folder = open_folder(out, create=True)
    except InitscopeError as error:
        say(str(error))
        return error.exit_code
    folder.claim(IDENTITY)
    for key in CONDITIONS:
        folder.claim_condition(key, {})
    if mode == "hold":
        say("holding")
        time.sleep(60)
    if mode == "die-in-weights":
        die_at(weights, "write_weights", 4)
    if mode == "die-in-rows":
        die_at(rows, "insert_run", 4)
    say("writing")
    while True:
        next_ensemble(folder)
        say("stored")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
