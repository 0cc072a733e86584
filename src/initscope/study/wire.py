"""What driver and workers say to each other: a JSON line, then the bytes of safetensors it announces. No pickle."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import IO, Any

import numpy as np
from safetensors.numpy import load, save

from initscope.records.run import History, Probes, RunRecord
from initscope.train.task import EnsembleResult

Message = dict[str, Any]
_CURVES = tuple(field.name for field in fields(History))
_PROBE_NAMES = ("parameters", "layers", "units", "tolerance")
_PROBE_ARRAYS = tuple(field.name for field in fields(Probes) if field.name not in _PROBE_NAMES)
_SCALARS = tuple(field.name for field in fields(RunRecord) if field.name not in ("history", "probes"))


def send(stream: IO[bytes], message: Message, blob: bytes = b"") -> None:
    """Writes one message with its bytes and flushes."""
    stream.write(json.dumps({**message, "bytes": len(blob)}).encode() + b"\n" + blob)
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[Message, bytes] | None:
    """Returns the next message with its bytes, or None where the other side has gone."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        return None
    message: Message = json.loads(line)
    blob = stream.read(message["bytes"])
    return (message, blob) if len(blob) == message["bytes"] else None


def encode_result(result: EnsembleResult) -> tuple[Message, bytes]:
    """Returns an ensemble's result as a message and its bytes."""
    heads, arrays = [], {}
    for index, record in enumerate(result.records):
        head = {name: getattr(record, name) for name in _SCALARS}
        arrays.update({f"{index}/history/{name}": getattr(record.history, name) for name in _CURVES})
        if record.probes is not None:
            head["probes"] = {name: getattr(record.probes, name) for name in _PROBE_NAMES}
            arrays.update({f"{index}/probes/{name}": getattr(record.probes, name) for name in _PROBE_ARRAYS})
        kept = result.weights.get((record.condition, record.seed), {})
        arrays.update({f"{index}/weights/{name}": values for name, values in kept.items()})
        heads.append(head)
    return {"records": heads}, save({name: np.ascontiguousarray(values) for name, values in arrays.items()})


def decode_result(message: Message, blob: bytes) -> EnsembleResult:
    """Returns the result that `encode_result` wrote, bit for bit."""
    arrays = load(blob)
    records, weights = [], {}
    for index, head in enumerate(message["records"]):
        probes = head.pop("probes", None)
        record = RunRecord(
            **{**head, "class_shares": tuple(head["class_shares"])},
            history=History(**{name: arrays[f"{index}/history/{name}"] for name in _CURVES}),
            probes=None if probes is None else _probes(index, probes, arrays),
        )
        records.append(record)
        start = f"{index}/weights/"
        kept = {name.removeprefix(start): values for name, values in arrays.items() if name.startswith(start)}
        if kept:
            weights[(record.condition, record.seed)] = kept
    return EnsembleResult(records=tuple(records), weights=weights)


def _probes(index: int, names: Message, arrays: dict[str, np.ndarray]) -> Probes:
    return Probes(
        parameters=tuple(names["parameters"]),
        layers=tuple(names["layers"]),
        units=tuple(names["units"]),
        tolerance=names["tolerance"],
        **{name: arrays[f"{index}/probes/{name}"] for name in _PROBE_ARRAYS},
    )
