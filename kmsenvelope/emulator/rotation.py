"""Rotation of symmetric CMKs: new material encrypts, every earlier version still decrypts."""

from __future__ import annotations

from typing import Any

from . import errors as e
from .call import Call, material_name
from .errors import EngineError
from .lifecycle import material_size
from .records import ENCRYPT_DECRYPT, EXTERNAL, Key


def enable_rotation(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """Periodic rotation, every 7 to 365 days (API: EnableKeyRotation)."""
    key = call.key(p["KeyId"], "Describe", ENCRYPT_DECRYPT)
    if key.origin == EXTERNAL:
        raise EngineError(e.EXTERNAL_CANNOT_ROTATE, "a key of imported material cannot rotate", key.id)
    key = call.key(p["KeyId"], "EnableKeyRotation")
    key.rotation_enabled = True
    key.rotate_days = p["RotateDays"]
    call.tx.save(key)
    return {}


def disable_rotation(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """No more periodic rotation (API: DisableKeyRotation)."""
    key = call.key(p["KeyId"], "Describe")
    key.rotation_enabled = False
    call.tx.save(key)
    return {}


def rotation_status(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """Whether periodic rotation is on (API: GetKeyRotationStatus)."""
    return {"KeyRotationEnabled": call.key(p["KeyId"], "Describe").rotation_enabled}


def rotate_key(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """New material now, at most once in 24 hours (API: RotateKey)."""
    key = call.key(p["KeyId"], "Describe")
    if not key.rotation_enabled:
        raise EngineError(e.ROTATE_NOT_SUPPORTED, "rotation is not enabled for this key", key.id)
    key = call.key(p["KeyId"], "RotateKey")
    if key.rotating_until:
        raise EngineError(e.ROTATE_RUNNING, "a rotation of this key is in progress", key.id)
    if key.rotate_requested and call.now - key.rotate_requested < call.policy.rotate_interval_seconds:
        raise EngineError(e.ROTATE_RATE, "this key was rotated in the last 24 hours", key.id)
    key.rotate_requested = call.now
    if call.policy.rotation_seconds:
        key.rotating_until = call.now + call.policy.rotation_seconds
    else:
        add_version(call, key)
    call.tx.save(key)
    return {"TaskId": call.new_id()}


def add_version(call: Call, key: Key) -> None:
    """Give ``key`` new material; the caller saves it."""
    key.version += 1
    key.rotated_at = call.now
    key.rotating_until = 0
    call.tx.set_secret(key.id, material_name(key.version), call.random(material_size(call)))
