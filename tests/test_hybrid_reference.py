"""The reference that makes the hybrid vectors: against published values, and against ``cryptography``.

Of long published values the SHA-256 is kept here. Their sources:

* ``TestAccumulated`` in Go's ``src/crypto/mlkem/mlkem_test.go``: 100 runs of ML-KEM-768 over one SHAKE-128
  stream. (C2SP's CCTV has values of the same shape, but of the draft of FIPS 203, whose keys are others.)
* draft-connolly-cfrg-xwing-kem, ``spec/test-vectors.json``: all three.
* draft-ietf-hpke-pq, ``test-vectors.json``: KEM 0x647a with HKDF-SHA256; the AEAD there is ChaCha20-Poly1305.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import hybrid
import mlkem
import pytest
from cryptography.hazmat.primitives.asymmetric import mlkem as their_mlkem
from cryptography.hazmat.primitives.asymmetric import x25519
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PrivateKey, Suite

SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Stream:
    """SHAKE-128 of nothing, read piece by piece."""

    def __init__(self, size: int) -> None:
        self._data, self._at = hashlib.shake_128().digest(size), 0

    def read(self, size: int) -> bytes:
        self._at += size
        return self._data[self._at - size : self._at]


def test_ml_kem_gives_the_published_values() -> None:
    stream, results = Stream(100 * (96 + mlkem.CIPHERTEXT_SIZE)), hashlib.shake_128()
    for _ in range(100):
        ek, dk = mlkem.keygen(stream.read(32), stream.read(32))
        key, ciphertext = mlkem.encaps(ek, stream.read(32))
        assert mlkem.decaps(dk, ciphertext) == key
        refused = mlkem.decaps(dk, stream.read(mlkem.CIPHERTEXT_SIZE))
        results.update(ek + ciphertext + key + refused)
    assert results.hexdigest(32) == "1114b1b6699ed191734fa339376afa7e285c9e6acf6ff0177d346696ce564415"


class Published(NamedTuple):
    """A vector of X-Wing. ``public`` and ``ciphertext`` are digests."""

    seed: str
    eseed: str
    shared: str
    public: str
    ciphertext: str


@pytest.mark.parametrize(
    "vector",
    [
        Published(
            "7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26",
            "3cb1eea988004b93103cfb0aeefd2a686e01fa4a58e8a3639ca8a1e3f9ae57e2"
            "35b8cc873c23dc62b8d260169afa2f75ab916a58d974918835d25e6a435085b2",
            "d2df0522128f09dd8e2c92b1e905c793d8f57a54c3da25861f10bf4ca613e384",
            "2e816deebcd76c5c80d0cd2d174478871658e8e2ff42bc9d4a6e486372e856bb",
            "17cd532d657e44c897ca6583e548a5424fc70bf54f99515a4d2bcf99e3469f33",
        ),
        Published(
            "badfd6dfaac359a5efbb7bcc4b59d538df9a04302e10c8bc1cbf1a0b3a5120ea",
            "17cda7cfad765f5623474d368ccca8af0007cd9f5e4c849f167a580b14aabdef"
            "aee7eef47cb0fca9767be1fda69419dfb927e9df07348b196691abaeb580b32d",
            "f2e86241c64d60f6649fbc6c5b7d17180b780a3f34355e64a85749949c45f150",
            "c42ba5f8430d7d2c83739338203819f090e8303ce9c8b02107c272bfa5376916",
            "1661ea86d608a1924ba30840cb0a65f13ae051e3aec9cf0f064efc0bc92f2154",
        ),
        Published(
            "ef58538b8d23f87732ea63b02b4fa0f4873360e2841928cd60dd4cee8cc0d4c9",
            "22a96188d032675c8ac850933c7aff1533b94c834adbb69c6115bad4692d8619"
            "f90b0cdf8a7b9c264029ac185b70b83f2801f2f4b3f70c593ea3aeeb613a7f1b",
            "953f7f4e8c5b5049bdc771d1dffada0dd961477d1a2ae0988baa7ea6898d893f",
            "6b080d6b84f095342092fa7a22423e58bd681397ad0ef00eac92bd254db4fa95",
            "d3ca5578500344b5896cffc4fd740c9311946b82951df155e6fd86a7966b43c6",
        ),
    ],
)
def test_x_wing_gives_the_published_values(vector: Published) -> None:
    key = hybrid.XWingKey(bytes.fromhex(vector.seed))
    shared, encapsulated = hybrid.encapsulate(key.public, bytes.fromhex(vector.eseed))
    found = (shared.hex(), digest(key.public), digest(encapsulated))
    assert found == (vector.shared, vector.public, vector.ciphertext)
    assert key.decapsulate(encapsulated) == shared


def test_hpke_gives_the_published_values() -> None:
    key = hybrid.XWingKey(bytes.fromhex("3ec47fa82dd5689d27c6190e724c74ec8f608df3331ce331929e37b829676630"))
    eseed = (
        "2a1c0a3745fe8a48fb62034d300f54dfe1974a5b2e169e580a8789cb1cf5fd19"
        "0fc00f3fd899594e01a8b15334b9f3fa03d8de44da86e19f5776850fb689e6c8"
    )
    shared, encapsulated = hybrid.encapsulate(key.public, bytes.fromhex(eseed))
    assert digest(key.public) == "ad8aaf3f00d8a39bfeec2947a7d5dde68be08bba19bd301a348a45dc5fcc8341"
    assert digest(encapsulated) == "95c0a5fca31ea59f29bbc66255ad6637b5a476b3212886af11afdc8930aeb772"
    assert shared.hex() == "58200ed1f137bd95a921bb47f6aaecf2395b26f7fd24efd3a5ffae4849e8dea3"
    info = b"4f6465206f6e2061204772656369616e2055726e"  # in hexadecimal there too
    aead_key, nonce = hybrid.key_schedule(shared, info, aead_id=3)
    assert aead_key.hex() == "131c2ebb469b909a40915914afd7ff5e638888ac7195dcaaaef8f9a84f0e4030"
    assert nonce.hex() == "2b7a68f19e6cdbd43dda3c6d"
    plain = b"4265617574792069732074727574682c20747275746820626561757479"
    sealed = ChaCha20Poly1305(aead_key).encrypt(nonce, plain, b"Count-0")
    assert sealed.hex() == (
        "c5c591f99092d5e38df0a52699af249c66f8275a863423c076de8147a53e65cc584041c963b77a7e"
        "59ea93841b1339b5efda8909b71f74bb0073ad62e899de310c1566dea2fd29eba377"
    )


@pytest.mark.parametrize("number", range(8))
def test_ml_kem_agrees_with_cryptography_both_ways(number: int) -> None:
    d, z, m = (hashlib.sha256(f"{name}{number}".encode()).digest() for name in "dzm")
    ek, dk = mlkem.keygen(d, z)
    theirs = their_mlkem.MLKEM768PrivateKey.from_seed_bytes(d + z)
    assert theirs.public_key().public_bytes_raw() == ek
    key, ciphertext = mlkem.encaps(ek, m)
    assert theirs.decapsulate(ciphertext) == key
    key, ciphertext = theirs.public_key().encapsulate()
    assert mlkem.decaps(dk, ciphertext) == key
    altered = bytes([ciphertext[0] ^ 1]) + ciphertext[1:]
    assert mlkem.decaps(dk, altered) == theirs.decapsulate(altered) != key


@pytest.mark.parametrize("number", range(4))
def test_hpke_agrees_with_cryptography_both_ways(number: int) -> None:
    seed = hashlib.sha256(bytes([number])).digest()
    key, expanded = hybrid.XWingKey(seed), hashlib.shake_256(seed).digest(96)
    theirs = MLKEM768X25519PrivateKey(
        their_mlkem.MLKEM768PrivateKey.from_seed_bytes(expanded[:64]),
        x25519.X25519PrivateKey.from_private_bytes(expanded[64:]),
    )
    data, info = bytes(range(32 * (number % 3))), b"purpose" * number
    encapsulated, sealed = hybrid.seal(key.public, data, bytes([number] * 64), info)
    assert SUITE.decrypt(encapsulated + sealed, theirs, info) == data
    message = SUITE.encrypt(data, theirs.public_key(), info)
    encapsulated, sealed = message[: hybrid.ENCAPSULATED_SIZE], message[hybrid.ENCAPSULATED_SIZE :]
    assert hybrid.seal_with(key.decapsulate(encapsulated), data, info) == sealed
