"""File names of conditions are legal and distinct on every file system."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from initscope.base.errors import UsageError
from initscope.store.folder import read_folder
from initscope.store.names import folder_name, weight_file_name
from tests.store.material import assert_same_bits, ensemble, new_folder, weights_of

LETTERS = string.ascii_letters + string.digits + "._-"
KEYS = st.text(LETTERS, min_size=1, max_size=130).filter(lambda key: key[-1] != ".")


@given(KEYS, KEYS)
def test_keys_that_differ_have_names_that_differ_even_without_regard_to_case(one, other):
    assert (folder_name(one).lower() == folder_name(other).lower()) == (one == other)


@given(KEYS)
def test_names_are_short_plain_ascii_and_never_leave_the_folder(key):
    name = folder_name(key)
    assert set(name) <= set(string.ascii_lowercase + string.digits + "._-%")
    assert len(name) <= 100
    assert name not in {".", ".."}
    assert not name.endswith(".")


def test_names_of_the_founding_study_are_its_keys():
    assert folder_name("weights-zero-biases-default") == "weights-zero-biases-default"
    assert weight_file_name(3) == "seed-0003.safetensors"
    assert weight_file_name(12345) == "seed-12345.safetensors"


@pytest.mark.parametrize(
    ("key", "name"),
    [("All", "%41ll"), ("nul", "%6eul"), ("con.zero", "%63on.zero"), ("com1", "%63om1"), ("console", "console")],
)
def test_upper_case_and_names_windows_reserves_are_encoded(key, name):
    assert folder_name(key) == name


def test_very_long_keys_that_share_a_beginning_stay_apart():
    assert folder_name("a" * 101) != folder_name("a" * 102)
    assert folder_name("a" * 100) == "a" * 100


@pytest.mark.parametrize(
    "key", ["", ".", "..", "a.", "a/b", "a\\b", "a b", "é", "\u212a", "a%41", "a\n", "a:b", "../x"]
)
def test_a_key_that_could_leave_the_folder_or_mislead_is_refused(tmp_path, key):
    with new_folder(tmp_path / "out") as folder, pytest.raises(UsageError) as caught:
        folder.claim_condition(key, {})
    assert str(caught.value) == (
        "this cannot be the key of a condition\n"
        f"  got:   {key!r}\n"
        "  legal: letters a-z and A-Z, digits, '.', '_' and '-', with no '.' at the end\n"
        "  do:    rename the condition in the study"
    )


def test_conditions_that_differ_only_in_case_keep_their_own_weights(tmp_path):
    with new_folder(tmp_path / "out", "zero", "ZERO2") as folder:
        folder.claim_condition("Zero", {})
        runs, weights = ensemble(("zero", "Zero"), range(1))
        weights["Zero", 0] = {name: values + 1 for name, values in weights["Zero", 0].items()}
        folder.save_ensemble(runs, weights)
    folders = [entry.name for entry in (tmp_path / "out" / "weights").iterdir()]
    assert sorted(folders) == ["%5aero", "zero"]
    with read_folder(tmp_path / "out") as folder:
        plain = weights_of("zero", 0)["final/hidden1.weight"]
        assert_same_bits(folder.weights("zero", 0, "hidden1.weight", "final"), plain)
        assert_same_bits(folder.weights("Zero", 0, "hidden1.weight", "final"), plain + 1)
