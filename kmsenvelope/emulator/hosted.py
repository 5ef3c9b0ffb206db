"""Data keys that the KMS hosts."""

from __future__ import annotations

from typing import Any

from kmsenvelope.emulator.call import Call
from kmsenvelope.emulator.errors import EngineError
from kmsenvelope.emulator.records import Key


def keep(call: Call, p: dict[str, Any], key: Key, blob: str, size: int) -> dict[str, Any]:
    """Host a data key that GenerateDataKey made."""
    raise EngineError("UnsupportedOperation", "data keys are not hosted here", key.id)
