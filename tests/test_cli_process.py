"""The command as a process: exit codes, pipes, signals, terminals; it leaves nothing behind."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from clikit import COMMAND, Outcome, Shell

LARGE = 1 << 36
"""A sparse file that takes long enough to be interrupted; nobody reads it to its end."""


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return Shell(tmp_path_factory.mktemp("cli"))


def one_line(outcome: Outcome) -> str:
    assert outcome.err.startswith("kmsenvelope: ")
    assert outcome.err.count("\n") == 1, outcome.err
    assert "Traceback" not in outcome.err
    return outcome.err


@pytest.mark.parametrize(
    ("code", "arguments", "says"),
    [
        (2, ("encrypt",), "SRC"),
        (2, ("nonsense",), "nonsense"),
        (2, ("encrypt", "--nonsense", "a", "b"), "nonsense"),
        (2, ("encrypt", "plain", "new", "-k", "demo"), "not a key address"),
        (2, ("encrypt", "plain", "new", "-k", "local:demo", "-k", "local:demo"), "twice"),
        (2, ("encrypt", "plain", "new", "--suite", "DES"), "SM4-GCM"),
        (2, ("encrypt", "plain", "plain", "--force"), "same file"),
        (3, ("decrypt", "plain", "new"), "not an envelope"),
        (3, ("inspect", "plain"), "not an envelope"),
        (3, ("verify", "empty"), "not an envelope"),
        (4, ("decrypt", "sealed", "new", "--aad", "wrong"), "not authentic"),
        (4, ("decrypt", "sealed", "new", "-c", "a=b"), "inspect"),
        (4, ("decrypt", "cut", "new"), "truncated"),
        (4, ("cat", "cut"), "truncated"),
        (5, ("decrypt", "sealed", "new", "-k", "local:other"), "no key of this client"),
        (5, ("encrypt", "plain", "new", "-k", "local:nobody"), "nobody"),
        (5, ("encrypt", "plain", "new", "-k", "local:no.db#x"), "no key store"),
        (6, ("encrypt", "plain", "new", "-k", "local:plain#x"), "plain"),
        (1, ("encrypt", "absent", "new"), "absent"),
        (1, ("encrypt", ".", "new"), "folder"),
        (1, ("encrypt", "plain", "nowhere/new"), "nowhere"),
        (1, ("encrypt", "plain", "sealed"), "--force"),
        (1, ("encrypt", "plain", "/dev/full"), "/dev/full"),
    ],
)
def test_each_failure_has_its_code_and_one_line(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, code: int, arguments: tuple[str, ...], says: str
) -> None:
    monkeypatch.chdir(shell.folder)
    if not Path("sealed").exists():
        shell.file("plain")
        shell.file("empty", b"")
        sealed = shell.envelope(b"data" * 10_000, name="sealed").read_bytes()
        shell.file("cut", sealed[: -7_232 - 16])
        assert shell("keys", "create", "other").code == 0
    before = {name: Path(name).read_bytes() for name in shell.names()}
    outcome = shell.run(*arguments)
    assert outcome.code == code, outcome.err
    assert says in one_line(outcome)
    assert {name: Path(name).read_bytes() for name in shell.names()} == before


def test_no_key_says_how_to_get_one(shell: Shell) -> None:
    outcome = shell.run("encrypt", "-", "-", KMSENVELOPE_KEY="")
    assert outcome.code == 2
    assert "keys create" in one_line(outcome)


def test_a_traceback_is_shown_on_request_only(shell: Shell) -> None:
    outcome = shell.run("inspect", "/dev/null", KMSENVELOPE_DEBUG="1")
    assert outcome.code == 3
    assert "Traceback" in outcome.err
    assert outcome.err.splitlines()[-1].startswith("kmsenvelope: /dev/null: ")


def test_an_archive_goes_through_a_pipe_and_back(shell: Shell) -> None:
    folder = Path(__file__).parent
    pipeline = f"tar c -C {folder} . | $K encrypt - - | $K decrypt - - | tar t"
    command = pipeline.replace("$K", " ".join(COMMAND))
    listed = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        env=shell.environ(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "./conftest.py" in listed.stdout.splitlines()
    assert listed.stderr == ""


@pytest.mark.parametrize("arguments", [("encrypt", "-", "-"), ("cat", "-"), ("decrypt", "-", "-")])
def test_a_broken_pipe_is_quiet(shell: Shell, arguments: tuple[str, ...]) -> None:
    content = bytes(8 << 20)
    content = content if arguments[0] == "encrypt" else shell.envelope(content, name="big").read_bytes()
    source = shell.file("source", content)
    with source.open("rb") as stdin:
        process = shell.start(
            *arguments, stdin=stdin.fileno(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr is not None
        err = process.stderr.read()
        process.stderr.close()
    assert (process.wait(30), err) == (141, b"")


def test_a_full_disk_behind_standard_output_is_told(shell: Shell) -> None:
    with open("/dev/full", "wb") as full:
        process = shell.start("doctor", stdout=full.fileno(), stderr=subprocess.PIPE)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert err.decode() == "kmsenvelope: No space left on device\n"


def test_closed_standard_streams_are_told(shell: Shell) -> None:
    for redirect, says in (("<&-", "input is closed"), (">&-", "output is closed")):
        done = subprocess.run(
            ["bash", "-c", f"{' '.join(COMMAND)} encrypt - - {redirect}"],
            env=shell.environ(),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 1
        assert says in done.stderr


def test_input_and_output_that_are_one_file_are_refused(shell: Shell) -> None:
    path = shell.file("grows", b"data")
    with path.open("ab") as sink:
        process = shell.start("encrypt", path, "-", stdout=sink.fileno(), stderr=subprocess.PIPE)
        process.communicate(timeout=30)
    assert process.returncode == 2
    assert path.read_bytes() == b"data"


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
@pytest.mark.parametrize("source", ["file", "pipe"])
def test_a_signal_leaves_nothing_behind(tmp_path: Path, number: int, code: int, source: str) -> None:
    shell = Shell(tmp_path)
    taken = shell.file("taken", b"what was there")
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(LARGE)
    with large.open("rb") as stdin:
        process = shell.start(
            "encrypt",
            "-" if source == "pipe" else large,
            taken,
            "--force",
            stdin=stdin.fileno(),
            stderr=subprocess.PIPE,
        )
        wait_until(lambda: written_by(process.pid) > 1 << 24)
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (code, b"")
    assert shell.names() == {"taken", "large"}
    assert taken.read_bytes() == b"what was there"


def test_a_signal_leaves_the_source_that_was_to_be_removed(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(LARGE)
    process = shell.start("encrypt", large, tmp_path / "sealed", "--remove-source")
    wait_until(lambda: written_by(process.pid) > 1 << 24)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143
    assert shell.names() == {"large"}


def test_a_range_needs_only_its_own_chunks(shell: Shell) -> None:
    data = os.urandom(1 << 20)
    path = shell.envelope(data, name="damaged")
    sealed = bytearray(path.read_bytes())
    start = inspected(shell, path)["header_bytes"] + 56
    for chunk in range(64):
        if chunk not in (32, 33):
            sealed[start + chunk * 16_400 + 5] ^= 1
    path.write_bytes(sealed)
    first = 33 * 16_384 - 50
    assert shell.run("cat", path, "--range", f"{first}:{first + 100}").data == data[first : first + 100]
    assert shell.run("cat", path, "--range", f"{first - 16_384}:{first}").code == 4


def test_a_small_file_is_encrypted_without_loading_what_it_does_not_need(shell: Shell) -> None:
    plain = shell.file("small")
    trace = subprocess.run(
        [
            sys.executable,
            "-X",
            "importtime",
            *COMMAND[1:],
            "encrypt",
            plain,
            shell.folder / "small.kmse",
            "-f",
        ],
        env=shell.environ(),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    ).stderr
    loaded = {line.rpartition("|")[2].strip() for line in trace.splitlines()}
    assert "kmsenvelope.client" in loaded
    unwanted = ("rich", "tencentcloud", "requests", "starlette", "uvicorn", "gmssl", "asyncio")
    assert not {name for name in loaded if name.split(".")[0] in unwanted}


@pytest.mark.parametrize(("options", "drawn"), [((), True), (("--quiet",), False)])
def test_progress_is_drawn_on_a_terminal_unless_quiet(
    shell: Shell, options: tuple[str, ...], drawn: bool
) -> None:
    ours, theirs = pty.openpty()
    sealed = shell.folder / "watched"
    process = shell.start("encrypt", "-", sealed, "-f", *options, stdin=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    assert process.stdin is not None
    end = time.monotonic() + 2.0
    while time.monotonic() < end:
        process.stdin.write(bytes(1 << 18))
        time.sleep(0.02)
    process.stdin.close()
    screen = read_all(ours)
    assert process.wait(30) == 0
    if not drawn:
        assert screen == ""
        return
    assert "encrypt standard input" in screen
    assert "iB/s" in screen
    assert screen.endswith("\x1b[1A\x1b[2K"), "the bar goes away"


def test_an_envelope_is_not_written_to_a_terminal(shell: Shell) -> None:
    plain = shell.file("small")
    for options, code, says in (((), 2, "--force"), (("--force",), 0, "KMSENV")):
        ours, theirs = pty.openpty()
        process = shell.start("encrypt", plain, "-", *options, stdout=theirs, stderr=theirs)
        os.close(theirs)
        screen = read_all(ours)
        assert process.wait(30) == code
        assert says in screen


def read_all(terminal: int) -> str:
    """What was drawn until the last process let go of the terminal, which the kernel reports as an error."""
    drawn = b""
    with os.fdopen(terminal, "rb", buffering=0) as screen:
        while select.select([screen], [], [], 30)[0]:
            try:
                drawn += screen.read(65_536)
            except OSError:
                break
    return drawn.decode(errors="replace")


def inspected(shell: Shell, path: Path) -> dict[str, int]:
    report: dict[str, int] = json.loads(shell("inspect", path, "--json").out)
    return report


def wait_until(reached: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.005)


def written_by(pid: int) -> int:
    """Bytes that a process has written, its pipes included."""
    fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(fields["wchar"])
