"""How a plaintext leaves the engine: as it is, or enciphered to a public key that the caller gave."""

from __future__ import annotations

import base64
import re
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from . import errors as e
from .call import Call
from .errors import EngineError

RSA_PADDINGS: dict[str, padding.AsymmetricPadding] = {
    "RSAES_PKCS1_V1_5": padding.PKCS1v15(),
    "RSAES_OAEP_SHA_1": padding.OAEP(padding.MGF1(SHA1()), SHA1(), None),  # noqa: S303 - the API's choice
    "RSAES_OAEP_SHA_256": padding.OAEP(padding.MGF1(SHA256()), SHA256(), None),
}
SM2_RAW = "SM2"
SM2_ASN1 = "SM2_C1C3C2_ASN1"


def deliver(call: Call, p: dict[str, Any], plaintext: bytes) -> str:
    """Base64 of ``plaintext``, or of its encryption to ``EncryptionPublicKey``.

    Raises ``EngineError``: InvalidParameter for a key or algorithm that does not fit, EncryptionError for
    more data than the key can take.
    """
    if p["EncryptionPublicKey"] is not None:
        plaintext = _encipher(call, p["EncryptionPublicKey"], p["EncryptionAlgorithm"] or SM2_RAW, plaintext)
    return base64.b64encode(plaintext).decode()


def _encipher(call: Call, pem: str, algorithm: str, plaintext: bytes) -> bytes:
    if algorithm in RSA_PADDINGS:
        public = _load_rsa(pem)
        try:
            return public.encrypt(plaintext, RSA_PADDINGS[algorithm])
        except ValueError:
            raise EngineError(e.ENCRYPTION_ERROR, "the data is too long for EncryptionPublicKey") from None
    return _encipher_sm2(call, pem, algorithm, plaintext)


def _load_rsa(pem: str) -> rsa.RSAPublicKey:
    try:
        public = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        public = None
    if not isinstance(public, rsa.RSAPublicKey) or public.key_size != 2048:
        raise EngineError(e.INVALID_PARAMETER, "EncryptionPublicKey is not an RSA-2048 public key in PEM")
    return public


def _encipher_sm2(call: Call, pem: str, algorithm: str, plaintext: bytes) -> bytes:
    from ..kms.sm2 import SM2PublicKey

    try:
        public = SM2PublicKey.from_der(_pem_content(pem))
    except ValueError:
        message = "EncryptionPublicKey is not an SM2 public key in PEM; for RSA, set EncryptionAlgorithm"
        raise EngineError(e.INVALID_PARAMETER, message) from None
    try:
        if algorithm == SM2_ASN1:
            return public.encrypt(plaintext)
        enciphered = public.encrypt(plaintext, raw=True)
    except ImportError as error:
        raise EngineError(e.ENCRYPTION_ERROR, str(error)) from None
    return enciphered if call.policy.sm2_raw_prefix else enciphered[1:]


def _pem_content(pem: str) -> bytes:
    armour = re.fullmatch(r"\s*-----BEGIN PUBLIC KEY-----([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----\s*", pem)
    if armour is None:
        raise ValueError("not a public key in PEM")
    return base64.b64decode("".join(armour[1].split()), validate=True)
