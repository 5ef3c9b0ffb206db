"""The three cipher suites of format version 1."""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class Suite(StrEnum):
    """A suite, by its public name: ``Suite("SM4-GCM")``; equal to that name as a string.

    Attributes: ``id`` (the byte in the header), ``aead_name`` (bound into the key derivation), ``hash_name``
    (HKDF-Expand's hash), ``key_size`` (bytes of a DEK). Source: C2SP chunked-encryption v1; RFC 8998 for the
    name of SM4-GCM.
    """

    id: int
    aead_name: str
    hash_name: str
    key_size: int

    AES_256_GCM = "AES-256-GCM", 0x01, "AEAD_AES_256_GCM", "SHA512", 32
    AES_128_GCM = "AES-128-GCM", 0x02, "AEAD_AES_128_GCM", "SHA512", 16
    SM4_GCM = "SM4-GCM", 0x03, "AEAD_SM4_GCM", "SM3", 16

    # The defaults are for type checkers, which take Suite("SM4-GCM") for a call of this.
    def __new__(
        cls, name: str, suite_id: int = 0, aead_name: str = "", hash_name: str = "", key_size: int = 0
    ) -> Self:
        suite = str.__new__(cls, name)
        suite._value_ = name
        suite.id = suite_id
        suite.aead_name = aead_name
        suite.hash_name = hash_name
        suite.key_size = key_size
        return suite

    @classmethod
    def _missing_(cls, value: object) -> Suite:
        raise ValueError(f"unknown suite {value!r}: choose one of {', '.join(cls)}")


DEFAULT_SUITE = Suite.AES_256_GCM

BY_ID = {suite.id: suite for suite in Suite}
