"""Asymmetric CMKs: public keys, decryption, signatures, delivery to a public key, algorithms by region."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)

from kmsenvelope.emulator.engine import Engine, EngineError, Policy
from kmsenvelope.emulator.store import Store
from kmsenvelope.kms.sm2 import SM2PrivateKey, SM2PublicKey

PADDINGS = {
    "RSAES_PKCS1_V1_5": padding.PKCS1v15(),
    "RSAES_OAEP_SHA_1": padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None),
    "RSAES_OAEP_SHA_256": padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None),
}
SIGNERS = [
    ("ASYMMETRIC_SIGN_VERIFY_SM2", "SM2DSA"),
    ("ASYMMETRIC_SIGN_VERIFY_ECC", "ECC_P256_R1"),
    ("ASYMMETRIC_SIGN_VERIFY_RSA_2048", "RSA_PSS_SHA_256"),
    ("ASYMMETRIC_SIGN_VERIFY_RSA_2048", "RSA_PKCS1_SHA_256"),
    ("ASYMMETRIC_SIGN_VERIFY_RSA_3072", "RSA_PSS_SHA_256"),
    ("ASYMMETRIC_SIGN_VERIFY_ECDSA384", "ECDSA384_SHA384"),
]


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def code(engine: Engine, action: str, **params: object) -> str:
    with pytest.raises(EngineError) as caught:
        engine.call(action, params)
    return caught.value.code


@pytest.fixture
def engine():
    with Store() as store:
        yield Engine(store)


def create(engine: Engine, usage: str) -> str:
    return engine.call("CreateKey", {"Alias": usage[-20:], "KeyUsage": usage})["KeyId"]


def public_der(engine: Engine, key_id: str) -> bytes:
    return base64.b64decode(engine.call("GetPublicKey", {"KeyId": key_id})["PublicKey"])


@pytest.mark.parametrize("algorithm", PADDINGS)
def test_rsa_decryption_of_what_the_public_key_encrypted(engine, algorithm):
    key_id = create(engine, "ASYMMETRIC_DECRYPT_RSA_2048")
    public = load_der_public_key(public_der(engine, key_id))
    assert public.key_size == 2048
    request = {"KeyId": key_id, "Algorithm": algorithm}
    sealed = b64(public.encrypt(b"test\n", PADDINGS[algorithm]))
    assert engine.call("AsymmetricRsaDecrypt", request | {"Ciphertext": sealed}) == {
        "KeyId": key_id,
        "Plaintext": "dGVzdAo=",
    }


def test_rsa_decryption_of_anything_else_fails(engine):
    key_id = create(engine, "ASYMMETRIC_DECRYPT_RSA_2048")
    public = load_der_public_key(public_der(engine, key_id))
    request = {"KeyId": key_id, "Algorithm": "RSAES_OAEP_SHA_256"}
    for bad in (os.urandom(256), b"short", public.encrypt(b"x", PADDINGS["RSAES_OAEP_SHA_1"])):
        assert (
            code(engine, "AsymmetricRsaDecrypt", **request, Ciphertext=b64(bad))
            == "FailedOperation.DecryptError"
        )
    assert code(engine, "AsymmetricRsaDecrypt", **request, Ciphertext="!") == "InvalidParameter"
    other = {"KeyId": key_id, "Algorithm": "RSA_OAEP", "Ciphertext": "YQ=="}
    assert code(engine, "AsymmetricRsaDecrypt", **other) == "InvalidParameter"


def test_sm2_decryption_of_what_the_public_key_encrypted(engine):
    key_id = create(engine, "ASYMMETRIC_DECRYPT_SM2")
    public = SM2PublicKey.from_der(public_der(engine, key_id))
    sealed = public.encrypt(b"test")
    opened = engine.call("AsymmetricSm2Decrypt", {"KeyId": key_id, "Ciphertext": b64(sealed)})
    assert opened == {"KeyId": key_id, "Plaintext": b64(b"test")}
    changed = sealed[:-1] + bytes([sealed[-1] ^ 1])
    request = {"KeyId": key_id, "Ciphertext": b64(changed)}
    assert code(engine, "AsymmetricSm2Decrypt", **request) == "FailedOperation.DecryptError"
    request["Ciphertext"] = b64(bytes(257))
    assert code(engine, "AsymmetricSm2Decrypt", **request) == "InvalidParameter"


def test_public_key_pem_has_the_documented_oddity_for_rsa_only(engine):
    key_id = create(engine, "ASYMMETRIC_DECRYPT_RSA_2048")
    pem = engine.call("GetPublicKey", {"KeyId": key_id})["PublicKeyPem"]
    body = "".join(pem.splitlines()[1:-1])
    assert base64.b64decode(base64.b64decode(body)) == public_der(engine, key_id)
    plain = Engine(engine.store, policy=Policy(rsa_pem_double_base64=False))
    pem = plain.call("GetPublicKey", {"KeyId": key_id})["PublicKeyPem"]
    assert load_pem_public_key(pem.encode()) == load_der_public_key(public_der(engine, key_id))
    ecc = create(engine, "ASYMMETRIC_SIGN_VERIFY_ECC")
    pem = engine.call("GetPublicKey", {"KeyId": ecc})["PublicKeyPem"]
    assert load_pem_public_key(pem.encode()) == load_der_public_key(public_der(engine, ecc))


@pytest.mark.parametrize(("usage", "algorithm"), SIGNERS)
def test_signatures_verify_and_altered_ones_do_not(engine, usage, algorithm):
    key_id = create(engine, usage)
    request = {"KeyId": key_id, "Algorithm": algorithm, "Message": b64(b"message")}
    signature = engine.call("SignByAsymmetricKey", request)["Signature"]
    check = request | {"SignatureValue": signature}
    assert engine.call("VerifyByAsymmetricKey", check) == {"SignatureValid": True}
    other = check | {"Message": b64(b"Message")}
    assert engine.call("VerifyByAsymmetricKey", other) == {"SignatureValid": False}
    raw = bytearray(base64.b64decode(signature))
    raw[-1] ^= 1
    altered = check | {"SignatureValue": b64(bytes(raw))}
    assert engine.call("VerifyByAsymmetricKey", altered) == {"SignatureValid": False}
    garbage = check | {"SignatureValue": "YQ=="}
    assert engine.call("VerifyByAsymmetricKey", garbage) == {"SignatureValid": False}


@pytest.mark.parametrize(("usage", "algorithm"), SIGNERS)
def test_a_signature_of_the_digest_is_one_of_the_message(engine, usage, algorithm):
    key_id = create(engine, usage)
    message = b"message"
    if algorithm == "SM2DSA":
        digest = SM2PublicKey.from_der(public_der(engine, key_id)).digest(message)
    else:
        digest = hashlib.new("sha384" if "384" in algorithm else "sha256", message).digest()
    request = {"KeyId": key_id, "Algorithm": algorithm}
    signed = engine.call("SignByAsymmetricKey", request | {"Message": b64(digest), "MessageType": "DIGEST"})[
        "Signature"
    ]
    check = request | {"Message": b64(message), "SignatureValue": signed}
    assert engine.call("VerifyByAsymmetricKey", check) == {"SignatureValid": True}
    short = request | {"Message": b64(digest[:-1]), "MessageType": "DIGEST"}
    assert code(engine, "SignByAsymmetricKey", **short) == "InvalidParameter"


def test_others_verify_what_the_engine_signed(engine):
    key_id = create(engine, "ASYMMETRIC_SIGN_VERIFY_RSA_2048")
    public = load_der_public_key(public_der(engine, key_id))
    assert isinstance(public, rsa.RSAPublicKey)
    request = {"KeyId": key_id, "Algorithm": "RSA_PSS_SHA_256", "Message": b64(b"m")}
    signature = base64.b64decode(engine.call("SignByAsymmetricKey", request)["Signature"])
    public.verify(signature, b"m", padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
    longest = Engine(engine.store, policy=Policy(pss_salt="max"))
    signature = base64.b64decode(longest.call("SignByAsymmetricKey", request)["Signature"])
    with pytest.raises(InvalidSignature):
        public.verify(signature, b"m", padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
    check = request | {"SignatureValue": b64(signature)}
    assert engine.call("VerifyByAsymmetricKey", check) == {"SignatureValid": True}
    ecc = create(engine, "ASYMMETRIC_SIGN_VERIFY_ECC")
    request = {"KeyId": ecc, "Algorithm": "ECC_P256_R1", "Message": b64(b"m")}
    signature = base64.b64decode(engine.call("SignByAsymmetricKey", request)["Signature"])
    public_ecc = load_der_public_key(public_der(engine, ecc))
    assert isinstance(public_ecc, ec.EllipticCurvePublicKey)
    public_ecc.verify(signature, b"m", ec.ECDSA(hashes.SHA256()))


def test_keys_do_only_what_they_are_for(engine):
    symmetric = engine.call("CreateKey", {"Alias": "symmetric"})["KeyId"]
    decrypt_rsa = create(engine, "ASYMMETRIC_DECRYPT_RSA_2048")
    sign_ecc = create(engine, "ASYMMETRIC_SIGN_VERIFY_ECC")
    wrong = "InvalidParameterValue.InvalidKeyUsage"
    assert code(engine, "GetPublicKey", KeyId=symmetric) == wrong
    assert code(engine, "Encrypt", KeyId=decrypt_rsa, Plaintext="YQ==") == wrong
    assert code(engine, "GenerateDataKey", KeyId=sign_ecc, KeySpec="AES_256") == wrong
    request = {"Ciphertext": "YQ==", "Algorithm": "RSAES_OAEP_SHA_256"}
    assert code(engine, "AsymmetricRsaDecrypt", KeyId=sign_ecc, **request) == wrong
    assert code(engine, "AsymmetricSm2Decrypt", KeyId=decrypt_rsa, Ciphertext="YQ==") == wrong
    message = {"Message": "YQ==", "Algorithm": "ECC_P256_R1"}
    assert code(engine, "SignByAsymmetricKey", KeyId=decrypt_rsa, **message) == wrong
    assert code(engine, "SignByAsymmetricKey", KeyId=sign_ecc, Message="YQ==", Algorithm="SM2DSA") == (
        "InvalidParameter"
    )
    assert code(engine, "CreateKey", Alias="x", KeyUsage="NOPE") == wrong


def test_a_disabled_key_neither_signs_nor_decrypts(engine):
    key_id = create(engine, "ASYMMETRIC_SIGN_VERIFY_ECC")
    engine.call("DisableKey", {"KeyId": key_id})
    request = {"KeyId": key_id, "Algorithm": "ECC_P256_R1", "Message": "YQ=="}
    refused = "ResourceUnavailable.CmkStateNotSupport"
    assert code(engine, "SignByAsymmetricKey", **request) == refused
    assert code(engine, "VerifyByAsymmetricKey", **request, SignatureValue="YQ==") == refused
    assert code(engine, "GetPublicKey", KeyId=key_id) == refused


def test_message_limits(engine):
    key_id = create(engine, "ASYMMETRIC_SIGN_VERIFY_ECC")
    request = {"KeyId": key_id, "Algorithm": "ECC_P256_R1"}
    engine.call("SignByAsymmetricKey", request | {"Message": b64(bytes(4096))})
    assert code(engine, "SignByAsymmetricKey", **request, Message=b64(bytes(4097))) == "InvalidParameter"


def pem_of(public: rsa.RSAPublicKey) -> str:
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.mark.parametrize("algorithm", PADDINGS)
def test_data_keys_are_delivered_to_an_rsa_public_key(engine, algorithm):
    key_id = engine.call("CreateKey", {"Alias": "demo"})["KeyId"]
    private = rsa.generate_private_key(65537, 2048)
    to = {"EncryptionPublicKey": pem_of(private.public_key()), "EncryptionAlgorithm": algorithm}
    made = engine.call("GenerateDataKey", {"KeyId": key_id, "KeySpec": "AES_256"} | to)
    data_key = private.decrypt(base64.b64decode(made["Plaintext"]), PADDINGS[algorithm])
    opened = engine.call("Decrypt", {"CiphertextBlob": made["CiphertextBlob"]})
    assert base64.b64decode(opened["Plaintext"]) == data_key
    again = engine.call("Decrypt", {"CiphertextBlob": made["CiphertextBlob"]} | to)
    assert private.decrypt(base64.b64decode(again["Plaintext"]), PADDINGS[algorithm]) == data_key


def sm2_pem(private: SM2PrivateKey) -> str:
    body = b64(private.public_key().to_der())
    return f"-----BEGIN PUBLIC KEY-----\n{body[:64]}\n{body[64:]}\n-----END PUBLIC KEY-----\n"


def test_data_keys_are_delivered_to_an_sm2_public_key(engine):
    key_id = engine.call("CreateKey", {"Alias": "demo"})["KeyId"]
    private = SM2PrivateKey.generate()
    request = {"KeyId": key_id, "NumberOfBytes": 32, "EncryptionPublicKey": sm2_pem(private)}
    made = engine.call("GenerateDataKey", request)
    sealed = base64.b64decode(made["Plaintext"])
    assert len(sealed) == 128
    opened = base64.b64decode(engine.call("Decrypt", {"CiphertextBlob": made["CiphertextBlob"]})["Plaintext"])
    assert private.decrypt_raw(sealed) == opened
    made = engine.call("GenerateDataKey", request | {"EncryptionAlgorithm": "SM2_C1C3C2_ASN1"})
    assert len(private.decrypt(base64.b64decode(made["Plaintext"]))) == 32
    prefixed = Engine(engine.store, policy=Policy(sm2_raw_prefix=True))
    assert len(base64.b64decode(prefixed.call("GenerateDataKey", request)["Plaintext"])) == 129


def test_bad_delivery_keys(engine):
    key_id = engine.call("CreateKey", {"Alias": "demo"})["KeyId"]
    pem = pem_of(rsa.generate_private_key(65537, 2048).public_key())
    long_pem = pem_of(rsa.generate_private_key(65537, 3072).public_key())
    request = {"KeyId": key_id, "NumberOfBytes": 32}
    rsa_algorithm = {"EncryptionAlgorithm": "RSAES_OAEP_SHA_256"}
    for extra in (
        {"EncryptionPublicKey": pem},  # the default algorithm is SM2
        {"EncryptionPublicKey": "x"} | rsa_algorithm,
        {"EncryptionPublicKey": long_pem} | rsa_algorithm,
        {"EncryptionPublicKey": sm2_pem(SM2PrivateKey.generate())} | rsa_algorithm,
        {"EncryptionPublicKey": pem, "EncryptionAlgorithm": "AES"},
    ):
        assert code(engine, "GenerateDataKey", **request, **extra) == "InvalidParameter"
    request["NumberOfBytes"] = 191
    too_long = {"EncryptionPublicKey": pem} | rsa_algorithm
    assert code(engine, "GenerateDataKey", **request, **too_long) == "FailedOperation.EncryptionError"


def test_without_the_gm_extra_sm2_is_not_offered():
    script = """
import sys
sys.modules["gmssl"] = None
from kmsenvelope.emulator.engine import Engine, EngineError
from kmsenvelope.emulator.store import Store
with Store() as store:
    engine = Engine(store)
    for usage in ("ASYMMETRIC_DECRYPT_SM2", "ASYMMETRIC_SIGN_VERIFY_SM2"):
        try:
            engine.call("CreateKey", {"Alias": "x", "KeyUsage": usage})
        except EngineError as error:
            print(error.code)
    print("SM2" in str(engine.call("ListAlgorithms", {})))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    refused = "UnsupportedOperation.UnsupportedKeyUsageInCurrentRegion"
    assert done.stdout.split() == [refused, refused, "False"]


def test_post_quantum_keys_are_not_offered(engine):
    for usage in ("ASYMMETRIC_Encrypt_Decrypt_Kyber_AES", "ASYMMETRIC_SIGN_VERIFY_DILITHIUM"):
        assert code(engine, "CreateKey", Alias="x", KeyUsage=usage) == (
            "UnsupportedOperation.UnsupportedKeyUsageInCurrentRegion"
        )
    key_id = engine.call("CreateKey", {"Alias": "demo"})["KeyId"]
    wrong = "InvalidParameterValue.InvalidKeyUsage"
    assert code(engine, "PostQuantumCryptoEncrypt", KeyId=key_id, PlainText="YQ==") == wrong
    assert code(engine, "PostQuantumCryptoSign", KeyId=key_id, Message="YQ==") == wrong
    assert (
        code(engine, "PostQuantumCryptoVerify", KeyId=key_id, Message="YQ==", SignatureValue="YQ==") == wrong
    )
    assert code(engine, "PostQuantumCryptoDecrypt", CiphertextBlob="YQ==") == (
        "InvalidParameterValue.InvalidCiphertext"
    )


def test_algorithms_depend_on_the_region():
    policy = Policy(sm_regions=frozenset({"ap-shanghai"}), sm2_in_fips_regions=False)
    with Store() as store:
        sm = Engine(store, region="ap-shanghai", policy=policy).call("ListAlgorithms", {})
        fips_engine = Engine(store, region="ap-hongkong", policy=policy)
        fips = fips_engine.call("ListAlgorithms", {})
        assert sm["SymmetricAlgorithms"] == [{"KeyUsage": "ENCRYPT_DECRYPT", "Algorithm": "SM4"}]
        assert fips["SymmetricAlgorithms"] == [{"KeyUsage": "ENCRYPT_DECRYPT", "Algorithm": "AES_256"}]
        usages = [each["KeyUsage"] for each in sm["AsymmetricAlgorithms"]]
        assert usages == ["ASYMMETRIC_DECRYPT_RSA_2048", "ASYMMETRIC_DECRYPT_SM2"]
        assert [each["KeyUsage"] for each in fips["AsymmetricAlgorithms"]] == ["ASYMMETRIC_DECRYPT_RSA_2048"]
        assert code(fips_engine, "CreateKey", Alias="x", KeyUsage="ASYMMETRIC_DECRYPT_SM2") == (
            "UnsupportedOperation.UnsupportedKeyUsageInCurrentRegion"
        )


def test_service_questions(engine):
    status = engine.call("GetServiceStatus", {})
    assert status["ServiceEnabled"] is True
    assert status["CmkLimit"] == 200
    assert "ap-guangzhou" in engine.call("GetRegions", {})["Regions"]
    assert code(engine, "GetRegions", X=1) == "UnknownParameter"
