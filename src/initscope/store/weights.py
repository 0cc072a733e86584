"""Kept weights: one safetensors file a run, put in place whole; no pickle anywhere."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from initscope.store.faults import Damage
from initscope.store.names import folder_name, weight_file_name

NAME = "weights"
TENSOR = re.compile(r"(initial|final)/.+", re.DOTALL)

FloatTensor = NDArray[np.floating[Any]]


def weight_path(folder: Path, condition: str, seed: int) -> Path:
    """Returns where the weights of one run stand: FOLDER/weights/CONDITION/seed-0003.safetensors."""
    return folder / NAME / folder_name(condition) / weight_file_name(seed)


def check_tensors(condition: str, seed: int, tensors: Mapping[str, FloatTensor]) -> None:
    """Raises ValueError unless every name is initial/PARAMETER or final/PARAMETER and every value is floating."""
    for name, values in tensors.items():
        if not TENSOR.fullmatch(name):
            raise ValueError(f"weights of {condition!r}, seed {seed}: {name!r} is neither initial/... nor final/...")
        if not np.issubdtype(np.asarray(values).dtype, np.floating):
            raise ValueError(f"weights of {condition!r}, seed {seed}: {name!r} is not an array of floating numbers")


def write_weights(path: Path, tensors: Mapping[str, FloatTensor]) -> None:
    """Puts a weight file in place: written beside it, forced to disk, renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.part")
    with draft.open("wb") as file:
        file.write(packed(tensors))
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)


def read_weights(path: Path, name: str) -> FloatTensor | None:
    """Returns one tensor of a weight file, None where the file is gone; raises Damage where it cannot be read."""
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        return None
    try:
        with safe_open(path, framework="np") as file:
            values: FloatTensor = file.get_tensor(name)
            return values
    except (SafetensorError, ValueError) as error:
        raise Damage(str(error)) from error


def packed(tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """Returns the safetensors bytes of `tensors`.

    Each is copied to C order first: safetensors writes the memory as it lies, so a transposed view would come
    back scrambled without a word.
    """
    from safetensors.numpy import save

    return save({name: np.array(values, order="C", copy=True) for name, values in tensors.items()})


def unpacked(content: bytes) -> dict[str, NDArray[Any]]:
    """Returns the tensors of safetensors bytes; raises Damage where they are none."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise Damage(str(error)) from error


def sync_folder(folder: Path) -> None:
    """Forces the names in a folder to disk (where the system can: not on Windows)."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
