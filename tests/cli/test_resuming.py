"""Nothing is lost: interrupted, killed, grown or run with other numbers of workers, a study ends with the same bits."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.small_study import (
    FACTORY,
    STUDY,
    Ended,
    assert_same_study,
    call_outside,
    factory_study,
    rows_of,
    start,
    weights_of,
    workers_in,
    write_small,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="processes are watched through /proc"),
]

FIGURE = """
[figures]
start = { kind = "histogram", parameters = ["input.weight"], conditions = ["default"] }
"""
LONG = STUDY.replace("seeds = 2", "seeds = 32").replace("epochs = 2", "epochs = 4") + FIGURE
RUN = ("run", "long.toml", "--no-report", "--out", "out")
ALONE = (*RUN, "--workers", "1")
PATIENCE_S = 120.0


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study of four ensembles, run without any disturbance."""
    place = tmp_path_factory.mktemp("whole")
    write_small(place, LONG, name="long.toml")
    how = call_outside(*RUN, "--workers", "2", cwd=place)
    assert how.code == 0, how.err
    assert len(rows_of(place / "out")) == 96
    assert len(weights_of(place / "out")) == 96
    return place / "out"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder with the same study, in which no worker is alive at the end."""
    write_small(tmp_path, LONG, name="long.toml")
    yield tmp_path
    assert workers_in(tmp_path) == []


def wait_for(condition: object, what: str) -> None:
    """Waits until `condition()` is true."""
    assert callable(condition)
    limit = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < limit, f"waited in vain for {what}"
        time.sleep(0.01)


def stored(place: Path) -> int:
    """Returns how many weight files are in place: they come just before their runs are stored."""
    return len(list((place / "out").glob("weights/*/*.safetensors")))


def until(process: subprocess.Popen[str], place: Path, moment: str) -> None:
    """Waits until the program has come so far."""
    enough = {
        "workers": lambda: bool(workers_in(place)),
        "first ensemble": lambda: stored(place) > 0,
        "second ensemble": lambda: stored(place) > 30,
    }[moment]
    wait_for(lambda: process.poll() is not None or enough(), moment)
    assert process.poll() is None, "the study was over too early for this test"


def ended(process: subprocess.Popen[str]) -> Ended:
    out, err = process.communicate(timeout=PATIENCE_S)
    return Ended(code=process.returncode, out=out, err=err)


@pytest.mark.parametrize(
    ("number", "to_all", "moment"),
    [
        (signal.SIGINT, True, "workers"),
        (signal.SIGINT, False, "first ensemble"),
        (signal.SIGTERM, True, "second ensemble"),
    ],
)
def test_an_interrupted_study_ends_with_130_and_the_command_that_goes_on(
    whole: Path, place: Path, number: signal.Signals, *, to_all: bool, moment: str
) -> None:
    process = start(*RUN, cwd=place)
    until(process, place, moment)
    (os.killpg if to_all else os.kill)(process.pid, number)
    how = ended(process)
    assert workers_in(place) == []
    assert how.code == 130
    assert how.err.endswith(
        "\ninterrupted: what has finished is stored. To go on:\n  initscope run long.toml --no-report --out out\n"
    )
    assert "Traceback" not in how.err
    again = call_outside(*ALONE, cwd=place)
    assert (again.code, "Traceback" in again.err) == (0, False)
    assert_same_study(whole, place / "out")


@pytest.mark.parametrize("moment", ["workers", "first ensemble", "second ensemble"])
def test_a_study_whose_driver_is_killed_goes_on_to_the_same_bits(whole: Path, place: Path, moment: str) -> None:
    process = start(*RUN, cwd=place)
    until(process, place, moment)
    process.kill()
    process.communicate()
    dead = time.monotonic()
    wait_for(lambda: not workers_in(place), "the workers to end")
    assert time.monotonic() - dead < 5.0
    again = call_outside(*ALONE, cwd=place)
    assert again.code == 0, again.err
    assert not (place / "out" / ".work").exists()
    assert_same_study(whole, place / "out")


def test_a_worker_that_is_killed_is_replaced_and_the_bits_are_the_same(whole: Path, place: Path) -> None:
    process = start(*RUN, "--workers", "2", cwd=place)
    until(process, place, "workers")
    time.sleep(0.5)
    os.kill(workers_in(place)[0], signal.SIGKILL)
    until(process, place, "first ensemble")
    for worker in workers_in(place)[:1]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)
    how = ended(process)
    assert how.code == 0, how.err
    assert_same_study(whole, place / "out")


@pytest.mark.parametrize("workers", ["3"])
def test_the_number_of_workers_changes_no_bit(whole: Path, place: Path, workers: str) -> None:
    assert call_outside(*RUN, "--workers", workers, cwd=place).code == 0
    assert_same_study(whole, place / "out")


def test_seeds_and_conditions_added_later_are_those_of_a_study_declared_so_from_the_start(
    whole: Path, place: Path
) -> None:
    for more in (["--condition", "zero", "--seeds", "3"], ["--seeds", "13"], [], ["--seeds", "2"]):
        how = call_outside(*ALONE, *more, cwd=place)
        assert how.code == 0, how.err
    assert "96 runs" not in how.err
    assert how.err.startswith("6 runs of 4 epochs; 6 are stored already")
    assert_same_study(whole, place / "out")


def test_a_finished_study_run_again_trains_nothing(whole: Path, place: Path) -> None:
    shutil.copytree(whole, place / "out")
    how = call_outside(*RUN, cwd=place)
    assert how.err == "96 runs of 4 epochs; 96 are stored already; 1 worker\n"
    assert_same_study(whole, place / "out")


def test_two_processes_on_one_folder_are_one_too_many(whole: Path, place: Path) -> None:
    process = start(*ALONE, cwd=place)
    until(process, place, "workers")
    second = call_outside(*RUN, cwd=place)
    assert second.code == 2
    assert re.fullmatch(
        "error: another process is writing into this folder\n  where: out\n"
        rf"  got:   pid {process.pid} on [^\n]*: [^\n]* run long.toml --no-report --out out --workers 1\n"
        "  legal: one writing process a folder\n"
        "  do:    wait until it has ended or stop it, or choose another folder with --out\n",
        second.err,
    ), second.err
    assert call_outside("export", "out", cwd=place).code == 0
    assert ended(process).code == 0
    assert_same_study(whole, place / "out")


def test_a_work_folder_left_behind_does_no_harm(whole: Path, place: Path) -> None:
    (place / "out" / ".work").mkdir(parents=True)
    (place / "out" / ".work" / "inputs.npy").write_bytes(b"torn")
    assert call_outside(*ALONE, cwd=place).code == 0
    assert not (place / "out" / ".work").exists()
    assert_same_study(whole, place / "out")


def test_an_ensemble_that_loses_three_workers_fails_and_is_tried_again_by_the_same_command(tmp_path: Path) -> None:
    write_small(tmp_path, factory_study("mine:make"))
    note = "    with open('built', 'a') as file:\n        file.write('x')\n"
    (tmp_path / "mine.py").write_text(FACTORY.replace("    print", f"{note}    print"))
    one = ("run", "small.toml", "--no-report", "--out", "out")
    process = start(*one, "--set", "train.epochs=20000", cwd=tmp_path)
    for death in range(3):
        built = 3 + 3 * (death + 1)  # the driver's plan and start check; a worker's template and two runs
        wait_for(lambda built=built: size(tmp_path / "built") == built, "the worker to begin")
        (worker,) = workers_in(tmp_path)
        os.kill(worker, signal.SIGKILL)
    how = ended(process)
    assert how.code == 3
    assert how.err.endswith(
        "error: 2 runs of 2 failed; the others are stored\n  where: default seed 0, default seed 1\n"
        "  got:   its worker died 3 times, last with exit status -9\n"
        "  do:    give the same command again to try these runs again\n"
    )
    assert [row["status"] for row in rows_of(tmp_path / "out")] == ["failed", "failed"]
    again = call_outside(*one, cwd=tmp_path)  # with other epochs: what has no numbers binds nobody
    assert again.code == 0, again.err
    assert [row["status"] for row in rows_of(tmp_path / "out")] == ["finished", "finished"]


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@pytest.mark.parametrize("moment", ["workers", "first ensemble"])
def test_a_folder_taken_away_while_it_is_written_is_said_so(place: Path, moment: str) -> None:
    process = start(*ALONE, cwd=place)
    until(process, place, moment)
    (place / "out").rename(place / "elsewhere")
    how = ended(process)
    assert (how.code, "Traceback" in how.err) == (4, False), how.err
    assert not (place / "out").exists()
    (place / "elsewhere").rename(place / "out")
    assert call_outside("export", "out", cwd=place).code == 0
