"""Vectors for the body, made for each suite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from construction import (
    BODY_PREFIX,
    CHUNK,
    SEALED,
    SUITES,
    Message,
    Suite,
    context_bytes,
    derive,
    header,
    header_json,
    message,
    seeded,
    zero_ciphertext,
)
from cryptography.hazmat.primitives import hashes
from vector import Json, Part, negative, pattern, positive, repeated

CONTEXT = '{"table":"orders","tenant":"42"}'
AAD = b"row 7"


def vectors(suite: Suite) -> Iterator[Json]:
    """All vectors of one suite."""
    three = message("three-chunks-and-more", suite, pattern(3 * CHUNK + 100))
    small = message("small", suite, pattern(100), context=CONTEXT, aad=AAD)
    yield from _sizes(suite, three)
    yield from _bindings(suite, small)
    yield from _rearranged(suite, three)
    yield from _cut(three, small)
    yield from _extended(suite, three)
    yield from _altered(three, small)
    yield from _wrong_secrets(suite, small)
    yield from _wrongly_made(suite, small)


def _sizes(suite: Suite, three: Message) -> Iterator[Json]:
    for label, size, comment in (
        ("empty", 0, "no plaintext: one empty chunk"),
        ("one-byte", 1, "one byte"),
        ("chunk-minus-1", CHUNK - 1, "the longest message of one chunk"),
        ("chunk", CHUNK, "one full chunk, then an empty one"),
        ("chunk-plus-1", CHUNK + 1, "one full chunk, then one byte"),
        ("two-chunks", 2 * CHUNK, "two full chunks, then an empty one"),
    ):
        yield positive(label, comment, message(label, suite, pattern(size)))
    yield positive(three.label, "three full chunks, then 100 bytes: source of most attacks", three)
    for label, size, count in (
        ("257-chunks", 256 * CHUNK + 1, "256 full chunks and one byte: the counter needs a second byte"),
        ("258-chunks", 257 * CHUNK, "257 full chunks and an empty one"),
    ):
        many = zero_ciphertext(suite, label, size)
        parts: list[Part] = [many.header.hex(), many.body[:BODY_PREFIX].hex()]
        for chunk in many.chunks:
            if len(chunk) > 16:
                parts.append(repeated(b"\x00", len(chunk) - 16))
            parts.append(chunk[-16:].hex())
        yield positive(
            label, f"{count}; the plaintext was chosen so that all ciphertext is zero", many, parts=parts
        )


def _bindings(suite: Suite, small: Message) -> Iterator[Json]:
    plain = pattern(100)
    yield positive("small", "an encryption context and aad", small)
    yield positive(
        "context", "an encryption context, no aad", message("context", suite, plain, context=CONTEXT)
    )
    yield positive("aad", "aad, no encryption context", message("aad", suite, plain, aad=AAD))
    binary = bytes(range(256)) * 8
    yield positive(
        "aad-binary", "2 048 bytes of aad with every value", message("aad-binary", suite, plain, aad=binary)
    )
    alias = '{"name":"\\u5ba2\\u6237 \\ud83d\\ude00"}'
    yield positive(
        "context-escaped",
        "a context with escaped non-ASCII text",
        message("context-escaped", suite, plain, context=alias),
    )
    recipients = [
        {"kms": "tencent", "key_id": "a1", "region": "ap-guangzhou", "wrapped": "QUFB-k-QkJC-k-Q0ND"},
        {
            "kms": "tencent",
            "key_id": "b2",
            "region": "ap-shanghai",
            "alg": "RSAES_OAEP_SHA_256",
            "wrapped": "RERE",
        },
        {"kms": "local", "key_id": "c3", "alg": "SM2_C1C3C2_ASN1", "wrapped": "RUVF"},
    ]
    text = header_json(CONTEXT, recipients)
    several = message("several-recipients", suite, plain, context=CONTEXT, text=text)
    yield positive("several-recipients", "three recipients, all members", several)
    room = message("trailing-spaces", suite, plain, text=header_json() + b" " * 200)
    yield positive("trailing-spaces", "200 spaces at the end of the header", room)


def _span(made: Message, *indices: int) -> list[Part]:
    """Header, salt, commitment and the chunks of ``indices``, as slices of the envelope."""
    start = len(made.header) + BODY_PREFIX
    parts: list[list[int]] = [[0, start]]
    for index in indices:
        begin = start + index * SEALED
        end = begin + len(made.chunks[index])
        if parts[-1][1] == begin:
            parts[-1][1] = end
        else:
            parts.append([begin, end])
    return list(parts)


def _rearranged(suite: Suite, three: Message) -> Iterator[Json]:
    cases: Sequence[tuple[str, str, tuple[int, ...], int]] = (
        ("chunks-swapped", "chunks 0 and 1 swapped", (1, 0, 2, 3), 0),
        ("chunks-swapped-later", "chunks 1 and 2 swapped", (0, 2, 1, 3), 1),
        ("chunk-duplicated", "chunk 0 twice", (0, 0, 1, 2, 3), 1),
        ("chunk-replaced", "chunk 0 in place of chunk 1", (0, 0, 2, 3), 1),
        ("chunk-dropped-first", "chunk 0 left out", (1, 2, 3), 0),
        ("chunk-dropped", "chunk 1 left out", (0, 2, 3), 1),
        ("chunk-dropped-last-full", "chunk 2 left out", (0, 1, 3), 2),
        ("final-chunk-only", "only the final chunk", (3,), 0),
        ("final-chunk-first", "the final chunk moved to the front", (3, 0, 1, 2), 0),
        ("final-chunk-twice", "the final chunk twice", (0, 1, 2, 3, 3), 3),
    )
    for name, comment, indices, whole in cases:
        parts = _span(three, *indices)
        yield negative(name, comment, "B3", three, parts=parts, spliced=True, released=whole * CHUNK)
    other = message("other-message", suite, pattern(3 * CHUNK + 100))
    foreign = [*_span(three, 0, 1, 2), other.chunks[3].hex()]
    comment = "the final chunk of another message under the same DEK"
    yield negative(
        "final-chunk-foreign", comment, "B3", three, parts=foreign, spliced=True, released=3 * CHUNK
    )


def _cut(three: Message, small: Message) -> Iterator[Json]:
    for count in (1, 2, 3):
        name, comment = (
            f"cut-after-chunk-{count - 1}",
            f"ends after {count} full chunks, without a final chunk",
        )
        parts = _span(three, *range(count))
        yield negative(name, comment, "B5", three, parts=parts, spliced=True, released=count * CHUNK)
    start = len(three.header) + BODY_PREFIX
    for name, end, refusal, whole, comment in (
        ("cut-in-first-chunk", start + 9_000, "B3", 0, "ends inside chunk 0"),
        ("cut-before-last-byte-of-chunk-0", start + SEALED - 1, "B3", 0, "one byte short of a full chunk 0"),
        ("cut-in-second-chunk", start + SEALED + 9_000, "B3", 1, "ends inside chunk 1"),
        ("cut-1-byte-after-chunk-0", start + SEALED + 1, "B6", 1, "one byte of chunk 1 is there"),
        ("cut-15-bytes-after-chunk-0", start + SEALED + 15, "B6", 1, "15 bytes of chunk 1 are there"),
        (
            "cut-16-bytes-after-chunk-0",
            start + SEALED + 16,
            "B3",
            1,
            "16 bytes of chunk 1, as if it were empty",
        ),
        ("cut-last-byte", len(three.envelope) - 1, "B3", 3, "the last byte is missing"),
        ("cut-last-tag", len(three.envelope) - 16, "B3", 3, "the final chunk without its tag"),
        ("cut-in-last-chunk", start + 3 * SEALED + 15, "B6", 3, "15 bytes of the final chunk"),
    ):
        parts: list[Part] = [[0, end]]
        yield negative(name, comment, refusal, three, parts=parts, spliced=True, released=whole * CHUNK)
    body = len(small.header)
    for size in (0, 1, 23, 24, 25, 55, 56, 57, 71):
        data = small.envelope[: body + size]
        yield negative(f"cut-body-{size}", f"only {size} bytes of the body", "B4", small, data)
    yield negative(
        "cut-body-72",
        "72 bytes of the body, as if the message were empty",
        "B3",
        small,
        small.envelope[: body + 72],
    )


def _extended(suite: Suite, three: Message) -> Iterator[Json]:
    size = len(three.envelope)
    for name, comment, tail in (
        ("trailing-byte", "one byte added", b"\x00"),
        ("trailing-16-bytes", "16 bytes added", seeded("tail", 16)),
        ("trailing-chunk", "another, correctly sealed, chunk after the final one", _next_chunk(three)),
    ):
        parts: list[Part] = [[0, size], tail.hex()]
        yield negative(name, comment, "B3", three, parts=parts, spliced=True, released=3 * CHUNK)
    full = message("two-chunks", suite, pattern(2 * CHUNK))
    parts = [[0, len(full.envelope)], seeded("tail", 20).hex()]
    comment = "20 bytes after an empty final chunk"
    yield negative(
        "trailing-after-empty-chunk", comment, "B3", full, parts=parts, spliced=True, released=2 * CHUNK
    )
    assert three.keys is not None
    two = replace(
        three,
        label="two-final-chunks",
        chunks=(three.keys.seal(0, pattern(100)), three.keys.seal(1, b"more")),
    )
    yield negative("two-final-chunks", "two short chunks, each sealed at its index", "B3", two)
    end: list[Part] = [*_span(three, 0), three.keys.seal(1, b"").hex(), three.keys.seal(2, b"tail").hex()]
    comment = "an empty chunk in the middle"
    yield negative("empty-chunk-inside", comment, "B3", three, parts=end, spliced=True, released=CHUNK)


def _next_chunk(made: Message) -> bytes:
    assert made.keys is not None
    return made.keys.seal(len(made.chunks), b"appended")


def _altered(three: Message, small: Message) -> Iterator[Json]:
    start = len(three.header) + BODY_PREFIX
    for name, comment, offset, whole in (
        ("altered-first-byte", "first byte of chunk 0", start, 0),
        ("altered-first-tag", "tag of chunk 0", start + SEALED - 1, 0),
        ("altered-second-chunk", "inside chunk 1", start + SEALED + 9_000, 1),
        ("altered-second-tag", "tag of chunk 1", start + 2 * SEALED - 16, 1),
        ("altered-last-chunk", "inside the final chunk", start + 3 * SEALED + 50, 3),
        ("altered-last-byte", "last byte of all", len(three.envelope) - 1, 3),
    ):
        flipped = bytes([three.envelope[offset] ^ 1])
        parts: list[Part] = [[0, offset], flipped.hex(), [offset + 1, len(three.envelope)]]
        yield negative(
            name,
            f"one bit altered: {comment}",
            "B3",
            three,
            parts=parts,
            spliced=True,
            released=whole * CHUNK,
        )
    body = len(small.header)
    for name, offset in (
        ("altered-salt-first", 0),
        ("altered-salt-last", 23),
        ("altered-commitment-first", 24),
        ("altered-commitment-last", 55),
    ):
        where = name.removeprefix("altered-").replace("-", ", ") + " byte"
        yield negative(name, f"one bit altered: {where}", "B2", small, _flip(small.envelope, body + offset))


def _flip(data: bytes, offset: int) -> bytes:
    return data[:offset] + bytes([data[offset] ^ 0x80]) + data[offset + 1 :]


def _wrong_secrets(suite: Suite, small: Message) -> Iterator[Json]:
    dek = small.dek
    yield negative("dek-wrong", "another DEK", "B2", small, dek=seeded("another dek", suite.key_size))
    yield negative("dek-altered", "one bit of the DEK altered", "B2", small, dek=_flip(dek, 0))
    yield negative("dek-short", "the DEK without its last byte", "B1", small, dek=dek[:-1])
    yield negative("dek-empty", "a DEK of no bytes", "B1", small, dek=b"")
    yield negative(
        "dek-zero-byte", "the DEK and a zero byte: HMAC would derive the same", "B1", small, dek=dek + b"\x00"
    )
    yield negative(
        "dek-zero-padded",
        "the DEK zero-padded to twice its size: HMAC would derive the same",
        "B1",
        small,
        dek=dek + bytes(len(dek)),
    )
    for name, comment, aad in (
        ("aad-wrong", "another aad", b"row 8"),
        ("aad-missing", "no aad", b""),
        ("aad-longer", "a byte more of aad", AAD + b"\x00"),
        ("aad-shorter", "a byte less of aad", AAD[:-1]),
    ):
        yield negative(name, comment, "B2", small, aad=aad)
    for name, comment, context in (
        ("context-changed", "another value in the header's context", CONTEXT.replace("42", "43")),
        ("context-removed", "the header's context removed", None),
        ("context-reordered", "the same pairs in another order", '{"tenant":"42","table":"orders"}'),
        ("context-spaced", "the same pairs with a space", CONTEXT.replace(",", ", ")),
    ):
        yield negative(name, comment, "B2", small.with_text(header_json(context)))
    bare = message("aad", suite, pattern(100), aad=AAD)
    yield negative(
        "context-added", "a context added to the header", "B2", bare.with_text(header_json(CONTEXT))
    )
    moved = message("context-and-aad-moved", suite, pattern(100), context=CONTEXT + " ", aad=AAD)
    comment = "a space moved from the end of the context to the start of the aad"
    yield negative(
        "context-aad-boundary", comment, "B2", moved.with_text(header_json(CONTEXT)), aad=b" " + AAD
    )
    for other in SUITES:
        if other is not suite:
            refusal = "B1" if other.key_size != suite.key_size else "B2"
            data = header(other, small.text) + small.body
            name = f"suite-changed-to-{other.name.lower()}"
            yield negative(name, f"the suite byte changed to {other.name}", refusal, small, data)


def _wrongly_made(suite: Suite, small: Message) -> Iterator[Json]:
    """Bodies by an encoder that strays from the derivation or the AEAD's use."""
    salt, info = seeded(f"{suite.name}/small/salt", 24), context_bytes(CONTEXT, AAD)
    other_name = replace(suite, aead="AEAD_AES_192_GCM")
    for name, comment, keys in (
        ("sha256", "HKDF-Expand with SHA-256", derive(suite, small.dek, salt, info, hashes.SHA256())),
        ("no-label", "context bytes without the label", derive(suite, small.dek, salt, info[14:])),
        (
            "no-length",
            "context bytes without the length",
            derive(suite, small.dek, salt, info[:14] + CONTEXT.encode() + AAD),
        ),
        ("other-aead-name", "AES-192 named as the AEAD", derive(other_name, small.dek, salt, info)),
    ):
        strayed = replace(keys, suite=suite)
        made = message("small", suite, pattern(100), context=CONTEXT, aad=AAD, keys=strayed)
        yield negative(f"derived-with-{name}", comment, "B2", made)
    assert small.keys is not None
    for name, comment, chunk in (
        ("chunk-with-aead-aad", "AEAD associated data in chunk 0", small.keys.seal(0, pattern(100), AAD)),
        ("chunk-counted-from-1", "the first chunk sealed at index 1", small.keys.seal(1, pattern(100))),
        ("chunk-plaintext", "a chunk that was never encrypted", pattern(100) + bytes(16)),
    ):
        yield negative(name, comment, "B3", replace(small, chunks=(chunk,)))
