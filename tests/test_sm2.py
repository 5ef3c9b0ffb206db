"""SM2 against the examples of GB/T 32918, against OpenSSL, and against its own bounds."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat import asn1
from hypothesis import given, settings
from hypothesis import strategies as st

from kmsenvelope.kms import sm2
from kmsenvelope.kms.der import INTEGER, OCTET_STRING, Reader, integer, sequence, tlv
from kmsenvelope.kms.sm2 import SM2PrivateKey, SM2PublicKey

# GB/T 32918.5-2017, annex A: one key, one random number, both examples.
PRIVATE = SM2PrivateKey(0x3945208F7B2144B13F36E38AC6D39F95889393692860B51A42FB81EF4DF7C5B8)
PUBLIC = PRIVATE.public_key()
K = 0x59276E27D506861A16680F3AD9C02DCCEF3CC1FA3CDBE4CE6D54B80DEAC1BC21
C1 = (
    0x04EBFC718E8D1798620432268E77FEB6415E2EDE0E073C0F4F640ECD2E149A73,
    0xE858F9D81E5430A57B36DAAB8F950A3C64E6EE6A63094D99283AFF767E124DF0,
)
C3 = bytes.fromhex("59983C18F809E262923C53AEC295D30383B54E39D609D160AFCB1908D0BD8766")
C2 = bytes.fromhex("21886CA989CA9C7D58087307CA93092D651EFA")
RAW = b"\x04" + C1[0].to_bytes(32, "big") + C1[1].to_bytes(32, "big") + C3 + C2


def published_random() -> int:
    return K


def test_the_public_key_of_the_published_example() -> None:
    assert PUBLIC.x == 0x09F9DF311E5421A150DD7D161E4BC5C672179FAD1833FC076BB08FF356F35020
    assert PUBLIC.y == 0xCCEA490CE26775A52DC6EA718CC1AA600AED05FBF35E084A6632F6072DA9AD13


def test_the_published_encryption_example() -> None:
    message = b"encryption standard"
    assert PUBLIC.encrypt(message, raw=True, random=published_random) == RAW
    der = PUBLIC.encrypt(message, random=published_random)
    assert der == sequence(integer(C1[0]), integer(C1[1]), tlv(OCTET_STRING, C3), tlv(OCTET_STRING, C2))
    assert PRIVATE.decrypt(der) == PRIVATE.decrypt_raw(RAW) == PRIVATE.decrypt_raw(RAW[1:]) == message


def test_the_published_signature_example() -> None:
    message = b"message digest"
    digest = bytes.fromhex("F0B43E94BA45ACCAACE692ED534382EB17E6AB5A19CE7B31F4486FDFC0D28640")
    signature = sequence(
        integer(0xF5A03B0648D2C4630EEAC513E1BB81A15944DA3827D5B74143AC7EACEEE720B3),
        integer(0xB1B6AA29DF212FD8763182BC0D421CA1BB9038FD1F7F42D4840B69C485BBC1AA),
    )
    assert PUBLIC.digest(message) == digest
    assert PRIVATE.sign(message, random=published_random) == signature
    assert PUBLIC.verify(signature, message)
    assert PUBLIC.verify_digest(signature, digest)
    assert not PUBLIC.verify(signature, b"message digesT")
    assert not PUBLIC.verify(signature, message, user_id=b"ALICE123@YAHOO.COM")


@settings(max_examples=15, deadline=None)
@given(st.binary(min_size=1, max_size=200), st.booleans())
def test_what_is_encrypted_decrypts(data: bytes, raw: bool) -> None:
    private = SM2PrivateKey.generate()
    blob = private.public_key().encrypt(data, raw=raw)
    assert (private.decrypt_raw if raw else private.decrypt)(blob) == data


def test_a_raw_ciphertext_without_its_leading_04_is_told_apart_even_if_x_begins_with_04() -> None:
    # The published C1 is such a point: its x begins with 0x04.
    assert RAW[1] == 4
    assert PRIVATE.decrypt_raw(RAW[1:]) == b"encryption standard"


@pytest.mark.parametrize("position", [1, 40, 70, 96, 97, 115])
def test_any_altered_byte_of_a_ciphertext_is_refused(position: int) -> None:
    altered = bytearray(RAW)
    altered[position] ^= 1
    with pytest.raises(ValueError, match="SM2 ciphertext"):
        PRIVATE.decrypt_raw(bytes(altered))


@pytest.mark.parametrize("size", [0, 1, 64, 96, 97])
def test_a_ciphertext_that_is_too_short_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="not an SM2 ciphertext"):
        PRIVATE.decrypt_raw(RAW[:size])


def test_another_key_does_not_decrypt() -> None:
    with pytest.raises(ValueError, match="another key"):
        SM2PrivateKey.generate().decrypt_raw(RAW)


def test_empty_data_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        PUBLIC.encrypt(b"")


@pytest.mark.parametrize("point", [(0, 0), (1, 1), (PUBLIC.x + sm2.P, PUBLIC.y), (PUBLIC.x, -PUBLIC.y)])
def test_a_point_off_the_curve_is_no_public_key(point: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="not on the curve"):
        SM2PublicKey(*point)


@pytest.mark.parametrize("number", [-1, 0, sm2.N - 1, sm2.N, sm2.N + 1])
def test_a_number_out_of_range_is_no_private_key(number: int) -> None:
    with pytest.raises(ValueError, match="out of range"):
        SM2PrivateKey(number)


@pytest.mark.parametrize("number", [1, 2, 3, sm2.N - 2])
def test_the_ends_of_the_range_work(number: int) -> None:
    private = SM2PrivateKey(number)
    assert private.decrypt(private.public_key().encrypt(b"x")) == b"x"
    assert private.public_key().verify(private.sign(b"m"), b"m")


def test_a_random_number_out_of_range_is_refused() -> None:
    for number in (0, sm2.N):
        with pytest.raises(ValueError, match="out of range"):
            PUBLIC.encrypt(b"x", random=lambda number=number: number)  # type: ignore[misc]


def test_encryption_and_signature_use_a_new_random_number_each_time() -> None:
    assert PUBLIC.encrypt(b"same") != PUBLIC.encrypt(b"same")
    assert PRIVATE.sign(b"same") != PRIVATE.sign(b"same")


def test_adding_a_point_to_itself_or_its_opposite_is_right() -> None:
    twice = SM2PrivateKey(2).public_key()
    assert sm2._add(sm2.G, sm2.G) == (twice.x, twice.y)
    assert sm2._add(sm2.G, (sm2.G[0], sm2.P - sm2.G[1])) is None


@pytest.mark.parametrize(
    "signature",
    [
        b"",
        b"\x30\x00",
        sequence(integer(0), integer(1)),
        sequence(integer(1), integer(0)),
        sequence(integer(sm2.N), integer(1)),
        sequence(integer(1), integer(sm2.N)),
        sequence(integer(1), integer(sm2.N - 1)),
        sequence(integer(1), integer(1)) + b"\0",
        sequence(integer(1), integer(1), integer(1)),
        sequence(tlv(INTEGER, b"\xff"), integer(1)),
        sequence(tlv(INTEGER, b"\0\x01"), integer(1)),
        b"\x30\x81\x06" + integer(1) + integer(1),
    ],
)
def test_a_malformed_signature_is_false_not_an_error(signature: bytes) -> None:
    assert PUBLIC.verify(signature, b"message digest") is False


def test_a_digest_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        PRIVATE.sign_digest(b"\0" * 31)
    with pytest.raises(ValueError, match="32 bytes"):
        PUBLIC.verify_digest(b"", b"\0" * 33)


def test_keys_survive_their_der_forms() -> None:
    assert SM2PublicKey.from_der(PUBLIC.to_der()) == PUBLIC
    assert SM2PrivateKey.from_der(PRIVATE.to_der()) == PRIVATE


def test_a_private_key_does_not_show_its_number() -> None:
    assert f"{PRIVATE.d}" not in repr(PRIVATE)
    assert f"{PRIVATE.d:x}" not in repr(PRIVATE)


@pytest.mark.parametrize("decode", [SM2PublicKey.from_der, SM2PrivateKey.from_der, PRIVATE.decrypt])
def test_every_shortened_or_lengthened_der_is_refused(decode: Callable[[bytes], object]) -> None:
    der = {
        SM2PublicKey.from_der: PUBLIC.to_der(),
        SM2PrivateKey.from_der: PRIVATE.to_der(),
    }.get(decode) or PUBLIC.encrypt(b"data", random=published_random)  # type: ignore[call-overload]
    for size in range(len(der)):
        with pytest.raises(ValueError):
            decode(der[:size])
    with pytest.raises(ValueError):
        decode(der + b"\0")


def test_a_key_on_another_curve_is_refused() -> None:
    p256 = PUBLIC.to_der().replace(
        bytes.fromhex("06082a811ccf5501822d"), bytes.fromhex("06082a8648ce3d030107")
    )
    assert p256 != PUBLIC.to_der()
    with pytest.raises(ValueError, match="SM2 curve"):
        SM2PublicKey.from_der(p256)


@asn1.sequence
class _Ciphertext:
    x: int
    y: int
    c3: bytes
    c2: bytes


@given(st.integers(0, 2**264), st.integers(0, 2**264), st.binary(max_size=40), st.binary(max_size=300))
def test_der_is_what_cryptography_writes_and_reads(x: int, y: int, c3: bytes, c2: bytes) -> None:
    ours = sequence(integer(x), integer(y), tlv(OCTET_STRING, c3), tlv(OCTET_STRING, c2))
    assert ours == asn1.encode_der(_Ciphertext(x=x, y=y, c3=c3, c2=c2))
    inner = Reader(ours).sequence()
    assert (inner.integer(), inner.integer()) == (x, y)
    assert (inner.take(OCTET_STRING), inner.take(OCTET_STRING)) == (c3, c2)


@given(st.binary(max_size=60))
def test_der_that_cryptography_refuses_is_refused(data: bytes) -> None:
    try:
        reader = Reader(data)
        inner = reader.sequence()
        inner.integer(), inner.integer(), inner.take(OCTET_STRING), inner.take(OCTET_STRING)
        inner.end()
        reader.end()
    except ValueError:
        return
    asn1.decode_der(_Ciphertext, data)


openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


def run(*arguments: str, data: bytes = b"") -> bytes:
    return subprocess.run(
        ["openssl", *arguments], input=data, capture_output=True, check=True, timeout=30
    ).stdout


@pytest.fixture
def pem(tmp_path: Path) -> tuple[str, str]:
    private, public = tmp_path / "private.pem", tmp_path / "public.pem"
    private.write_bytes(run("pkey", "-inform", "DER", data=PRIVATE.to_der()))
    public.write_bytes(run("pkey", "-pubin", "-inform", "DER", data=PUBLIC.to_der()))
    return str(private), str(public)


@openssl
def test_openssl_decrypts_what_we_encrypt(pem: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(PUBLIC.encrypt(b"from here"))
    assert run("pkeyutl", "-decrypt", "-inkey", pem[0], "-in", str(tmp_path / "blob")) == b"from here"


@openssl
def test_we_decrypt_what_openssl_encrypts(pem: tuple[str, str]) -> None:
    for data in (b"x", b"from OpenSSL", bytes(range(146))):
        assert PRIVATE.decrypt(run("pkeyutl", "-encrypt", "-pubin", "-inkey", pem[1], data=data)) == data


SIGNING = ("-rawin", "-digest", "sm3", "-pkeyopt", "distid:1234567812345678")


@openssl
def test_openssl_verifies_what_we_sign_and_the_other_way(pem: tuple[str, str], tmp_path: Path) -> None:
    message, signature = tmp_path / "message", tmp_path / "signature"
    message.write_bytes(b"a message")
    signature.write_bytes(PRIVATE.sign(b"a message"))
    files = ("-in", str(message), "-sigfile", str(signature))
    assert b"Verified Successfully" in run("pkeyutl", "-verify", "-pubin", "-inkey", pem[1], *SIGNING, *files)
    theirs = run("pkeyutl", "-sign", "-inkey", pem[0], *SIGNING, "-in", str(message))
    assert PUBLIC.verify(theirs, b"a message")


@openssl
def test_keys_that_openssl_makes_are_read_in_both_private_forms() -> None:
    traditional = run("ecparam", "-name", "SM2", "-genkey", "-noout", "-outform", "DER")
    pkcs8 = run("pkcs8", "-topk8", "-nocrypt", "-inform", "DER", "-outform", "DER", data=traditional)
    public = run("ec", "-inform", "DER", "-pubout", "-outform", "DER", data=traditional)
    private = SM2PrivateKey.from_der(pkcs8)
    assert SM2PrivateKey.from_der(traditional) == private
    assert SM2PublicKey.from_der(public) == private.public_key()
    with pytest.raises(ValueError, match="SM2 curve"):
        SM2PrivateKey.from_der(run("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-outform", "DER"))


def test_without_gmssl_the_error_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['gmssl.sm2'] = None\n"
        "from kmsenvelope.kms.sm2 import SM2PrivateKey\n"
        "try: SM2PrivateKey(5).public_key()\n"
        "except ImportError as error: print(error)\n"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    ).stdout
    assert re.search(r"pip install 'kmsenvelope\[gm\]'", printed)
