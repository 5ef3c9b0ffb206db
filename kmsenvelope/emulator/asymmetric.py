"""Asymmetric CMKs: public keys, decryption, signatures."""

from __future__ import annotations

from kmsenvelope.emulator import errors as e
from kmsenvelope.emulator.call import Call
from kmsenvelope.emulator.errors import EngineError
from kmsenvelope.emulator.records import ENCRYPT_DECRYPT


def check_usage_offered(call: Call, usage: str) -> None:
    """Raises ``EngineError`` if the region has no keys of this usage."""
    if usage != ENCRYPT_DECRYPT:
        raise EngineError(e.USAGE_NOT_HERE, f"{usage} is not offered in {call.region}")


def new_private_key(usage: str) -> bytes:
    """A private key for the usage."""
    raise EngineError(e.USAGE_NOT_HERE, f"{usage} is not offered")
