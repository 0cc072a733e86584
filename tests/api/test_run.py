"""`initscope.run` in Python: the same study as on the command line, and nothing of the caller's touched."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import initscope
from initscope.base.errors import EnvironmentFault, RunsFailedError, UsageError
from tests.support.small_study import FACTORY, STUDY, factory_study, write_small


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[initscope.StudyResults]:
    """The small study, run once; the caller's generators and threads are compared before and after."""
    place = tmp_path_factory.mktemp("api")
    write_small(place)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        before = everything_global()
        path_before = list(sys.path)
        found = initscope.run(Path("small.toml"), seeds=np.int64(3), out=place / "out", workers=1)
        assert everything_global() == before
        assert sys.path == path_before
    yield found
    found.close()


def everything_global() -> tuple[object, ...]:
    """Returns what a study must leave as it was."""
    numpy_state = np.random.get_state()  # noqa: NPY002  # the global one is what is watched
    return (
        torch.get_num_threads(),
        torch.get_rng_state().tolist(),
        torch.get_default_dtype(),
        random.getstate(),
        numpy_state[1].tolist(),
        torch.is_grad_enabled(),
    )


def test_the_runs_are_columns_of_numpy(results: initscope.StudyResults) -> None:
    runs = results.runs
    assert list(runs)[:4] == ["condition", "seed", "status", "learned"]
    assert runs["seed"].tolist() == [0, 1, 2] * 3
    assert runs["seed"].dtype.kind == "i"
    assert runs["final_test_accuracy_percent"].dtype == np.float64
    assert list(runs["condition"]) == ["default"] * 3 + ["zero"] * 3 + ["small"] * 3
    assert set(runs["outcome"]) <= {"learned", "partly", "at chance"}
    assert repr(runs).startswith("Columns(9 rows: condition, seed, status, ")


def test_the_history_has_a_row_a_run_and_epoch(results: initscope.StudyResults) -> None:
    history = results.history
    assert history["epoch"].tolist() == [1, 2] * 9
    assert np.isfinite(history["train_loss"]).all()


def test_tables_become_data_frames(results: initscope.StudyResults) -> None:
    frame = results.runs.to_pandas()
    assert list(frame.columns) == list(results.runs)
    assert frame.groupby("condition")["seed"].count().to_dict() == {"default": 3, "zero": 3, "small": 3}


def test_a_missing_pandas_is_named_with_the_extra(
    results: initscope.StudyResults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(EnvironmentFault) as caught:
        results.runs.to_pandas()
    assert str(caught.value) == 'pandas is not installed\n  do:    pip install "initscope[pandas]"'


def test_figures_are_drawn_by_name(results: initscope.StudyResults) -> None:
    from matplotlib.figure import Figure

    assert "outcomes" in results.figures
    assert isinstance(results.figure("outcomes"), Figure)
    with pytest.raises(UsageError) as caught:
        results.figure("outcmes")
    assert caught.value.do == "did you mean 'outcomes'?"


@pytest.mark.slow
def test_the_report_goes_into_a_folder_or_a_file(results: initscope.StudyResults, tmp_path: Path) -> None:
    assert results.report(tmp_path / "new" / "lesson.html") == tmp_path / "new" / "lesson.html"
    assert results.report(tmp_path / "folder") == tmp_path / "folder" / "report.html"
    pages = [tmp_path / "new" / "lesson.html", tmp_path / "folder" / "report.html"]
    assert pages[0].read_bytes() == pages[1].read_bytes()
    with pytest.raises(EnvironmentFault):
        results.report(pages[0] / "below")


def test_a_run_into_the_same_folder_trains_nothing_and_adds_what_is_new(
    results: initscope.StudyResults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(results.folder, tmp_path / "out")
    write_small(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("initscope.study.session.train_all", lambda *a, **k: pytest.fail("something was trained"))
    again = initscope.run("small.toml", out="out", conditions=["zero"])
    assert again.runs["key"].tolist() == results.runs["key"].tolist()
    assert again.study == results.study
    again.close()


def test_a_study_made_in_python_is_the_one_of_its_file(
    results: initscope.StudyResults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_small(tmp_path)
    monkeypatch.chdir(tmp_path)
    study = initscope.Study.model_validate(
        {
            "name": "small",
            "seeds": 3,
            "data": {"source": "small.csv"},
            "model": {"hidden": (3,)},
            "train": {"batch_size": 8, "epochs": 2},
            "conditions": {"default": {}, "zero": {"*.weight": "zeros"}, "small": {"*": "normal(std=0.01)"}},
        }
    )
    assert results.study == study
    (tmp_path / "again.toml").write_text(study.to_toml())
    shutil.copytree(results.folder, tmp_path / "out")
    monkeypatch.setattr("initscope.study.session.train_all", lambda *a, **k: pytest.fail("something was trained"))
    for same in (study, "again.toml"):
        found = initscope.run(same, out="out")
        assert found.runs["key"].tolist() == results.runs["key"].tolist()
        found.close()


def test_open_results_reads_what_is_there(results: initscope.StudyResults) -> None:
    opened = initscope.open_results(results.folder)
    assert opened.runs["key"].tolist() == results.runs["key"].tolist()
    assert repr(opened) == f"StudyResults('small', 9 runs, '{results.folder}')"
    opened.close()


@pytest.mark.slow
def test_a_script_needs_no_main_guard_and_workers_find_its_own_module(tmp_path: Path) -> None:
    write_small(tmp_path, factory_study("mine:make"))
    (tmp_path / "mine.py").write_text(FACTORY)
    (tmp_path / "random.py").write_text("raise RuntimeError('a file of the user hides one of Python')\n")
    (tmp_path / "queue.py").write_text("raise RuntimeError('a file of the user hides one of Python')\n")
    script = (
        "import initscope\nr = initscope.run('small.toml', out='out', workers=2)\nprint(r.runs['status'].tolist())\n"
    )
    odd = tmp_path / "an odd: näme"
    odd.mkdir()
    (odd / "script.py").write_text(script)
    ended = subprocess.run(
        [sys.executable, str(odd / "script.py")], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "['finished', 'finished']"


@pytest.mark.slow
def test_a_run_that_fails_in_its_worker_is_told_with_the_users_own_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_small(tmp_path, factory_study("moody:make"))
    calls = "CALLS = []\n"
    body = FACTORY.replace(
        '    print("built", file=sys.stdout)\n',
        "    CALLS.append(1)\n    if len(CALLS) > 2:\n        raise OSError('tired')\n",
    )
    (tmp_path / "moody.py").write_text(calls + body)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        initscope.run("small.toml", out="out", workers=1)
    assert caught.value.what == "the factory moody:make raised OSError"
    sys.modules.pop("moody", None)


MISTAKES = [
    ({"seeds": 0}, "1 mistake in small.toml\n\nseeds=0: seeds must be at least 1, got 0"),
    ({"epochs": -1}, "1 mistake in small.toml\n\nepochs=-1: train.epochs must be at least 1, got -1"),
    (
        {"seeds": 2.5},
        "seeds must be a whole number\n  where: seeds=2.5\n  legal: a whole number of at least 1, or None",
    ),
    (
        {"seeds": "3"},
        "seeds must be a whole number\n  where: seeds='3'\n  legal: a whole number of at least 1, or None",
    ),
    (
        {"epochs": True},
        "epochs must be a whole number\n  where: epochs=True\n  legal: a whole number of at least 1, or None",
    ),
    (
        {"workers": 1.5},
        "workers must be a whole number\n  where: workers=1.5\n  legal: a whole number of at least 1, or None",
    ),
    (
        {"conditions": "zero"},
        "conditions must be a list of texts\n  where: conditions='zero'\n  legal: a list or tuple of str\n"
        "  do:    write conditions=['zero']",
    ),
    (
        {"set": "train.epochs=3"},
        "set must be a list of texts\n  where: set='train.epochs=3'\n  legal: a list or tuple of str\n"
        "  do:    write set=['train.epochs=3']",
    ),
    ({"data": 3}, "data must be a name or a path\n  where: data is of type int\n  legal: str or pathlib.Path"),
    ({"out": 3}, "out must be a name or a path\n  where: out is of type int\n  legal: str or pathlib.Path"),
    ({"study": 3}, "study must be a name or a path\n  where: study is of type int\n  legal: str or pathlib.Path"),
    (
        {"conditions": ["zeor"]},
        "unknown condition 'zeor'\n  legal: default, small, zero\n  do:    did you mean 'zero'?",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES, ids=lambda value: str(value)[:30])
def test_a_mistake_in_python_is_one_of_our_errors_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, object], message: str
) -> None:
    write_small(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        initscope.run(**{"study": "small.toml", **arguments})  # type: ignore[arg-type]  # wrong on purpose
    assert str(caught.value) == message
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["small.csv", "small.toml"]


def test_failed_runs_are_an_error_that_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from initscope.study.pool import Listener, failed

    def fail_all(ensembles: object, setup: object, *, workers: int, listener: Listener) -> None:
        for ensemble in ensembles:  # type: ignore[attr-defined]  # a sequence
            listener.finished(failed(ensemble, "Traceback\nOSError: tired\n"))

    write_small(tmp_path, STUDY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("initscope.study.session.train_all", fail_all)
    with pytest.raises(RunsFailedError) as caught:
        initscope.run("small.toml", out="out")
    assert caught.value.exit_code == 3
    assert str(caught.value) == (
        "6 runs of 6 failed; the others are stored\n"
        "  where: default seed 0, default seed 1, zero seed 0, zero seed 1, small seed 0\n"
        "  got:   OSError: tired\n  do:    give the same command again to try these runs again"
    )


def test_a_parameter_whose_values_were_not_kept_is_refused_with_what_is(results: initscope.StudyResults) -> None:
    with pytest.raises(UsageError) as caught:
        results.weights("default", 0, "output.weight")
    assert caught.value.what == "the values of 'output.weight' were not kept"


def test_explain_gives_sentences_and_refuses_a_condition_without_runs(results: initscope.StudyResults) -> None:
    assert all(sentence.endswith(".") for sentence in results.explain("default"))
    with pytest.raises(UsageError, match="unknown condition 'defualt'"):
        results.explain("defualt")
