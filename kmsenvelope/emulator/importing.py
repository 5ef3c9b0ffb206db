"""BYOK: wrapping parameters, import and deletion of a CMK's material."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from cryptography.hazmat.primitives import constant_time

from . import errors as e
from .asymmetric import load_private_key, new_key_pair
from .call import Call, material_name
from .delivery import RSA_PADDINGS
from .errors import EngineError
from .lifecycle import check_unbound, material_size
from .records import DAY, DECRYPT_RSA, ENABLED, EXTERNAL, PENDING_DELETE, PENDING_IMPORT, ImportToken, Key

LATEST_VALID_TO = 2147443200
"""The API's upper limit of ``ValidTo``, unix seconds."""

_TOKEN_LIFE = DAY
_WRAPPING, _FINGERPRINT = "wrapping", "fingerprint"


def get_parameters(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """A public key and a token, valid for 24 hours, to import with (API: GetParametersForImport)."""
    key = _external(call, p, "GetParametersForImport")
    if call.policy.import_supersession:
        _supersede(call, key)
    private, public = new_key_pair(DECRYPT_RSA)
    token_id = base64.b64encode(call.random(96)).decode()
    token = ImportToken(
        region=call.region,
        id=token_id,
        name=token_id,
        key_id=key.id,
        algorithm=p["WrappingAlgorithm"],
        valid_to=call.now + _TOKEN_LIFE,
    )
    call.tx.add(token)
    call.tx.set_secret(token.id, _WRAPPING, private)
    return {
        "KeyId": key.id,
        "ImportToken": token.id,
        "PublicKey": base64.b64encode(public).decode(),
        "ParametersValidTo": token.valid_to,
    }


def _supersede(call: Call, key: Key) -> None:
    for token in call.tx.all(ImportToken, call.region):
        if token.key_id == key.id and not token.superseded:
            token.superseded = True
            call.tx.save(token)
            call.tx.drop_secret(token.id, _WRAPPING)


def import_material(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """Give an external CMK its material; later ever only the same one (API: ImportKeyMaterial)."""
    key = _external(call, p, "ImportKeyMaterial")
    valid_to = p["ValidTo"]
    if valid_to and valid_to <= call.now:
        raise EngineError(e.INVALID_PARAMETER, "ValidTo must be in the future, or 0 for never", key.id)
    material = _unwrap(call, key, _valid_token(call, key, p["ImportToken"]), p["EncryptedKeyMaterial"])
    fingerprint = hashlib.sha256(material).digest()
    earlier = call.tx.secret(key.id, _FINGERPRINT)
    if earlier is not None and not constant_time.bytes_eq(earlier, fingerprint):
        message = "this is not the material that was imported into the key before"
        raise EngineError(e.MATERIAL_NOT_MATCH, message, key.id)
    call.tx.set_secret(key.id, _FINGERPRINT, fingerprint)
    call.tx.set_secret(key.id, material_name(key.version), material)
    key.has_material, key.valid_to, key.state = True, valid_to, ENABLED
    call.tx.save(key)
    return {}


def _valid_token(call: Call, key: Key, token_id: str) -> ImportToken:
    token = call.tx.get(ImportToken, call.region, token_id)
    if token is None or token.key_id != key.id:
        raise EngineError(e.INVALID_PARAMETER, "the import token is not one of this key", key.id)
    if token.valid_to <= call.now:
        raise EngineError(e.TOKEN_EXPIRED, "the import token has expired", key.id)
    if token.superseded:
        message = "the import token was superseded by a later GetParametersForImport"
        raise EngineError(call.policy.superseded_token, message, key.id)
    return token


def _unwrap(call: Call, key: Key, token: ImportToken, wrapped: bytes) -> bytes:
    private = load_private_key(call.tx.secret(token.id, _WRAPPING) or b"")
    try:
        material: bytes = private.decrypt(wrapped, RSA_PADDINGS[token.algorithm])
    except ValueError:
        message = f"the material is not encrypted by {token.algorithm} with the public key of this token"
        raise EngineError(e.DECRYPT_MATERIAL, message, key.id) from None
    if len(material) != material_size(call):
        message = f"the material must have {material_size(call)} bytes in {call.region}"
        raise EngineError(call.policy.wrong_material_length, message, key.id)
    return material


def delete_material(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """Forget the imported material at once (API: DeleteImportedKeyMaterial)."""
    key = check_unbound(_external(call, p, "DeleteImportedKeyMaterial"))
    drop_material(call, key)
    call.tx.save(key)
    return {}


def drop_material(call: Call, key: Key) -> None:
    """Forget imported material; the caller saves the key. A pending deletion stays pending."""
    call.tx.drop_secret(key.id, material_name(key.version))
    key.has_material = False
    key.valid_to = 0
    if key.state != PENDING_DELETE:
        key.state = PENDING_IMPORT


def _external(call: Call, p: dict[str, Any], operation: str) -> Key:
    key = call.key(p["KeyId"], "Describe")
    if key.origin != EXTERNAL:
        raise EngineError(e.NOT_EXTERNAL, f"the material of {key.id} was made by the KMS", key.id)
    return call.key(p["KeyId"], operation)
