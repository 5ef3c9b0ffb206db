"""Vectors for the hybrid post-quantum recipient: alone, beside others, and what does not unwrap."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import mlkem
from construction import SUITES, seeded
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from hybrid import (
    ENCAPSULATED_SIZE,
    XWingKey,
    combine,
    encapsulate,
    key_schedule,
    seal,
    seal_with,
)
from recipient_cases import oaep, rsa_key
from recipient_vector import CMK_RECIPIENT, KeyPair, accept, dek_of, opened, refuse, refuse_all
from vector import Json

ALG = "HPKE_MLKEM768_X25519_HKDF_SHA256_AES_256_GCM"
KEY = XWingKey(seeded("hybrid", 32))
OTHER_KEY = XWingKey(seeded("another hybrid", 32))
SEED = seeded("encapsulation", 64)
SUITE = SUITES[1]
DEK = dek_of(SUITE)


def vectors() -> Iterator[Json]:
    """All vectors for hybrid recipients."""
    pair = _pair(KEY)
    for suite in SUITES:
        wrapped = _wrap(KEY, dek_of(suite))
        yield from opened(suite, pair, wrapped, "hybrid", "a hybrid key")
    yield from _beside_others(pair)
    yield from _altered(pair)
    yield from _of_another_size(pair)
    yield from _otherwise_wrapped(pair)
    yield from _other_keys_and_names(pair)


def _pair(key: XWingKey) -> KeyPair:
    return KeyPair(ALG, key.pkcs8, key.spki)


def _wrap(key: XWingKey, data: bytes) -> bytes:
    return b"".join(seal(key.public, data, SEED))


def _flip(data: bytes, at: int, bit: int = 1) -> bytes:
    return data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]


def _beside_others(pair: KeyPair) -> Iterator[Json]:
    """A CMK, an RSA key and a hybrid key: whoever has one of them opens."""
    rsa_pair, modulus = rsa_key()
    good = _wrap(KEY, DEK)
    three = [CMK_RECIPIENT, rsa_pair.recipient(oaep(modulus, DEK)), pair.recipient(good)]
    yield accept("cmk-rsa-hybrid", "for a CMK, an RSA key and a hybrid key; the last opens", pair, three)
    yield accept("cmk-rsa-hybrid-by-rsa", "the same recipients; the RSA key opens", rsa_pair, three)
    two = [_pair(OTHER_KEY).recipient(_wrap(OTHER_KEY, DEK)), pair.recipient(good)]
    yield accept("hybrid-second", "for two hybrid keys; the second opens", pair, two)
    broken = [*three[:2], pair.recipient(_flip(good, 0))]
    yield refuse_all("cmk-rsa-hybrid-altered", "one bit altered, and no other key at hand", pair, broken)


def _altered(pair: KeyPair) -> Iterator[Json]:
    good = _wrap(KEY, DEK)
    x25519, ciphertext = mlkem.CIPHERTEXT_SIZE, ENCAPSULATED_SIZE
    for name, comment, wrapped in (
        ("mlkem-first", "the first bit of the ML-KEM ciphertext altered", _flip(good, 0)),
        ("mlkem-last", "the last bit of the ML-KEM ciphertext altered", _flip(good, x25519 - 1, 0x80)),
        ("x25519", "one bit of the X25519 part altered", _flip(good, x25519)),
        (
            "x25519-top",
            "the bit of the X25519 part that X25519 ignores altered",
            _flip(good, ciphertext - 1, 0x80),
        ),
        ("ciphertext", "one bit of the AEAD ciphertext altered", _flip(good, ciphertext)),
        ("tag", "the last bit of the tag altered", _flip(good, len(good) - 1, 0x80)),
    ):
        yield refuse(f"hybrid-altered-{name}", comment, pair, wrapped)


def _of_another_size(pair: KeyPair) -> Iterator[Json]:
    good = _wrap(KEY, DEK)
    size = ENCAPSULATED_SIZE
    for name, comment, wrapped in (
        ("one-byte", "one byte", good[:1]),
        ("encapsulated-short", "the encapsulated key lacks a byte", good[: size - 1]),
        ("encapsulated-only", "the encapsulated key and nothing else", good[:size]),
        ("tag-short", "one byte fewer than a tag after the encapsulated key", good[: size + 15]),
        ("cut", "the last byte missing", good[:-1]),
        ("first-missing", "the first byte missing", good[1:]),
        ("trailing", "a byte after the tag", good + b"\x00"),
        ("dek-empty", "an empty DEK, rightly wrapped", _wrap(KEY, b"")),
        ("dek-15-bytes", "a DEK of 15 bytes", _wrap(KEY, DEK[:15])),
        ("dek-32-bytes", "a DEK zero-padded to 32 bytes", _wrap(KEY, DEK + bytes(16))),
    ):
        yield refuse(f"hybrid-{name}", comment, pair, wrapped)


def _otherwise_wrapped(pair: KeyPair) -> Iterator[Json]:
    """What an implementer may get wrong."""
    shared, encapsulated = encapsulate(KEY.public, SEED)
    sealed, split = seal_with(shared, DEK), mlkem.CIPHERTEXT_SIZE
    ct_m, ct_x, pk_x = encapsulated[:split], encapsulated[split:], KEY.public[-32:]
    ss_m = mlkem.encaps(KEY.public[:-32], SEED[:32])[0]
    for name, comment, wrapped in (
        ("x25519-first", "the X25519 part before the ML-KEM ciphertext", ct_x + ct_m + sealed),
        ("ciphertext-first", "the encapsulated key at the end", sealed + encapsulated),
        ("info-data", "the info of another purpose", _seal(info=b"kmsenvelope/1 data")),
        ("info-empty", "an empty info", _seal(info=b"")),
        ("info-zero-byte", "a zero byte after the info", _seal(info=b"kmsenvelope/1 dek\x00")),
        ("aad", "the info as associated data too", _seal(aad=b"kmsenvelope/1 dek")),
        ("chacha20", "ChaCha20-Poly1305 as AEAD", encapsulated + _with_aead(ChaCha20Poly1305, 3)),
        ("aead-id", "the key schedule of ChaCha20-Poly1305", encapsulated + _with_aead(AESGCM, 3)),
        ("no-key-schedule", "the shared secret as key", encapsulated + _direct(shared)),
        ("mlkem-only", "the secret of ML-KEM alone", encapsulated + seal_with(ss_m, DEK)),
        (
            "small-order",
            "an X25519 part of small order, so that its secret is zero",
            ct_m + bytes(32) + seal_with(combine(ss_m, bytes(32), bytes(32), pk_x), DEK),
        ),
    ):
        yield refuse(f"hybrid-{name}", comment, pair, wrapped)


def _seal(**changed: bytes) -> bytes:
    return b"".join(seal(KEY.public, DEK, SEED, **changed))


def _with_aead(aead: Callable[[bytes], AESGCM | ChaCha20Poly1305], aead_id: int) -> bytes:
    key, nonce = key_schedule(encapsulate(KEY.public, SEED)[0], b"kmsenvelope/1 dek", aead_id)
    return aead(key).encrypt(nonce, DEK, b"")


def _direct(shared: bytes) -> bytes:
    return AESGCM(shared).encrypt(bytes(12), DEK, b"")


def _other_keys_and_names(pair: KeyPair) -> Iterator[Json]:
    good, other_pair = _wrap(KEY, DEK), _pair(OTHER_KEY)
    foreign = _wrap(KEY, seeded("another dek", 16))
    yield refuse("hybrid-other-dek", "a DEK of somebody else, rightly wrapped", pair, foreign, "B2")
    yield refuse("hybrid-foreign", "wrapped for another key than it names", pair, _wrap(OTHER_KEY, DEK))
    named = pair.recipient(good)
    others = {
        "hybrid-other-key": ("the recipient names another key", other_pair.recipient(_wrap(OTHER_KEY, DEK))),
        "hybrid-misnamed": ("rightly wrapped, but it names another key", other_pair.recipient(good)),
        "hybrid-alg-other-aead": (
            "an alg that is not defined",
            {**named, "alg": ALG.replace("256_GCM", "128_GCM")},
        ),
        "hybrid-alg-lower-case": ("the alg in lower case", {**named, "alg": ALG.lower()}),
        "hybrid-alg-rsa": ("the alg of RSA", {**named, "alg": "RSAES_OAEP_SHA_256"}),
        "hybrid-no-alg": ("no alg", {name: value for name, value in named.items() if name != "alg"}),
    }
    for name, (comment, recipient) in others.items():
        yield refuse_all(name, comment, pair, [recipient])
    rsa_pair, _ = rsa_key()
    misplaced = {**rsa_pair.recipient(good), "alg": ALG}
    yield refuse_all(
        "rsa-alg-hybrid", "the alg of a hybrid key with the name of an RSA key", rsa_pair, [misplaced]
    )
