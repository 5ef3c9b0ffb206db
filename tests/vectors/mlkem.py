"""ML-KEM-768 (FIPS 203), deterministic: whoever calls brings the random bytes.

For test vectors: it is slow and not constant in time. Names are those of the standard; n is 256.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

Q = 3329
K = 3
DU, DV = 10, 4
POLY = 384
"""Bytes of 256 coefficients of 12 bits."""

EK_SIZE, DK_SIZE, CIPHERTEXT_SIZE = K * POLY + 32, 2 * K * POLY + 96, 32 * (K * DU + DV)

Poly = list[int]
Vector = list[Poly]


def keygen(d: bytes, z: bytes) -> tuple[bytes, bytes]:
    """Algorithm 16: encapsulation key and decapsulation key from 32 bytes each."""
    ek, secret = _pke_keygen(d)
    return ek, secret + ek + _h(ek) + z


def encaps(ek: bytes, m: bytes) -> tuple[bytes, bytes]:
    """Algorithm 17: shared key and ciphertext from 32 bytes ``m``."""
    assert len(ek) == EK_SIZE
    key, r = _g(m + _h(ek))
    return key, _encrypt(ek, m, r)


def decaps(dk: bytes, c: bytes) -> bytes:
    """Algorithm 18: the shared key; another one if the ciphertext was not made by ``encaps``."""
    assert (len(dk), len(c)) == (DK_SIZE, CIPHERTEXT_SIZE)
    secret, ek, h, z = dk[: K * POLY], dk[K * POLY : -64], dk[-64:-32], dk[-32:]
    m = _decrypt(secret, c)
    key, r = _g(m + h)
    return key if _encrypt(ek, m, r) == c else hashlib.shake_256(z + c).digest(32)


# K-PKE: section 5


def _pke_keygen(d: bytes) -> tuple[bytes, bytes]:
    rho, sigma = _g(d + bytes([K]))
    s = [_ntt(_noise(sigma, n)) for n in range(K)]
    e = [_ntt(_noise(sigma, K + n)) for n in range(K)]
    t = [_add(_dot(row, s), error) for row, error in zip(_matrix(rho), e, strict=True)]
    return _encode_all(12, t) + rho, _encode_all(12, s)


def _encrypt(ek: bytes, m: bytes, r: bytes) -> bytes:
    t, rho = _decode_all(12, ek[:-32]), ek[-32:]
    y = [_ntt(_noise(r, n)) for n in range(K)]
    columns = [list(column) for column in zip(*_matrix(rho), strict=True)]
    u = [_add(_inverse_ntt(_dot(column, y)), _noise(r, K + n)) for n, column in enumerate(columns)]
    message = [_decompress(1, bit) for bit in _decode(1, m)]
    v = _add(_add(_inverse_ntt(_dot(t, y)), _noise(r, 2 * K)), message)
    return _encode_all(DU, [[_compress(DU, x) for x in poly] for poly in u]) + _encode(
        DV, [_compress(DV, x) for x in v]
    )


def _decrypt(secret: bytes, c: bytes) -> bytes:
    c1, c2 = c[: 32 * K * DU], c[32 * K * DU :]
    u = [[_decompress(DU, x) for x in poly] for poly in _decode_all(DU, c1)]
    v = [_decompress(DV, x) for x in _decode(DV, c2)]
    product = _inverse_ntt(_dot(_decode_all(12, secret), [_ntt(poly) for poly in u]))
    return _encode(1, [_compress(1, a - b) for a, b in zip(v, product, strict=True)])


# Sampling: sections 4.1 and 4.2.2


def _g(data: bytes) -> tuple[bytes, bytes]:
    digest = hashlib.sha3_512(data).digest()
    return digest[:32], digest[32:]


def _h(data: bytes) -> bytes:
    return hashlib.sha3_256(data).digest()


def _matrix(rho: bytes) -> list[Vector]:
    return [[_uniform(rho + bytes([j, i])) for j in range(K)] for i in range(K)]


def _uniform(seed: bytes) -> Poly:
    """Algorithm 7, in the NTT domain. 280 rounds are enough but once in 2**261 times: appendix B."""
    stream = hashlib.shake_128(seed).digest(840)
    pairs = (int.from_bytes(stream[at : at + 3], "little") for at in range(0, 840, 3))
    found = [x for pair in pairs for x in (pair & 0xFFF, pair >> 12) if x < Q]
    assert len(found) >= 256
    return found[:256]


def _noise(seed: bytes, n: int) -> Poly:
    """Algorithm 8 with eta = 2: a centred binomial distribution."""
    nibbles = _decode(4, hashlib.shake_256(seed + bytes([n])).digest(128))
    return [((x & 1) + (x >> 1 & 1) - (x >> 2 & 1) - (x >> 3)) % Q for x in nibbles]


# Bytes: section 4.2.1


def _encode(bits: int, poly: Sequence[int]) -> bytes:
    joined = sum(x << bits * at for at, x in enumerate(poly))
    return joined.to_bytes(32 * bits, "little")


def _decode(bits: int, data: bytes) -> Poly:
    joined, mask = int.from_bytes(data, "little"), (1 << bits) - 1
    return [joined >> bits * at & mask for at in range(256)]


def _encode_all(bits: int, vector: Vector) -> bytes:
    return b"".join(_encode(bits, poly) for poly in vector)


def _decode_all(bits: int, data: bytes) -> Vector:
    return [_decode(bits, data[at : at + 32 * bits]) for at in range(0, len(data), 32 * bits)]


def _compress(bits: int, x: int) -> int:
    return ((x % Q << bits) + Q // 2) // Q % (1 << bits)


def _decompress(bits: int, x: int) -> int:
    return (x * Q + (1 << bits >> 1)) >> bits


# Polynomials: section 4.3


def _reversed7(i: int) -> int:
    return int(f"{i:07b}"[::-1], 2)


_ZETAS = [pow(17, _reversed7(i), Q) for i in range(128)]
_GAMMAS = [pow(17, 2 * _reversed7(i) + 1, Q) for i in range(128)]


def _ntt(poly: Poly) -> Poly:
    """Algorithm 9."""
    f, i, length = list(poly), 1, 128
    while length >= 2:
        for start in range(0, 256, 2 * length):
            for j in range(start, start + length):
                t = _ZETAS[i] * f[j + length] % Q
                f[j], f[j + length] = (f[j] + t) % Q, (f[j] - t) % Q
            i += 1
        length //= 2
    return f


def _inverse_ntt(poly: Poly) -> Poly:
    """Algorithm 10."""
    f, i, length = list(poly), 127, 2
    while length <= 128:
        for start in range(0, 256, 2 * length):
            for j in range(start, start + length):
                a, b = f[j], f[j + length]
                f[j], f[j + length] = (a + b) % Q, _ZETAS[i] * (b - a) % Q
            i -= 1
        length *= 2
    return [x * 3303 % Q for x in f]


def _multiply(a: Poly, b: Poly) -> Poly:
    """Algorithm 11: a product in the NTT domain."""
    out = []
    for i, gamma in enumerate(_GAMMAS):
        a0, a1, b0, b1 = *a[2 * i : 2 * i + 2], *b[2 * i : 2 * i + 2]
        out += [(a0 * b0 + a1 * b1 * gamma) % Q, (a0 * b1 + a1 * b0) % Q]
    return out


def _add(a: Poly, b: Poly) -> Poly:
    return [(x + y) % Q for x, y in zip(a, b, strict=True)]


def _dot(a: Vector, b: Vector) -> Poly:
    total = [0] * 256
    for left, right in zip(a, b, strict=True):
        total = _add(total, _multiply(left, right))
    return total
