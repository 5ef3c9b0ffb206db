"""Which library does SM4-GCM: OpenSSL through cryptography, or libgcrypt where it is good, and why.

libgcrypt is used when its version is at least 1.10, it finds AES-NI or GFNI with AVX and PCLMULQDQ (x86-64),
and it passes the self-test at first use in a process. Then blocks are encrypted in vector registers, without
a table indexed by secrets, and GHASH is carry-less multiplication. Single blocks (the tag's mask, a last
incomplete block) go through GFNI too from 1.11 on, otherwise through an S-box of 256 bytes that is read into
the cache as a whole before each use. OpenSSL's portable SM4 indexes tables of 4 KiB. Where any of this is
missing, OpenSSL is used. Both give the same bytes. ``KMSENVELOPE_SM4=openssl`` or ``libgcrypt`` overrides
the choice.

Source: cipher/sm4.c and cipher/cipher-gcm.c of libgcrypt 1.9 to 1.12; crypto/sm4/sm4.c of OpenSSL.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cache
from typing import NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.backends.openssl import backend

from . import Aead, libgcrypt, openssl, selftest

VARIABLE = "KMSENVELOPE_SM4"
_AUTOMATIC = "1.10.0"

# What libgcrypt's code without tables needs, in the order in which it takes it.
_ALWAYS = {"intel-avx", "intel-pclmul"}
_FAST = (
    ({"intel-gfni", "intel-avx512"}, "GFNI with AVX-512"),
    ({"intel-gfni", "intel-avx2"}, "GFNI with AVX2"),
    ({"intel-aesni", "intel-avx2"}, "AES-NI with AVX2"),
    ({"intel-aesni", "intel-avx"}, "AES-NI with AVX"),
)


class Provider(NamedTuple):
    """One library that may do SM4-GCM.

    ``make`` makes an ``Aead`` from a key and is None where the library cannot be used; ``good`` is whether it
    is the better choice; ``reason`` says why or why not, for people.
    """

    name: str
    version: str
    make: Callable[[bytes], Aead] | None
    good: bool
    reason: str


class Status(NamedTuple):
    """A provider as ``kmsenvelope doctor`` shows it: one line with ``str()``."""

    name: str
    version: str
    usable: bool
    chosen: bool
    reason: str

    def __str__(self) -> str:
        state = "in use" if self.chosen else "available" if self.usable else "not usable"
        title = f"{self.name} {self.version}".rstrip()
        return f"{title}: {state}; {self.reason}"


def sm4_gcm(key: bytes) -> Aead:
    """SM4-GCM under ``key`` (16 bytes) by the chosen provider.

    Raises ``ValueError`` if ``KMSENVELOPE_SM4`` names no provider or one that cannot be used, and
    ``cryptography.exceptions.UnsupportedAlgorithm`` where there is none at all.
    """
    return _maker(os.environ.get(VARIABLE, ""))(key)


def sm4_providers() -> tuple[Provider, ...]:
    """Every provider that this version knows, usable here or not, in order of preference."""
    return tuple(examine() for examine in _PROVIDERS.values())


def sm4_status(forced: str | None = None) -> tuple[Status, ...]:
    """What each provider is, whether it is in use, and why. ``forced`` is read from the environment if None.

    Raises what ``sm4_gcm`` raises.
    """
    forced = os.environ.get(VARIABLE, "") if forced is None else forced
    chosen = choose(forced)
    asked = f"{VARIABLE} asks for it; " if forced else ""
    return tuple(
        Status(
            provider.name,
            provider.version,
            usable=provider.make is not None,
            chosen=provider.name == chosen.name,
            reason=asked + provider.reason if provider.name == chosen.name else provider.reason,
        )
        for provider in sm4_providers()
    )


def choose(forced: str = "", providers: Mapping[str, Callable[[], Provider]] | None = None) -> Provider:
    """The provider to use; ``forced`` names one, or is empty for the best. Raises what ``sm4_gcm`` raises.

    A library that is not asked for is not even loaded.
    """
    providers = _PROVIDERS if providers is None else providers
    if forced:
        if forced not in providers:
            raise ValueError(f"{VARIABLE}={forced}: set it to {' or '.join(providers)}, or leave it unset")
        provider = providers[forced]()
        if provider.make is None:
            raise ValueError(f"{VARIABLE}={forced}: {forced} cannot be used here: {provider.reason}")
        return provider
    examined = [examine() for examine in providers.values()]
    usable = [provider for provider in examined if provider.make]
    if not usable:
        reasons = "; ".join(f"{provider.name}: {provider.reason}" for provider in examined)
        raise UnsupportedAlgorithm(f"no library here does SM4-GCM: {reasons}")
    return next((provider for provider in usable if provider.good), usable[-1])


@cache
def _maker(forced: str) -> Callable[[bytes], Aead]:
    make = choose(forced).make
    assert make is not None
    return make


@cache
def examine_openssl() -> Provider:
    """The state of the OpenSSL that cryptography brings."""
    version = backend.openssl_version_text().removeprefix("OpenSSL ").partition(" ")[0]
    try:
        fault = selftest.fault(openssl.Sm4Gcm)
    except UnsupportedAlgorithm:
        fault = "is built without SM4"
    if fault:
        return Provider("openssl", version, None, good=False, reason=fault)
    return Provider("openssl", version, openssl.Sm4Gcm, good=True, reason="comes with cryptography")


@cache
def examine_libgcrypt(soname: str = libgcrypt.SONAME) -> Provider:
    """The state of libgcrypt on this machine; loads it."""
    version = ""
    try:
        library = libgcrypt.load(soname)
        version = library.version
        fault = selftest.fault(libgcrypt.Sm4Gcm)
    except libgcrypt.LibgcryptError as error:
        fault = str(error)
    if fault:
        return Provider("libgcrypt", version, None, good=False, reason=fault)
    good, reason = judge(library.at_least(_AUTOMATIC), library.features)
    return Provider("libgcrypt", version, libgcrypt.Sm4Gcm, good, reason)


def judge(recent: bool, features: frozenset[str]) -> tuple[bool, str]:
    """Whether libgcrypt is the better choice, and why: ``features`` are the processor's that it uses."""
    if not recent:
        return False, "older than 1.10"
    if not any(feature.startswith("intel-") for feature in features):
        return False, "not used unasked on processors other than x86-64"
    fast = next((name for needed, name in _FAST if needed <= features), None)
    if fast and features >= _ALWAYS:
        return True, fast
    return False, "finds no AES-NI or GFNI with AVX and PCLMULQDQ here, so it would use lookup tables"


_PROVIDERS: Mapping[str, Callable[[], Provider]] = {
    "libgcrypt": examine_libgcrypt,
    "openssl": examine_openssl,
}
