"""The encryption context: one text for one set of pairs."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmsenvelope.context import MAX_CONTEXT_CHARS, decode_context, encode_context

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def test_no_context_and_an_empty_one_are_the_same() -> None:
    assert encode_context(None) is None
    assert encode_context({}) is None


def test_text_is_sorted_compact_and_ascii() -> None:
    assert encode_context({"b": "1", "a": "租户"}) == '{"a":"\\u79df\\u6237","b":"1"}'


def test_order_of_the_pairs_does_not_matter() -> None:
    assert encode_context({"a": "1", "b": "2"}) == encode_context({"b": "2", "a": "1"})


@given(st.dictionaries(TEXT, TEXT, min_size=1, max_size=5))
def test_what_is_encoded_decodes_to_the_same_pairs(pairs: dict[str, str]) -> None:
    text = encode_context(pairs)
    assert text is not None
    assert decode_context(text) == pairs
    assert text.isascii()


def test_limit_of_1024_characters_is_exact() -> None:
    fits = {"k": "x" * (MAX_CONTEXT_CHARS - len('{"k":""}'))}
    text = encode_context(fits)
    assert text is not None
    assert len(text) == MAX_CONTEXT_CHARS
    with pytest.raises(ValueError, match="1025 characters as JSON; the KMS allows 1024"):
        encode_context({"k": fits["k"] + "x"})


@pytest.mark.parametrize(
    "context",
    [{"k": 1}, {"k": None}, {1: "v"}, {"k": ["v"]}, {"k": {"n": "v"}}, {b"k": "v"}, "k=v", [("k", "v")], 7],
)
def test_other_things_than_str_pairs_are_a_type_error(context: object) -> None:
    with pytest.raises(TypeError, match="context must"):
        encode_context(context)  # type: ignore[arg-type]


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(ValueError, match="surrogate"):
        encode_context({"k": "\ud800"})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        '"text"',
        '{"a":1}',
        '{"a":null}',
        '{"a":{"b":"c"}}',
        '{"a":"1","a":"1"}',
        '{"a":NaN}',
        '{"a":"\\ud800"}',
        '{"a":"b"',
        '{"a":"' + "x" * MAX_CONTEXT_CHARS + '"}',
    ],
)
def test_a_stored_context_that_is_not_one_object_of_strings_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        decode_context(text)


def test_a_stored_context_may_be_written_otherwise_than_ours() -> None:
    text = json.dumps({"b": "1", "a": "ü"}, ensure_ascii=False, indent=1)
    assert decode_context(text) == {"a": "ü", "b": "1"}
