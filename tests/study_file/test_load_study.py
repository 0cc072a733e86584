"""Which study a reference names, and what is said where it names none."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from initscope.base.errors import UsageError
from initscope.study.builtin_studies import builtin_names, builtin_text
from initscope.study.file import load_study, read_source
from initscope.study.problems import StudyFileError

SMALL = "[conditions.default]\n"


def refused(reference: str) -> str:
    """The message for a reference that names no readable study."""
    with pytest.raises(UsageError) as caught:
        load_study(reference)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_the_built_in_study_has_the_eight_conditions_of_the_spec() -> None:
    study = load_study("surprising-demo")
    assert list(study.conditions) == [
        "default", "hidden1-weight-zero", "all-zero", "all-one", "weights-one-biases-zero",
        "weights-zero-biases-default", "weights-one-biases-default", "biases-zero",
    ]  # fmt: skip
    assert (study.seeds, study.train.epochs, len(study.figures)) == (10, 10, 13)


def test_the_built_in_studies_are_listed_and_each_bears_the_name_of_its_file() -> None:
    assert builtin_names() == ("surprising-demo",)
    assert all(load_study(name).name == name for name in builtin_names())


def test_the_text_of_an_unknown_built_in_study_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="did you mean 'surprising-demo'"):
        builtin_text("surprising-dema")


def test_a_file_gives_the_study_its_name_where_it_says_none() -> None:
    Path("folder").mkdir()
    Path("folder/zero-or-not.toml").write_text(SMALL)
    assert load_study("folder/zero-or-not.toml").name == "zero-or-not"


@pytest.mark.parametrize("content", [b"\xef\xbb\xbf[conditions.default]\r\n", b"conditions.default = {}"])
def test_a_byte_order_mark_and_line_ends_of_any_kind_are_accepted(content: bytes) -> None:
    Path("a.toml").write_bytes(content)
    assert load_study("a.toml").conditions == {"default": {}}


def test_a_built_in_name_wins_over_a_file_of_that_name() -> None:
    Path("surprising-demo").write_text("not TOML")
    assert load_study("surprising-demo").seeds == 10


def test_an_unknown_name_is_refused_with_the_nearest_one() -> None:
    assert refused("surprisingdemo") == (
        "unknown study 'surprisingdemo'\n  legal: surprising-demo\n  do:    did you mean 'surprising-demo'?"
    )


def test_a_name_without_its_ending_points_to_the_file() -> None:
    Path("mine.toml").write_text(SMALL)
    assert refused("mine") == (
        "unknown study 'mine'\n"
        "  legal: surprising-demo, or the path of a .toml file\n"
        "  do:    did you mean the file 'mine.toml'?"
    )


def test_a_file_that_is_not_there_is_refused_with_the_nearest_one_beside_it() -> None:
    Path("mine.toml").write_text(SMALL)
    assert refused("mime.toml") == "no such study file\n  where: mime.toml\n  do:    did you mean 'mine.toml'?"


def test_a_file_in_a_folder_that_is_not_there_is_refused() -> None:
    assert refused("no/such.toml") == (
        "no such study file\n  where: no/such.toml\n  do:    initscope list studies shows the built-in ones"
    )


def test_a_folder_is_refused() -> None:
    Path("runs").mkdir()
    assert refused("./runs") == ("this is a folder, not a study file\n  where: runs\n  legal: the path of a .toml file")


def test_a_file_that_does_not_end_with_toml_is_refused() -> None:
    Path("mine.yaml").write_text(SMALL)
    assert (
        refused("./mine.yaml") == "a study file ends with .toml\n  where: mine.yaml\n  legal: the path of a .toml file"
    )


def test_a_file_that_may_not_be_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", forbid)
    assert refused("mine.toml") == (
        "cannot read the study file\n  where: mine.toml\n  got:   Permission denied\n  do:    make it readable"
    )


def test_a_path_that_no_system_accepts_is_refused() -> None:
    assert refused("a\0.toml").startswith("cannot read the study file\n")


def test_the_error_holds_its_problems_one_by_one_and_survives_pickling() -> None:
    Path("mine.toml").write_text("seeds = 0\nepochs = 1\n[conditions.default]")
    with pytest.raises(StudyFileError) as caught:
        load_study("mine.toml")
    again = pickle.loads(pickle.dumps(caught.value))
    assert [problem.where for problem in again.problems] == ["mine.toml:1:9", "mine.toml:2:1"]
    assert str(again) == str(caught.value)


def test_vets_refuse_names_at_their_places_together_with_the_other_mistakes() -> None:
    def vet(text: str) -> None:
        if text != "zeros":
            raise UsageError(f"unknown initializer {text!r}", legal="zeros", do="did you mean 'zeros'?")

    Path("mine.toml").write_text('seeds = 0\n[conditions.default]\n"*" = "zeroes"\n"a" = "zeros"\n"b" = 3\n')
    with pytest.raises(StudyFileError) as caught:
        load_study("mine.toml", vets={("conditions", "*", "*"): vet, ("train", "optimizer"): vet})
    assert (
        str(caught.value)
        == """\
3 mistakes in mine.toml

mine.toml:1:9: seeds must be at least 1, got 0
    seeds = 0
            ^

mine.toml:3:7: unknown initializer 'zeroes'
    "*" = "zeroes"
          ^^^^^^^^
  legal: zeros
  do:    did you mean 'zeros'?

mine.toml:5:7: conditions.default.b must be an initializer in quotes, such as "zeros", got the whole number 3
    "b" = 3
          ^"""
    )


def test_vets_alone_can_refuse_a_study() -> None:
    def vet(text: str) -> None:
        raise UsageError(f"unknown dataset {text!r}")

    shown = r"^1 mistake in surprising-demo\n\nsurprising-demo:10:10: unknown dataset"
    with pytest.raises(StudyFileError, match=shown):
        load_study("surprising-demo", vets={("data", "source"): vet})


def test_a_source_tells_where_a_path_stands() -> None:
    source = read_source("surprising-demo", overrides=["conditions.default.*=zeros"])
    assert source.where(("conditions", "all-zero", "*"), at="key") == "surprising-demo:31:1"
    assert source.where(("conditions", "default", "*")) == "--set conditions.default.*=zeros"
