"""Killed writers leave whole ensembles; two writers never meet."""

import os
import platform
import random
import shlex
import signal
import subprocess
import sys
import time

import pytest

from initscope.base.errors import UsageError
from initscope.store.folder import open_folder, read_folder
from tests.store.material import assert_same_bits, new_folder, weights_of
from tests.store.writer import CONDITIONS, PER_ENSEMBLE, next_ensemble
from tests.support.synthetic import make_run

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")


def start(mode, out):
    command = [sys.executable, "-m", "tests.store.writer", mode, str(out)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def assert_whole(folder) -> int:
    """Fails unless all visible ensembles are whole and the last two right to the bit; returns the number of runs."""
    runs = folder.runs()
    size = len(CONDITIONS) * PER_ENSEMBLE
    assert len(runs) % size == 0
    seeds = range(len(runs) // len(CONDITIONS))
    assert [(run.condition, run.seed) for run in runs] == [(key, seed) for key in CONDITIONS for seed in seeds]
    for run in [run for run in runs if run.seed >= len(seeds) - 2 * PER_ENSEMBLE]:
        assert_same_bits(run, make_run(run.condition, run.seed, epochs=2))
        for name, values in weights_of(run.condition, run.seed).items():
            moment, parameter = name.split("/")
            assert_same_bits(folder.weights(run.condition, run.seed, parameter, moment), values)
    return len(runs)


@pytest.mark.slow
def test_a_writer_killed_at_random_moments_leaves_whole_ensembles_each_time(tmp_path):
    rng = random.Random(5)
    counts = [0]
    for number in range(10):
        with start("loop", tmp_path / "out") as process:
            assert process.stdout.readline() == "writing\n"
            stored = rng.randrange(4)
            assert [process.stdout.readline() for _ in range(stored)] == ["stored\n"] * stored
            time.sleep(rng.uniform(0.0, 0.02))
            process.kill()
        with read_folder(tmp_path / "out") as folder:
            counts.append(assert_whole(folder))
        assert counts[-1] >= counts[-2] + stored * PER_ENSEMBLE * len(CONDITIONS)
        if number == 4:
            with open_folder(tmp_path / "out", create=False) as folder:
                assert assert_whole(folder) == counts[-1]


@pytest.mark.parametrize("mode", ["die-in-weights", "die-in-rows"])
def test_a_writer_that_dies_inside_an_ensemble_leaves_none_of_it_and_it_can_be_stored_again(tmp_path, mode):
    with start(mode, tmp_path / "out") as process:
        process.wait(timeout=30)
    assert process.returncode == -signal.SIGKILL
    assert (tmp_path / "out" / "weights" / "default" / "seed-0000.safetensors").is_file()
    with read_folder(tmp_path / "out") as folder:
        assert folder.keys() == {}
        assert folder.weights("default", 0, "hidden1.weight", "final") is None
    with open_folder(tmp_path / "out", create=True) as folder:
        next_ensemble(folder)
        assert assert_whole(folder) == len(CONDITIONS) * PER_ENSEMBLE


def refusal(out) -> str:
    with pytest.raises(UsageError) as caught:
        open_folder(out, create=True)
    assert caught.value.exit_code == 2
    return str(caught.value)


def expected(out, who) -> str:
    return (
        "another process is writing into this folder\n"
        f"  where: {out}\n"
        f"  got:   {who}\n"
        "  legal: one writing process a folder\n"
        "  do:    wait until it has ended or stop it, or choose another folder with --out"
    )


def test_a_second_process_is_refused_with_the_first_ones_number_and_command_until_it_is_killed(tmp_path):
    out = tmp_path / "out"
    with start("hold", out) as process:
        assert process.stdout.readline() == "holding\n"
        message = refusal(out)
        with read_folder(out) as folder:
            assert list(folder.conditions()) == list(CONDITIONS)
        process.kill()
    prefix = expected(out, f"pid {process.pid} on {platform.node()}: ").partition(": \n")[0]
    assert message.startswith(prefix)
    assert f"writer.py hold {out}\n  legal: one writing process a folder\n" in message
    open_folder(out, create=True).close()


def test_a_folder_this_process_writes_is_refused_to_another_process_and_to_itself(tmp_path):
    who = f"pid {os.getpid()} on {platform.node()}: {shlex.join(sys.argv)}"
    with new_folder(tmp_path / "out") as folder:
        with start("hold", tmp_path / "out") as process:
            said = process.stdout.read()
        assert process.returncode == 2
        assert said == expected(tmp_path / "out", who) + "\n"
        assert refusal(tmp_path / "out") == expected(tmp_path / "out", who)
        assert folder.keys() == {}
    assert (tmp_path / "out" / ".lock").read_text() == ""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_worker_does_not_keep_the_lock_of_its_parent(tmp_path):
    code = (
        "import os, sys, time\nfrom initscope.store.folder import open_folder\n"
        "folder = open_folder(sys.argv[1], create=True)\n"
        "if os.fork() == 0:\n    print(os.getpid(), flush=True)\n"
        "time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "out")], stdout=subprocess.PIPE, text=True)
    child = int(process.stdout.readline())
    try:
        refusal(tmp_path / "out")
        process.kill()
        process.wait()
        os.kill(child, 0)
        open_folder(tmp_path / "out", create=True).close()
    finally:
        os.kill(child, signal.SIGKILL)
        process.stdout.close()
