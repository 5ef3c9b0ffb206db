"""encrypt, decrypt, cat and verify: what goes in comes out, and options mean what they say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from clikit import Shell

from kmsenvelope import LocalKms, inspect

CHUNK = 16_384


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3_000_000])
@pytest.mark.parametrize("source_is_pipe", [False, True], ids=["file", "pipe"])
@pytest.mark.parametrize("sink_is_pipe", [False, True], ids=["file", "pipe"])
def test_what_goes_in_comes_out(shell: Shell, size: int, source_is_pipe: bool, sink_is_pipe: bool) -> None:
    data = os.urandom(size)
    plain, sealed, opened = shell.file("plain", data), shell.folder / "sealed", shell.folder / "opened"

    def pass_through(command: str, source: Path, sink: Path) -> None:
        outcome = shell(
            command,
            "-" if source_is_pipe else source,
            "-" if sink_is_pipe else sink,
            stdin=source.read_bytes() if source_is_pipe else b"",
        )
        assert (outcome.code, outcome.err) == (0, "")
        if sink_is_pipe:
            sink.write_bytes(outcome.data)

    pass_through("encrypt", plain, sealed)
    pass_through("decrypt", sealed, opened)
    assert opened.read_bytes() == data
    assert shell("verify", sealed).out == f"{sealed}: OK\n"
    assert shell("verify", "-", stdin=sealed.read_bytes()).code == 0


@pytest.mark.parametrize("suite", ["AES-256-GCM", "AES-128-GCM", "SM4-GCM", "sm4-gcm"])
def test_a_suite_is_chosen_by_its_name(shell: Shell, suite: str) -> None:
    path = shell.envelope(b"data", "--suite", suite)
    assert inspect(path).suite == suite.upper()
    assert shell("decrypt", path, "-").data == b"data"


def test_context_is_stored_and_must_match_when_given(shell: Shell) -> None:
    path = shell.envelope(b"data", "-c", "tenant=42", "--context", "note=a=b")
    assert inspect(path).context == {"tenant": "42", "note": "a=b"}
    assert shell("decrypt", path, "-").code == 0
    assert shell("decrypt", path, "-", "-c", "note=a=b", "-c", "tenant=42").data == b"data"
    assert shell("decrypt", path, "-", "-c", "tenant=42").code == 4


@pytest.mark.parametrize("pairs", [["novalue"], ["=x"], ["a=1", "a=2"]])
def test_a_malformed_context_is_wrong_usage(shell: Shell, pairs: list[str]) -> None:
    options = [part for pair in pairs for part in ("-c", pair)]
    outcome = shell("encrypt", "-", shell.folder / "x", *options, stdin=b"data")
    assert outcome.code == 2
    assert "--context" in outcome.err
    assert shell.names() == set()


def test_aad_is_needed_again(shell: Shell) -> None:
    path = shell.envelope(b"data", "--aad", "row 7")
    assert shell("decrypt", path, "-", "--aad", "row 7").data == b"data"
    assert shell("decrypt", path, "-", "--aad-file", shell.file("aad", b"row 7")).data == b"data"
    assert shell("decrypt", path, "-").code == 4
    assert shell("decrypt", path, "-", "--aad", "row 8").code == 4
    assert shell("decrypt", path, "-", "--aad", "row 7", "--aad-file", shell.folder / "aad").code == 2


def test_each_of_several_keys_opens_alone(shell: Shell) -> None:
    assert shell("keys", "create", "second").code == 0
    path = shell.envelope(b"data", "-k", "local:demo", "-k", "local:second")
    assert len(inspect(path).recipients) == 2
    for key in ("local:demo", "local:second"):
        assert shell("decrypt", path, "-", "-k", key).data == b"data"


def test_the_environment_may_name_several_keys(shell: Shell) -> None:
    store = shell.folder / "with space.db"
    assert shell("keys", "create", "second", "--store", store).code == 0
    path = shell.folder / "a.kmse"
    keys = f" local:demo  local:{store}#second"
    assert shell("encrypt", "-", path, stdin=b"data", KMSENVELOPE_KEY=keys).code == 0
    assert len(inspect(path).recipients) == 2


def test_a_destination_is_replaced_only_by_force(shell: Shell) -> None:
    plain, taken = shell.file("plain", b"new"), shell.file("taken", b"old")
    for source in (plain, "-"):
        outcome = shell("encrypt", source, taken, stdin=b"new")
        assert outcome.code == 1
        assert "--force" in outcome.err
        assert taken.read_bytes() == b"old"
    assert shell("encrypt", plain, taken, "--force").code == 0
    for source in (taken, "-"):
        assert shell("decrypt", source, plain, stdin=taken.read_bytes()).code == 1
        assert shell("decrypt", source, plain, "-f", stdin=taken.read_bytes()).code == 0
    assert plain.read_bytes() == b"new"
    assert shell.names() == {"plain", "taken"}


def test_the_source_is_removed_after_success_only(shell: Shell) -> None:
    plain, sealed = shell.file("plain", b"data"), shell.folder / "sealed"
    assert shell("encrypt", plain, sealed, "--remove-source", "-k", "local:nobody").code == 5
    assert plain.exists()
    assert shell("encrypt", plain, sealed, "--remove-source").code == 0
    assert shell.names() == {"sealed"}
    assert shell("decrypt", sealed, plain, "--aad", "wrong", "--remove-source").code == 4
    assert shell("decrypt", sealed, plain, "--remove-source", "--durable").code == 0
    assert shell.names() == {"plain"}


def test_a_source_with_another_name_is_not_removed(shell: Shell) -> None:
    plain = shell.file("plain", b"data")
    os.link(plain, shell.folder / "hard")
    os.symlink(plain, shell.folder / "soft")
    for source in ("hard", "soft"):
        outcome = shell("encrypt", shell.folder / source, shell.folder / "sealed", "--remove-source")
        assert outcome.code == 2
    assert shell.names() == {"plain", "hard", "soft"}


@pytest.mark.parametrize(
    "arguments",
    [("-", "{}/x", "--remove-source"), ("{}/plain", "-", "--remove-source"), ("{}/plain", "-", "--durable")],
)
def test_remove_and_durable_need_files(shell: Shell, arguments: tuple[str, ...]) -> None:
    plain = shell.file("plain")
    outcome = shell("encrypt", *(argument.format(shell.folder) for argument in arguments))
    assert outcome.code == 2
    assert plain.exists()


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("0:5", slice(0, 5)),
        ("5:", slice(5, None)),
        (":5", slice(5)),
        (":", slice(None)),
        ("-100:", slice(-100, None)),
        ("-100:-50", slice(-100, -50)),
        (":-1", slice(-1)),
        ("0-0", slice(0, 1)),
        ("16383-16384", slice(16383, 16385)),
        ("49000-", slice(49000, None)),
        ("49999:60000", slice(49999, 50000)),
        ("50000:", slice(0, 0)),
        ("999999999999999999:", slice(0, 0)),
        ("10:5", slice(0, 0)),
    ],
)
def test_cat_prints_the_bytes_of_a_range(shell: Shell, part: str, expected: slice) -> None:
    data = os.urandom(50_000)
    path = shell.envelope(data)
    assert shell("cat", path, "--range", part).data == data[expected]


def test_cat_reads_a_range_of_a_pipe_forwards_only(shell: Shell) -> None:
    data = os.urandom(50_000)
    path = shell.envelope(data)
    assert shell("cat", path).data == data
    sealed = path.read_bytes()
    assert shell.run("cat", "-", "--range", "20000:20010", stdin=sealed).data == data[20_000:20_010]
    outcome = shell.run("cat", "-", "--range", "-10:", stdin=sealed)
    assert (outcome.code, outcome.data) == (2, b"")


@pytest.mark.parametrize("part", ["", "5", "a:b", "5-3", "1:2:3", "--5:", "1_0:"])
def test_a_malformed_range_is_wrong_usage(shell: Shell, part: str) -> None:
    outcome = shell("cat", shell.envelope(), "--range", part)
    assert (outcome.code, outcome.data) == (2, b"")
    assert "--range" in outcome.err


def test_cat_never_prints_altered_data(shell: Shell) -> None:
    data = os.urandom(3 * CHUNK)
    path = shell.envelope(data)
    sealed = bytearray(path.read_bytes())
    sealed[-CHUNK] ^= 1
    path.write_bytes(sealed)
    outcome = shell("cat", path)
    assert outcome.code == 4
    assert data.startswith(outcome.data)
    assert shell("cat", path, "--range", "0:100").data == data[:100]


def test_verify_goes_on_and_reports_the_first_failure(shell: Shell) -> None:
    good, plain = shell.envelope(), shell.file("plain")
    cut = shell.file("cut", good.read_bytes()[:-1])
    outcome = shell("verify", good, plain, cut, shell.folder / "absent", good)
    assert outcome.code == 3
    assert outcome.out == f"{good}: OK\n{good}: OK\n"
    lines = outcome.err.splitlines()
    bad = (plain, cut, shell.folder / "absent")
    assert all(str(path) in line for path, line in zip(bad, lines, strict=True))
    assert shell("verify", good, "--quiet").out == ""


def test_a_store_under_a_passphrase(shell: Shell) -> None:
    store = shell.folder / "sealed.db"
    key = f"local:{store}#demo"
    assert shell("keys", "create", "demo", "--store", store, KMSENVELOPE_PASSPHRASE="right").code == 0
    path = shell.folder / "a.kmse"
    assert shell("encrypt", "-", path, "-k", key, stdin=b"data", KMSENVELOPE_PASSPHRASE="right").code == 0
    assert shell("decrypt", path, "-", "-k", key, KMSENVELOPE_PASSPHRASE="right").data == b"data"
    assert shell("decrypt", path, "-", "-k", key, KMSENVELOPE_PASSPHRASE="wrong").code == 6
    assert shell("decrypt", path, "-", "-k", key).code == 6


def test_the_library_opens_what_the_command_made(shell: Shell) -> None:
    from kmsenvelope import EnvelopeClient

    path = shell.envelope(b"data", "-c", "a=b", "--aad", "x")
    with LocalKms(shell.folder / "home" / "keys.db") as kms:
        client = EnvelopeClient(kms.key("demo"))
        assert client.decrypt(path.read_bytes(), context={"a": "b"}, aad=b"x") == b"data"
        client.close()
