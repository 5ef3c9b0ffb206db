"""SM4-GCM by libgcrypt, where that library is installed: on x86-64 4 to 19 times as fast as OpenSSL.

Nothing is compiled: the shared library is called through ctypes. Which provider is used, and why, is decided
in ``select``. Source: the libgcrypt manual, "Working with cipher handles"; RFC 8998 for SM4-GCM.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Sequence
from functools import cache
from threading import Lock
from typing import NamedTuple, NoReturn, Self

from cryptography.exceptions import InvalidTag

from ..buffers import BytesLike
from . import TAG_SIZE

# ctypes.util.find_library would start ldconfig or a C compiler for a name that has not changed since 2014.
SONAME = "libgcrypt.20.dylib" if sys.platform == "darwin" else "libgcrypt.so.20"
OLDEST = "1.9.0"  # the first with SM4

# gcrypt.h
_INITIALIZATION_FINISHED, _INITIALIZATION_FINISHED_P = 38, 39
_SM4, _MODE_GCM = 318, 9
_CODE_MASK, _CHECKSUM = 0xFFFF, 10

KEY_SIZE = 16

_INT, _UINT, _SIZE = ctypes.c_int, ctypes.c_uint, ctypes.c_size_t
_POINTER, _STRING = ctypes.c_void_p, ctypes.c_char_p


class LibgcryptError(Exception):
    """libgcrypt is absent, too old, or refused a call. Data that is not authentic is ``InvalidTag``."""


class _Buffer(ctypes.Structure):
    """CPython's ``Py_buffer``, part of its stable ABI since 3.11."""

    _fields_ = (
        ("buf", _POINTER),
        ("obj", _POINTER),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", _INT),
        ("ndim", _INT),
        ("format", _POINTER),
        ("shape", _POINTER),
        ("strides", _POINTER),
        ("suboffsets", _POINTER),
        ("internal", _POINTER),
    )
    buf: int | None
    len: int


class _Functions(NamedTuple):
    open: Callable[..., int]
    set_key: Callable[..., int]
    set_nonce: Callable[..., int]
    authenticate: Callable[..., int]
    encrypt: Callable[..., int]
    decrypt: Callable[..., int]
    get_tag: Callable[..., int]
    check_tag: Callable[..., int]
    close: Callable[..., None]
    explain: Callable[[int], bytes]
    pin: Callable[..., int]
    unpin: Callable[..., None]


class Library(NamedTuple):
    """The loaded library: its version, and the processor features that it found and uses."""

    version: str
    features: frozenset[str]
    functions: _Functions
    at_least: Callable[[str], bool]


@cache
def load(soname: str = SONAME, oldest: str = OLDEST) -> Library:
    """Load and initialise the library. Raises ``LibgcryptError`` if it is absent or older than ``oldest``."""
    if sys.implementation.name != "cpython":
        raise LibgcryptError(f"not supported on {sys.implementation.name}")
    try:
        dll = ctypes.CDLL(soname)
    except OSError as error:
        raise LibgcryptError(f"cannot be loaded: {error}") from None
    check_version = ctypes.CFUNCTYPE(_STRING, _STRING)(("gcry_check_version", dll))
    version = check_version(None).decode("ascii")  # this call also prepares the library

    def at_least(wanted: str) -> bool:
        return check_version(wanted.encode("ascii")) is not None

    if not at_least(oldest):
        raise LibgcryptError(f"version {version} is too old: {oldest} is the first that will do")
    control = dll.gcry_control
    if not control(_INITIALIZATION_FINISHED_P):
        control(_INITIALIZATION_FINISHED, 0)
    return Library(version, _processor_features(dll), _functions(dll), at_least)


def _processor_features(dll: ctypes.CDLL) -> frozenset[str]:
    # "hwflist:intel-avx2:…\n", without what a build or /etc/gcrypt/hwf.deny turned off
    get_config = ctypes.CFUNCTYPE(_POINTER, _INT, _STRING)(("gcry_get_config", dll))
    free = ctypes.CFUNCTYPE(None, _POINTER)(("gcry_free", dll))
    address = get_config(0, b"hwflist")
    if not address:
        return frozenset()
    try:
        return frozenset(ctypes.string_at(address).decode("ascii").rstrip(":\n").split(":")[1:])
    finally:
        free(address)


def _functions(dll: ctypes.CDLL) -> _Functions:
    # CFUNCTYPE releases the GIL during the call. The short calls keep it: handing it over costs more.
    def short(name: str, *arguments: type) -> Callable[..., int]:
        return ctypes.PYFUNCTYPE(_UINT, *arguments)((name, dll))

    def long(name: str, *arguments: type) -> Callable[..., int]:
        return ctypes.CFUNCTYPE(_UINT, *arguments)((name, dll))

    buffer = ctypes.POINTER(_Buffer)
    return _Functions(
        open=short("gcry_cipher_open", _POINTER, _INT, _INT, _UINT),
        set_key=short("gcry_cipher_setkey", _POINTER, _STRING, _SIZE),
        set_nonce=short("gcry_cipher_setiv", _POINTER, _STRING, _SIZE),
        authenticate=short("gcry_cipher_authenticate", _POINTER, _STRING, _SIZE),
        encrypt=long("gcry_cipher_encrypt", _POINTER, _POINTER, _SIZE, _POINTER, _SIZE),
        decrypt=long("gcry_cipher_decrypt", _POINTER, _POINTER, _SIZE, _POINTER, _SIZE),
        get_tag=short("gcry_cipher_gettag", _POINTER, _POINTER, _SIZE),
        check_tag=short("gcry_cipher_checktag", _POINTER, _POINTER, _SIZE),
        close=ctypes.PYFUNCTYPE(None, _POINTER)(("gcry_cipher_close", dll)),
        explain=ctypes.PYFUNCTYPE(_STRING, _UINT)(("gcry_strerror", dll)),
        pin=ctypes.PYFUNCTYPE(_INT, ctypes.py_object, buffer, _INT)(("PyObject_GetBuffer", ctypes.pythonapi)),
        unpin=ctypes.PYFUNCTYPE(None, buffer)(("PyBuffer_Release", ctypes.pythonapi)),
    )


class _Pinned:
    """The address and size of a contiguous buffer, held in place inside a ``with`` block."""

    __slots__ = ("_functions", "_view", "address", "size")

    def __init__(self, functions: _Functions, buffer: BytesLike, *, writable: bool = False) -> None:
        view = self._view = _Buffer()
        functions.pin(buffer, view, writable)
        self._functions = functions
        self.address = view.buf or 0
        self.size = view.len

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._functions.unpin(self._view)


class Sm4Gcm:
    """SM4-GCM under one key (16 bytes), on one libgcrypt handle that holds the key schedule.

    Threads may share an instance, but take turns; give each its own to work at the same time. The handle is
    wiped by ``close()`` or when the instance is collected. Raises ``LibgcryptError`` as ``load()`` does, and
    where libgcrypt refuses SM4 (FIPS mode).
    """

    __slots__ = ("_functions", "_handle", "_lock")

    def __init__(self, key: bytes) -> None:
        self._handle: int | None = None
        self._lock = Lock()
        if len(key) != KEY_SIZE:
            raise ValueError(f"an SM4 key has {KEY_SIZE} bytes, not {len(key)}")
        functions = self._functions = load().functions
        handle = _POINTER()
        error = functions.open(ctypes.byref(handle), _SM4, _MODE_GCM, 0)
        if error:
            raise LibgcryptError(f"refuses SM4-GCM, as it does in FIPS mode: {self._explain(error)}")
        self._handle = handle.value
        error = functions.set_key(self._handle, key, KEY_SIZE)
        if error:
            self._fail(error)

    def seal_into(self, nonce: bytes, data: BytesLike, out: bytearray | memoryview, aad: bytes = b"") -> None:
        """See ``Aead.seal_into``."""
        self.seal_run((nonce,), len(data) or 1, data, out, aad)

    def open_into(
        self, nonce: bytes, sealed: BytesLike, out: bytearray | memoryview, aad: bytes = b""
    ) -> None:
        """See ``Aead.open_into``."""
        self.open_run((nonce,), len(sealed) or 1, sealed, out, aad)

    def seal_run(
        self,
        nonces: Sequence[bytes],
        step: int,
        data: BytesLike,
        out: bytearray | memoryview,
        aad: bytes = b"",
    ) -> int:
        """See ``Aead.seal_run``."""
        functions = self._functions
        with (
            self._lock,
            _Pinned(functions, data) as source,
            _Pinned(functions, out, writable=True) as target,
        ):
            handle, size, left = self._open_handle(), step, source.size
            _check_pieces(len(nonces), -(-left // step) or 1)
            _check_room(target.size, left + len(nonces) * TAG_SIZE)
            at, to = source.address, target.address
            for nonce in nonces:
                size = min(size, left)
                error = (
                    functions.set_nonce(handle, nonce, len(nonce))
                    or (functions.authenticate(handle, aad, len(aad)) if aad else 0)
                    or functions.encrypt(handle, to, size, at, size)
                    or functions.get_tag(handle, to + size, TAG_SIZE)
                )
                if error:
                    ctypes.memset(to, 0, size)
                    self._fail(error)
                at, to, left = at + size, to + size + TAG_SIZE, left - size
            return to - target.address

    def open_run(
        self,
        nonces: Sequence[bytes],
        step: int,
        sealed: BytesLike,
        out: bytearray | memoryview,
        aad: bytes = b"",
    ) -> int:
        """See ``Aead.open_run``."""
        functions = self._functions
        with (
            self._lock,
            _Pinned(functions, sealed) as source,
            _Pinned(functions, out, writable=True) as target,
        ):
            handle, size, left = self._open_handle(), step - TAG_SIZE, source.size
            _check_pieces(len(nonces), -(-left // step) or 1)
            if left - (len(nonces) - 1) * step < TAG_SIZE:
                raise InvalidTag
            left -= len(nonces) * TAG_SIZE
            _check_room(target.size, left)
            at, to = source.address, target.address
            for nonce in nonces:
                size = min(size, left)
                error = (
                    functions.set_nonce(handle, nonce, len(nonce))
                    or (functions.authenticate(handle, aad, len(aad)) if aad else 0)
                    or functions.decrypt(handle, to, size, at, size)
                    or functions.check_tag(handle, at + size, TAG_SIZE)
                )
                if error:
                    ctypes.memset(to, 0, size)
                    self._fail(error)
                at, to, left = at + size + TAG_SIZE, to + size, left - size
            return to - target.address

    def close(self) -> None:
        """Wipe and free the key (``gcry_cipher_close`` does both). May be called again; nothing else may."""
        with self._lock:
            handle, self._handle = self._handle, None
        if handle is not None:
            self._functions.close(handle)

    def __del__(self) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a cipher holds a key: it cannot be copied or pickled")

    def _open_handle(self) -> int:
        if self._handle is None:
            raise ValueError("the cipher is closed")
        return self._handle

    def _fail(self, error: int) -> NoReturn:
        if error & _CODE_MASK == _CHECKSUM:
            raise InvalidTag
        raise LibgcryptError(f"libgcrypt: {self._explain(error)}")

    def _explain(self, error: int) -> str:
        return self._functions.explain(error).decode("ascii", "replace")


def _check_pieces(nonces: int, pieces: int) -> None:
    if nonces != pieces:
        raise ValueError(f"{pieces} pieces need as many nonces, not {nonces}")


def _check_room(given: int, needed: int) -> None:
    # ctypes would write past the end
    if given < needed:
        raise ValueError(f"the output buffer has {given} bytes and needs {needed}")
