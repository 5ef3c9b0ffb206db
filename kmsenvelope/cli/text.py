"""Text from outside - a header, a file name, a service's message - made safe to print."""

from __future__ import annotations


def printable(text: str) -> str:
    """``text`` with every character that a terminal may act on, or hide, written as its escape.

    Covers control characters, line breaks, direction marks and zero-width characters: all that Unicode does
    not call printable. A backslash is doubled where it could be taken for such an escape.
    """
    if text.isprintable():
        return text
    return "".join(_escape(char) for char in text)


def _escape(char: str) -> str:
    if char == "\\":
        return "\\\\"
    return char if char.isprintable() else char.encode("unicode_escape").decode("ascii")


def size(count: int) -> str:
    """A number of bytes for people: ``1.5 GiB``; below 1 KiB the bytes themselves."""
    if count < 1024:
        return f"{count} B"
    value = float(count)
    for unit in ("KiB", "MiB", "GiB", "TiB", "PiB"):
        value /= 1024
        if value < 1024 or unit == "PiB":
            break
    return f"{value:.1f} {unit}" if value < 100 else f"{value:.0f} {unit}"


def counted(count: int, noun: str) -> str:
    """``1 key``, ``2 keys``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
