"""A DEK in memory: a buffer that can be wiped and that does not show itself."""

from __future__ import annotations

from typing import NoReturn, SupportsIndex


class Secret(bytearray):
    """Key bytes in one wipeable buffer. ``repr``, formatting, pickle and copy never give the bytes away.

    Code that needs them passes the object on as a buffer. ``bytes(secret)`` makes a copy that nobody can
    wipe: only for a library that takes nothing else.
    """

    __slots__ = ()

    @classmethod
    def take(cls, source: bytearray) -> Secret:
        """Move the bytes of ``source`` here; ``source`` is wiped."""
        secret = cls(source)
        wipe(source)
        return secret

    def wipe(self) -> None:
        """Overwrite every byte with zero, in place."""
        wipe(self)

    def __repr__(self) -> str:
        return f"<{len(self)} secret bytes>"

    __str__ = __repr__

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("a key is never pickled or copied")


def wipe(buffer: bytearray) -> None:
    """Overwrite ``buffer`` with zeros in place, also while memoryviews of it exist."""
    buffer[:] = bytes(len(buffer))
