"""The plug-in inside pytest runs of their own: items, outcomes, one check a target, workers, a light start."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.architecture.sources import REPOSITORY
from tests.integrations.starts import FACTORIES

PLUGIN = "initscope.integrations.pytest_plugin"
RULES = """\
from tests.integrations.starts import *
held = only({rules})
held.__enter__()
"""


def pytest_in(
    folder: Path, *arguments: str, rules: str = "SevenBias, SevenWarned, NeedsBuilds"
) -> subprocess.CompletedProcess[str]:
    """Runs pytest in `folder` with the plug-in and no other than xdist; the rules are those of `starts`."""
    (folder / "nets.py").write_text(FACTORIES)
    (folder / "conftest.py").write_text(RULES.format(rules=rules))
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "src")]),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "pytest", "-p", PLUGIN, "-p", "no:cacheprovider", "--rootdir", ".", "-v", "-rA"]
    return subprocess.run(
        [*command, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def outcomes(ended: subprocess.CompletedProcess[str]) -> set[str]:
    """The lines of pytest's short summary, up to the name of the item."""
    words = ("PASSED ", "FAILED ", "ERROR ", "SKIPPED ")
    lines = ended.stdout.partition("short test summary info")[2].splitlines()
    return {" ".join(line.split()[:2]) for line in lines if line.startswith(words)}


@pytest.mark.slow
def test_a_target_gives_one_item_a_rule_without_any_test_file(tmp_path: Path) -> None:
    ended = pytest_in(tmp_path, "--initscope", "nets:sevens", "--initscope", "nets:sound")
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert outcomes(ended) == {
        "FAILED initscope[nets:sevens]::bias-is-seven",
        "PASSED initscope[nets:sevens]::last-bias-is-seven",
        "PASSED initscope[nets:sevens]::rule-on-builds",
        "PASSED initscope[nets:sound]::bias-is-seven",
        "PASSED initscope[nets:sound]::last-bias-is-seven",
        "PASSED initscope[nets:sound]::rule-on-builds",
    }
    assert "  at   2.bias\n  2.bias is 7 everywhere\n  fix  init.zeros_(model.2.bias)" in ended.stdout
    assert "warn  last-bias-is-seven (INI996)" in ended.stdout
    assert "pytest_plugin.py" not in ended.stdout


@pytest.mark.slow
def test_a_rule_that_crashed_is_an_error_and_one_that_could_not_judge_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text("import tests.integrations.starts as s\ndef bare():\n    return s.network()\n")
    ended = pytest_in(tmp_path, "--initscope", "plain:bare", rules="Crashes, NeedsBatch")
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "ERROR initscope[plain:bare]::rule-that-crashes" in outcomes(ended)
    assert "LookupError: nothing there" in ended.stdout
    assert "the inputs were made up" in ended.stdout
    assert "1 skipped, 1 error" in ended.stdout


@pytest.mark.slow
@pytest.mark.parametrize("workers", [(), ("-p", "xdist", "-n", "2")], ids=["alone", "xdist"])
def test_a_target_is_checked_once_and_not_once_a_rule_or_worker(tmp_path: Path, workers: tuple[str, ...]) -> None:
    text = FACTORIES.replace("calls.append(1)", "open('calls', 'a').write('x')")
    (tmp_path / "counted.py").write_text(text)
    ended = pytest_in(tmp_path, "--initscope", "counted:sevens", *workers, rules="SevenBias, SevenWarned")
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert (tmp_path / "calls").read_text() == "x"
    assert "1 failed, 1 passed" in ended.stdout


@pytest.mark.slow
def test_items_are_chosen_with_k_and_test_files_run_beside_them(tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text(
        "import nets\ndef test_own(assert_healthy_init):\n    assert_healthy_init(nets.sevens)\n"
    )
    ended = pytest_in(tmp_path, "--initscope", "nets:sevens", "-k", "last or own")
    assert outcomes(ended) == {"FAILED test_own.py::test_own", "PASSED initscope[nets:sevens]::last-bias-is-seven"}
    assert "E       AssertionError: the start of sevens is not sound: 1 finding" in ended.stdout
    assert "asserting.py" not in ended.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("nets:broken", "ZeroDivisionError: no network today"),
        ("nets:misfit", "the model cannot be run on its inputs"),
        ("nets:absent", "cannot import nets:absent: module 'nets' has no attribute 'absent'"),
    ],
)
def test_a_target_that_cannot_be_checked_is_one_collection_error(tmp_path: Path, target: str, said: str) -> None:
    ended = pytest_in(tmp_path, "--initscope", target)
    assert ended.returncode == 2
    assert outcomes(ended) == {f"ERROR initscope[{target}]"}
    assert said in ended.stdout
    assert f"initscope cannot check {target}" in ended.stdout
    assert "verdicts.py" not in ended.stdout
    assert "1 error" in ended.stdout.splitlines()[-1]


@pytest.mark.slow
def test_the_project_decides_what_fails_and_which_rules_speak(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.initscope]\nfail-on = "warn"\nignore = ["bias-is-seven"]\n')
    ended = pytest_in(tmp_path, "--initscope", "nets:sevens", rules="SevenBias, SevenWarned")
    assert outcomes(ended) == {"FAILED initscope[nets:sevens]::last-bias-is-seven"}


@pytest.mark.slow
def test_collecting_alone_names_the_items_and_builds_nothing(tmp_path: Path) -> None:
    ended = pytest_in(tmp_path, "--initscope", "nets:broken", "--collect-only")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "<TargetCollector initscope[nets:broken]>\n  <RuleItem rule-on-builds>" in ended.stdout


def test_the_plug_in_unused_loads_no_torch(tmp_path: Path) -> None:
    (tmp_path / "test_light.py").write_text(
        "import sys\ndef test_light():\n    assert 'initscope.integrations.pytest_plugin' in sys.modules\n"
        "    assert not {'torch', 'numpy'} & set(sys.modules)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "src"), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-p", PLUGIN, "-q", "--rootdir", "."]
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout


def test_the_installed_package_names_the_plug_in() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"initscope": PLUGIN}
