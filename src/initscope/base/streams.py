"""Random streams named by what they are for, never by when they are asked for.

A stream's seed is the SHA-256 hash of (root seed, label, label, ...): for a parameter
(root seed, "run", run seed, "init", parameter path), for a shuffle (root seed, "run", run seed, "shuffle", epoch).
Nothing about the order of calls, the number of runs, chunks or workers enters, so none of them changes a draw.
"""

from __future__ import annotations

import hashlib

Label = str | int


def stream_seed(root_seed: int, *labels: Label) -> int:
    """Returns the 63-bit seed of the stream that `labels` name under `root_seed`.

    Each label is hashed with its type and its length, so ("a", "bc") and ("ab", "c"), or 1 and "1", differ.

    Example:
        >>> stream_seed(0, "init", "hidden1.weight") == stream_seed(0, "init", "hidden1.weight")
        True
        >>> stream_seed(0, "init", "hidden1.weight") == stream_seed(1, "init", "hidden1.weight")
        False
    """
    digest = hashlib.sha256()
    for label in (root_seed, *labels):
        text = f"{type(label).__name__}:{label}".encode()
        digest.update(len(text).to_bytes(8, "big") + text)
    return int.from_bytes(digest.digest()[:8], "big") >> 1
