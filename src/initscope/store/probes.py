"""Probes as they are stored: the arrays as safetensors bytes, the names as JSON, checked on the way in and out."""

from __future__ import annotations

import json

import numpy as np

from initscope.records.run import Probes
from initscope.store.faults import Damage
from initscope.store.weights import packed, unpacked

BY_PARAMETER = ("gradient_norm", "gradient_zero", "unmoved_share")
BY_LAYER = ("distinct_units", "similar_groups", "dead_units", "signal_rms", "input_share")


def encode(probes: Probes) -> tuple[str, bytes]:
    """Returns (JSON of the names, safetensors bytes of the arrays); raises ValueError where a shape is wrong."""
    check(probes)
    names = {
        "parameters": probes.parameters,
        "layers": probes.layers,
        "units": [int(number) for number in probes.units],
        "tolerance": float(probes.tolerance),
    }
    arrays = {name: np.asarray(getattr(probes, name), np.float64) for name in (*BY_PARAMETER, *BY_LAYER)}
    return json.dumps(names), packed({"steps": np.asarray(probes.steps, np.int64), **arrays})


def decode(names: str, content: bytes) -> Probes:
    """Returns what `encode` stored; raises Damage where it cannot be read or does not fit together."""
    arrays = unpacked(content)
    try:
        labels = json.loads(names)
        probes = Probes(
            parameters=tuple(labels["parameters"]),
            layers=tuple(labels["layers"]),
            units=tuple(labels["units"]),
            tolerance=float(labels["tolerance"]),
            **arrays,
        )
        check(probes)
    except (ValueError, KeyError, TypeError) as error:
        raise Damage(f"probes: {error}") from error
    return probes


def check(probes: Probes) -> None:
    """Raises ValueError unless every array has the shape that steps, parameters and layers call for."""
    moments = len(probes.steps)
    widths = dict.fromkeys(BY_PARAMETER, len(probes.parameters)) | dict.fromkeys(BY_LAYER, len(probes.layers))
    if np.ndim(probes.steps) != 1 or len(probes.units) != len(probes.layers):
        raise ValueError("steps is not a list, or units and layers differ in number")
    for name, width in widths.items():
        shape = np.shape(getattr(probes, name))
        if shape != (moments, width):
            raise ValueError(f"{name} has shape {shape}, legal: {(moments, width)}")
