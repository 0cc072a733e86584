"""What the commands print and write: on a terminal, into a pipe, quietly, without a report, without anything."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from initscope.cli.progress import PlainProgress, make_progress
from tests.cli.conftest import Program
from tests.support.small_study import PROGRAM, call_outside, rows_of, write_small

ANSI = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def test_a_dry_run_lists_every_run_with_its_key_and_makes_no_folder(program: Program) -> None:
    ended = program("run", "small.toml", "--dry-run", "--out", "new/out")
    lines = ended.out.splitlines()
    assert (ended.code, ended.err) == (0, "")
    assert [line.split()[:3] for line in lines[:-1]] == [
        [key, "seed", seed] for seed in "01" for key in ("default", "zero", "small")
    ]
    assert all(re.fullmatch(r"\w+ +seed \d +[0-9a-f]{32}  to do", line) for line in lines[:-1])
    assert lines[-1] == "6 runs, 6 to do, into new/out"
    assert sorted(entry.name for entry in Path().iterdir()) == ["small.csv", "small.toml"]


def test_a_dry_run_tells_what_is_stored_already(program: Program, finished: Path) -> None:
    ended = program("run", "small.toml", "--dry-run", "--out", str(finished), "--seeds", "3", "--condition", "zero")
    states = [line.split("  ")[-1] for line in ended.out.splitlines()[:-1]]
    keys = [line.split()[3] for line in ended.out.splitlines()[:-1]]
    assert states == ["stored", "stored", "to do"]
    assert keys[:2] == [row["key"] for row in rows_of(finished) if row["condition"] == "zero"]
    assert ended.out.splitlines()[-1] == f"3 runs, 1 to do, into {finished}"


@pytest.mark.parametrize("keys", [["zero"], ["zero", "zero"], ["small", "zero"]])
def test_the_conditions_that_are_named_are_run_once_in_the_order_of_the_study(
    program: Program, keys: list[str]
) -> None:
    ended = program(
        "run", "small.toml", "--dry-run", "--seeds", "1", *(x for key in keys for x in ("--condition", key))
    )
    found = [line.split()[0] for line in ended.out.splitlines()[:-1]]
    assert found == [key for key in ("default", "zero", "small") if key in keys]


def test_a_study_without_a_report_has_its_tables_and_no_more(finished: Path) -> None:
    kept = {entry.name for entry in finished.iterdir()} - {"results.db-shm", "results.db-wal"}  # a reader leaves these
    assert kept == {".lock", "history.csv", "results.db", "runs.csv"}


def test_the_tables_have_the_columns_that_were_promised(finished: Path) -> None:
    assert (finished / "runs.csv").read_text().splitlines()[0] == (
        "condition,seed,status,learned,final_train_accuracy_percent,final_test_accuracy_percent,"
        "best_test_accuracy_percent,final_train_loss,first_step_loss,epochs,steps,wall_s,key"
    )
    history = list(csv.reader(io.StringIO((finished / "history.csv").read_text())))
    assert history[0] == [
        "condition", "seed", "epoch", "train_loss", "train_accuracy_percent", "test_accuracy_percent",
    ]  # fmt: skip
    assert [row[:3] for row in history[1:5]] == [
        ["default", "0", "1"], ["default", "0", "2"], ["default", "1", "1"], ["default", "1", "2"],
    ]  # fmt: skip


def test_the_export_as_csv_is_the_table_of_the_runs(program: Program, finished: Path) -> None:
    ended = program("export", str(finished))
    assert (ended.out, ended.err, ended.code) == ((finished / "runs.csv").read_text(), "", 0)
    assert program("export", str(finished), "--to", "copy.csv").out == ""
    assert Path("copy.csv").read_bytes() == (finished / "runs.csv").read_bytes()


def test_the_export_as_json_is_strict_and_whole(program: Program, finished: Path) -> None:
    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} is no JSON")

    content = json.loads(program("export", str(finished), "--format", "json").out, parse_constant=refuse)
    assert [run["key"] for run in content["runs"]] == [row["key"] for row in rows_of(finished)]
    assert all(len(run["history"]["train_loss"]) == 2 for run in content["runs"])


def test_the_last_screen_has_the_table_and_the_next_command(program: Program, finished: Path) -> None:
    shutil.copytree(finished, "out")
    ended = program("run", "small.toml", "--out", "out", "--no-report")
    lines = ended.out.splitlines()
    assert ended.err == "6 runs of 2 epochs; 6 are stored already; 1 worker\n"
    assert [lines[0].split()[0], lines[1].split()[0], lines[3].split()[0]] == ["condition", "default", "zero"]
    assert max(map(len, lines)) <= 100
    assert lines[-1] == "next    initscope run small.toml --out out --no-report --seeds 4"
    assert not any(line.startswith("report") for line in lines)


def test_a_study_that_has_no_numbers_binds_nobody(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("initscope.study.session.train_all", interrupted)
    assert program("run", "small.toml", "--out", "out").code == 130
    again = program("run", "small.toml", "--out", "out", "--epochs", "5", "--set", "conditions.zero.*=ones")
    assert again.code == 130
    assert again.err.startswith("6 runs of 5 epochs; 1 worker\n")


def test_a_condition_that_has_runs_keeps_its_definition_even_where_others_are_run(
    program: Program, finished: Path
) -> None:
    shutil.copytree(finished, "out")
    ended = program(
        "run", "small.toml", "--out", "out", "--condition", "small", "--set", "conditions.zero.*.weight=ones"
    )
    assert ended.code == 2
    assert ended.err == (
        "error: the condition 'zero' has another definition in this folder\n  where: out\n"
        '  got:   input.weight: "zeros" -> "ones"\n         output.weight: "zeros" -> "ones"\n'
        "  legal: one definition a condition and folder\n"
        "  do:    give it a key of its own, or choose another folder, for instance --out out-2\n"
    )


def test_plain_lines_say_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    progress = make_progress(quiet=False, epochs=2)
    assert isinstance(progress, PlainProgress)
    with progress:
        progress.watcher.planned(6, 2, 1)
        progress.watcher.epoch(4, 1)
        progress.watcher.epoch(4, 2)
        progress.watcher.epoch(4, 2)  # an ensemble that was begun again
        progress.watcher.stored([None] * 4)  # type: ignore[list-item]  # only counted
        progress.drawn("figure1")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "6 runs of 2 epochs; 2 are stored already; 1 worker"
    assert re.fullmatch(r"runs 2 of 6, epochs 4 of 8, \d+\.\d s to go", lines[1])
    assert lines[2:] == ["runs 6 of 6, epochs 8 of 8"]


@pytest.mark.slow
def test_the_whole_program_quietly_and_redrawn_from_what_is_stored(tmp_path: Path) -> None:
    place = tmp_path / "a plåce with spaces"
    place.mkdir()
    write_small(place)
    ended = call_outside("run", "small.toml", "--out", "new folder/out", "--quiet", cwd=place)
    assert (ended.code, ended.out, ended.err) == (0, "", "")
    out = place / "new folder" / "out"
    before = {path.relative_to(out): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}
    names = {str(name) for name in before}
    assert {
        "report.html",
        "runs.csv",
        "history.csv",
        "results.db",
        "figures/outcomes.png",
        "figures/outcomes.svg",
    } <= names
    for name in ("report.html", "runs.csv", "history.csv"):
        (out / name).unlink()
    shutil.rmtree(out / "figures")
    again = call_outside("report", "new folder/out", cwd=place)
    assert again.code == 0
    assert again.out.splitlines()[-1] == "report  new folder/out/report.html"
    after = {path.relative_to(out): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}
    different = {str(name) for name in before if before[name] != after.get(name)}
    assert set(after) == set(before) and different <= {"results.db", "results.db-shm"}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("no_color", [False, True])
def test_a_terminal_gets_a_live_line_in_colour_unless_that_is_unwanted(
    tmp_path: Path, finished: Path, *, no_color: bool
) -> None:
    write_small(tmp_path)
    shutil.copytree(finished, tmp_path / "out")
    environment = {"NO_COLOR": "1"} if no_color else {}
    code, shown = on_a_terminal("run", "small.toml", "--out", "out", "--no-report", cwd=tmp_path, **environment)
    assert code == 0
    assert "6 runs of 2 epochs; 6 are stored already; 1 worker" in ANSI.sub("", shown)
    assert "next    initscope run small.toml --out out --no-report --seeds 4" in ANSI.sub("", shown)
    code, shown = on_a_terminal("run", "nosuch", cwd=tmp_path, **environment)
    assert code == 2
    assert ("\x1b[31m" in shown) is not no_color
    assert ANSI.sub("", shown).startswith("error: unknown study 'nosuch'")


def on_a_terminal(*arguments: str, cwd: Path, **environment: str) -> tuple[int, str]:
    """Runs the program on a pseudo-terminal of 100 columns; returns its exit code and all it showed."""
    import pty

    parent, child = pty.openpty()
    clean = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM", "COLUMNS")}
    process = subprocess.Popen(
        [*PROGRAM, *arguments],
        cwd=cwd,
        stdin=child,
        stdout=child,
        stderr=child,
        env={**clean, "TERM": "xterm", "COLUMNS": "100", **environment},
    )
    os.close(child)
    shown = b""
    try:
        while piece := os.read(parent, 65536):
            shown += piece
    except OSError:
        pass  # the other end is closed
    os.close(parent)
    return process.wait(timeout=60), shown.decode()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs a pseudo-terminal")
def test_a_live_line_lives_through_a_whole_training(tmp_path: Path) -> None:
    write_small(tmp_path)
    code, shown = on_a_terminal("run", "small.toml", "--out", "out", "--no-report", cwd=tmp_path)
    assert code == 0
    assert re.search(r"runs \d of 6, epochs \d+ of 12", ANSI.sub("", shown))
    assert "Traceback" not in shown


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="pipes of POSIX")
def test_a_reader_that_leaves_early_is_no_accident(tmp_path: Path, finished: Path) -> None:
    for arguments in (["export", str(finished), "--format", "json"], ["report", str(finished)], ["--help"]):
        process = subprocess.Popen(
            [*PROGRAM, *arguments], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        complaint = process.stderr.read()
        process.wait(timeout=120)
        assert "Traceback" not in complaint and "BrokenPipe" not in complaint, complaint


@pytest.mark.slow
def test_what_a_users_model_prints_goes_to_stderr_and_spoils_nothing(tmp_path: Path) -> None:
    from tests.support.small_study import FACTORY, factory_study

    write_small(tmp_path, factory_study("mine:make"))
    (tmp_path / "mine.py").write_text(
        FACTORY.replace("import sys\n", "import os\nimport sys\nos.write(1, b'loud\\n')\n")
    )
    ended = call_outside("run", "small.toml", "--no-report", cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert ended.err.count("loud") == 1 and ended.err.count("built") == 3
    assert (tmp_path / "runs" / "small" / "runs.csv").exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="pipes of POSIX")
def test_a_reader_of_the_progress_that_leaves_early_stops_no_training(tmp_path: Path) -> None:
    write_small(tmp_path)
    process = subprocess.Popen(
        [*PROGRAM, "run", "small.toml", "--no-report", "--out", "out"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    process.stderr.close()
    process.wait(timeout=120)
    assert len(rows_of(tmp_path / "out")) == 6
