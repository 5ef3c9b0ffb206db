"""Chunked encryption: our implementation against Cobblestone, its index arithmetic, and attacks on chunks."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable

import pytest
from cryptography.exceptions import AlreadyFinalized, InvalidTag
from hypothesis import given
from hypothesis import strategies as st

from kmsenvelope import chunked
from kmsenvelope.chunked import (
    BODY_PREFIX,
    CHUNK,
    SEALED,
    ChunkCipher,
    Decryptor,
    Encryptor,
    context_bytes,
    derive,
    derive_checked,
    plain_size,
    sealed_size,
)
from kmsenvelope.errors import TruncatedError
from kmsenvelope.suites import Suite

SIZES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK - 1, 2 * CHUNK, 2 * CHUNK + 500]
STEPS = [1000, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK]
CONTEXT = context_bytes('{"a":"b"}', b"row 7")


def text(size: int) -> bytes:
    return hashlib.shake_128(size.to_bytes(8, "big")).digest(size)


def run(cipher: chunked.StreamCipher, data: bytes, step: int) -> bytes:
    pieces = [cipher.update(data[start : start + step]) for start in range(0, len(data), step)]
    return b"".join(pieces) + cipher.finalize()


def run_into(cipher: chunked.StreamCipher, data: bytes, step: int) -> bytes:
    room, out = bytearray(step + BODY_PREFIX + 2 * SEALED), b""
    for start in range(0, len(data), step):
        size = cipher.update_into(data[start : start + step], room)
        out += room[:size]
    return out + cipher.finalize()


@pytest.fixture(params=list(Suite))
def suite(request: pytest.FixtureRequest) -> Suite:
    return request.param


@pytest.fixture
def dek(suite: Suite) -> bytes:
    return os.urandom(suite.key_size)


@pytest.mark.parametrize("runner", [run, run_into])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("size", SIZES)
def test_ours_and_the_fastest_open_each_other(
    suite: Suite, dek: bytes, size: int, step: int, runner: Callable[..., bytes]
) -> None:
    data = text(size)
    for seal in (Encryptor, chunked.encryptor):
        body = runner(seal(suite, dek, CONTEXT), data, step)
        assert len(body) == sealed_size(size)
        assert plain_size(len(body)) == size
        for unseal in (Decryptor, chunked.decryptor):
            assert runner(unseal(suite, dek, CONTEXT), body, step) == data


@given(st.sampled_from(Suite), st.integers(0, 3 * CHUNK), st.lists(st.integers(0, 2 * CHUNK), max_size=8))
def test_the_body_does_not_depend_on_the_steps(suite: Suite, size: int, cuts: list[int]) -> None:
    dek, salt, data = bytes(suite.key_size), bytes(24), text(size)
    whole = Encryptor(suite, dek, b"", salt=salt)
    expected = whole.update(data) + whole.finalize()
    cipher, start, body = Encryptor(suite, dek, b"", salt=salt), 0, b""
    for cut in cuts:
        body += cipher.update(data[start : start + cut])
        start += cut
    assert body + cipher.update(data[start:]) + cipher.finalize() == expected


def test_any_chunk_opens_by_itself(suite: Suite, dek: bytes) -> None:
    data = text(3 * CHUNK + 77)
    body = run(chunked.encryptor(suite, dek, CONTEXT), data, len(data))
    cipher = ChunkCipher(suite, derive_checked(suite, dek, body[:BODY_PREFIX], CONTEXT))
    for index in (3, 0, 2, 1):
        start = BODY_PREFIX + index * SEALED
        out = bytearray(CHUNK)
        size = cipher.open_run(index, body[start : start + SEALED], out)
        assert out[:size] == data[index * CHUNK : (index + 1) * CHUNK]


def test_the_counter_carries_into_the_next_byte(suite: Suite, dek: bytes) -> None:
    keys = derive(suite, dek, bytes(24), CONTEXT)
    cipher, out = ChunkCipher(suite, keys), bytearray(17)
    seen = set()
    for index in (0, 1, 255, 256, 257, 65_535, 65_536, (1 << 38) - 2):
        cipher.seal_run(index, b"x", out)
        seen.add(bytes(out))
    assert len(seen) == 8


def test_more_than_4_pib_is_refused(suite: Suite, dek: bytes) -> None:
    cipher = ChunkCipher(suite, derive(suite, dek, bytes(24), CONTEXT))
    with pytest.raises(ValueError, match="4 PiB"):
        cipher.seal_run((1 << 38) - 1, bytes(CHUNK), bytearray(SEALED))


@pytest.mark.parametrize("impossible", [0, 1, 55, 56, 71, 56 + SEALED, 56 + SEALED + 15, 56 + 2 * SEALED])
def test_impossible_sizes_are_truncation(impossible: int) -> None:
    with pytest.raises(TruncatedError):
        plain_size(impossible)


@given(st.integers(0, 1 << 50))
def test_sizes_map_both_ways(size: int) -> None:
    assert plain_size(sealed_size(size)) == size


def chunk(body: bytes, index: int) -> bytes:
    start = BODY_PREFIX + index * SEALED
    return body[start : start + SEALED]


def attacks(body: bytes) -> dict[str, bytes]:
    """What an attacker can do to a body of two whole chunks and a short one."""
    head, a, b, last = body[:BODY_PREFIX], chunk(body, 0), chunk(body, 1), chunk(body, 2)
    altered = {
        "salt": 0,
        "commitment": 24,
        "first byte of a chunk": 56,
        "tag of the first chunk": 56 + CHUNK,
        "second chunk": 56 + SEALED,
        "last chunk": 56 + 2 * SEALED,
        "last tag": len(body) - 1,
    }
    flipped = {name: body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :] for name, at in altered.items()}
    return {
        **flipped,
        "swapped": head + b + a + last,
        "duplicated": head + a + a + b + last,
        "dropped first": head + b + last,
        "dropped middle": head + a + last,
        "no last": head + a + b,
        "two last": body + last,
        "trailing byte": body + b"\0",
        "cut in the tag": body[:-1],
        "cut in a chunk": body[: BODY_PREFIX + SEALED + 5],
        "no chunk": head,
        "cut in the prefix": body[:40],
        "empty": b"",
    }


@pytest.mark.parametrize("name", attacks(bytes(BODY_PREFIX + 2 * SEALED + 40)))
def test_an_altered_body_never_opens(suite: Suite, dek: bytes, name: str) -> None:
    body = run(chunked.encryptor(suite, dek, CONTEXT), text(2 * CHUNK + 24), CHUNK)
    for unseal in (Decryptor, chunked.decryptor):
        for step in (1000, len(body) + 1):
            with pytest.raises(InvalidTag):
                run(unseal(suite, dek, CONTEXT), attacks(body)[name], step)


def test_dek_context_aad_and_suite_are_all_bound(suite: Suite, dek: bytes) -> None:
    body = run(chunked.encryptor(suite, dek, CONTEXT), b"data", 9)
    wrong_dek = bytes([dek[0] ^ 1]) + dek[1:]
    others = [suite for suite in Suite if suite.key_size == len(dek)]
    tries = [(suite, wrong_dek, CONTEXT), *((other, dek, CONTEXT) for other in others if other is not suite)]
    tries += [(suite, dek, context_bytes('{"a":"c"}', b"row 7")), (suite, dek, context_bytes(None, b"row 7"))]
    tries += [(suite, dek, context_bytes('{"a":"b"}', b"row 8")), (suite, dek, context_bytes('{"a":"b"}'))]
    for wrong in tries:
        for unseal in (Decryptor, chunked.decryptor):
            with pytest.raises(InvalidTag):
                run(unseal(*wrong), body, len(body))


def test_context_and_aad_cannot_be_shifted_into_each_other() -> None:
    assert context_bytes("ab", b"c") != context_bytes("a", b"bc")
    assert context_bytes(None, b"ab") != context_bytes("ab", b"")


def test_after_a_failure_and_after_the_end_nothing_more_comes(suite: Suite, dek: bytes) -> None:
    good = run(chunked.encryptor(suite, dek, CONTEXT), text(CHUNK), CHUNK)
    bad = Decryptor(suite, dek, CONTEXT)
    with pytest.raises(InvalidTag):
        bad.update(bytes([good[0] ^ 1]) + good[1:])
    done = Encryptor(suite, dek, CONTEXT)
    done.finalize()
    for ended in (bad, done):
        with pytest.raises(AlreadyFinalized):
            ended.update(b"more")
        with pytest.raises(AlreadyFinalized):
            ended.finalize()


def test_message_keys_do_not_show_themselves(suite: Suite, dek: bytes) -> None:
    keys = derive(suite, dek, bytes(24), CONTEXT)
    assert keys.key.hex() not in repr(keys)
    assert repr(keys.key) not in f"{keys!r} {keys}"
