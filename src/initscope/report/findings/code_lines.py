"""Code on lines of a given width: broken only where Python allows it, so that it can still be copied and run."""

from __future__ import annotations

CLOSING = {"(": ")", "[": "]", "{": "}"}


def fold_code(code: str, *, width: int) -> list[str]:
    """Returns the lines of `code`, too long ones broken after commas in brackets; what cannot be broken stays whole.

    Example:
        >>> fold_code("f(alpha, beta, gamma)", width=14)
        ['f(alpha, beta,', '    gamma)']
    """
    return [part for line in code.splitlines() for part in _folded(line.rstrip(), width)]


def _folded(line: str, width: int) -> list[str]:
    if len(line) <= width or line.lstrip().startswith("#"):
        return _comment(line, width) if len(line) > width else [line]
    indent = " " * (len(line) - len(line.lstrip()) + 4)
    lines: list[str] = []
    rest = line
    while len(rest) > width:
        at = max((place for place in _breaks(rest, inside=bool(lines)) if place <= width), default=None)
        if at is None:
            break
        lines.append(rest[:at].rstrip())
        rest = indent + rest[at:].lstrip()
    return [*lines, rest]


def _comment(line: str, width: int) -> list[str]:
    lines, now = [], ""
    for word in line.lstrip().lstrip("#").split():
        if now and len(now) + 1 + len(word) > width:
            lines.append(now)
            now = ""
        now = f"{now or '#'} {word}"
    return [*lines, now]


def _breaks(line: str, *, inside: bool) -> list[int]:
    """The places after commas in brackets and outside quotes; `inside` where a bracket is open at the start."""
    found, depth, quote, escaped = [], int(inside), "", False
    for place, sign in enumerate(line):
        if quote:
            quote, escaped = ("" if sign == quote and not escaped else quote), sign == "\\" and not escaped
        elif sign in "'\"":
            quote = sign
        elif sign == "#":
            break
        elif sign in CLOSING:
            depth += 1
        elif sign in CLOSING.values():
            depth -= 1
        elif sign == "," and depth > 0 and line[place + 1 :].strip():
            found.append(place + 1)
    return found
