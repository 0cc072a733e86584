from __future__ import annotations

import os

import pytest
import torch

from initscope.base.errors import EnvironmentFault, UsageError
from initscope.study.device import check_workers, choose_device, choose_workers, processor_name


def test_auto_is_the_gpu_where_there_is_one() -> None:
    assert choose_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    assert choose_device("cpu") == "cpu"


def test_a_gpu_that_is_there_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert (choose_device("auto"), choose_device("cuda"), choose_device("cpu")) == ("cuda", "cuda", "cpu")


def test_an_absent_gpu_is_a_fault_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EnvironmentFault) as caught:
        choose_device("cuda")
    assert caught.value.exit_code == 4


def test_there_are_never_more_workers_than_cores_by_default_nor_than_ensembles() -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert choose_workers(None, device="cpu", ensembles=1000) == cores
    assert choose_workers(None, device="cpu", ensembles=1) == 1
    assert choose_workers(5, device="cpu", ensembles=3) == 3
    assert choose_workers(5, device="cpu", ensembles=0) == 1


def test_one_worker_alone_drives_a_gpu_unless_more_are_asked_for() -> None:
    assert choose_workers(None, device="cuda", ensembles=10) == 1
    assert choose_workers(2, device="cuda", ensembles=10) == 2


@pytest.mark.parametrize("number", [0, -1])
def test_less_than_one_worker_is_refused(number: int) -> None:
    message = f"too few workers\n  where: --workers\n  got:   {number}\n  legal: a whole number of at least 1"
    for refuse in (lambda: check_workers(number), lambda: choose_workers(number, device="cpu", ensembles=1)):
        with pytest.raises(UsageError) as caught:
            refuse()
        assert str(caught.value) == message


def test_the_processor_has_a_name() -> None:
    assert processor_name("cpu").strip()
