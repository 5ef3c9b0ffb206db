"""Bytes-like arguments: one check, one error."""

from __future__ import annotations

BytesLike = bytes | bytearray | memoryview

_INSTEAD_OF_STR = {
    "data": "encode the text first, e.g. with .encode(); for a path there is encrypt_file",
    "blob": "decode Base64 first; for a path there is decrypt_file",
}


def byte_view(data: object, name: str = "data") -> memoryview:
    """``data`` as a view of single bytes. ``TypeError`` for str and all else that is not bytes-like."""
    if type(data) is bytes:  # nearly always: the checks below would tell on small messages
        return memoryview(data)
    if isinstance(data, str):
        advice = _INSTEAD_OF_STR.get(name, "encode the text first, e.g. with .encode()")
        raise TypeError(f"{name} must be bytes-like, not str: {advice}")
    try:
        view = memoryview(data)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be bytes-like, not {type(data).__name__}") from None
    if view.format == "B" and view.ndim == 1 and view.contiguous:
        return view
    return view.cast("B") if view.c_contiguous else memoryview(view.tobytes())
