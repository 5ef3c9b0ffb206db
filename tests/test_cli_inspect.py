"""inspect shows what a header holds, as text, whatever it holds."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from clikit import Shell
from hypothesis import given
from hypothesis import strategies as st

from kmsenvelope.cli.exits import UsageError
from kmsenvelope.cli.ranges import Range
from kmsenvelope.cli.text import printable, size


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def forged(context: dict[str, str], key_id: str = "k", suite: int = 1) -> bytes:
    """An envelope that anybody could have made: a header and a body of noise."""
    members = {
        "keys": [{"kms": "tencent", "region": "ap-guangzhou", "key_id": key_id, "wrapped": "w"}],
        "context": json.dumps(context),
    }
    text = json.dumps(members).encode()
    return struct.pack(">6sBBI", b"KMSENV", 1, suite, len(text)) + text + bytes(56 + 16 + 100)


def test_the_panel_names_suite_size_keys_and_context(shell: Shell) -> None:
    path = shell.envelope(bytes(5000), "-c", "tenant=42", "-c", "kind=invoice", "--suite", "SM4-GCM")
    shown = shell("inspect", path).out
    for word in (
        "SM4-GCM (here by ",
        "4.9 KiB (5000 bytes)",
        "local:",
        "tenant = 42",
        "kind   = invoice",
        "version 1",
    ):
        assert word in shown
    assert "verify" in shown, "it says that nothing here is authenticated"
    assert shell("inspect", "-", stdin=path.read_bytes()).out.count("SM4-GCM") == 1


def test_json_has_everything(shell: Shell) -> None:
    path = shell.envelope(bytes(5000), "-c", "tenant=42")
    report = json.loads(shell("inspect", path, "--json").out)
    assert report["suite"] == "AES-256-GCM"
    assert report["context"] == {"tenant": "42"}
    assert report["plaintext_bytes"] == 5000
    assert report["header_bytes"] + report["body_bytes"] == path.stat().st_size
    assert report["keys"][0]["kms"] == "local"
    assert report["keys"][0]["wrapped"]


def test_no_key_and_no_kms_is_needed(shell: Shell) -> None:
    path = shell.file("forged", forged({}))
    outcome = shell("inspect", path, KMSENVELOPE_KEY="", KMSENVELOPE_HOME=str(shell.folder / "none"))
    assert outcome.code == 0
    assert "tencent:ap-guangzhou/k" in outcome.out
    assert not (shell.folder / "none").exists()


def test_a_truncated_body_is_said(shell: Shell) -> None:
    path = shell.file("forged", forged({})[: -(100 + 16 + 56)])
    assert "truncated" in shell("inspect", path).out
    assert json.loads(shell("inspect", path, "--json").out)["plaintext_bytes"] is None


HOSTILE = [
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x1b]8;;http://evil.example\x1b\\link",
    "[bold red]markup[/] [link=file:///x]y[/link]",
    ":pile_of_poo: [/nonsense]",
    "a\rb\nc\td\x00\x7f\x9b",
    "left\u202eright\u2066\u200b\ufeff",
    "\u2028\u2029",
]


@pytest.mark.parametrize("value", HOSTILE)
def test_a_hostile_header_is_shown_and_never_obeyed(shell: Shell, value: str) -> None:
    path = shell.file("forged", forged({"k" + value: value}, key_id="[red]x[/red][/]"))
    outcome = shell("inspect", path, COLUMNS="300")
    assert outcome.code == 0
    assert all(char == "\n" or char.isprintable() for char in outcome.out)
    assert printable(value) in outcome.out
    assert "[red]x[/red][/]" in outcome.out
    assert json.loads(shell("inspect", path, "--json").out)["context"] == {"k" + value: value}


@pytest.mark.parametrize("name", ["a\x1b[31m\nb", "[red]x"])
def test_a_hostile_file_name_is_shown_and_never_obeyed(shell: Shell, name: str) -> None:
    path = shell.file(name, forged({}))
    assert all(char == "\n" or char.isprintable() for char in shell("inspect", path).out)
    outcome = shell("inspect", shell.file(name, b"no envelope"))
    assert outcome.code == 3
    assert outcome.err.count("\n") == 1
    assert "\x1b" not in outcome.err


def test_a_hostile_header_in_an_error_stays_on_its_line(shell: Shell) -> None:
    path = shell.file("forged", forged({"a": "\x1b[31m"}, key_id="x" * 300))
    outcome = shell("decrypt", path, "-")
    assert outcome.code == 5
    assert outcome.err.count("\n") == 1
    assert "\x1b" not in outcome.err


def test_output_that_cannot_be_encoded_is_escaped(shell: Shell) -> None:
    path = shell.file("forged", forged({"name": "測試"}))
    outcome = shell.run("inspect", path, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert outcome.code == 0, outcome.err
    assert "\\u6e2c" in outcome.out


@given(st.text())
def test_printable_text_is_one_line_that_no_terminal_acts_on(text: str) -> None:
    assert printable(text).isprintable()
    if text.isprintable():
        assert printable(text) == text


@given(st.binary(max_size=60), st.none() | st.integers(-70, 70), st.none() | st.integers(-70, 70))
def test_a_range_is_a_slice(data: bytes, start: int | None, end: int | None) -> None:
    text = f"{'' if start is None else start}:{'' if end is None else end}"
    part = Range.parse(text)
    first, count = part.resolve(len(data))
    assert data[first : first + (count or 0)] == data[start:end]
    if not part.needs_size:
        first, count = part.resolve(None)
        assert data[first:][:count] == data[start:end]


@given(st.integers(0, 70), st.integers(0, 70))
def test_a_span_includes_its_end(first: int, last: int) -> None:
    if last < first:
        with pytest.raises(UsageError):
            Range.parse(f"{first}-{last}")
    else:
        assert Range.parse(f"{first}-{last}").resolve(None) == (first, last - first + 1)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (200 << 20, "200 MiB"),
        (5 << 30, "5.0 GiB"),
    ],
)
def test_sizes_for_people(count: int, text: str) -> None:
    assert size(count) == text
