"""Vectors for RSA and SM2 recipients: how a DEK is wrapped for them, and what does not unwrap."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator

from construction import SUITES, seeded
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from recipient_vector import KeyPair, dek_of, opened, refuse
from vector import Json

RSA_ALG, SM2_ALG = "RSAES_OAEP_SHA_256", "SM2_C1C3C2_ASN1"

# GB/T 32918.5
P = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF
N = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
G = (
    0x32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7,
    0xBC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0,
)
Point = tuple[int, int]


def vectors() -> Iterator[Json]:
    """All vectors for RSA and SM2 recipients."""
    rsa_pair, modulus = rsa_key()
    sm2_scalar = int.from_bytes(seeded("sm2", 32), "big") % (N - 2) + 1
    sm2_pair, sm2_point = _sm2_pair(sm2_scalar), _multiply(sm2_scalar, G)
    for suite in SUITES:
        yield from opened(suite, rsa_pair, oaep(modulus, dek_of(suite)), "rsa", "an RSA key")
        yield from opened(suite, sm2_pair, _der(*_sm2(sm2_point, dek_of(suite))), "sm2", "an SM2 key")
    yield from _rsa_refused(rsa_pair, modulus)
    yield from _sm2_refused(sm2_pair, sm2_point)


def rsa_key() -> tuple[KeyPair, int]:
    """The RSA key of all vectors, and its modulus."""
    primes = _rsa_numbers(seeded("rsa", 256))
    return _rsa_pair(primes), primes[0] * primes[1]


def _rsa_refused(pair: KeyPair, modulus: int) -> Iterator[Json]:
    dek = dek_of(SUITES[1])
    good = oaep(modulus, dek)
    text = base64.b64encode(good).decode()
    other = oaep(modulus, seeded("another dek", 16))
    yield refuse("rsa-other-dek", "a DEK of somebody else, rightly wrapped", pair, other, "B2")
    for name, comment, wrapped in (
        ("altered", "one bit altered", good[:-1] + bytes([good[-1] ^ 1])),
        ("short", "a byte missing", good[1:]),
        ("sha-1", "OAEP with SHA-1", oaep(modulus, dek, "sha1")),
        ("label", "OAEP with a label", oaep(modulus, dek, label=b"kmsenvelope")),
        ("dek-15-bytes", "a DEK of 15 bytes", oaep(modulus, dek[:15])),
        ("dek-32-bytes", "a DEK zero-padded to 32 bytes", oaep(modulus, dek + bytes(16))),
    ):
        yield refuse(f"rsa-{name}", comment, pair, wrapped)
    for name, comment, changed in (
        ("not-base64", "a character that Base64 does not have", "*" + text[1:]),
        ("url-base64", "the alphabet for URLs", text.replace("+", "-").replace("/", "_")),
        ("unpadded", "Base64 without padding", text.rstrip("=")),
        ("spaced", "a space inside the Base64", text[:64] + " " + text[64:]),
    ):
        yield refuse(f"rsa-{name}", comment, pair, changed)


def _sm2_refused(pair: KeyPair, point: Point) -> Iterator[Json]:
    dek = dek_of(SUITES[1])
    c1, c3, c2 = _sm2(point, dek)
    other = _der(*_sm2(point, seeded("another dek", 16)))
    yield refuse("sm2-other-dek", "a DEK of somebody else, rightly wrapped", pair, other, "B2")
    for name, comment, wrapped in (
        ("altered-c3", "one bit of C3 altered", _der(c1, bytes([c3[0] ^ 1]) + c3[1:], c2)),
        ("altered-c2", "one bit of C2 altered", _der(c1, c3, bytes([c2[0] ^ 1]) + c2[1:])),
        ("not-on-curve", "C1 is no point of the curve", _der((c1[0], c1[1] ^ 1), c3, c2)),
        ("c1c2c3", "C2 before C3", _der(c1, c2, c3)),
        ("raw", "C1 C3 C2 as bytes, without ASN.1", b"\x04" + _number(c1[0]) + _number(c1[1]) + c3 + c2),
        ("trailing", "a byte after the SEQUENCE", _der(c1, c3, c2) + b"\x00"),
        ("dek-15-bytes", "a DEK of 15 bytes", _der(*_sm2(point, dek[:15]))),
    ):
        yield refuse(f"sm2-{name}", comment, pair, wrapped)


# RSA: RFC 8017, sections 7.1.1 and B.2.1


def oaep(modulus: int, data: bytes, name: str = "sha256", label: bytes = b"") -> bytes:
    """RSAES-OAEP with a seed that depends on ``data``."""
    size, hash_size = (modulus.bit_length() + 7) // 8, hashlib.new(name).digest_size
    padding = bytes(size - len(data) - 2 * hash_size - 2)
    block = hashlib.new(name, label).digest() + padding + b"\x01" + data
    seed = seeded(f"oaep/{data.hex()}/{name}", hash_size)
    masked = _xor(block, _mgf1(seed, len(block), name))
    start = b"\x00" + _xor(seed, _mgf1(masked, hash_size, name))
    return pow(int.from_bytes(start + masked, "big"), 65_537, modulus).to_bytes(size, "big")


def _mgf1(seed: bytes, size: int, name: str) -> bytes:
    count = -(-size // hashlib.new(name).digest_size)
    parts = (hashlib.new(name, seed + number.to_bytes(4, "big")).digest() for number in range(count))
    return b"".join(parts)[:size]


def _rsa_numbers(seed: bytes) -> tuple[int, int]:
    return _prime(seed[:128]), _prime(seed[128:])


def _prime(seed: bytes) -> int:
    candidate = int.from_bytes(seed, "big") | 3 << 1022 | 1
    while candidate % 65_537 == 1 or any(pow(base, candidate - 1, candidate) != 1 for base in (2, 3, 5)):
        candidate += 2
    return candidate


def _rsa_pair(primes: tuple[int, int]) -> KeyPair:
    p, q = primes
    d = pow(65_537, -1, (p - 1) * (q - 1))
    numbers = rsa.RSAPrivateNumbers(
        p=p,
        q=q,
        d=d,
        dmp1=d % (p - 1),
        dmq1=d % (q - 1),
        iqmp=pow(q, -1, p),
        public_numbers=rsa.RSAPublicNumbers(65_537, p * q),
    )
    key = numbers.private_key()
    private = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return KeyPair(RSA_ALG, private, public)


# SM2: GB/T 32918.4, section 6.1; key forms as for other curves, RFC 5480 and RFC 5915


def _sm2(public: Point, data: bytes) -> tuple[Point, bytes, bytes]:
    """C1, C3 and C2."""
    k = int.from_bytes(seeded(f"sm2/{data.hex()}", 32), "big") % (N - 1) + 1
    x, y = (_number(value) for value in _multiply(k, public))
    stream = b"".join(_sm3(x + y + number.to_bytes(4, "big")) for number in (1, 2))
    return _multiply(k, G), _sm3(x + data + y), _xor(data, stream)


def _sm2_pair(scalar: int) -> KeyPair:
    x, y = _multiply(scalar, G)
    point = b"\x04" + _number(x) + _number(y)
    algorithm = bytes.fromhex("301306072a8648ce3d020106082a811ccf5501822d")
    bits = b"\x03\x42\x00" + point
    ec_key = _tlv(0x30, b"\x02\x01\x01" + _tlv(0x04, _number(scalar)) + _tlv(0xA1, bits))
    private = _tlv(0x30, b"\x02\x01\x00" + algorithm + _tlv(0x04, ec_key))
    return KeyPair(SM2_ALG, private, _tlv(0x30, algorithm + bits))


def _add(left: Point | None, right: Point | None) -> Point | None:
    if left is None or right is None:
        return left or right
    if left[0] == right[0]:
        if (left[1] + right[1]) % P == 0:
            return None
        slope = (3 * left[0] ** 2 - 3) * pow(2 * left[1], -1, P)
    else:
        slope = (right[1] - left[1]) * pow(right[0] - left[0], -1, P)
    x = (slope**2 - left[0] - right[0]) % P
    return x, (slope * (left[0] - x) - left[1]) % P


def _multiply(scalar: int, point: Point) -> Point:
    total: Point | None = None
    power: Point | None = point
    while scalar:
        if scalar & 1:
            total = _add(total, power)
        power, scalar = _add(power, power), scalar >> 1
    assert total is not None
    return total


def _sm3(data: bytes) -> bytes:
    digest = hashes.Hash(hashes.SM3())
    digest.update(data)
    return digest.finalize()


def _number(value: int) -> bytes:
    return value.to_bytes(32, "big")


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=False))


def _tlv(tag: int, content: bytes) -> bytes:
    length = len(content)
    return bytes([tag]) + (bytes([length]) if length < 128 else bytes([0x81, length])) + content


def _der(c1: Point, second: bytes, third: bytes) -> bytes:
    """The SEQUENCE of the point, then two OCTET STRINGs."""
    numbers = b"".join(_tlv(0x02, _signed(value)) for value in c1)
    return _tlv(0x30, numbers + _tlv(0x04, second) + _tlv(0x04, third))


def _signed(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "big")
