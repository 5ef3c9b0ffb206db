"""SM2 on the national curve: encryption, signatures, keys and their DER forms.

Source: GB/T 32918.2 (signature), .4 (encryption), .5 (curve and examples); GB/T 35276 (ASN.1 forms). The
curve arithmetic is that of ``gmssl`` (extra ``gm``), the hash is SM3 from ``cryptography``. That arithmetic
takes a time that depends on the secret: good for encrypting, for the emulator, for tests and to open data in
an emergency, but not for a service that decrypts or signs what strangers send it.
"""

from __future__ import annotations

import functools
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import constant_time, hashes

from .der import BIT_STRING, OCTET_STRING, OID, Reader, integer, sequence, tlv

P = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF
A = P - 3
B = 0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93
N = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
G = (
    0x32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7,
    0xBC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0,
)

DEFAULT_USER_ID = b"1234567812345678"
"""The user id where none is agreed. Source: GM/T 0009."""

_EC_PUBLIC_KEY = bytes.fromhex("2a8648ce3d0201")
_SM2_CURVE = bytes.fromhex("2a811ccf5501822d")
_ALGORITHM = sequence(tlv(OID, _EC_PUBLIC_KEY), tlv(OID, _SM2_CURVE))

_PARAMETERS, _PUBLIC = 0xA0, 0xA1

Point = tuple[int, int]


def random_scalar() -> int:
    """A secret number from 1 to n - 2, from the operating system."""
    return secrets.randbelow(N - 2) + 1


@dataclass(frozen=True)
class SM2PublicKey:
    """A point of the curve. ``ValueError`` if (x, y) is none."""

    x: int
    y: int

    def __post_init__(self) -> None:
        if not _on_curve((self.x, self.y)):
            raise ValueError("not an SM2 public key: the point is not on the curve")

    @classmethod
    def from_der(cls, der: bytes) -> SM2PublicKey:
        """From SubjectPublicKeyInfo (RFC 5480). ``ValueError`` for another kind of key or bad DER."""
        outer = Reader(der)
        info = outer.sequence()
        outer.end()
        _check_algorithm(info)
        point = info.bits()
        info.end()
        return cls(*_decode_point(point))

    def to_der(self) -> bytes:
        """As SubjectPublicKeyInfo."""
        return sequence(_ALGORITHM, tlv(BIT_STRING, b"\0" + _encode_point((self.x, self.y))))

    def encrypt(self, data: bytes, *, raw: bool = False, random: Callable[[], int] = random_scalar) -> bytes:
        """``data``, not empty, encrypted to this key, as C1 C3 C2.

        In ASN.1 DER (GB/T 35276), or with ``raw`` as bytes with a 65-byte C1.
        """
        if not data:
            raise ValueError("SM2 does not encrypt empty data")
        while True:
            k = random()
            c1 = _multiply(k, G)
            shared = _multiply(k, (self.x, self.y))
            stream = _kdf(_join(*shared), len(data))
            if any(stream):
                break
        c2 = _xor(data, stream)
        c3 = _sm3(_number(shared[0]), data, _number(shared[1]))
        if raw:
            return _encode_point(c1) + c3 + c2
        return sequence(integer(c1[0]), integer(c1[1]), tlv(OCTET_STRING, c3), tlv(OCTET_STRING, c2))

    def digest(self, data: bytes, user_id: bytes = DEFAULT_USER_ID) -> bytes:
        """SM3(Z || data), the 32 bytes that an SM2 signature signs. Z binds ``user_id`` and this key."""
        if len(user_id) > 8191:
            raise ValueError("a user id has at most 8191 bytes")
        entl = (len(user_id) * 8).to_bytes(2, "big")
        z = _sm3(entl, user_id, *map(_number, (A, B, *G, self.x, self.y)))
        return _sm3(z, data)

    def verify(self, signature: bytes, data: bytes, user_id: bytes = DEFAULT_USER_ID) -> bool:
        """Whether ``signature`` (DER) is this key's for ``data``."""
        return self.verify_digest(signature, self.digest(data, user_id))

    def verify_digest(self, signature: bytes, digest: bytes) -> bool:
        """Whether ``signature`` (DER) is this key's for the 32 bytes that ``digest()`` gives."""
        e = _digest_number(digest)
        try:
            outer = Reader(signature)
            pair = outer.sequence()
            r, s = pair.integer(), pair.integer()
            pair.end()
            outer.end()
        except ValueError:
            return False
        t = (r + s) % N
        if not (0 < r < N and 0 < s < N and t):
            return False
        point = _add(_multiply(s, G), _multiply(t, (self.x, self.y)))
        return point is not None and (e + point[0]) % N == r


@dataclass(frozen=True)
class SM2PrivateKey:
    """A number from 1 to n - 2. ``ValueError`` if ``d`` is not."""

    d: int = field(repr=False)

    def __post_init__(self) -> None:
        if not 0 < self.d < N - 1:
            raise ValueError("not an SM2 private key: the number is out of range")

    @classmethod
    def generate(cls, random: Callable[[], int] = random_scalar) -> SM2PrivateKey:
        """A new key."""
        return cls(random())

    @classmethod
    def from_der(cls, der: bytes) -> SM2PrivateKey:
        """From an unencrypted PKCS #8 PrivateKeyInfo, or the EC key of RFC 5915 that OpenSSL also writes.

        ``ValueError`` for another kind of key or bad DER.
        """
        outer = Reader(der)
        info = outer.sequence()
        outer.end()
        version = info.integer()
        if version == 1:
            return cls(_private_number(info, named_curve=True))
        if version != 0:
            raise ValueError("not an unencrypted private key")
        _check_algorithm(info)
        inner = Reader(info.take(OCTET_STRING))
        ec_key = inner.sequence()
        inner.end()
        if ec_key.integer() != 1:
            raise ValueError("not an EC private key of version 1")
        return cls(_private_number(ec_key, named_curve=False))

    def to_der(self) -> bytes:
        """As an unencrypted PKCS #8 PrivateKeyInfo, with the public key inside (RFC 5915)."""
        public = self.public_key()
        point = tlv(BIT_STRING, b"\0" + _encode_point((public.x, public.y)))
        ec_key = sequence(integer(1), tlv(OCTET_STRING, _number(self.d)), tlv(_PUBLIC, point))
        return sequence(integer(0), _ALGORITHM, tlv(OCTET_STRING, ec_key))

    def public_key(self) -> SM2PublicKey:
        """The key that others encrypt to and verify with."""
        return self._public

    @functools.cached_property
    def _public(self) -> SM2PublicKey:
        return SM2PublicKey(*_multiply(self.d, G))

    def decrypt(self, ciphertext: bytes) -> bytes:
        """What ``encrypt`` encrypted, from ASN.1 DER. ``ValueError`` if altered or for another key."""
        outer = Reader(ciphertext)
        parts = outer.sequence()
        outer.end()
        c1 = (parts.integer(), parts.integer())
        c3, c2 = parts.take(OCTET_STRING), parts.take(OCTET_STRING)
        parts.end()
        return self._open(c1, c3, c2)

    def decrypt_raw(self, ciphertext: bytes) -> bytes:
        """The same from bytes C1 C3 C2, where C1 has 65 bytes or, without its leading 0x04, 64."""
        if ciphertext[:1] == b"\x04" and len(ciphertext) > 65 + 32:
            c1 = _split(ciphertext[1:65])
            if _on_curve(c1):
                return self._open(c1, ciphertext[65:97], ciphertext[97:])
        return self._open(_split(ciphertext[:64]), ciphertext[64:96], ciphertext[96:])

    def _open(self, c1: Point, c3: bytes, c2: bytes) -> bytes:
        if not _on_curve(c1) or len(c3) != 32 or not c2:
            raise ValueError("not an SM2 ciphertext")
        shared = _multiply(self.d, c1)
        stream = _kdf(_join(*shared), len(c2))
        data = _xor(c2, stream)
        expected = _sm3(_number(shared[0]), data, _number(shared[1]))
        if not constant_time.bytes_eq(expected, c3):
            raise ValueError("the SM2 ciphertext was altered or is for another key")
        return data

    def sign(
        self, data: bytes, user_id: bytes = DEFAULT_USER_ID, *, random: Callable[[], int] = random_scalar
    ) -> bytes:
        """A signature of ``data``, in DER."""
        return self.sign_digest(self.public_key().digest(data, user_id), random=random)

    def sign_digest(self, digest: bytes, *, random: Callable[[], int] = random_scalar) -> bytes:
        """A signature, in DER, of the 32 bytes that ``SM2PublicKey.digest`` gives."""
        e = _digest_number(digest)
        while True:
            k = random()
            r = (e + _multiply(k, G)[0]) % N
            s = pow(1 + self.d, -1, N) * (k - r * self.d) % N
            if r and s and r + k != N:
                return sequence(integer(r), integer(s))


def _check_algorithm(info: Reader) -> None:
    algorithm = info.sequence()
    if algorithm.take(OID) != _EC_PUBLIC_KEY or algorithm.take(OID) != _SM2_CURVE:
        raise ValueError("the key is not on the SM2 curve")
    algorithm.end()


def _private_number(ec_key: Reader, *, named_curve: bool) -> int:
    number = ec_key.take(OCTET_STRING)
    if len(number) != 32:
        raise ValueError("not an SM2 private key: it does not have 32 bytes")
    if ec_key.next_tag() == _PARAMETERS:
        if ec_key.take(_PARAMETERS) != tlv(OID, _SM2_CURVE):
            raise ValueError("the key is not on the SM2 curve")
    elif named_curve:
        raise ValueError("the key does not name its curve")
    if ec_key.next_tag() == _PUBLIC:
        _decode_point(Reader(ec_key.take(_PUBLIC)).bits())
    ec_key.end()
    return int.from_bytes(number, "big")


def _encode_point(point: Point) -> bytes:
    return b"\x04" + _join(*point)


def _decode_point(data: bytes) -> Point:
    if len(data) != 65 or data[0] != 4:
        raise ValueError("not an uncompressed point of 65 bytes")
    return _split(data[1:])


def _split(data: bytes) -> Point:
    return int.from_bytes(data[:32], "big"), int.from_bytes(data[32:], "big")


def _join(x: int, y: int) -> bytes:
    return _number(x) + _number(y)


def _number(value: int) -> bytes:
    return value.to_bytes(32, "big")


def _digest_number(digest: bytes) -> int:
    if len(digest) != 32:
        raise ValueError(f"an SM2 digest has 32 bytes, not {len(digest)}")
    return int.from_bytes(digest, "big")


def _sm3(*parts: bytes) -> bytes:
    context = hashes.Hash(hashes.SM3())
    for part in parts:
        context.update(part)
    return context.finalize()


def _kdf(shared: bytes, size: int) -> bytes:
    blocks = (_sm3(shared, counter.to_bytes(4, "big")) for counter in range(1, (size + 31) // 32 + 1))
    return b"".join(blocks)[:size]


def _xor(data: bytes, stream: bytes) -> bytes:
    return (int.from_bytes(data, "big") ^ int.from_bytes(stream, "big")).to_bytes(len(data), "big")


def _on_curve(point: Point) -> bool:
    x, y = point
    return 0 <= x < P and 0 <= y < P and (y * y - (x * x * x + A * x + B)) % P == 0


@functools.cache
def _curve() -> Any:
    try:
        from gmssl.sm2 import CryptSM2
    except ImportError:
        raise ImportError("SM2 needs the gm extra: pip install 'kmsenvelope[gm]'") from None
    return CryptSM2(private_key="", public_key="")


def _multiply(k: int, point: Point) -> Point:
    """k times ``point``, for 0 < k < n: never the point at infinity, the curve's order is prime."""
    if not 0 < k < N:
        raise ValueError("a random number out of range")
    return _from_hex(_curve()._kg(k, _hex(point)))


def _add(left: Point, right: Point) -> Point | None:
    """The sum of two points, ``None`` for the point at infinity; gmssl's addition wants them different."""
    if left[0] == right[0]:
        return _multiply(2, left) if left[1] == right[1] else None
    curve = _curve()
    return _from_hex(curve._convert_jacb_to_nor(curve._add_point(_hex(left), _hex(right))))


def _hex(point: Point) -> str:
    return f"{point[0]:064x}{point[1]:064x}"


def _from_hex(text: str) -> Point:
    return int(text[:64], 16), int(text[64:128], 16)
