"""How long the program takes to say anything."""

from __future__ import annotations

import subprocess
import sys
import time

COMMANDS = {
    "python alone": ["-c", "pass"],
    "import initscope": ["-c", "import initscope"],
    "initscope --help": ["-m", "initscope", "--help"],
}


def start_times(*, repeats: int = 7) -> dict[str, list[float]]:
    """Returns the seconds each command takes, interleaved, `repeats` times."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(repeats):
        for name, arguments in COMMANDS.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            times[name].append(time.perf_counter() - started)
    return times
