"""Vectors for the header and the caller's encryption context. The body is always a small one of suite 1."""

from __future__ import annotations

import json
from collections.abc import Iterator

from construction import RECIPIENT, SUITES, Message, header, header_json, message
from vector import Json, negative, positive, repeated

AES_256 = SUITES[0]
KEYS = json.dumps([RECIPIENT], separators=(",", ":"))
PLAIN = b"hello, envelope"


def vectors() -> Iterator[Json]:
    """All header vectors."""
    yield from _accepted()
    yield from _accepted_contexts()
    yield from _fixed_part()
    yield from _encoding()
    yield from _grammar()
    yield from _duplicates_and_depth()
    yield from _shapes()
    yield from _recipients()
    yield from _contexts()
    yield from _expected_contexts()


def _made(label: str, text: bytes, context: str | None = None) -> Message:
    return message(f"header/{label}", AES_256, PLAIN, context=context, text=text)


def _accept(
    name: str, comment: str, text: str | bytes, context: str | None = None, *, encoder: bool = False
) -> Json:
    data = text.encode() if isinstance(text, str) else text
    return positive(name, comment, _made(name, data, context), encoder=encoder)


def _refuse(name: str, comment: str, refusal: str, text: str | bytes) -> Json:
    data = text.encode() if isinstance(text, str) else text
    return negative(name, comment, refusal, _made("refused", data))


def _nested(depth: int) -> str:
    """An object around arrays: ``depth`` levels in all."""
    return '{"keys":' + KEYS + ',"x":' + "[" * (depth - 1) + "]" * (depth - 1) + "}"


def _accepted() -> Iterator[Json]:
    yield _accept("canonical", "a header as an encoder writes it", header_json(), encoder=True)
    full = {**RECIPIENT, "region": "ap-guangzhou", "alg": "RSAES_OAEP_SHA_256"}
    yield _accept("all-members", "a recipient with region and alg", header_json(None, [full]), encoder=True)
    sixteen = [{**RECIPIENT, "key_id": f"key-{number}"} for number in range(16)]
    yield _accept(
        "recipients-16", "the greatest number of recipients", header_json(None, sixteen), encoder=True
    )
    edges = [{**RECIPIENT, "key_id": " ~ ", "wrapped": ' "\\/'}]
    yield _accept(
        "printable-edges", "space, tilde, quote and backslash", header_json(None, edges), encoder=True
    )
    yield _accept(
        "whitespace", "whitespace of every kind between tokens", f' \t\r\n{{ "keys" :\n{KEYS}\t}}\r\n '
    )
    reverse = json.dumps({"future": 1, "keys": [dict(reversed(RECIPIENT.items()))]})
    yield _accept("other-order", "members in another order", reverse)
    unknown = f'{{"a":{{"b":[null,true,false,-0.5e-3,"\\u0000\\/"]}},"keys":{KEYS},"":""}}'
    yield _accept("unknown-members", "unknown members with every kind of value", unknown)
    inner = KEYS.replace("{", '{"note":{"kms":1},')
    yield _accept("unknown-in-recipient", "an unknown member in a recipient", f'{{"keys":{inner}}}')
    yield _accept(
        "number-of-5000-digits", "an unknown member: a long number", f'{{"keys":{KEYS},"x":{"7" * 5000}}}'
    )
    yield _accept(
        "number-beyond-double", "an unknown member: 1e999", f'{{"keys":{KEYS},"x":[1e999,-1E+999]}}'
    )
    yield _accept(
        "escaped-names",
        "names written with escapes",
        '{"\\u006b\\u0065ys":' + KEYS.replace("kms", "\\u006Bms") + "}",
    )
    yield _accept(
        "names-that-differ-in-case", "Keys and KEYS are other names", f'{{"Keys":1,"keys":{KEYS},"KEYS":2}}'
    )
    yield _accept(
        "same-name-in-two-objects",
        "one name in two objects is no duplicate",
        f'{{"keys":{KEYS},"x":[{{"a":1}},{{"a":2}}]}}',
    )
    yield _accept(
        "non-ascii-unknown",
        "UTF-8 of every length, in an unknown member",
        f'{{"keys":{KEYS},"\u00e9\u20ac\U0001f600":"\u007f\ufeff"}}',
    )
    yield _accept("nested-32", "the greatest depth", _nested(32))
    yield _accept(
        "proto-member",
        "__proto__ is a name like any other",
        f'{{"keys":{KEYS},"__proto__":{{"context":"x"}}}}',
    )
    yield _accept(
        "unknown-kms-and-alg",
        "kinds that no decoder knows",
        header_json(None, [{**RECIPIENT, "kms": "x", "alg": "y"}]),
    )
    text = header_json() + b" " * (65_536 - len(header_json()))
    made = _made("largest", text)
    parts = [
        made.header[: 12 + len(header_json())].hex(),
        repeated(b" ", 65_536 - len(header_json())),
        made.body.hex(),
    ]
    yield positive("largest", "a JSON part of 65 536 bytes", made, parts=parts)


def _accepted_contexts() -> Iterator[Json]:
    def case(name: str, comment: str, context: str, *, encoder: bool = False, raw: bool = False) -> Json:
        text = (
            json.dumps({"keys": [RECIPIENT], "context": context}, ensure_ascii=False).encode()
            if raw
            else header_json(context)
        )
        return _accept(name, comment, text, context, encoder=encoder)

    yield case("context-1024", "1 024 characters", '{"a":"' + "x" * 1016 + '"}', encoder=True)
    yield case(
        "context-1024-code-points",
        "1 024 code points, of which 1 016 are beyond 16 bits",
        '{"a":"' + "\U0001f600" * 1016 + '"}',
        raw=True,
    )
    yield case(
        "context-not-canonical", "order and spaces that no encoder writes", ' { "b" : "2" ,\n"a":"1" } '
    )
    yield case("context-empty-object", "an empty object is not the same as no context", "{}")
    yield case("context-empty-strings", "an empty name and an empty value", '{"":""}', encoder=True)
    yield case("context-escapes", "escapes inside the context", '{"\\u0061":"\\n\\u0000\\ud83d\\ude00"}')
    yield case("context-raw-utf-8", "non-ASCII characters as they are", '{"\u540d":"\u5ba2\u6237"}', raw=True)


def _fixed_part() -> Iterator[Json]:
    made = _made("refused", header_json())
    data, end = made.envelope, len(made.header)
    for size, refusal in (
        (0, "H1"),
        (1, "H1"),
        (5, "H1"),
        (6, "H2"),
        (7, "H2"),
        (8, "H2"),
        (11, "H2"),
        (12, "H6"),
        (13, "H6"),
    ):
        yield negative(f"cut-{size}", f"only {size} bytes", refusal, made, data[:size])
    yield negative("cut-in-json", "ends inside the JSON part", "H6", made, data[: end - 20])
    yield negative(
        "cut-json-last-byte", "the last byte of the JSON part is missing", "H6", made, data[: end - 1]
    )
    for name, magic in (
        ("lower-case", b"kmsenv"),
        ("other", b"KMSENW"),
        ("shifted", b"\x00KMSEN"),
        ("gzip", b"\x1f\x8b\x08\0\0\0"),
    ):
        yield negative(f"magic-{name}", "another magic", "H1", made, magic + data[6:])
    for version in (0, 2, 255):
        yield negative(
            f"version-{version}",
            f"format version {version}",
            "H3",
            made,
            header(AES_256, made.text, version=version) + made.body,
        )
    for suite in (0, 4, 255):
        yield negative(
            f"suite-{suite}", f"suite id {suite}", "H4", made, header(suite, made.text) + made.body
        )
    spaces = repeated(b" ", 65_537 - len(made.text))
    start = header(AES_256, made.text, size=65_537).hex()
    yield negative(
        "length-65537",
        "a JSON part of 65 537 bytes, all there",
        "H5",
        made,
        parts=[start, spaces, made.body.hex()],
    )
    for size in (0x0001_0001, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF):
        yield negative(
            f"length-{size:08x}",
            f"a length of {size} bytes that are not there",
            "H5",
            made,
            header(AES_256, made.text, size=size) + made.body,
        )
    for size in (len(made.text) + len(made.body) + 1, 65_536):
        yield negative(
            f"length-past-end-{size}",
            "a length past the end of the data",
            "H6",
            made,
            header(AES_256, made.text, size=size) + made.body,
        )


def _encoding() -> Iterator[Json]:
    def case(name: str, comment: str, raw: bytes) -> Json:
        return _refuse(f"utf-8-{name}", comment, "H7", b'{"keys":' + KEYS.encode() + b',"x":"' + raw + b'"}')

    yield case("invalid-byte", "byte ff", b"\xff")
    yield case("lone-continuation", "a continuation byte alone", b"\x80")
    yield case("overlong", "an overlong slash", b"\xc0\xaf")
    yield case("overlong-3", "an overlong slash in three bytes", b"\xe0\x80\xaf")
    yield case("surrogate", "an encoded surrogate", b"\xed\xa0\x80")
    yield case("surrogate-pair", "a surrogate pair, each encoded (CESU-8)", b"\xed\xa0\xbd\xed\xb8\x80")
    yield case("beyond", "a code point beyond U+10FFFF", b"\xf4\x90\x80\x80")
    yield case("cut", "a character cut short", b"\xe5\xae")
    yield _refuse("utf-16", "UTF-16 with its mark", "H7", header_json().decode().encode("utf-16"))
    yield _refuse("bom", "UTF-8 with a byte order mark", "H8", b"\xef\xbb\xbf" + header_json())


def _grammar() -> Iterator[Json]:
    def case(name: str, comment: str, value: str) -> Json:
        return _refuse(f"json-{name}", comment, "H9", f'{{"keys":{KEYS},"x":{value}}}')

    yield _refuse("json-nothing", "no JSON at all", "H9", "")
    yield _refuse("json-spaces", "spaces only", "H9", "    ")
    made = _made("refused", header_json())
    short = header(AES_256, made.text, size=len(made.text) - 1)
    yield negative("length-1-short", "a length that leaves out the last brace", "H9", made, short + made.body)
    for constant in ("NaN", "Infinity", "-Infinity", "nan", "undefined", "True", "None"):
        yield case(
            constant.lower().replace("-", "minus-") + ("-constant" if constant == "NaN" else ""),
            f"the word {constant}",
            constant,
        )
    for name, comment, value in (
        ("number-plus", "a number with a plus", "+1"),
        ("number-zero", "a number with a leading zero", "01"),
        ("number-point", "a number that starts with its point", ".5"),
        ("number-fraction", "a number that ends with its point", "1."),
        ("number-exponent", "an exponent without digits", "1e"),
        ("number-hex", "a hexadecimal number", "0x10"),
        ("number-minus", "a minus alone", "-"),
        ("number-digits", "digits that are not ASCII", "\u0661\u0662"),
        ("string-single-quotes", "a string in single quotes", "'a'"),
        ("string-newline", "a raw newline in a string", '"a\nb"'),
        ("string-tab", "a raw tab in a string", '"a\tb"'),
        ("string-nul", "a raw NUL in a string", '"a\x00b"'),
        ("string-unit-separator", "a raw U+001F in a string", '"a\x1fb"'),
        ("escape-x", "the escape \\x", '"\\x41"'),
        ("escape-quote", "the escape \\'", '"\\\'"'),
        ("escape-u-short", "a \\u escape of three digits", '"\\u041"'),
        ("escape-u-other", "a \\u escape with a letter that is no digit", '"\\u12g4"'),
        ("escape-u-sign", "a \\u escape with a sign", '"\\u+123"'),
        ("array-trailing-comma", "a comma before the end of an array", "[1,]"),
        ("array-no-comma", "array elements without a comma", "[1 2]"),
        ("object-trailing-comma", "a comma before the end of an object", '{"a":1,}'),
        ("object-no-colon", "a member without a colon", '{"a" 1}'),
        ("object-bare-name", "a name without quotes", "{a:1}"),
        ("object-number-name", "a number as a name", "{1:1}"),
        ("comment", "a comment", "1/* */"),
        ("value-missing", "a member without a value", ""),
        ("brackets-crossed", "brackets closed in the wrong order", '[{"a":1]}'),
    ):
        yield case(name, comment, value)
    text = header_json().decode()
    for name, comment, whole in (
        ("unterminated", "the last brace is missing", text[:-1]),
        ("unterminated-string", "the last string does not end", text[:-4]),
        ("two-texts", "two objects", text + "{}"),
        ("trailing-nul", "a NUL at the end", text + "\x00"),
        ("trailing-comma", "a comma at the end", text + ","),
        ("trailing-brace", "a brace too many", text + "}"),
        ("space-nbsp", "a no-break space at the end", text + "\u00a0"),
        ("space-form-feed", "a form feed at the end", text + "\x0c"),
        ("space-vertical-tab", "a vertical tab at the start", "\x0b" + text),
        ("space-line-separator", "U+2028 at the end", text + "\u2028"),
    ):
        yield _refuse(f"json-{name}", comment, "H9", whole)


def _duplicates_and_depth() -> Iterator[Json]:
    twice = KEYS.replace('"key_id"', '"key_id":"other","key_id"')
    escaped = KEYS.replace('"key_id"', '"key_id":"other","key\\u005fid"')
    for name, comment, text in (
        ("keys", "keys twice", f'{{"keys":{KEYS},"keys":{KEYS}}}'),
        ("context", "context twice", f'{{"keys":{KEYS},"context":"{{}}","context":"{{}}"}}'),
        ("in-recipient", "key_id twice in a recipient", f'{{"keys":{twice}}}'),
        ("escaped", "key_id twice, once with an escape", f'{{"keys":{escaped}}}'),
        ("unknown", "an unknown name twice", f'{{"keys":{KEYS},"x":1,"x":1}}'),
        ("empty-name", "the empty name twice", f'{{"keys":{KEYS},"":1,"":1}}'),
        ("proto", "__proto__ twice", f'{{"keys":{KEYS},"__proto__":1,"__proto__":1}}'),
        ("nested", "a name twice in an unknown member", f'{{"keys":{KEYS},"x":[{{"a":{{"b":1,"b":1}}}}]}}'),
        (
            "surrogates",
            "one character twice: as it is and as an escaped pair",
            f'{{"keys":{KEYS},"\U0001f600":1,"\\ud83d\\ude00":1}}',
        ),
    ):
        yield _refuse(f"duplicate-{name}", comment, "H10", text)
    yield _refuse("nested-33", "arrays nested 33 deep", "H11", _nested(33))
    objects = '{"a":' * 32 + "1" + "}" * 32
    yield _refuse("nested-33-objects", "objects nested 33 deep", "H11", f'{{"keys":{KEYS},"x":{objects}}}')
    yield _refuse("nested-1100", "arrays nested 1 100 deep", "H11", _nested(1_100))
    made = _made("refused", b"")
    yield negative(
        "nested-65536", "65 536 opening brackets", "H11", made,
        parts=[header(AES_256, b"", size=65_536).hex(), repeated(b"[", 65_536), made.body.hex()],
    )  # fmt: skip


def _shapes() -> Iterator[Json]:
    for name, text in (
        ("array", f"[{KEYS}]"),
        ("string", '"keys"'),
        ("number", "1"),
        ("null", "null"),
        ("true", "true"),
    ):
        yield _refuse(
            f"top-{name}",
            f"the JSON text is a {name}" if name != "null" else "the JSON text is null",
            "H12",
            text,
        )
    yield _refuse("keys-missing", "no keys", "H13", "{}")
    for name, value in (("object", KEYS[1:-1]), ("string", '"2f6a0c4e"'), ("null", "null"), ("number", "1")):
        yield _refuse(f"keys-{name}", f"keys is {name}", "H13", f'{{"keys":{value}}}')
    yield _refuse("recipients-0", "no recipient", "H14", '{"keys":[]}')
    yield _refuse("recipients-17", "17 recipients", "H14", header_json(None, [RECIPIENT] * 17))
    for name, value in (
        ("string", '"2f6a0c4e"'),
        ("null", "null"),
        ("array", '["local","2f6a0c4e","b3Bh"]'),
        ("number", "1"),
    ):
        yield _refuse(
            f"recipient-{name}", f"a recipient is {name}", "H15", f'{{"keys":[{KEYS[1:-1]},{value}]}}'
        )


def _recipients() -> Iterator[Json]:
    def case(name: str, comment: str, refusal: str, members: dict[str, object]) -> Json:
        text = json.dumps({"keys": [RECIPIENT, members]}, separators=(",", ":"))
        return _refuse(name, comment, refusal, text)

    for member in ("kms", "key_id", "wrapped"):
        rest = {name: value for name, value in RECIPIENT.items() if name != member}
        title = member.replace("_", "-")
        yield case(f"{title}-missing", f"no {member}", "H16", {**rest})
        for kind, value in (("null", None), ("number", 7), ("array", ["a"])):
            yield case(f"{title}-{kind}", f"{member} is {kind}", "H16", {**RECIPIENT, member: value})
    for member in ("region", "alg"):
        for kind, value in (("null", None), ("number", 7), ("object", {})):
            yield case(f"{member}-{kind}", f"{member} is {kind}", "H17", {**RECIPIENT, member: value})
    for member in ("kms", "key_id", "wrapped", "region", "alg"):
        title = member.replace("_", "-")
        yield case(f"{title}-empty", f"{member} is empty", "H18", {**RECIPIENT, member: ""})
        yield case(f"{title}-newline", f"a newline in {member}", "H18", {**RECIPIENT, member: "a\nb"})
    for name, value in (
        ("nul", "a\x00b"),
        ("delete", "a\x7f"),
        ("unit-separator", "\x1f"),
        ("latin", "caf\u00e9"),
        ("surrogate", "\ud800"),
        ("bidi", "\u202ea"),
    ):
        yield case(
            f"key-id-{name}",
            "a character that is not printable ASCII in key_id",
            "H18",
            {**RECIPIENT, "key_id": value},
        )


def _contexts() -> Iterator[Json]:
    def case(name: str, comment: str, refusal: str, context: object, text: str | None = None) -> Json:
        text = text or json.dumps({"keys": [RECIPIENT], "context": context}, separators=(",", ":"))
        return _refuse(f"context-{name}", comment, refusal, text)

    for kind, value in (
        ("number", 1),
        ("null", None),
        ("object", {"tenant": "42"}),
        ("array", []),
        ("false", False),
    ):
        yield case(kind, f"context is {kind}", "H19", value)
    yield case("1025", "1 025 characters", "H20", '{"a":"' + "x" * 1017 + '"}')
    yield case("1025-spaces", "1 025 characters, most of them spaces", "H20", "{}" + " " * 1023)
    for name, comment, value in (
        ("empty-string", "an empty context string", ""),
        ("not-json", "not JSON", "tenant=42"),
        ("cut", "cut short", '{"tenant":"42"'),
        ("array-inside", "an array", '["tenant","42"]'),
        ("string-inside", "a string", '"tenant"'),
        ("null-inside", "null", "null"),
        ("trailing", "text after the object", '{"tenant":"42"};'),
        ("nan", "NaN", '{"tenant":NaN}'),
        ("duplicate", "a name twice", '{"tenant":"42","tenant":"42"}'),
        ("duplicate-escaped", "a name twice, once with an escape", '{"tenant":"42","t\\u0065nant":"43"}'),
        ("bom", "a byte order mark", '\ufeff{"tenant":"42"}'),
        ("newline", "a raw newline in a string", '{"tenant":"4\n2"}'),
        ("deep", "arrays 500 deep", '{"a":' + "[" * 500 + "]" * 500 + "}"),
    ):
        yield case(name, f"inside the context: {comment}", "H21", value)
    for kind, value in (
        ("number", "42"),
        ("null", "null"),
        ("boolean", "true"),
        ("object", "{}"),
        ("array", '["42"]'),
    ):
        yield case(
            f"value-{kind}", f"a value in the context is {kind}", "H22", f'{{"a":"b","tenant":{value}}}'
        )
    start = f'{{"keys":{KEYS},"context":"'
    for name, comment, text in (
        ("surrogate-raw", "half a pair, escaped in the header", '{\\"a\\":\\"\\ud83d\\"}"}'),
        ("surrogate-value", "half a pair, escaped in a value", '{\\"a\\":\\"\\\\ud83d\\"}"}'),
        ("surrogate-low", "the second half alone", '{\\"a\\":\\"\\\\ude00\\"}"}'),
        ("surrogate-reversed", "the halves in the wrong order", '{\\"a\\":\\"\\\\ude00\\\\ud83d\\"}"}'),
        ("surrogate-name", "half a pair in a name", '{\\"\\\\ud83d\\":\\"a\\"}"}'),
        (
            "surrogate-split",
            "one half escaped in the header, one in the context",
            '{\\"a\\":\\"\\ud83d\\\\ude00\\"}"}',
        ),
        ("surrogate-split-2", "the same, the other way round", '{\\"a\\":\\"\\\\ud83d\\ude00\\"}"}'),
    ):
        yield case(name, comment, "H23", None, start + text)


def _expected_contexts() -> Iterator[Json]:
    def accept(name: str, comment: str, context: str | None, expected: dict[str, str]) -> Json:
        made = _made(name, header_json(context), context)
        return positive(f"expected-{name}", comment, made, expected_context=expected, encoder=False)

    def refuse(name: str, comment: str, context: str | None, expected: dict[str, str]) -> Json:
        made = _made("context", header_json(context), context)
        return negative(f"expected-{name}", comment, "C1", made, expected_context=expected)

    plain = '{"table":"orders","tenant":"42"}'
    yield accept("same", "the caller expects the same pairs", plain, {"table": "orders", "tenant": "42"})
    yield accept(
        "same-pairs",
        "the same pairs in other text",
        '{ "tenant":"4\\u0032", "table":"orders" }',
        {"table": "orders", "tenant": "42"},
    )
    yield accept("none", "the caller expects no pairs and there are none", None, {})
    yield refuse("value", "another value", plain, {"table": "orders", "tenant": "43"})
    yield refuse("name", "another name", plain, {"tables": "orders", "tenant": "42"})
    yield refuse("case", "another case", plain, {"table": "Orders", "tenant": "42"})
    yield refuse("swapped", "names and values swapped", plain, {"orders": "table", "42": "tenant"})
    yield refuse(
        "more", "a pair more than the header has", plain, {"table": "orders", "tenant": "42", "x": "y"}
    )
    yield refuse("fewer", "a pair less than the header has", plain, {"tenant": "42"})
    yield refuse("empty", "the caller expects no pairs", plain, {})
    yield refuse("but-absent", "the header has no context", None, {"tenant": "42"})
    yield refuse(
        "normalisation", "the same letters in another Unicode form", '{"a":"\\u00e9"}', {"a": "e\u0301"}
    )
