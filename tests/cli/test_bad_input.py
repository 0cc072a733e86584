"""Everything a user can get wrong on the command line: the whole message, the exit code, and nothing left behind."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import sqlite3
from pathlib import Path

import pytest
import torch

from initscope.datasets.published import MNIST
from tests.cli.conftest import Program
from tests.cli.refusals import INITIALIZERS, assert_refused
from tests.support.small_study import small_rows

CSV_LEGAL = "numbers separated by commas, no header: column 0 the label, columns 1 and up the pixels"
DATASETS = "digits, mnist, fashion-mnist, or the path of a .csv, .csv.gz or .npz file or of a folder of IDX files"
IMAGES = MNIST.files[0]


COMMAND_LINES = [
    (
        ["rnu"],
        "unknown command 'rnu'\n"
        "  legal: check, data, doctor, explain, export, list, plan, report, run, schema\n"
        "  do:    did you mean 'run'?",
    ),
    (
        ["run", "small.toml", "--sedes", "3"],
        "unknown option '--sedes'\n"
        "  where: initscope run\n"
        "  legal: --condition, --data, --device, --dry-run, --epochs, --help, --no-report, --out, --quiet, --seeds,"
        " --set, --workers\n"
        "  do:    did you mean '--seeds'?",
    ),
    (
        ["run", "small.toml", "--seeds", "many"],
        "invalid value for '--seeds': 'many' is not a valid integer\n"
        "  where: initscope run\n"
        "  do:    initscope run --help shows what it takes",
    ),
    (
        ["run"],
        "missing argument 'STUDY'\n  where: initscope run\n  do:    initscope run --help shows what it takes",
    ),
    (
        ["run", "surprising-dmo"],
        "unknown study 'surprising-dmo'\n  legal: surprising-demo\n  do:    did you mean 'surprising-demo'?",
    ),
    (["run", "smal.toml"], "no such study file\n  where: smal.toml\n  do:    did you mean 'small.toml'?"),
    (
        ["run", "small.toml", "--condition", "zeros"],
        "unknown condition 'zeros'\n  legal: default, small, zero\n  do:    did you mean 'zero'?",
    ),
    (
        ["run", "small.toml", "--data", "digit"],
        f"unknown dataset 'digit'\n  legal: {DATASETS}\n  do:    did you mean 'digits'?",
    ),
    (
        ["run", "small.toml", "--set", "train.lerning_rate=1"],
        "1 mistake in small.toml\n\n"
        "--set train.lerning_rate=1: unknown key 'lerning_rate' in [train]; did you mean 'learning_rate'?\n"
        "  legal: batch_size, dtype, epochs, learning_rate, optimizer, optimizer_options",
    ),
    (
        ["run", "small.toml", "--set", "train.learning_rate=fast"],
        "1 mistake in small.toml\n\n"
        "--set train.learning_rate=fast: train.learning_rate must be a number, got text 'fast'",
    ),
    (
        ["run", "small.toml", "--set", "epochs"],
        "1 mistake in small.toml\n\n--set epochs: there is no equals sign\n"
        "  legal: key.path=value, such as train.epochs=3 or data.source=mnist",
    ),
    (
        ["run", "small.toml", "--set", "conditions.zero.*.weight=zeross"],
        "1 mistake in small.toml\n\n--set conditions.zero.*.weight=zeross: unknown initializer 'zeross'\n"
        f"{INITIALIZERS}  do:    did you mean 'zeros'?",
    ),
    (
        ["run", "small.toml", "--set", "train.optimizer=lbfgs"],
        "1 mistake in small.toml\n\n"
        "--set train.optimizer=lbfgs: the optimiser 'lbfgs' cannot train an ensemble: its step depends on all"
        " parameters at once (line search and curvature over the whole vector)\n"
        "  legal: adadelta, adagrad, adam, adamax, adamw, asgd, nadam, radam, rmsprop, rprop, sgd",
    ),
    (
        ["run", "small.toml", "--seeds", "0", "--epochs", "0"],
        "2 mistakes in small.toml\n\n"
        "--seeds 0: seeds must be at least 1, got 0\n\n--epochs 0: train.epochs must be at least 1, got 0",
    ),
    (
        ["run", "small.toml", "--workers", "0"],
        "too few workers\n  where: --workers\n  got:   0\n  legal: a whole number of at least 1",
    ),
    (
        ["run", "small.toml", "--device", "gpu"],
        "unknown device 'gpu'\n  legal: auto, cpu, cuda\n  do:    did you mean 'cpu'?",
    ),
    (["list", "studyes"], "unknown list 'studyes'\n  legal: datasets, initializers, models, rules, studies\n"
     "  do:    did you mean 'studies'?"),
    (
        ["report", "nowhere"],
        "there are no results here\n  where: nowhere\n  got:   no such folder\n"
        "  legal: a folder that initscope run has filled\n"
        "  do:    check the path, or run a study first: initscope run STUDY --out DIR",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), COMMAND_LINES, ids=lambda value: " ".join(value)[:40])
def test_a_mistake_on_the_command_line_is_named_with_what_is_legal(
    program: Program, arguments: list[str], message: str
) -> None:
    assert_refused(program, arguments, message)


CSV_FILES = [
    ("", "the file is empty", "", f"  legal: {CSV_LEGAL}"),
    ("1,2,3\n1,2\n", "this row has 2 columns where the first has 3", ":2",
     "  legal: 3 columns in every row\n  do:    complete or remove this row"),
    ("label,p,q\n1,2,3\n", "the first line is a header", ":1",
     f"  got:   'label,p,q'\n  legal: {CSV_LEGAL}\n  do:    remove this line"),
    ("1,2,3\n1,x,3\n", "column 1 is not a number", ":2", f"  got:   'x'\n  legal: {CSV_LEGAL}"),
    ("1,2,3\n1,nan,3\n", "column 1 is not a finite number", ":2", "  got:   'nan'\n  legal: finite numbers"),
    ("1.5,2,3\n1,2,3\n", "the label is not a whole number", ":1",
     "  got:   '1.5'\n  legal: in column 0 a whole number of at most 2**53 in size"),
    ("1,2,3\n1,2,4\n", "all samples have the same label, so there is nothing to tell apart", "",
     "  got:   label 1 everywhere\n  legal: labels of at least two classes"),
    ("0,1,2\n1,2,3\n" * 4, "fewer training rows than one batch", "",
     "  got:   8 rows, 7 of them for training\n  legal: at least 8 training rows (train.batch_size)\n"
     "  do:    use more data, or a smaller batch: --set train.batch_size=N"),
    ("0,5,5\n1,5,5\n" * 30, "all features have the same value, so there is nothing to learn from", "",
     "  got:   5 everywhere\n  legal: features that differ between samples"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "what", "line", "rest"), CSV_FILES, ids=[case[1] for case in CSV_FILES])
def test_a_csv_that_cannot_be_used_is_refused_with_its_line(
    program: Program, content: str, what: str, line: str, rest: str
) -> None:
    Path("bad.csv").write_text(content)
    assert_refused(program, ["run", "small.toml", "--data", "bad.csv"], f"{what}\n  where: bad.csv{line}\n{rest}")


def test_a_gzip_file_that_is_cut_off_is_refused(program: Program) -> None:
    whole = gzip.compress(small_rows(600).encode())
    Path("cut.csv.gz").write_bytes(whole[: len(whole) // 2])
    message = "the gzip file is cut off before its end\n  where: cut.csv.gz\n  do:    copy or download the file again"
    assert_refused(program, ["run", "small.toml", "--data", "cut.csv.gz"], message)


def test_an_idx_folder_with_a_wrong_magic_number_is_refused(program: Program) -> None:
    Path("idx").mkdir()
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"):
        Path("idx", name).write_bytes(bytes([0, 0, 7, 3]) + bytes(40))
    message = (
        "this is not an IDX file of unsigned bytes with 3 dimensions\n  where: idx/train-images-idx3-ubyte\n"
        "  got:   first bytes 00 00 07 03\n  legal: first bytes 00 00 08 03"
    )
    assert_refused(program, ["run", "small.toml", "--data", "idx"], message)


def test_a_download_without_a_network_says_where_the_files_may_be_put_by_hand(
    program: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("INITSCOPE_DATA_DIR", str(tmp_path / "cache"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    ended = program("run", "small.toml", "--data", "mnist")
    lines = ended.err.splitlines()
    assert ended.code == 4
    assert lines[0].startswith(
        "error: mnist: train-images-idx3-ubyte.gz and 3 other files are missing, and no mirror serves them ("
    )
    assert lines[1:] == [
        f"  where: put the files by hand into {tmp_path}/cache/mnist (INITSCOPE_DATA_DIR moves it)",
        "  do:    digits works now, without any download: --data digits",
    ]


def test_an_output_folder_that_is_a_file_is_refused(program: Program) -> None:
    message = (
        "this is a file, not a folder\n  where: small.csv\n"
        "  legal: a new or empty folder, or one with results of initscope\n  do:    choose another folder with --out"
    )
    assert_refused(program, ["run", "small.toml", "--out", "small.csv"], message)


def test_an_output_folder_that_holds_something_else_is_refused(program: Program) -> None:
    Path("other").mkdir()
    Path("other", "thesis.tex").write_text("")
    message = (
        "this folder holds something else\n  where: other\n  got:   thesis.tex\n"
        "  legal: a new or empty folder, or one with results of initscope\n  do:    choose another folder with --out"
    )
    assert_refused(program, ["run", "small.toml", "--out", "other"], message)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a place where nobody can make a folder")
def test_an_output_folder_that_cannot_be_made_is_refused(program: Program) -> None:
    message = (
        "the folder cannot be used\n  where: /proc/none/out\n  got:   No such file or directory\n"
        "  do:    check the path and the disk, or choose another folder with --out"
    )
    assert_refused(program, ["run", "small.toml", "--out", "/proc/none/out"], message, code=4)


def test_an_output_folder_of_another_study_is_refused_with_every_difference(program: Program, finished: Path) -> None:
    shutil.copytree(finished, "out")
    message = (
        "this folder belongs to another study\n  where: out\n  got:   train.batch_size: 8 -> 4\n"
        "         train.epochs: 2 -> 3\n"
        "  legal: the same data, model, training and root seed as the runs that are there\n"
        "  do:    choose another folder, for instance --out out-2, or undo the change"
    )
    assert_refused(
        program, ["run", "small.toml", "--out", "out", "--epochs", "3", "--set", "train.batch_size=4"], message
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_asked_for_and_absent_is_refused(program: Program) -> None:
    build = "a CPU build" if torch.version.cuda is None else f"built for CUDA {torch.version.cuda}"
    message = (
        "CUDA was asked for, and torch finds no CUDA device\n  where: --device cuda\n"
        f"  got:   torch {torch.__version__}, {build}\n  do:    leave --device out, or take --device cpu"
    )
    assert_refused(program, ["run", "small.toml", "--device", "cuda"], message, code=4)


def test_a_results_file_that_is_cut_off_is_refused_and_left_as_it_is(program: Program, finished: Path) -> None:
    shutil.copytree(finished, "out")
    database = Path("out/results.db")
    whole = database.read_bytes()
    database.write_bytes(whole[: len(whole) // 2])
    message = (
        "the stored results cannot be read\n  where: out/results.db\n"
        f"  got:   a file cut off after {len(whole) // 2} bytes\n  legal: a whole file written by initscope\n"
        "  do:    put back a copy of it, or move its folder away and run the study again; nothing was changed or"
        " deleted"
    )
    for arguments in (["run", "small.toml", "--out", "out"], ["report", "out"], ["export", "out"]):
        assert_refused(program, arguments, message, code=4)
    assert database.read_bytes() == whole[: len(whole) // 2]


def test_a_results_file_of_a_newer_version_is_refused(program: Program, finished: Path) -> None:
    shutil.copytree(finished, "out")
    connection = sqlite3.connect("out/results.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    message = (
        "these results were written by a newer initscope\n  where: out/results.db\n  got:   schema version 99\n"
        "  legal: schema version 2 or older\n"
        "  do:    update initscope, or choose another folder with --out; nothing was changed or deleted"
    )
    assert_refused(program, ["run", "small.toml", "--out", "out"], message, code=4)


def test_an_export_into_a_folder_that_is_not_there_is_refused(program: Program, finished: Path) -> None:
    message = "cannot write there\n  where: no/x.csv\n  do:    give the path of a file in a folder that exists"
    assert_refused(program, ["export", str(finished), "--to", "no/x.csv"], message, code=4)


def test_a_file_in_the_cache_with_another_hash_is_refused(
    program: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("INITSCOPE_DATA_DIR", str(cache))
    (cache / "mnist").mkdir(parents=True)
    for part in ("train", "t10k"):
        for kind in ("images-idx3", "labels-idx1"):
            (cache / "mnist" / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(b"something else", mtime=0))
    message = (
        f"this is not the published file: its SHA-256 differs\n  where: {cache}/mnist/train-images-idx3-ubyte.gz\n"
        f"  got:   {hashlib.sha256(gzip.compress(b'something else', mtime=0)).hexdigest()}\n"
        f"  legal: {IMAGES.sha256_gz} of {IMAGES.name}, or {IMAGES.sha256} of the unpacked content\n"
        "  do:    the file is left as it is: move it away or replace it, then ask again"
    )
    for arguments in (["data", "verify", "mnist"], ["run", "small.toml", "--data", "mnist"]):
        assert_refused(program, arguments, message, code=4)
