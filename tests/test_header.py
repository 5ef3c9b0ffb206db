"""The header: bytes to values and back, and every refusal."""

from __future__ import annotations

import io
import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmsenvelope.errors import FormatError
from kmsenvelope.header import MAX_JSON, Header, Recipient, decode_header, read_header
from kmsenvelope.suites import Suite

PRINTABLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=40)
RECIPIENTS = st.builds(
    Recipient,
    kms=PRINTABLE,
    key_id=PRINTABLE,
    wrapped=PRINTABLE,
    region=st.none() | PRINTABLE,
    alg=st.none() | PRINTABLE,
)
KEY = {"kms": "local", "key_id": "k", "wrapped": "w"}


def raw(members: object, *, version: int = 1, suite: int = 1, magic: bytes = b"KMSENV") -> bytes:
    text = members if isinstance(members, bytes) else json.dumps(members).encode()
    return struct.pack(">6sBBI", magic, version, suite, len(text)) + text


@given(
    st.sampled_from(Suite),
    st.lists(RECIPIENTS, min_size=1, max_size=16),
    st.none() | st.dictionaries(PRINTABLE, PRINTABLE, max_size=3).map(json.dumps),
    st.integers(0, 100),
)
def test_what_is_encoded_decodes_to_the_same_header(
    suite: Suite, recipients: list[Recipient], context: str | None, room: int
) -> None:
    header = Header(suite, tuple(recipients), context)
    data = header.encode(room=room)
    assert decode_header(data + b"body") == (header, len(data))
    assert read_header(io.BytesIO(data + b"body").read) == (header, data)


def test_encoded_form_is_the_documented_one() -> None:
    header = Header(Suite.SM4_GCM, (Recipient("tencent", "id", "blob-k-", "ap-guangzhou"),), '{"a":"b"}')
    text = (
        b'{"keys":[{"kms":"tencent","key_id":"id","region":"ap-guangzhou","wrapped":"blob-k-"}],'
        b'"context":"{\\"a\\":\\"b\\"}"}'
    )
    assert header.encode(room=2) == b"KMSENV\x01\x03" + (len(text) + 2).to_bytes(4, "big") + text + b"  "


def test_unknown_members_are_ignored() -> None:
    header, _ = decode_header(raw({"keys": [{**KEY, "new": 1}], "later": [1, {"x": None}]}))
    assert header == Header(Suite.AES_256_GCM, (Recipient("local", "k", "w"),))


def test_context_is_a_mapping_and_empty_if_absent() -> None:
    assert decode_header(raw({"keys": [KEY]}))[0].context == {}
    assert decode_header(raw({"keys": [KEY], "context": '{"a": "b"}'}))[0].context == {"a": "b"}


REFUSED = {
    "empty": (b"", "does not start with KMSENV"),
    "plain text": (b"id,name\n1,Ann\n" * 9, "does not start with KMSENV"),
    "version 2": (raw({"keys": [KEY]}, version=2), "format version 2"),
    "version 0": (raw({"keys": [KEY]}, version=0), "format version 0"),
    "suite 0": (raw({"keys": [KEY]}, suite=0), "suite 0x00"),
    "suite 4": (raw({"keys": [KEY]}, suite=4), "suite 0x04"),
    "length 4 GiB": (b"KMSENV\x01\x01\xff\xff\xff\xff" + bytes(99), "over the limit of 65536"),
    "length over the limit": (b"KMSENV\x01\x01\x00\x01\x00\x01" + bytes(70_000), "over the limit"),
    "not UTF-8": (raw(b'{"keys":"\xff"}'), "not UTF-8"),
    "byte order mark": (raw(b"\xef\xbb\xbf" + json.dumps({"keys": [KEY]}).encode()), "not JSON"),
    "not JSON": (raw(b"{keys:[]}"), "not JSON"),
    "nothing": (raw(b""), "not JSON"),
    "an array": (raw([KEY]), "not an object"),
    "nested too deeply": (raw(b"[" * 60_000), "nested too deeply"),
    "NaN": (raw(b'{"keys":[NaN]}'), "NaN"),
    "duplicate member": (raw(b'{"keys":[],"keys":[]}'), "duplicate name"),
    "duplicate in a recipient": (raw(b'{"keys":[{"kms":"a","kms":"b"}]}'), "duplicate name"),
    "duplicate in an unknown member": (raw(b'{"x":{"a":1,"a":2},"keys":[]}'), "duplicate name"),
    "no keys": (raw({}), "1 to 16 recipients"),
    "keys not a list": (raw({"keys": KEY}), "1 to 16 recipients"),
    "no recipient": (raw({"keys": []}), "1 to 16 recipients"),
    "17 recipients": (raw({"keys": [KEY] * 17}), "1 to 16 recipients"),
    "recipient not an object": (raw({"keys": ["k"]}), "not an object"),
    "kms missing": (raw({"keys": [{"key_id": "k", "wrapped": "w"}]}), "kms is not a string"),
    "key_id a number": (raw({"keys": [{**KEY, "key_id": 1}]}), "key_id is not a string"),
    "wrapped empty": (raw({"keys": [{**KEY, "wrapped": ""}]}), "wrapped is not printable"),
    "wrapped with a line break": (raw({"keys": [{**KEY, "wrapped": "a\nb"}]}), "wrapped is not printable"),
    "key_id with an escape": (raw({"keys": [{**KEY, "key_id": "\x1b[2J"}]}), "key_id is not printable"),
    "region null": (raw({"keys": [{**KEY, "region": None}]}), "region is not a string"),
    "alg not ASCII": (raw({"keys": [{**KEY, "alg": "é"}]}), "alg is not printable"),
    "context an object": (raw({"keys": [KEY], "context": {"a": "b"}}), "context is not a string"),
    "context null": (raw({"keys": [KEY], "context": None}), "context is not a string"),
    "context not JSON": (raw({"keys": [KEY], "context": "a=b"}), "not JSON"),
    "context with a number": (raw({"keys": [KEY], "context": '{"a":1}'}), "object of strings"),
    "context too long": (raw({"keys": [KEY], "context": json.dumps({"a": "x" * 1020})}), "longer than 1024"),
}


@pytest.mark.parametrize(("data", "reason"), REFUSED.values(), ids=REFUSED)
def test_refused_whole_and_as_a_stream(data: bytes, reason: str) -> None:
    with pytest.raises(FormatError, match=reason):
        decode_header(data)
    with pytest.raises(FormatError, match=reason):
        read_header(io.BytesIO(data).read)


def test_every_truncation_is_refused() -> None:
    data = Header(Suite.AES_128_GCM, (Recipient("local", "k", "w"),), '{"a":"b"}').encode(room=3)
    for size in range(len(data)):
        with pytest.raises(FormatError):
            decode_header(data[:size])
        with pytest.raises(FormatError):
            read_header(io.BytesIO(data[:size]).read)


@given(st.binary(max_size=200))
def test_any_bytes_give_a_header_or_a_format_error(tail: bytes) -> None:
    for data in (tail, b"KMSENV\x01\x01" + tail, raw(tail), raw(b'{"keys":[' + tail + b"]}")):
        try:
            header, size = decode_header(data)
        except FormatError:
            continue
        assert size <= len(data)
        assert header.recipients


@pytest.mark.parametrize("count", [0, 17])
def test_encoding_refuses_a_number_of_recipients_that_decoding_would(count: int) -> None:
    with pytest.raises(ValueError, match="1 to 16 recipients"):
        Header(Suite.AES_256_GCM, (Recipient("local", "k", "w"),) * count).encode()


def test_encoding_refuses_what_is_over_the_limit() -> None:
    header = Header(Suite.AES_256_GCM, (Recipient("local", "k", "w"),))
    room = MAX_JSON - (len(header.encode()) - 12)
    assert len(header.encode(room=room)) == 12 + MAX_JSON
    with pytest.raises(ValueError, match="65537 bytes; the format allows 65536"):
        header.encode(room=room + 1)


@pytest.mark.parametrize("name", ["aes-256-gcm", "AES-192-GCM", "", None, 1])
def test_an_unknown_suite_is_a_value_error_that_lists_the_known_ones(name: object) -> None:
    with pytest.raises(ValueError, match="choose one of AES-256-GCM, AES-128-GCM, SM4-GCM"):
        Suite(name)


def test_a_change_to_the_context_of_one_header_is_seen_by_no_other() -> None:
    encoded = Header(Suite.AES_256_GCM, (Recipient("local", "k", "w"),), '{"a":"b"}').encode()
    decode_header(encoded)[0].context["c"] = "d"
    assert decode_header(encoded)[0].context == {"a": "b"}
