"""Signatures with asymmetric CMKs: RSA PKCS #1 and PSS, ECDSA, SM2."""

from __future__ import annotations

import base64
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, HashAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_public_key

from . import errors as e
from .asymmetric import SIGNATURE_ALGORITHMS, check_usage_offered, load_private_key, private_der
from .call import PUBLIC_KEY, Call
from .errors import EngineError
from .records import SIGN_ECC, SIGN_ECDSA384, SIGN_RSA_2048, SIGN_RSA_3072, SIGN_SM2, Key

_SM2DSA = "SM2DSA"
_PSS = "RSA_PSS_SHA_256"
_PKCS1 = "RSA_PKCS1_SHA_256"
_ALGORITHMS: dict[str, tuple[str, ...]] = {
    SIGN_SM2: (_SM2DSA,),
    SIGN_ECC: ("ECC_P256_R1",),
    SIGN_RSA_2048: (_PSS, _PKCS1),
    SIGN_RSA_3072: (_PSS, _PKCS1),
    SIGN_ECDSA384: ("ECDSA384_SHA384",),
}
ALGORITHMS = tuple(dict.fromkeys(name for names in _ALGORITHMS.values() for name in names))


def sign(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """A signature of a message or of its digest (API: SignByAsymmetricKey)."""
    key = _key(call, p, "Sign")
    if p["Algorithm"] == _SM2DSA:
        signature = _sm2_sign(call, key, p)
    else:
        private = load_private_key(private_der(call, key))
        signature = private.sign(p["Message"], *_scheme(call, p))
    return {"Signature": base64.b64encode(signature).decode()}


def verify(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """Whether a signature is the key's; a wrong one is no error (API: VerifyByAsymmetricKey)."""
    key = _key(call, p, "Verify")
    public_der = call.tx.secret(key.id, PUBLIC_KEY) or b""
    if p["Algorithm"] == _SM2DSA:
        return {"SignatureValid": _sm2_verify(public_der, p)}
    public: Any = load_der_public_key(public_der)
    try:
        public.verify(p["SignatureValue"], p["Message"], *_scheme(call, p, any_salt=True))
    except InvalidSignature:
        return {"SignatureValid": False}
    return {"SignatureValid": True}


def _key(call: Call, p: dict[str, Any], operation: str) -> Key:
    key = call.key(p["KeyId"], operation, *SIGNATURE_ALGORITHMS)
    if p["Algorithm"] not in _ALGORITHMS[key.usage]:
        fitting = ", ".join(_ALGORITHMS[key.usage])
        raise EngineError(e.INVALID_PARAMETER, f"Algorithm must be one of: {fitting}", key.id)
    check_usage_offered(call, key.usage)
    size = 48 if key.usage == SIGN_ECDSA384 else 32
    if p["MessageType"] == "DIGEST" and len(p["Message"]) != size:
        raise EngineError(e.INVALID_PARAMETER, f"a digest must have {size} bytes", key.id)
    return key


def _scheme(call: Call, p: dict[str, Any], *, any_salt: bool = False) -> tuple[Any, ...]:
    """The arguments after the message of cryptography's ``sign`` and ``verify``."""
    algorithm = p["Algorithm"]
    hashed: HashAlgorithm = SHA384() if algorithm == "ECDSA384_SHA384" else SHA256()
    how = Prehashed(hashed) if p["MessageType"] == "DIGEST" else hashed
    if algorithm == _PSS:
        salt = padding.PSS.DIGEST_LENGTH if call.policy.pss_salt == "digest" else padding.PSS.MAX_LENGTH
        return padding.PSS(padding.MGF1(SHA256()), padding.PSS.AUTO if any_salt else salt), how
    if algorithm == _PKCS1:
        return padding.PKCS1v15(), how
    return (ec.ECDSA(how),)


def _sm2_sign(call: Call, key: Key, p: dict[str, Any]) -> bytes:
    from ..kms.sm2 import SM2PrivateKey

    private = SM2PrivateKey.from_der(private_der(call, key))
    return private.sign_digest(p["Message"]) if p["MessageType"] == "DIGEST" else private.sign(p["Message"])


def _sm2_verify(public_der: bytes, p: dict[str, Any]) -> bool:
    from ..kms.sm2 import SM2PublicKey

    public = SM2PublicKey.from_der(public_der)
    verify_it = public.verify_digest if p["MessageType"] == "DIGEST" else public.verify
    return verify_it(p["SignatureValue"], p["Message"])
