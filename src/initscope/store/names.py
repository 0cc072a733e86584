"""File names for conditions and seeds that every file system keeps apart."""

from __future__ import annotations

import hashlib
import re

from initscope.base.errors import UsageError

KEY = re.compile(r"[A-Za-z0-9._-]+")
LONGEST = 100
PORTS = tuple(f"{port}{digit}" for port in ("com", "lpt") for digit in range(10))
RESERVED = frozenset({"con", "prn", "aux", "nul", *PORTS})


def check_key(key: str) -> None:
    """Raises UsageError unless `key` can name a condition: A-Z, a-z, 0-9, '.', '_', '-', and no '.' at the end."""
    if not KEY.fullmatch(key) or key.endswith("."):
        raise UsageError(
            "this cannot be the key of a condition",
            value=repr(key),
            legal="letters a-z and A-Z, digits, '.', '_' and '-', with no '.' at the end",
            do="rename the condition in the study",
        )


def folder_name(key: str) -> str:
    """Returns the folder name of a condition; keys that differ give names that differ in more than upper case.

    Upper-case letters are percent-encoded in small letters, because Windows and macOS hold "A" and "a" for one
    name; so is the first letter of a name that Windows reserves for devices. Very long keys end in a hash.

    Example:
        >>> folder_name("all-zero"), folder_name("All-zero"), folder_name("nul.1")
        ('all-zero', '%41ll-zero', '%6eul.1')
    """
    check_key(key)
    name = "".join(_encoded(letter) if letter.isupper() else letter for letter in key)
    if name.partition(".")[0] in RESERVED:
        name = _encoded(name[0]) + name[1:]
    if len(name) <= LONGEST:
        return name
    return f"{name[: LONGEST // 2]}%-{hashlib.sha256(key.encode()).hexdigest()[:32]}"


def weight_file_name(seed: int) -> str:
    """Returns "seed-0003.safetensors" of seed 3."""
    return f"seed-{seed:04d}.safetensors"


def _encoded(letter: str) -> str:
    return f"%{ord(letter):02x}"
