"""Asymmetric CMKs: key pairs, public keys, decryption, signatures."""

from __future__ import annotations

import base64
import importlib.util
import textwrap
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

from . import errors as e
from .call import PUBLIC_KEY, Call, material_name
from .delivery import RSA_PADDINGS
from .errors import EngineError
from .records import (
    DECRYPT_RSA,
    DECRYPT_SM2,
    ENCRYPT_DECRYPT,
    SIGN_ECC,
    SIGN_ECDSA384,
    SIGN_RSA_2048,
    SIGN_RSA_3072,
    SIGN_SM2,
    Key,
)

_RSA_BITS = {DECRYPT_RSA: 2048, SIGN_RSA_2048: 2048, SIGN_RSA_3072: 3072}
_CURVES: dict[str, ec.EllipticCurve] = {SIGN_ECC: ec.SECP256R1(), SIGN_ECDSA384: ec.SECP384R1()}
_SM2 = (DECRYPT_SM2, SIGN_SM2)

DECRYPTION_ALGORITHMS = {DECRYPT_RSA: "RSA_2048", DECRYPT_SM2: "SM2"}
SIGNATURE_ALGORITHMS = {
    SIGN_SM2: "SM2",
    SIGN_ECC: "ECC",
    SIGN_RSA_2048: "RSA_2048",
    SIGN_RSA_3072: "RSA_3072",
    SIGN_ECDSA384: "ECDSA384_SHA384",
}
"""Usage to the name that ListAlgorithms gives it."""

_ASYMMETRIC = (*DECRYPTION_ALGORITHMS, *SIGNATURE_ALGORITHMS)


def is_offered(call: Call, usage: str) -> bool:
    """Whether keys of this usage can be made here: SM2 with the ``gm`` extra, post-quantum never."""
    if usage in _SM2:
        in_region = call.policy.sm2_in_fips_regions or call.policy.is_sm(call.region)
        return in_region and importlib.util.find_spec("gmssl") is not None
    return usage == ENCRYPT_DECRYPT or usage in _ASYMMETRIC


def _why_not(usage: str) -> str:
    missing = usage in _SM2 and importlib.util.find_spec("gmssl") is None
    return ": SM2 needs the gm extra, pip install 'kmsenvelope[gm]'" if missing else ""


def check_usage_offered(call: Call, usage: str) -> None:
    """Raises ``EngineError`` if the region has no keys of this usage."""
    if not is_offered(call, usage):
        raise EngineError(e.USAGE_NOT_HERE, f"{usage} is not offered in {call.region}{_why_not(usage)}")


def new_key_pair(usage: str) -> tuple[bytes, bytes]:
    """A private key as PKCS #8 and its public key as SubjectPublicKeyInfo, both DER."""
    if usage in _SM2:
        from ..kms.sm2 import SM2PrivateKey

        sm2 = SM2PrivateKey.generate()
        return sm2.to_der(), sm2.public_key().to_der()
    private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    if usage in _RSA_BITS:
        private = rsa.generate_private_key(65537, _RSA_BITS[usage])
    else:
        private = ec.generate_private_key(_CURVES[usage])
    return (
        private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    )


def load_private_key(der: bytes) -> Any:
    """A private key that this module made: of RSA or a NIST curve."""
    return load_der_private_key(der, None, unsafe_skip_rsa_key_validation=True)


def private_der(call: Call, key: Key) -> bytes:
    """The private key of an asymmetric CMK."""
    der = call.tx.secret(key.id, material_name(key.version))
    assert der is not None, "an asymmetric key is made with its material"
    return der


def get_public_key(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """The public key as DER and PEM (API: GetPublicKey)."""
    key = call.key(p["KeyId"], "GetPublicKey", *_ASYMMETRIC)
    der = call.tx.secret(key.id, PUBLIC_KEY) or b""
    body = base64.b64encode(der)
    doubled = key.usage in _RSA_BITS and call.policy.rsa_pem_double_base64
    lines = textwrap.fill((base64.b64encode(body) if doubled else body).decode(), 64)
    pem = f"-----BEGIN PUBLIC KEY-----\n{lines}\n-----END PUBLIC KEY-----\n"
    return {"KeyId": key.id, "PublicKey": body.decode(), "PublicKeyPem": pem}


def rsa_decrypt(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """Decrypt with the private key (API: AsymmetricRsaDecrypt).

    A wrong PKCS #1 v1.5 ciphertext gives random plaintext instead of an error, as OpenSSL does against
    Bleichenbacher's attack.
    """
    key = call.key(p["KeyId"], "AsymmetricDecrypt", DECRYPT_RSA)
    try:
        data = load_private_key(private_der(call, key)).decrypt(p["Ciphertext"], RSA_PADDINGS[p["Algorithm"]])
    except ValueError:
        raise EngineError(e.DECRYPT_ERROR, "the ciphertext cannot be decrypted", key.id) from None
    return {"KeyId": key.id, "Plaintext": base64.b64encode(data).decode()}


def sm2_decrypt(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """Decrypt an ASN.1 C1C3C2 ciphertext (API: AsymmetricSm2Decrypt)."""
    check_usage_offered(call, DECRYPT_SM2)
    key = call.key(p["KeyId"], "AsymmetricDecrypt", DECRYPT_SM2)
    from ..kms.sm2 import SM2PrivateKey

    try:
        data = SM2PrivateKey.from_der(private_der(call, key)).decrypt(p["Ciphertext"])
    except ValueError:
        raise EngineError(e.DECRYPT_ERROR, "the ciphertext cannot be decrypted", key.id) from None
    return {"KeyId": key.id, "Plaintext": base64.b64encode(data).decode()}


def post_quantum(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """Refuse: no region of the emulator has Kyber or Dilithium keys, so no key can fit."""
    if "KeyId" in p:
        call.key(p["KeyId"], "Describe", "none fits")
    raise EngineError(e.INVALID_CIPHERTEXT, "the ciphertext was not made here")
