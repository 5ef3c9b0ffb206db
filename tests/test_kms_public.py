"""Public keys as recipients: RSA, SM2 and hybrid; fetched, pinned, refused; and local private keys."""

from __future__ import annotations

import base64
import copy
import pickle
from collections.abc import Callable, Iterator

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from kmsenvelope.errors import AuthenticationError, KmsError
from kmsenvelope.header import Header, Recipient, decode_header
from kmsenvelope.kms.asymmetric import HYBRID, RSA_OAEP, SM2_ASN1
from kmsenvelope.kms.local import LocalKms
from kmsenvelope.kms.pem import write_pem
from kmsenvelope.kms.private import PrivateKey
from kmsenvelope.kms.public import PublicKey
from kmsenvelope.kms.sm2 import SM2PrivateKey
from kmsenvelope.kms.xwing import XWingPrivateKey, XWingPublicKey
from kmsenvelope.suites import Suite

PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER
SPKI = serialization.PublicFormat.SubjectPublicKeyInfo
PKCS8 = serialization.PrivateFormat.PKCS8
DEK = bytes(range(32))

_rsa = {size: rsa.generate_private_key(65537, size) for size in (1024, 2048, 3072)}
_p256 = ec.generate_private_key(ec.SECP256R1())


def pem_of(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, password: bytes | None = None) -> str:
    protection = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(PEM, PKCS8, protection).decode()


def sm2_pem() -> str:
    return write_pem("PRIVATE KEY", SM2PrivateKey.generate().to_der())


PRIVATE: dict[str, Callable[[], PrivateKey]] = {
    "RSA-2048": lambda: PrivateKey.from_pem(pem_of(_rsa[2048])),
    "RSA-3072": lambda: PrivateKey.from_pem(pem_of(_rsa[3072])),
    "SM2": lambda: PrivateKey.from_pem(sm2_pem()),
    "hybrid": PrivateKey.generate_hybrid,
}

kinds = pytest.mark.parametrize("kind", PRIVATE)


@pytest.fixture
def kms() -> Iterator[LocalKms]:
    with LocalKms() as opened:
        yield opened


@kinds
def test_what_the_public_key_wraps_the_private_key_unwraps(kind: str) -> None:
    private = PRIVATE[kind]()
    public = PublicKey.from_pem(private.public_key.to_pem())
    assert public == private.public_key
    recipient = public.wrap(DEK, '{"a":"b"}')
    assert recipient.kms == "local-key"
    assert recipient.key_id == public.fingerprint
    assert recipient.alg == public.alg
    assert private.unwrap(recipient, None) == DEK
    assert private.unwrap(private.wrap(DEK, None), None) == DEK
    assert public.wrap(DEK, None).wrapped != recipient.wrapped
    header = Header(Suite.AES_256_GCM, (recipient,))
    assert decode_header(header.encode())[0] == header


@kinds
def test_small_data_is_encrypted_up_to_the_limit_of_the_key(kind: str) -> None:
    private = PRIVATE[kind]()
    public = private.public_key
    limit = public.max_size or 10_000
    assert limit == {"RSA-2048": 190, "RSA-3072": 318, "SM2": 146, "hybrid": 10_000}[kind]
    for size in (1, limit):
        assert private.decrypt(public.encrypt(bytes(size))) == bytes(size)
    if public.max_size:
        with pytest.raises(ValueError, match=rf"{limit + 1} bytes.*at most {limit}.*envelope"):
            public.encrypt(bytes(limit + 1))
    with pytest.raises(ValueError, match="nothing"):
        public.encrypt(b"")
    with pytest.raises(TypeError, match="bytes-like"):
        public.encrypt("text")  # type: ignore[arg-type]


@kinds
def test_an_altered_or_foreign_wrapped_key_is_not_authentic(kind: str) -> None:
    private, other = PRIVATE[kind](), PRIVATE["RSA-2048" if kind == "RSA-3072" else kind]()
    good = base64.b64decode(private.public_key.wrap(DEK, None).wrapped)
    bad = [good[:-1], good + b"\0", bytes([good[0] ^ 1]) + good[1:], good[:-1] + bytes([good[-1] ^ 1]), b""]
    for data in bad:
        wrapped = base64.b64encode(data).decode() or "="
        recipient = Recipient("local-key", private.key_id, wrapped, alg=private.public_key.alg)
        with pytest.raises(AuthenticationError):
            private.unwrap(recipient, None)
        with pytest.raises(AuthenticationError):
            private.decrypt(data)
    if kind in ("SM2", "hybrid"):
        foreign = other.public_key.wrap(DEK, None)
        forged = Recipient("local-key", private.key_id, foreign.wrapped, alg=foreign.alg)
        with pytest.raises(AuthenticationError):
            private.unwrap(forged, None)


def test_a_hybrid_key_does_not_open_what_was_made_for_another_purpose() -> None:
    private = PrivateKey.generate_hybrid()
    data = base64.b64encode(private.public_key.encrypt(DEK)).decode()
    recipient = Recipient("local-key", private.key_id, data, alg=HYBRID)
    with pytest.raises(AuthenticationError):
        private.unwrap(recipient, None)


def test_the_hybrid_key_of_the_published_seed() -> None:
    # draft-connolly-cfrg-xwing-kem, appendix of test vectors, the first.
    seed = bytes.fromhex("7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26")
    der = XWingPrivateKey(seed).public_key().to_der()
    assert der[24:][:32].hex() == "e2236b35a8c24b39b10aa1323a96a919a2ced88400633a7b07131713fc14b2b5"
    assert len(der) == 24 + 1216


def test_a_hybrid_private_key_survives_its_pem_form() -> None:
    private = PrivateKey.generate_hybrid()
    copied = PrivateKey.from_pem(private.to_pem().encode())
    assert copied.unwrap(private.public_key.wrap(DEK, None), None) == DEK
    with pytest.raises(TypeError, match="hybrid"):
        PRIVATE["RSA-2048"]().to_pem()


@pytest.mark.parametrize("size", [0, 31, 33, 1215, 1217])
def test_hybrid_keys_of_another_size_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match="bytes"):
        XWingPrivateKey(bytes(size))
    with pytest.raises(ValueError, match="bytes"):
        XWingPublicKey(bytes(size))


# Keys of a KMS.


@pytest.mark.parametrize(
    ("usage", "alg"),
    [("ASYMMETRIC_DECRYPT_RSA_2048", RSA_OAEP), ("ASYMMETRIC_DECRYPT_SM2", SM2_ASN1)],
)
def test_the_kms_opens_what_its_public_key_wrapped(kms: LocalKms, usage: str, alg: str) -> None:
    key_id = kms.create_key("inbox", usage=usage)
    public = kms.public_key("inbox")
    assert str(public) == f"local:{key_id}"
    assert public.alg == alg
    recipient = public.wrap(DEK, None)
    assert public.opens(recipient)
    assert kms.key(key_id).opens(recipient)
    assert kms.key(key_id).unwrap(recipient, None) == DEK
    assert kms.unwrap(recipient, None) == DEK
    largest = bytes(public.max_size or 0)
    assert kms.asymmetric_decrypt("inbox", public.encrypt(largest), algorithm=alg) == largest
    with pytest.raises(KmsError):
        kms.asymmetric_decrypt("inbox", b"\0" * 256, algorithm=alg)


def test_the_key_comes_from_the_der_member_of_the_answer(kms: LocalKms) -> None:
    key_id = kms.create_key("inbox", usage="ASYMMETRIC_DECRYPT_RSA_2048")
    answer = kms.call("GetPublicKey", {"KeyId": key_id})
    assert kms.public_key(key_id).to_der() == base64.b64decode(answer["PublicKey"])


def test_a_pinned_key_is_taken_and_any_other_refused(kms: LocalKms) -> None:
    kms.create_key("inbox", usage="ASYMMETRIC_DECRYPT_RSA_2048")
    pin = kms.public_key("inbox").fingerprint
    for form in (pin, pin.upper(), ":".join(pin[i : i + 2] for i in range(0, 64, 2))):
        assert kms.public_key("inbox", fingerprint=form).fingerprint == pin
    with pytest.raises(ValueError, match="not the pinned key"):
        kms.public_key("inbox", fingerprint="0" * 64)
    for malformed in ("", pin[:-1], "g" * 64):
        with pytest.raises(ValueError, match="64 hex digits"):
            kms.public_key("inbox", fingerprint=malformed)


def test_a_symmetric_key_has_no_public_half(kms: LocalKms) -> None:
    kms.create_key("demo")
    with pytest.raises(KmsError):
        kms.public_key("demo")


def test_the_fingerprint_is_the_sha256_of_the_der_form() -> None:
    import hashlib

    der = _rsa[2048].public_key().public_bytes(DER, SPKI)
    assert PublicKey.from_der(der).fingerprint == hashlib.sha256(der).hexdigest()
    pkcs1 = _rsa[2048].public_key().public_bytes(PEM, serialization.PublicFormat.PKCS1)
    assert PublicKey.from_pem(pkcs1).fingerprint == hashlib.sha256(der).hexdigest()


def test_a_key_of_tencent_needs_its_name_and_region() -> None:
    pem = _rsa[2048].public_key().public_bytes(PEM, SPKI)
    key = PublicKey.from_pem(pem, key_id="k", kms="tencent", region="ap-guangzhou")
    assert str(key) == "tencent:ap-guangzhou/k"
    assert key.wrap(DEK, None).region == "ap-guangzhou"
    for names in ({"kms": "tencent"}, {"kms": "tencent", "key_id": "k"}):
        with pytest.raises(ValueError, match="key_id and region"):
            PublicKey.from_pem(pem, **names)
    with pytest.raises(ValueError, match="printable ASCII"):
        PublicKey.from_pem(pem, key_id="schlüssel")


def _public_pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(PEM, SPKI)


@pytest.mark.parametrize(
    ("pem", "why"),
    [
        (pem_of(_rsa[2048]), "private key"),
        (_public_pem(_rsa[1024]), "1024 bits"),
        (_public_pem(_p256), "SM2 curve"),
        (_public_pem(ed25519.Ed25519PrivateKey.generate()), "not a key to encrypt with"),
        ("hello", "not a PEM key"),
        ("", "not a PEM key"),
        (_public_pem(_rsa[2048]) * 2, "2 PEM blocks"),
        ("-----BEGIN PUBLIC KEY-----\n!!!\n-----END PUBLIC KEY-----", "Base64"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "damaged"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "x509"),
        ("-----BEGIN MESSAGE-----\nAAAA\n-----END MESSAGE-----", "not a key"),
    ],
)
def test_what_is_no_fitting_public_key_is_refused_with_the_reason(pem: str | bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        PublicKey.from_pem(pem)


def test_a_pem_key_is_text_or_bytes() -> None:
    with pytest.raises(TypeError):
        PublicKey.from_pem(5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pem", "password", "why"),
    [
        (_public_pem(_rsa[2048]), None, "public key"),
        (pem_of(_rsa[1024]), None, "1024 bits"),
        (pem_of(_p256), None, "SM2 curve"),
        (pem_of(_rsa[2048], b"right"), None, "give its password"),
        (pem_of(_rsa[2048], b"right"), "wrong", "wrong password"),
        (pem_of(_rsa[2048]), "needless", "no password"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", None, "damaged"),
    ],
)
def test_what_is_no_fitting_private_key_is_refused_with_the_reason(
    pem: str | bytes, password: str | None, why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        PrivateKey.from_pem(pem, password)


def test_an_encrypted_private_key_opens_with_its_password() -> None:
    private = PrivateKey.from_pem(pem_of(_rsa[2048], b"right"), "right")
    assert private.unwrap(private.wrap(DEK, None), None) == DEK


def test_a_private_key_stands_in_for_one_of_a_kms_under_its_name() -> None:
    names = {"key_id": "k", "kms": "tencent", "region": "ap-guangzhou"}
    private = PrivateKey.from_pem(pem_of(_rsa[2048]), **names)
    recipient = PublicKey.from_pem(_public_pem(_rsa[2048]), **names).wrap(DEK, None)
    assert private.unwrap(recipient, None) == DEK
    assert not private.opens(Recipient("tencent", "k", recipient.wrapped, "ap-guangzhou"))
    with pytest.raises(ValueError, match="does not open"):
        private.unwrap(Recipient("tencent", "other", recipient.wrapped, "ap-guangzhou", RSA_OAEP), None)


@kinds
def test_a_public_key_is_pickled_and_a_private_key_is_not(kind: str) -> None:
    private = PRIVATE[kind]()
    public = private.public_key
    assert pickle.loads(pickle.dumps(public)) == public
    assert len({public, pickle.loads(pickle.dumps(public))}) == 1
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(private)
    with pytest.raises(TypeError, match="not pickled"):
        copy.copy(private)


@pytest.mark.parametrize("usage", ["ASYMMETRIC_DECRYPT_RSA_2048", "ASYMMETRIC_DECRYPT_SM2"])
def test_the_algorithm_follows_from_the_key_where_none_is_given(kms: LocalKms, usage: str) -> None:
    kms.create_key("inbox", usage=usage)
    assert kms.asymmetric_decrypt("inbox", kms.public_key("inbox").encrypt(b"note")) == b"note"


def test_a_key_that_decrypts_nothing_asymmetric_says_so(kms: LocalKms) -> None:
    kms.create_key("demo")
    with pytest.raises(ValueError, match="ENCRYPT_DECRYPT"):
        kms.asymmetric_decrypt("demo", b"x")
