"""The second decoder, in Node.js: over the committed vectors, fresh envelopes and damaged ones."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from vectorfile import FILES, VECTORS, GivenKey, document, load

from kmsenvelope.client import EnvelopeClient
from kmsenvelope.errors import (
    AuthenticationError,
    ContextMismatch,
    EnvelopeError,
    FormatError,
    NoUsableKey,
    TruncatedError,
)
from kmsenvelope.header import Recipient
from kmsenvelope.kms.private import PrivateKey
from kmsenvelope.suites import Suite

DECODER = Path(__file__).parent / "node" / "decode.mjs"
CHUNK = 16_384
OUTCOMES = {
    FormatError: "format",
    ContextMismatch: "context",
    TruncatedError: "truncated",
    AuthenticationError: "authentication",
    NoUsableKey: "authentication",  # a DEK of the wrong size: refusal B1
}


@pytest.fixture(scope="module")
def node() -> str:
    """Path of Node.js. Where it is missing these tests are skipped, but in CI they fail."""
    found = shutil.which("node")
    if found is None:
        reason = "node is not installed: the second decoder did not run"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def run(node: str, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([node, DECODER, *arguments], capture_output=True, timeout=120, check=False)


class KnownKey(GivenKey):
    """A key that makes the same DEK for every envelope, so that a test knows it."""

    def wrap(self, dek: bytes, context_json: str | None) -> Recipient:
        return Recipient("local", "known", "b3BhcXVl")

    def generate(self, suite: Suite, context_json: str | None) -> tuple[bytearray, Recipient]:
        return bytearray(self._dek), self.wrap(self._dek, context_json)


def as_vector(name: str, envelope: bytes, dek: bytes, expect: str, **members: Any) -> dict[str, Any]:
    return {
        "name": name,
        "expect": expect,
        "dek": dek.hex(),
        "envelope": {"base64": base64.b64encode(envelope).decode()},
        "sha256": hashlib.sha256(envelope).hexdigest(),
        **members,
    }


def check(node: str, path: Path, vectors: Iterable[dict[str, Any]]) -> subprocess.CompletedProcess[bytes]:
    path.write_text(json.dumps({"vectors": list(vectors)}), "utf-8")
    return run(node, "vectors", path)


def stated(plaintext: bytes) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(plaintext).hexdigest(), "length": len(plaintext)}


def test_agrees_with_every_committed_vector(node: str) -> None:
    files = [*FILES, "derivation"]
    done = run(node, "vectors", *(VECTORS / f"{file}.json" for file in files))
    total = sum(len(document(file)) for file in files)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(f"{total} of {total} vectors as expected".encode())


@pytest.mark.parametrize(
    "lie",
    [
        {"expect": "success"},
        {"refusal": "B3"},
        {"sha256": "00" * 32},
        {"released": 0, "name": "cut-after-chunk-0"},
        {"plaintext": {"hex": "00"}, "name": "one-byte"},
        {"dek": "00" * 32, "name": "one-byte"},
    ],
)
def test_reports_a_vector_that_is_wrong(node: str, tmp_path: Path, lie: dict[str, Any]) -> None:
    vectors = {members["name"]: members for members in document("aes-256-gcm")}
    name = lie.get("name", "altered-salt-last")
    vectors[name] = {**vectors[name], **lie}
    done = check(node, tmp_path / "lie.json", vectors.values())
    assert done.returncode == 1
    assert name in done.stderr.decode()
    assert f"{len(vectors) - 1} of {len(vectors)} vectors" in done.stdout.decode()


@pytest.mark.parametrize("suite", Suite)
def test_opens_what_the_package_writes(node: str, tmp_path: Path, suite: Suite) -> None:
    dek, vectors = os.urandom(suite.key_size), []
    client = EnvelopeClient(KnownKey(dek), suite=suite)
    contexts: tuple[dict[str, str] | None, ...] = (None, {"tenant": "42", "客户": "😀"})
    for size in (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK, 70 * CHUNK + 3):
        plain = os.urandom(size)
        (tmp_path / "plain").write_bytes(plain)
        for number, context in enumerate(contexts):
            aad = os.urandom(20 * number)
            sealed = {"whole": client.encrypt(plain, context=context, aad=aad)}
            with client.open(tmp_path / "stream", "wb", context=context, aad=aad) as file:
                file.write(plain)
            sealed["stream"] = (tmp_path / "stream").read_bytes()
            client.encrypt_file(
                tmp_path / "plain", tmp_path / "file", context=context, aad=aad, overwrite=True
            )
            sealed["file"] = (tmp_path / "file").read_bytes()
            given: dict[str, Any] = {"plaintext": stated(plain), "aad": aad.hex()}
            if context is not None:
                given["expected_context"] = context
            for way, envelope in sealed.items():
                vectors.append(as_vector(f"{way}-{size}-{number}", envelope, dek, "success", **given))
    done = check(node, tmp_path / "fresh.json", vectors)
    assert (done.returncode, done.stderr) == (0, b"")
    assert f"{len(vectors)} success" in done.stdout.decode()


def test_opens_what_the_package_wraps_for_a_public_key(node: str, tmp_path: Path) -> None:
    keys = {vector.members["private_key"]: vector.key for vector in load("recipients")}
    assert len(keys) == 3
    vectors = []
    for number, (text, key) in enumerate(keys.items()):
        assert isinstance(key, PrivateKey)
        for suite in Suite:
            for turn in range(4):  # lengths in the DER of SM2 differ
                envelope = EnvelopeClient(key.public_key, suite=suite).encrypt(b"hello", context={"a": "b"})
                name, given = f"{suite}-{number}-{turn}", {"plaintext": stated(b"hello"), "private_key": text}
                vectors.append(as_vector(name, envelope, b"", "success", **given))
    done = check(node, tmp_path / "wrapped.json", vectors)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("suite", Suite)
def test_opens_a_file_and_names_the_outcome_of_a_damaged_one(node: str, tmp_path: Path, suite: Suite) -> None:
    dek, plain, path = os.urandom(suite.key_size), os.urandom(2 * CHUNK), tmp_path / "a.kmse"
    path.write_bytes(EnvelopeClient(KnownKey(dek), suite=suite).encrypt(plain, aad=b"row 7"))
    done = run(node, "open", path, dek.hex(), b"row 7".hex())
    assert (done.returncode, done.stdout) == (0, plain)
    assert run(node, "open", path, dek.hex()).stderr == b"authentication\n"
    path.write_bytes(path.read_bytes()[:-16])
    done = run(node, "open", path, dek.hex(), b"row 7".hex())
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"truncated\n")


TOKENS = (
    b'{} [] , : " \\ null NaN -1e5 \\u0041 \\ud83d \\\\ud83d \xf0\x9f\x98\x80 \xed\xa0\x80 \xff \xef\xbb\xbf '
    b'"keys" "context" "context":"{}", "alg":"x", "kms":"y", "region":null,'
)
FRAGMENTS = [*TOKENS.split(b" "), b" ", b"\t", b"\n", b"\x00", b"\x0b", b"[" * 40, b"[" * 29 + b"]" * 29]


def damaged(text: bytes, source: random.Random) -> bytes:
    """``text`` after one to three small changes."""
    data = bytearray(text)
    for _ in range(source.randint(1, 3)):
        at = source.randrange(len(data) + 1)
        change = source.randrange(4)
        if change == 0:
            data[at:at] = source.choice(FRAGMENTS)
        elif change == 1:
            del data[at : at + source.randint(1, 3)]
        elif change == 2 and at < len(data):
            data[at] ^= 1 << source.randrange(8)
        else:
            start = source.randrange(len(data) + 1)
            data[at:at] = data[start : start + source.randint(1, 30)]
    return bytes(data)


def outcome(envelope: bytes, dek: bytes) -> dict[str, Any]:
    """How the package ends, as members of a vector."""
    try:
        plain = EnvelopeClient(KnownKey(dek)).decrypt(envelope)
    except EnvelopeError as error:
        return {"expect": OUTCOMES[type(error)]}
    return {"expect": "success", "plaintext": stated(plain)}


def test_both_decoders_end_alike_on_damaged_headers(node: str, tmp_path: Path) -> None:
    """3 000 headers, damaged at random but the same in each run."""
    source, vectors = random.Random(8259), []
    for suite in Suite:
        dek = source.randbytes(suite.key_size)
        client = EnvelopeClient(KnownKey(dek), suite=suite)
        for number in range(1_000):
            envelope = client.encrypt(b"hello", context={"a": "é😀", "b": "2"} if number % 4 else None)
            size = 12 + int.from_bytes(envelope[8:12], "big")
            text = damaged(envelope[12:size], source)
            changed = envelope[:8] + len(text).to_bytes(4, "big") + text + envelope[size:]
            vectors.append(as_vector(f"{suite}-{number}", changed, dek, **outcome(changed, dek)))
    done = check(node, tmp_path / "damaged.json", vectors)
    assert (done.returncode, done.stderr) == (0, b"")
    assert {vector["expect"] for vector in vectors} == {"success", "format", "authentication"}


def test_both_decoders_end_alike_on_every_flipped_bit_and_every_cut(node: str, tmp_path: Path) -> None:
    dek = os.urandom(32)
    envelope = EnvelopeClient(KnownKey(dek)).encrypt(b"hello", context={"a": "b"})
    changed = {f"cut-{size}": envelope[:size] for size in range(len(envelope))}
    for bit in range(8 * len(envelope)):
        flipped = bytearray(envelope)
        flipped[bit // 8] ^= 1 << bit % 8
        changed[f"bit-{bit}"] = bytes(flipped)
    vectors = [as_vector(name, data, dek, **outcome(data, dek)) for name, data in changed.items()]
    done = check(node, tmp_path / "flipped.json", vectors)
    assert (done.returncode, done.stderr) == (0, b"")
    for vector in vectors:
        assert vector.get("plaintext", stated(b"hello")) == stated(b"hello")
