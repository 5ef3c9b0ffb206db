"""Known answers for SM4-GCM: what a library must get right before it is given data."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

from cryptography.exceptions import InvalidTag

from . import NONCE_SIZE, TAG_SIZE, Aead

# RFC 8998, appendix A.1
RFC8998_KEY = bytes.fromhex("0123456789abcdeffedcba9876543210")
RFC8998_NONCE = bytes.fromhex("00001234567800000000abcd")
RFC8998_AAD = bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
RFC8998_DATA = b"".join(bytes([byte]) * 8 for byte in (0xAA, 0xBB, 0xCC, 0xDD, 0xEE, 0xFF, 0xEE, 0xAA))
RFC8998_SEALED = bytes.fromhex(
    "17f399f08c67d5ee19d0dc9969c4bb7d5fd46fd3756489069157b282bb200735"
    "d82710ca5c22f0ccfa7cbf93d496ac15a56834cbcf98c397b4024a2691233b8d"
    "83de3541e4c2b58177e065a9bf7b62ec"
)

# Long enough for the code that works on 32 blocks at a time, and with a last piece that fills no block.
RUN_STEP = 1040
RUN_DATA = bytes(range(256)) * 9 + b"end"
RUN_NONCES = [bytes([index]) * NONCE_SIZE for index in range(3)]
RUN_SHA256 = "c0782fbeadde27cd088a324a4110997a1782dce3e0fcd74c5344bfdb764fc3bf"


def fault(make: Callable[[bytes], Aead]) -> str:
    """What ``make(key)`` gets wrong, for people; an empty string if it gets all right."""
    aead = make(RFC8998_KEY)
    sealed, opened = bytearray(len(RFC8998_SEALED)), bytearray(len(RFC8998_DATA))
    aead.seal_into(RFC8998_NONCE, RFC8998_DATA, memoryview(sealed), RFC8998_AAD)
    if sealed != RFC8998_SEALED:
        return "does not seal as RFC 8998 does"
    run = bytearray(len(RUN_DATA) + len(RUN_NONCES) * TAG_SIZE)
    aead.seal_run(RUN_NONCES, RUN_STEP, RUN_DATA, run)
    if sha256(run).hexdigest() != RUN_SHA256:
        return "does not seal long data as it must"
    aead.open_into(RFC8998_NONCE, sealed, memoryview(opened), RFC8998_AAD)
    if opened != RFC8998_DATA:
        return "does not open what it sealed"
    sealed[0] ^= 1
    try:
        aead.open_into(RFC8998_NONCE, sealed, memoryview(opened), RFC8998_AAD)
    except InvalidTag:
        return ""
    return "opens altered data"
