"""What all runs of a folder share is said once; what differs later is refused, field by field."""

import pytest

from initscope.base.errors import UsageError
from initscope.store.claims import differences
from initscope.store.folder import open_folder
from tests.store.material import IDENTITY, new_folder


def refusal(action) -> str:
    with pytest.raises(UsageError) as caught:
        action()
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_an_equal_identity_is_accepted_again_in_any_order(tmp_path):
    new_folder(tmp_path / "out").close()
    with open_folder(tmp_path / "out", create=True) as folder:
        folder.claim(dict(reversed(IDENTITY.items())) | {"model.hidden": (64, 32)})
        assert folder.identity() == IDENTITY


def test_another_identity_is_refused_with_each_field_that_differs(tmp_path):
    other = {"data.sha256": "cd34", "model.hidden": [64], "train.epochs": 2, "train.dtype": "float64"}
    with new_folder(tmp_path / "out") as folder:
        assert refusal(lambda: folder.claim(other)) == (
            "this folder belongs to another study\n"
            f"  where: {tmp_path}/out\n"
            '  got:   data.sha256: "ab12" -> "cd34"\n'
            "         model.hidden: [64, 32] -> [64]\n"
            "         root_seed: 0 -> absent\n"
            '         train.dtype: absent -> "float64"\n'
            "  legal: the same data, model, training and root seed as the runs that are there\n"
            f"  do:    choose another folder, for instance --out {tmp_path}/out-2, or undo the change"
        )
        assert folder.identity() == IDENTITY


def test_the_folder_proposed_is_one_that_does_not_exist_yet(tmp_path):
    (tmp_path / "out-2").mkdir()
    with new_folder(tmp_path / "out") as folder:
        assert f"--out {tmp_path}/out-3, or" in refusal(lambda: folder.claim({"root_seed": 1}))


def test_a_whole_number_and_a_float_differ_and_so_do_true_and_one(tmp_path):
    with open_folder(tmp_path / "out", create=True) as folder:
        folder.claim({"rate": 1})
        for other in (1.0, True, "1"):
            assert "rate: 1 ->" in refusal(lambda value=other: folder.claim({"rate": value}))


@pytest.mark.parametrize("identity", [{}, {"rate": float("nan")}])
def test_an_identity_that_says_nothing_or_holds_a_nan_is_a_mistake_of_the_caller(tmp_path, identity):
    with open_folder(tmp_path / "out", create=True) as folder, pytest.raises(ValueError):
        folder.claim(identity)


def test_new_conditions_are_added_behind_those_that_are_there(tmp_path):
    new_folder(tmp_path / "out", "b", "a").close()
    with open_folder(tmp_path / "out", create=True) as folder:
        for key in ("c", "a", "b"):
            folder.claim_condition(key, {"*.weight": "zeros"})
        assert list(folder.conditions()) == ["b", "a", "c"]


def test_a_condition_defined_otherwise_is_refused_with_each_pattern_that_differs(tmp_path):
    with new_folder(tmp_path / "out", "all-zero") as folder:
        message = refusal(lambda: folder.claim_condition("all-zero", {"*.weight": "ones", "*.bias": "zeros"}))
        assert folder.conditions() == {"all-zero": {"*.weight": "zeros"}}
    assert message == (
        "the condition 'all-zero' has another definition in this folder\n"
        f"  where: {tmp_path}/out\n"
        '  got:   *.weight: "zeros" -> "ones"\n'
        '         *.bias: absent -> "zeros"\n'
        "  legal: one definition a condition and folder\n"
        f"  do:    give it a key of its own, or choose another folder, for instance --out {tmp_path}/out-2"
    )


def test_the_order_of_patterns_is_part_of_a_condition_because_a_later_one_wins(tmp_path):
    with new_folder(tmp_path / "out") as folder:
        folder.claim_condition("mixed", {"*": "ones", "*.bias": "zeros"})
        folder.claim_condition("mixed", {"*": "ones", "*.bias": "zeros"})
        message = refusal(lambda: folder.claim_condition("mixed", {"*.bias": "zeros", "*": "ones"}))
    assert "  got:   order: *, *.bias -> *.bias, *\n" in message


def test_a_field_that_only_one_side_has_is_called_absent():
    assert differences({"a": "1"}, {"b": "2"}) == ["a: 1 -> absent", "b: absent -> 2"]
    assert differences({"a": "1"}, {"a": "1"}) == []
