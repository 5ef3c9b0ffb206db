"""Wycheproof's vectors against the AEAD of suite 3 and against the body of suites 1 and 2.

The files are looked for in ``WYCHEPROOF_VECTORS`` (a folder such as ``testvectors_v1`` of Wycheproof's
repository) or in ``../shared/vectors``; without them these tests are skipped.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography import cobblestone
from cryptography.exceptions import InvalidTag

from kmsenvelope.chunked import (
    BODY_PREFIX,
    ChunkCipher,
    Decryptor,
    Encryptor,
    StreamCipher,
    derive_checked,
    plain_size,
)
from kmsenvelope.ciphers.select import Provider, sm4_providers
from kmsenvelope.errors import TruncatedError
from kmsenvelope.suites import Suite

BESIDE = Path(__file__).parent.parent.parent / "shared" / "vectors"
FOLDER = Path(os.environ.get("WYCHEPROOF_VECTORS", BESIDE))
PROVIDERS = pytest.mark.parametrize("provider", sm4_providers(), ids=lambda provider: provider.name)
AES = pytest.mark.parametrize("suite", [Suite.AES_128_GCM, Suite.AES_256_GCM])


@cache
def groups(name: str) -> list[dict[str, Any]]:
    """The test groups of a Wycheproof file."""
    for path in (FOLDER / f"wycheproof-{name}", FOLDER / name):
        if path.exists():
            found: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))["testGroups"]
            return found
    pytest.skip(f"{name} is not there: set WYCHEPROOF_VECTORS to a folder that holds it")


def sm4_cases() -> list[dict[str, Any]]:
    """The vectors in the shape that suite 3 uses: 12-byte nonce, 16-byte tag."""
    return [
        case
        for group in groups("sm4_gcm_test.json")
        if (group["ivSize"], group["tagSize"]) == (96, 128)
        for case in group["tests"]
    ]


@PROVIDERS
def test_every_sm4_gcm_vector_in_the_shape_of_suite_3(provider: Provider) -> None:
    cases = sm4_cases()
    assert len(cases) >= 65
    if provider.make is None:
        assert provider.name != "openssl", provider.reason
        pytest.skip(f"{provider.name}: {provider.reason}")
    for case in cases:
        key, nonce, aad, plain, text, tag = (
            bytes.fromhex(case[name]) for name in ("key", "iv", "aad", "msg", "ct", "tag")
        )
        aead, sealed, opened = provider.make(key), bytearray(len(plain) + 16), bytearray(b"\xff" * len(text))
        aead.seal_into(nonce, plain, memoryview(sealed), aad)
        if case["result"] == "valid":
            assert sealed == text + tag, case["tcId"]
            aead.open_into(nonce, text + tag, memoryview(opened), aad)
            assert opened == plain, case["tcId"]
        else:
            assert sealed != text + tag, case["tcId"]
            with pytest.raises(InvalidTag):
                aead.open_into(nonce, text + tag, memoryview(opened), aad)
            assert opened == bytes(len(opened)), f"{case['tcId']}: plaintext that is not authentic"


def chunked_cases(suite: Suite) -> list[dict[str, Any]]:
    """The chunked-encryption vectors of ``suite``."""
    bits = 8 * suite.key_size
    (group,) = groups(f"c2sp_chunked_encryption_aes_{bits}_gcm_test.json")
    assert (group["aead"], group["sha"]) == (suite.aead_name, "SHA-512")
    cases: list[dict[str, Any]] = group["tests"]
    return cases


def digest(case: dict[str, Any], plain: bytes) -> bool:
    return len(plain) == case["msgLength"] and hashlib.sha512(plain).hexdigest() == case["msgSha512"]


def release(cipher: StreamCipher, body: bytes, step: int) -> tuple[bytes, bool]:
    """What a decryptor gives away, and whether it then called the message whole."""
    released = bytearray()
    try:
        for start in range(0, len(body), step):
            released += cipher.update(body[start : start + step])
        released += cipher.finalize()
    except InvalidTag:
        return bytes(released), False
    return bytes(released), True


Maker = Callable[[Suite, bytes, bytes], StreamCipher]


def theirs(suite: Suite, dek: bytes, context: bytes) -> StreamCipher:
    if suite is Suite.AES_128_GCM:
        return cobblestone.Cobblestone128Decryptor(dek, context)
    return cobblestone.Cobblestone256Decryptor(dek, context)


@AES
@pytest.mark.parametrize("make", [Decryptor, theirs])
@pytest.mark.parametrize("step", [997, 16_400, 1 << 20])
def test_every_chunked_encryption_vector_as_a_stream(suite: Suite, make: Maker, step: int) -> None:
    for case in chunked_cases(suite):
        dek, context = bytes.fromhex(case["key"]), bytes.fromhex(case["ctx"])
        body = zlib.decompress(bytes.fromhex(case["ct"]))
        try:
            released, whole = release(make(suite, dek, context), body, step)
        except ValueError:
            assert "InvalidKeySize" in case["flags"], case["tcId"]
            continue
        assert whole == (case["result"] == "valid"), case["tcId"]
        if whole or released:
            assert whole or "PartialPlaintext" in case["flags"], case["tcId"]
            assert digest(case, released) or not whole, case["tcId"]
            assert len(released) <= case["msgLength"], case["tcId"]


@AES
def test_every_chunked_encryption_vector_by_its_last_chunk(suite: Suite) -> None:
    for case in chunked_cases(suite):
        dek, context = bytes.fromhex(case["key"]), bytes.fromhex(case["ctx"])
        body = zlib.decompress(bytes.fromhex(case["ct"]))
        try:
            size = plain_size(len(body))
            keys = derive_checked(suite, dek, body[:BODY_PREFIX], context)
            index = size // 16_384
            last = body[BODY_PREFIX + 16_400 * index :]
            ChunkCipher(suite, keys).open_run(index, last, bytearray(len(last) - 16))
        except (InvalidTag, TruncatedError, ValueError):
            assert case["result"] == "invalid", case["tcId"]
        else:
            assert case["result"] == "valid" or "ValidFinalChunk" in case["flags"], case["tcId"]


@AES
def test_valid_chunked_encryption_vectors_encrypt_to_the_same_bytes(suite: Suite) -> None:
    for case in chunked_cases(suite):
        if case["result"] == "valid":
            dek, context = bytes.fromhex(case["key"]), bytes.fromhex(case["ctx"])
            body = zlib.decompress(bytes.fromhex(case["ct"]))
            plain, _ = release(Decryptor(suite, dek, context), body, len(body))
            encryptor = Encryptor(suite, dek, context, salt=body[:24])
            assert encryptor.update(plain) + encryptor.finalize() == body, case["tcId"]
