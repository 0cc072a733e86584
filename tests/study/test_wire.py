"""What a worker answers arrives bit for bit, and half an answer is no answer."""

from __future__ import annotations

import io
from dataclasses import fields, replace

import numpy as np
import pytest

from initscope.records.run import History, Probes
from initscope.study.pool import failed
from initscope.study.wire import decode_result, encode_result, receive, send
from initscope.train.task import EnsembleResult, RunIdentity
from tests.support.synthetic import make_results

ODD = np.array([np.nan, -0.0, np.inf, 5e-324])


def assert_same_record(one: object, other: object) -> None:
    """Fails unless two dataclasses agree field by field, arrays to the bit."""
    assert type(one) is type(other)
    for field in fields(one):  # type: ignore[arg-type]  # dataclasses
        left, right = getattr(one, field.name), getattr(other, field.name)
        if isinstance(left, History | Probes):
            assert_same_record(left, right)
        elif isinstance(left, np.ndarray):
            assert (left.dtype, left.shape, left.tobytes()) == (right.dtype, right.shape, right.tobytes())
        else:
            assert left == right or (left != left and right != right), field.name


@pytest.mark.parametrize("index", [0, 5])
def test_a_result_arrives_bit_for_bit(index: int) -> None:
    run = make_results().runs[index]
    history = History(train_loss=ODD, train_accuracy_percent=ODD[::-1], test_accuracy_percent=ODD * 2)
    odd = replace(run, history=history, first_step_loss=float("nan"), error='a "quoted"\nline ü')
    weights = {(run.condition, run.seed): {"initial/a.weight": np.arange(6, dtype=np.float32).reshape(2, 3).T}}
    stream = io.BytesIO()
    head, blob = encode_result(EnsembleResult(records=(odd, run), weights=weights))
    send(stream, {"kind": "result", **head}, blob)
    stream.seek(0)
    received = receive(stream)
    assert received is not None and receive(stream) is None
    got = decode_result(*received)
    assert_same_record(got.records[0], odd)
    assert_same_record(got.records[1], run)
    back = got.weights[run.condition, run.seed]["initial/a.weight"]
    assert back.dtype == np.float32 and back.tolist() == [[0, 3], [1, 4], [2, 5]]


def test_a_failed_ensemble_arrives_too() -> None:
    result = failed((RunIdentity(condition="default", seed=1, key="k"),), "it broke")
    got = decode_result(*encode_result(result))
    assert_same_record(got.records[0], result.records[0])
    assert (got.records[0].status, got.records[0].error) == ("failed", "it broke")


def test_an_answer_that_ends_in_its_middle_is_none() -> None:
    stream = io.BytesIO()
    send(stream, {"kind": "result"}, b"1234567890")
    whole = stream.getvalue()
    assert receive(io.BytesIO(whole)) is not None
    assert [receive(io.BytesIO(whole[:length])) for length in range(len(whole))] == [None] * len(whole)
