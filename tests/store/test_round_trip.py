"""What is stored comes back bit for bit."""

import dataclasses
import json
import math
import sqlite3
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from initscope.records.run import History
from initscope.store.folder import open_folder, read_folder
from tests.store.material import IDENTITY, assert_same_bits, ensemble, new_folder, weights_of
from tests.support.synthetic import make_results, make_run

ANY_FLOAT = st.floats(width=64) | st.sampled_from([math.nan, math.inf, -math.inf, -0.0, 5e-324, 1.0, 2.0**53])
ANY_RUN = st.fixed_dictionaries(
    {
        "curves": st.lists(st.tuples(ANY_FLOAT, ANY_FLOAT, ANY_FLOAT), max_size=4),
        "first_step_loss": ANY_FLOAT,
        "wall_s": ANY_FLOAT,
        "class_shares": st.lists(ANY_FLOAT, max_size=3).map(tuple),
        "status": st.sampled_from(["finished", "diverged", "failed"]),
        "diverged_step": st.none() | st.integers(0, 2**40),
        "error": st.text(),
        "steps": st.integers(0, 2**62),
    }
)


def run_of(numbers, seed=0):
    fields = dict(numbers)
    curves = np.array(fields.pop("curves"), np.float64).reshape(-1, 3).T
    names = ("train_loss", "train_accuracy_percent", "test_accuracy_percent")
    history = History(**dict(zip(names, map(np.copy, curves), strict=True)))
    return dataclasses.replace(make_run("default", seed, epochs=2), history=history, probes=None, **fields)


@pytest.fixture(scope="module")
def shared_folder(tmp_path_factory):
    with new_folder(tmp_path_factory.mktemp("round-trip") / "out", "default") as folder:
        yield folder


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(numbers=ANY_RUN)
def test_every_number_of_a_run_comes_back_to_the_bit(shared_folder, numbers):
    seed = len(shared_folder.keys())
    run = run_of(numbers, seed)
    shared_folder.save_ensemble([run], {})
    assert_same_bits(shared_folder.runs()[seed], run)


def test_negative_zero_keeps_its_sign_and_infinities_stay_apart_from_nan(tmp_path):
    curve = np.array([-0.0, math.inf, -math.inf, math.nan])
    run = dataclasses.replace(
        make_run("default", 0),
        history=History(train_loss=curve, train_accuracy_percent=curve[::-1], test_accuracy_percent=curve),
        first_step_loss=-0.0,
        wall_s=math.nan,
    )
    with new_folder(tmp_path / "out", "default") as folder:
        folder.save_ensemble([run], {})
        [back] = folder.runs()
    assert math.copysign(1, back.history.train_loss[0]) == -1.0
    assert back.history.train_loss[1:3].tolist() == [math.inf, -math.inf]
    assert math.isnan(back.history.train_loss[3])
    assert_same_bits(back, run)


def test_probes_with_nan_infinity_and_negative_zero_come_back_to_the_bit(tmp_path):
    run = make_run("default", 0, epochs=2)
    odd = run.probes.gradient_norm.copy()
    odd[0, :4] = [math.nan, math.inf, -0.0, 5e-324]
    run = dataclasses.replace(run, probes=dataclasses.replace(run.probes, gradient_norm=odd))
    with new_folder(tmp_path / "out", "default") as folder:
        folder.save_ensemble([run], {})
        assert_same_bits(folder.runs(), (run,))


def test_probes_laid_out_in_columns_are_not_scrambled(tmp_path):
    run = make_run("default", 0, epochs=2)
    shape = run.probes.gradient_norm.shape
    across = np.arange(float(np.prod(shape))).reshape(shape[::-1]).T
    run = dataclasses.replace(run, probes=dataclasses.replace(run.probes, gradient_norm=across))
    with new_folder(tmp_path / "out", "default") as folder:
        folder.save_ensemble([run], {})
        assert folder.runs()[0].probes.gradient_norm.tolist() == across.tolist()


def test_a_failed_run_without_numbers_comes_back_with_its_error(tmp_path):
    nothing = np.array([])
    run = dataclasses.replace(
        make_run("default", 0),
        status="failed",
        history=History(train_loss=nothing, train_accuracy_percent=nothing, test_accuracy_percent=nothing),
        probes=None,
        class_shares=(),
        first_step_loss=math.nan,
        error="boom in layer 'hidden1'\n\x00 ü",
    )
    with new_folder(tmp_path / "out", "default") as folder:
        folder.save_ensemble([run], {})
        assert_same_bits(folder.runs(), (run,))


def test_an_error_text_with_half_a_surrogate_is_stored_in_words(tmp_path):
    run = dataclasses.replace(make_run("default", 0), status="failed", error="file \udcff")
    with new_folder(tmp_path / "out", "default") as folder:
        folder.save_ensemble([run], {})
        assert folder.runs()[0].error == r"file \udcff"


def test_runs_come_by_condition_in_order_of_appearance_then_by_seed(tmp_path):
    with new_folder(tmp_path / "out", "b", "a") as folder:
        folder.save_ensemble(*ensemble(("a", "b"), range(2, 4)))
        folder.save_ensemble(*ensemble(("a", "b"), range(2)))
        assert [(run.condition, run.seed) for run in folder.runs()] == [
            (key, seed) for key in ("b", "a") for seed in range(4)
        ]


def test_keys_say_key_and_status_of_each_run(tmp_path):
    with new_folder(tmp_path / "out", "default") as folder:
        run = dataclasses.replace(make_run("default", 3), status="diverged", diverged_step=7)
        folder.save_ensemble([run], {})
        assert folder.keys() == {("default", 3): (run.key, "diverged")}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_come_back_to_the_bit_whatever_their_layout(tmp_path, dtype):
    rng = np.random.default_rng(0)
    plain = rng.normal(size=(5, 7)).astype(dtype)
    plain[0, :3] = [math.nan, -0.0, math.inf]
    kept = {
        "initial/hidden1.weight": plain,
        "final/hidden1.weight": plain.T,
        "initial/hidden1.bias": plain[::2, 1],
        "final/scale": np.array(2.5, dtype),
        "final/none": np.zeros((0, 3), dtype),
    }
    with new_folder(tmp_path / "out", "default") as folder:
        folder.save_ensemble([make_run("default", 3)], {("default", 3): kept})
    assert (tmp_path / "out" / "weights" / "default" / "seed-0003.safetensors").is_file()
    with read_folder(tmp_path / "out") as folder:
        for name, values in kept.items():
            moment, parameter = name.split("/")
            assert_same_bits(folder.weights("default", 3, parameter, moment), np.array(values), name)


def test_weights_that_were_not_kept_are_none(tmp_path):
    with new_folder(tmp_path / "out", "default", "other") as folder:
        folder.save_ensemble(*ensemble(("default",), range(1)))
        assert folder.weights("default", 0, "hidden2.weight", "final") is None
        assert folder.weights("default", 1, "hidden1.weight", "final") is None
        assert folder.weights("nowhere", 0, "hidden1.weight", "final") is None


def test_weights_whose_file_was_taken_away_are_none(tmp_path):
    with new_folder(tmp_path / "out", "default") as folder:
        folder.save_ensemble(*ensemble(("default",), range(1)))
        (tmp_path / "out" / "weights" / "default" / "seed-0000.safetensors").unlink()
        assert folder.weights("default", 0, "hidden1.weight", "final") is None


def test_study_data_environments_identity_and_conditions_come_back_equal(tmp_path):
    results = make_results(seeds=1)
    [environment] = results.environments
    later = dataclasses.replace(environment, started="2026-11-24T12:00:00+00:00", workers=4)
    flat = dataclasses.replace(results.data, image_shape=None, class_values=(-1, 7))
    with new_folder(tmp_path / "out", "default", "all-zero") as folder:
        assert (folder.study_toml(), folder.data_summary(), folder.environments()) == (None, None, ())
        folder.save_study_toml("name = 'first'")
        folder.save_study_toml("name = 'ü'\n")
        folder.save_data_summary(results.data)
        folder.save_environment(environment)
        folder.save_environment(later)
    with read_folder(tmp_path / "out") as folder:
        assert folder.study_toml() == "name = 'ü'\n"
        assert folder.data_summary() == results.data
        assert folder.environments() == (environment, later)
        assert folder.identity() == IDENTITY
        assert list(folder.conditions().items()) == [(key, {"*.weight": "zeros"}) for key in ("default", "all-zero")]
    with open_folder(tmp_path / "out", create=False) as folder:
        folder.save_data_summary(flat)
        assert folder.data_summary() == flat


def test_nothing_in_the_folder_is_a_pickle_and_history_can_be_read_with_sqlite_alone(tmp_path):
    with new_folder(tmp_path / "out", "default") as folder:
        runs, weights = ensemble(("default",), range(1))
        folder.save_ensemble(runs, weights)
    connection = sqlite3.connect(tmp_path / "out" / "results.db")
    rows = connection.execute("SELECT epoch, train_loss FROM history ORDER BY epoch").fetchall()
    connection.close()
    assert rows == [(1, runs[0].history.train_loss[0]), (2, runs[0].history.train_loss[1])]
    content = (tmp_path / "out" / "weights" / "default" / "seed-0000.safetensors").read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert sorted(header) == sorted(weights_of("default", 0))


def test_the_store_loads_neither_torch_nor_matplotlib():
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['matplotlib'] = None\n"
        "import tempfile, numpy as np\nfrom initscope.store.weights import packed, unpacked\n"
        "import initscope.store.folder\nassert unpacked(packed({'a': np.ones(2)}))['a'].sum() == 2"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_comparison_of_these_tests_tells_signs_of_zero_types_and_shapes_apart():
    same = make_run("default", 0)
    assert_same_bits(same, make_run("default", 0))
    for ours, theirs in ((0.0, -0.0), (1, 1.0), (np.zeros(2), np.zeros((2, 1))), (math.nan, 0.0), ((1,), (1, 2))):
        with pytest.raises(AssertionError):
            assert_same_bits(ours, theirs)
    with pytest.raises(AssertionError):
        assert_same_bits(same, dataclasses.replace(same, wall_s=0.25))
