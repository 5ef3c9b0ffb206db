"""The committed vectors, through each way in which the package reads and writes an envelope."""

from __future__ import annotations

import hashlib
import io
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import hybrid
import pytest
from cryptography import cobblestone
from cryptography.exceptions import InvalidTag
from vectorfile import FILES, SUITE_FILES, VECTORS, GivenKey, Vector, document, load

from kmsenvelope.chunked import (
    CHUNK,
    ChunkCipher,
    Decryptor,
    Encryptor,
    MessageKeys,
    context_bytes,
    derive,
    plain_size,
    sealed_size,
)
from kmsenvelope.ciphers.select import Provider, sm4_providers
from kmsenvelope.client import EnvelopeClient
from kmsenvelope.errors import (
    AuthenticationError,
    ContextMismatch,
    EnvelopeError,
    FormatError,
    NoUsableKey,
    TruncatedError,
)
from kmsenvelope.header import decode_header
from kmsenvelope.kms.asymmetric import HYBRID, RSA_OAEP, SM2_ASN1
from kmsenvelope.kms.public import WRAP_PURPOSE
from kmsenvelope.kms.xwing import XWingPrivateKey
from kmsenvelope.suites import Suite

DOCUMENT = Path(__file__).parent.parent / "docs" / "format.md"
OUTCOMES: dict[str, type[EnvelopeError]] = {
    "format": FormatError,
    "context": ContextMismatch,
    "no-key": NoUsableKey,
    "authentication": AuthenticationError,
    "truncated": TruncatedError,
}
ALL = [vector for file in FILES for vector in load(file)]
GOOD = [vector for vector in ALL if vector.expect == "success"]
BAD = [vector for vector in ALL if vector.expect != "success"]
OTHER_SIZE = ("dek-15-bytes", "dek-32-bytes", "dek-empty")
ENCODED = [vector for vector in GOOD if "salt" in vector.members]
DERIVATIONS = document("derivation")

each = pytest.mark.parametrize("vector", ALL, ids=str)
each_good = pytest.mark.parametrize("vector", GOOD, ids=str)
each_bad = pytest.mark.parametrize("vector", BAD, ids=str)
each_encoded = pytest.mark.parametrize("vector", ENCODED, ids=str)
each_derivation = pytest.mark.parametrize("made", DERIVATIONS, ids=lambda made: made["name"])


def test_the_generator_makes_the_committed_files() -> None:
    command = [sys.executable, str(VECTORS / "generate.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_generator_does_not_import_the_package() -> None:
    for path in VECTORS.glob("*.py"):
        assert not re.search(r"^\s*(import|from) kmsenvelope", path.read_text("utf-8"), re.MULTILINE)


def test_envelopes_have_the_stated_digest() -> None:
    for vector in ALL:
        assert len(vector.data) == vector.members["size"], vector
        assert hashlib.sha256(vector.data).hexdigest() == vector.members["sha256"], vector


def test_every_documented_refusal_has_a_vector_with_its_outcome() -> None:
    text = DOCUMENT.read_text("utf-8")
    documented = dict(re.findall(r"^\| ([HCB]\d+) \| .* \| `(\w+)` \|$", text, re.MULTILINE))
    assert len(documented) == 31
    assert set(documented) - {vector.refusal for vector in BAD} == {"B7"}
    section = text.partition("### Outcomes")[2].partition("### Refusals")[0]
    outcomes = re.findall(r"^\| `([\w-]+)` \| .* \|$", section, re.MULTILINE)
    assert set(outcomes) == {vector.expect for vector in ALL}
    for vector in BAD:
        assert documented.get(vector.refusal, "no-key") == vector.expect, vector


def test_the_documented_example_and_sizes_are_true() -> None:
    text = DOCUMENT.read_text("utf-8")
    start, line = re.findall(r"^    (4b4d53454e56 01 01 [0-9a-f]{8})\n    (.+)$", text, re.MULTILINE)[0]
    header, size = decode_header(bytes.fromhex(start) + line.encode())
    assert (size, header.context) == (12 + len(line), {"tenant": "42"})
    assert header.encode() == bytes.fromhex(start) + line.encode()
    sizes = re.findall(r"^\| ([\d ]+) \| [\d ,]+ \| ([\d ]+) \|$", text, re.MULTILINE)
    assert len(sizes) == 5
    for message, body in sizes:
        assert sealed_size(int(message.replace(" ", ""))) == int(body.replace(" ", ""))
        assert plain_size(int(body.replace(" ", ""))) == int(message.replace(" ", ""))


def test_the_documented_suites_are_those_of_the_package() -> None:
    rows = re.findall(
        r"^\| `0x(\d\d)` \| `([\w-]+)`.* \| `(\w+)` \| .* \| ([\w-]+) \| (\d+) bytes \|",
        DOCUMENT.read_text("utf-8"),
        re.MULTILINE,
    )
    found = [
        (int(number), name, aead, hashed.replace("-", ""), int(size))
        for number, name, aead, hashed, size in rows
    ]
    assert found == [(s.id, str(s), s.aead_name, s.hash_name, s.key_size) for s in Suite]


def test_every_documented_alg_has_vectors_that_open_and_that_do_not() -> None:
    section = DOCUMENT.read_text("utf-8").partition("### Recipients")[2].partition("### The hybrid")[0]
    documented = re.findall(r"^\| `([A-Z0-9_]+)` \|", section, re.MULTILINE)
    assert documented == [RSA_OAEP, SM2_ASN1, HYBRID]
    for vectors in (GOOD, BAD):
        found = {recipient.alg for v in vectors if v.file == "recipients" for recipient in v.recipients}
        assert found >= set(documented)


def test_the_documented_hybrid_recipient_is_that_of_the_package() -> None:
    section = DOCUMENT.read_text("utf-8").partition("### The hybrid recipient")[2].partition("## Suites")[0]
    ids = re.findall(r"^\| (?:KEM|KDF|AEAD) \| `0x([0-9a-f]{4})`, ", section, re.MULTILINE)
    assert "".join(ids) in section.partition('"HPKE-v1" || "HPKE" || 0x')[2][:12]
    assert [int(number, 16) for number in ids] == [hybrid.KEM_ID, hybrid.KDF_ID, hybrid.AEAD_ID]
    assert re.findall(r"17 bytes of ASCII `(.{17})`", section) == [WRAP_PURPOSE.decode()]
    fields = re.findall(r"^\| ([\d ]+)(?: or [\d ]+)? \| ([\d ]+)(?: or \d+)? \| ", section, re.MULTILINE)
    numbers = [(int(at.replace(" ", "")), int(size.replace(" ", ""))) for at, size in fields]
    assert numbers == [(0, 1088), (1088, 32), (hybrid.ENCAPSULATED_SIZE, 16), (1136, 16)]
    key = XWingPrivateKey.generate()
    forms = re.findall(r"^\| .* \| ([\d ]+) \| `([0-9a-f ]+)` \|$", section, re.MULTILINE)
    for (size, start), der in zip(forms, (key.public_key().to_der(), key.to_der()), strict=True):
        assert len(der) == int(size.replace(" ", ""))
        assert der.startswith(bytes.fromhex(start))
        assert len(der) - len(bytes.fromhex(start)) in {1216, 32}
    for suite in Suite:
        assert len(key.public_key().encrypt(bytes(suite.key_size), WRAP_PURPOSE)) == 1136 + suite.key_size


def test_every_suite_has_the_same_body_vectors_and_no_two_are_alike() -> None:
    names = [{vector.name for vector in ALL if vector.file == file} for file in SUITE_FILES]
    common = names[0] & names[1] & names[2]
    assert all(name.startswith("suite-changed-to-") for name in set().union(*names) - common)
    given = ("dek", "private_key", "aad", "expected_context")
    refused = Counter((v.data, *(str(v.members.get(name)) for name in given)) for v in BAD)
    assert max(refused.values()) == 1


def client(vector: Vector) -> EnvelopeClient:
    return EnvelopeClient(vector.key)


def refused(vector: Vector) -> tuple[type[EnvelopeError], ...]:
    """The exceptions for the vector. A client drops a DEK of the wrong size as a recipient that failed."""
    return (NoUsableKey,) if vector.refusal == "B1" else (OUTCOMES[vector.expect],)


def check_refused(vector: Vector, error: EnvelopeError) -> None:
    assert type(error) in refused(vector), repr(error)


@each
def test_header_is_refused_or_not(vector: Vector) -> None:
    if vector.expect == "format":
        with pytest.raises(FormatError):
            decode_header(vector.data)
    else:
        _, size = decode_header(vector.data)
        assert size <= len(vector.data)


@each_good
def test_decrypts_whole(vector: Vector) -> None:
    with client(vector) as reader:
        plain = reader.decrypt(vector.data, context=vector.expected_context, aad=vector.aad)
    assert vector.holds(plain)


@each_bad
def test_refuses_whole(vector: Vector) -> None:
    key = vector.key
    with EnvelopeClient(key) as reader, pytest.raises(EnvelopeError) as caught:
        reader.decrypt(vector.data, context=vector.expected_context, aad=vector.aad)
    check_refused(vector, caught.value)
    if vector.expect in {"format", "context"}:
        assert isinstance(key, GivenKey)
        assert key.unwrapped == 0


@pytest.mark.parametrize("vector", [v for v in ALL if v.file == "recipients"], ids=str)
def test_a_private_key_unwraps_what_was_wrapped_for_it_and_nothing_else(vector: Vector) -> None:
    key, unwrapped = vector.key, []
    for recipient in vector.recipients:
        if not key.opens(recipient):
            with pytest.raises(ValueError, match="does not open"):
                key.unwrap(recipient, None)
        elif vector.refusal or vector.expect == "success" or vector.name.endswith(OTHER_SIZE):
            unwrapped.append(bytes(key.unwrap(recipient, None)))
        else:
            with pytest.raises(AuthenticationError, match="damaged, or was made for another key"):
                key.unwrap(recipient, None)
    if vector.expect == "success":
        assert unwrapped == [vector.dek]
    assert all((len(dek) == 16) == bool(vector.refusal) for dek in unwrapped if vector.expect != "success")


class Pipe(io.RawIOBase):
    """A source that does not seek and returns less than it is asked for."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        return self._data.read(min(size, 5_000) if size >= 0 else 5_000)

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def sources(data: bytes) -> Iterator[io.IOBase]:
    yield Pipe(data)
    yield io.BytesIO(data)


@each
@pytest.mark.parametrize("size", [1_000, CHUNK, 3 * CHUNK + 1, -1])
def test_reads_as_a_stream_and_releases_only_what_it_may(vector: Vector, size: int) -> None:
    for source in sources(vector.data):
        released, error = read_all(vector, source, size)
        if vector.expect == "success":
            assert error is None
            assert vector.holds(released)
        else:
            assert error is not None
            check_refused(vector, error)
            assert vector.may_release(released)


def read_all(vector: Vector, source: io.IOBase, size: int) -> tuple[bytes, EnvelopeError | None]:
    """What a reader gives away in reads of ``size`` bytes, and the error that ends it."""
    released = bytearray()
    try:
        with client(vector) as reader:
            with reader.open(source, "rb", context=vector.expected_context, aad=vector.aad) as file:
                while piece := file.read(size):
                    released += piece
    except EnvelopeError as error:
        return bytes(released), error
    return bytes(released), None


@each_good
def test_reads_backwards_by_seeking(vector: Vector) -> None:
    whole = client(vector).decrypt(vector.data, aad=vector.aad)
    with client(vector).open(io.BytesIO(vector.data), "rb", aad=vector.aad) as file:
        assert file.seek(0, io.SEEK_END) == len(whole)
        assert file.read() == b""
        step = max(1, len(whole) // 7)
        for start in range(len(whole), -1, -step):
            assert file.seek(start) == start
            assert file.read(step) == whole[start : start + step]


@pytest.mark.parametrize("vector", [v for v in BAD if v.expect == "truncated"], ids=str)
def test_has_no_length_when_truncated(vector: Vector) -> None:
    with pytest.raises(TruncatedError):
        with client(vector).open(io.BytesIO(vector.data), "rb", aad=vector.aad) as file:
            file.seek(0, io.SEEK_END)


def forged_end(vector: Vector) -> bool:
    """Whether the data was altered at its end, so that the last chunk does not open."""
    return vector.refusal == "B3" and (
        vector.name.startswith(
            ("cut-", "trailing-", "final-chunk-foreign", "final-chunk-twice", "altered-last")
        )
        or vector.name in {"chunk-dropped", "chunk-dropped-first", "chunk-duplicated", "two-final-chunks"}
    )


@pytest.mark.parametrize("vector", [v for v in BAD if forged_end(v)], ids=str)
def test_has_no_length_when_the_last_chunk_is_not_authentic(vector: Vector) -> None:
    with client(vector).open(io.BytesIO(vector.data), "rb", aad=vector.aad) as file:
        with pytest.raises(AuthenticationError):
            file.seek(0, io.SEEK_END)


@each
def test_files_leave_plaintext_only_when_all_is_authentic(vector: Vector, tmp_path: Path) -> None:
    source, target = tmp_path / "a.kmse", tmp_path / "a"
    source.write_bytes(vector.data)
    given = {"context": vector.expected_context, "aad": vector.aad}
    if vector.expect == "success":
        client(vector).decrypt_file(source, target, **given)
        client(vector).verify_file(source, **given)
        assert vector.holds(target.read_bytes())
        return
    for attempt in (
        lambda: client(vector).decrypt_file(source, target, **given),
        lambda: client(vector).verify_file(source, **given),
    ):
        with pytest.raises(EnvelopeError) as caught:
            attempt()
        check_refused(vector, caught.value)
    assert list(tmp_path.iterdir()) == [source]


@each_encoded
@pytest.mark.parametrize("step", [7_000, CHUNK, 1 << 20])
def test_encodes_to_the_same_bytes(vector: Vector, step: int) -> None:
    header, size = decode_header(vector.data)
    text = vector.data[12:size]
    room = len(text) - len(text.rstrip(b" "))
    assert header.encode(room=room) == vector.data[:size]
    plain = client(vector).decrypt(vector.data, aad=vector.aad)
    bound = context_bytes(header.context_json, vector.aad)
    salt = bytes.fromhex(vector.members["salt"])
    encryptor = Encryptor(Suite(vector.members["suite"]), vector.dek, bound, salt=salt)
    pieces = [encryptor.update(plain[start : start + step]) for start in range(0, len(plain), step)]
    assert b"".join([*pieces, encryptor.finalize()]) == vector.data[size:]


COBBLESTONE = {
    "AES-256-GCM": (cobblestone.Cobblestone256Encryptor, cobblestone.Cobblestone256Decryptor),
    "AES-128-GCM": (cobblestone.Cobblestone128Encryptor, cobblestone.Cobblestone128Decryptor),
}


@pytest.mark.parametrize("vector", [v for v in GOOD if v.members["suite"] in COBBLESTONE], ids=str)
def test_aes_bodies_are_cobblestone_messages_both_ways(vector: Vector) -> None:
    make_encryptor, make_decryptor = COBBLESTONE[vector.members["suite"]]
    header, size = decode_header(vector.data)
    bound = context_bytes(header.context_json, vector.aad)
    theirs = make_decryptor(vector.dek, bound)
    plain = theirs.update(vector.data[size:]) + theirs.finalize()
    assert vector.holds(plain)
    sealer = make_encryptor(vector.dek, bound)
    body = sealer.update(plain) + sealer.finalize()
    ours = Decryptor(header.suite, vector.dek, bound)
    assert ours.update(body) + ours.finalize() == plain


@pytest.mark.parametrize("provider", sm4_providers(), ids=lambda provider: provider.name)
def test_sm4_bodies_are_the_same_with_every_provider(provider: Provider) -> None:
    if provider.make is None:
        assert provider.name != "openssl", provider.reason
        pytest.skip(f"{provider.name}: {provider.reason}")
    for vector in (v for v in ALL if v.file == "sm4-gcm" and ("salt" in v.members or v.refusal == "B3")):
        header, size = decode_header(vector.data)
        salt, sealed = vector.data[size : size + 24], vector.data[size + 56 :]
        keys = derive(header.suite, vector.dek, salt, context_bytes(header.context_json, vector.aad))
        base = int.from_bytes(keys.base_nonce, "big")
        nonces = [(base ^ index).to_bytes(12, "big") for index in range(len(sealed) // (CHUNK + 16) + 1)]
        aead, plain = provider.make(keys.key), bytearray(len(sealed) - 16 * len(nonces))
        if vector.expect != "success":
            with pytest.raises(InvalidTag):
                aead.open_run(nonces, CHUNK + 16, sealed, plain)
            assert vector.may_release(bytes(plain[: vector.released]))
            continue
        assert aead.open_run(nonces, CHUNK + 16, sealed, plain) == len(plain)
        assert vector.holds(bytes(plain))
        if len(plain) % CHUNK:
            again = bytearray(len(sealed))
            assert aead.seal_run(nonces, CHUNK, plain, again) == len(again)
            assert again == sealed


@each_derivation
def test_derives_the_stated_values(made: dict[str, str]) -> None:
    bound = context_bytes(made["context"], bytes.fromhex(made["aad"]))
    assert bound.hex() == made["context_bytes"]
    keys = derive(Suite(made["suite"]), bytes.fromhex(made["dek"]), bytes.fromhex(made["salt"]), bound)
    assert [part.hex() for part in keys] == [made["key"], made["base_nonce"], made["commitment"]]


@each_derivation
def test_seals_and_opens_chunks_far_beyond_any_file(made: dict[str, str]) -> None:
    parts = (bytes.fromhex(made[name]) for name in ("key", "base_nonce", "commitment"))
    cipher = ChunkCipher(Suite(made["suite"]), MessageKeys(*parts))
    plain = bytes.fromhex(made["plaintext"])
    for chunk in made["chunks"]:
        sealed, opened = bytearray(len(plain) + 16), bytearray(len(plain))
        assert cipher.seal_run(chunk["index"], plain, sealed) == len(sealed)
        assert sealed.hex() == chunk["sealed"]
        assert cipher.open_run(chunk["index"], sealed, opened) == len(plain)
        assert opened == plain
        with pytest.raises(InvalidTag):
            cipher.open_run(chunk["index"] ^ 1, sealed, opened)
    with pytest.raises(ValueError, match="2\\*\\*38"):
        cipher.seal_run(1 << 38, plain, bytearray(len(plain) + 16))


@pytest.mark.parametrize("vector", [v for v in BAD if v.refusal == "B1"], ids=str)
def test_a_dek_of_another_size_derives_nothing(vector: Vector) -> None:
    header, size = decode_header(vector.data)
    bound = context_bytes(header.context_json, vector.aad)
    with pytest.raises(ValueError, match="bytes"):
        derive(header.suite, vector.dek, vector.data[size : size + 24], bound)


@pytest.mark.parametrize("file", SUITE_FILES)
def test_a_cached_dek_does_not_open_the_same_recipient_under_another_suite(file: str) -> None:
    vectors = {vector.name: vector for vector in load(file)}
    with client(vectors["small"]) as reader:
        assert vectors["small"].holds(reader.decrypt(vectors["small"].data, aad=vectors["small"].aad))
        for vector in vectors.values():
            if vector.name.startswith("suite-changed-to-"):
                with pytest.raises((AuthenticationError, NoUsableKey)):
                    reader.decrypt(vector.data, aad=vector.aad)
