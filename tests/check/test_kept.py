"""What a check puts back: values kept in memory, and those of large models in a file."""

from __future__ import annotations

import errno
import tempfile
from typing import Any

import pytest
import torch
from torch import nn

from initscope.checker.instruments import kept
from initscope.checker.instruments.kept import kept_values

DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.complex64, torch.int64]


class Holder(nn.Module):
    """A parameter, one seen through a transposition, and a plain attribute."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        values = torch.arange(12.0).reshape(3, 4).to(dtype)
        self.weight = nn.Parameter(values, requires_grad=False)
        self.turned = nn.Parameter((values + 1).clone().T, requires_grad=False)
        self.plain = values + 2


def bits(model: Holder) -> list[list[object]]:
    return [one.contiguous().reshape(-1).tolist() for one in (model.weight, model.turned, model.plain)]


def assert_put_back(dtype: torch.dtype) -> None:
    model = Holder(dtype)
    before, addresses = bits(model), [model.weight.data_ptr(), model.turned.data_ptr()]
    with kept_values(model) as values:
        for one in (model.weight, model.turned, model.plain):
            one.mul_(3)
        assert bits(model) != before
        values.restore()
    assert bits(model) == before
    assert [model.weight.data_ptr(), model.turned.data_ptr()] == addresses
    assert model.turned.stride() == (1, 4)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_values_kept_in_memory_are_put_back(dtype: torch.dtype) -> None:
    assert_put_back(dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_values_kept_in_a_file_are_put_back(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MANY_BYTES", 0)
    monkeypatch.setattr(kept, "LARGE_BYTES", 0)
    written: list[int] = []
    original = kept._written
    monkeypatch.setattr(kept, "_written", lambda tensor, file: written.append(1) or original(tensor, file))
    assert_put_back(dtype)
    assert len(written) == (0 if dtype.is_complex else 3)


def refuses(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("place", ["file", "disk"])
def test_memory_serves_where_no_file_can_be_written(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MANY_BYTES", 0)
    monkeypatch.setattr(kept, "LARGE_BYTES", 0)
    monkeypatch.setattr(*((tempfile, "TemporaryFile") if place == "file" else (kept, "_written")), refuses)
    assert_put_back(torch.float32)


def test_no_file_is_left_behind(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MANY_BYTES", 0)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert_put_back(torch.float32)
    assert not list(tmp_path.iterdir())
