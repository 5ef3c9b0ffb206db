"""Whole files: round trips, what stays when it fails, and memory."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kmsenvelope.atomic import AtomicFile
from kmsenvelope.blocks import sealing
from kmsenvelope.chunked import CHUNK, Decryptor, sealed_size
from kmsenvelope.client import EnvelopeClient
from kmsenvelope.errors import (
    AuthenticationError,
    ContextMismatch,
    FormatError,
    NoUsableKey,
    TruncatedError,
)
from kmsenvelope.files import SourceFile, TargetFile, seal_file
from kmsenvelope.kms.local import LocalKms
from kmsenvelope.kms.service import Kms
from kmsenvelope.pump import RUN
from kmsenvelope.reserve import SMALLEST, reserve
from kmsenvelope.shortcuts import connect, decrypt_file, encrypt_file, inspect
from kmsenvelope.suites import Suite

BLOCK = RUN * CHUNK
SIZES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK, 5 * BLOCK + 7]
SIZE = 9 * BLOCK + 5  # several threads, where there are several cores


def text(size: int) -> bytes:
    return hashlib.shake_128(size.to_bytes(8, "big")).digest(size)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "keys.db"
    with LocalKms(path) as kms:
        kms.create_key("demo")
        kms.create_key("other")
    return path


@pytest.fixture(scope="module")
def client(kms: Kms) -> Iterator[EnvelopeClient]:
    with EnvelopeClient(kms.key("demo")) as client:
        yield client


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "plain").write_bytes(text(SIZE))
    return tmp_path


@pytest.mark.parametrize("suite", Suite)
@pytest.mark.parametrize("size", SIZES)
def test_files_of_every_size_round_trip(store: Path, tmp_path: Path, size: int, suite: Suite) -> None:
    plain, sealed, back = (tmp_path / name for name in ("plain", "sealed", "back"))
    plain.write_bytes(text(size))
    with connect(f"local:{store}#demo", suite=suite) as client:
        header = client.encrypt_file(plain, sealed, context={"a": "b"}, aad=b"x")
        assert header == inspect(sealed)
        assert sealed.stat().st_size == len(header.encode()) + sealed_size(size)
        assert client.verify_file(sealed, context={"a": "b"}, aad=b"x") == header
        assert client.decrypt_file(sealed, back, context={"a": "b"}, aad=b"x") == header
        assert back.read_bytes() == text(size)
        assert client.decrypt(sealed.read_bytes(), aad=b"x") == text(size)
        with client.open(sealed, aad=b"x") as reader:
            reader.seek(-min(size, 9), 2)
            assert reader.read() == text(size)[size - min(size, 9) :]


def test_the_short_way_takes_a_key_address(store: Path, folder: Path) -> None:
    key = f"local:{store}#demo"
    encrypt_file(folder / "plain", folder / "sealed", key=key, suite="SM4-GCM")
    assert inspect(folder / "sealed").suite == "SM4-GCM"
    decrypt_file(folder / "sealed", folder / "back", key=key)
    assert (folder / "back").read_bytes() == (folder / "plain").read_bytes()


def _note(seen: list[tuple[int, int | None]], done: int, total: int | None) -> None:
    seen.append((done, total))


@pytest.mark.parametrize("size", [3 * BLOCK + 5, SIZE])
def test_progress_ends_at_the_total_and_never_goes_back(
    client: EnvelopeClient, tmp_path: Path, size: int
) -> None:
    (tmp_path / "plain").write_bytes(text(size))
    for call, source, out in (
        (client.encrypt_file, "plain", "sealed"),
        (client.decrypt_file, "sealed", "back"),
    ):
        seen: list[tuple[int, int | None]] = []
        threads: set[int] = set()

        def note(done: int, total: int | None, seen: Any = seen, threads: Any = threads) -> None:
            seen.append((done, total))
            threads.add(threading.get_ident())

        call(tmp_path / source, tmp_path / out, progress=note)
        total = (tmp_path / source).stat().st_size
        assert seen == sorted(seen)
        assert seen[-1] == (total, total)
        assert threads == {threading.get_ident()}
        if size == 3 * BLOCK + 5:  # one thread: after each block and at the end
            assert len(seen) >= 4


def test_a_source_that_is_a_pipe_has_no_total(client: EnvelopeClient, folder: Path) -> None:
    fifo = folder / "fifo"
    os.mkfifo(fifo)
    thread = threading.Thread(target=lambda: fifo.write_bytes(text(2 * BLOCK + 1)))
    thread.start()
    seen: list[tuple[int, int | None]] = []
    client.encrypt_file(fifo, folder / "sealed", progress=partial(_note, seen))
    thread.join()
    assert seen[-1] == (2 * BLOCK + 1, None)
    assert client.decrypt((folder / "sealed").read_bytes()) == text(2 * BLOCK + 1)


# Bad input: a clear error, and nothing left behind.


def left(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_destination_exists(client: EnvelopeClient, folder: Path) -> None:
    (folder / "out").write_bytes(b"old")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        client.encrypt_file(folder / "plain", folder / "out")
    assert (folder / "out").read_bytes() == b"old"
    client.encrypt_file(folder / "plain", folder / "out", overwrite=True)
    assert inspect(folder / "out").recipients


@pytest.mark.parametrize("overwrite", [False, True])
def test_source_is_the_destination(client: EnvelopeClient, folder: Path, overwrite: bool) -> None:
    os.link(folder / "plain", folder / "hard")
    (folder / "soft").symlink_to("plain")
    for same in ("plain", "hard", "soft"):
        with pytest.raises(ValueError, match="same file"):
            client.encrypt_file(folder / "plain", folder / same, overwrite=overwrite)
        with pytest.raises(ValueError, match="same file"):
            client.decrypt_file(folder / same, folder / "plain", overwrite=overwrite)
    assert (folder / "plain").read_bytes() == text(SIZE)


def test_missing_and_unsuitable_paths(client: EnvelopeClient, folder: Path) -> None:
    with pytest.raises(FileNotFoundError):
        client.encrypt_file(folder / "missing", folder / "out")
    with pytest.raises(IsADirectoryError, match="archive it first"):
        client.encrypt_file(folder, folder / "out")
    with pytest.raises(IsADirectoryError):
        client.encrypt_file(folder / "plain", folder)
    with pytest.raises(FileNotFoundError):
        client.encrypt_file(folder / "plain", folder / "missing" / "out")
    assert left(folder) == ["plain"]


@contextmanager
def without_privilege() -> Iterator[None]:
    """Root may read and write everything: step down for a moment."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_unreadable_source_and_unwritable_folder(client: EnvelopeClient) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        (folder / "secret").write_bytes(b"x")
        (folder / "secret").chmod(0)
        (folder / "plain").write_bytes(b"x")
        (folder / "locked").mkdir(mode=0o555)
        client.encrypt(b"warm")
        with without_privilege():
            with pytest.raises(PermissionError, match="secret"):
                client.encrypt_file(folder / "secret", folder / "out")
            with pytest.raises(PermissionError, match="locked/out"):
                client.encrypt_file(folder / "plain", folder / "locked" / "out")
        assert left(folder) == ["locked", "plain", "secret"]
        assert left(folder / "locked") == []


def test_what_is_no_envelope(client: EnvelopeClient, folder: Path) -> None:
    for call in (client.decrypt_file, lambda source, out: client.verify_file(source)):
        with pytest.raises(FormatError, match="not an envelope"):
            call(folder / "plain", folder / "out")
    assert left(folder) == ["plain"]


@pytest.mark.parametrize("cut", [1, 40, 20_000, CHUNK + 16 + 1, 2 * BLOCK])
def test_cut_files(client: EnvelopeClient, folder: Path, cut: int) -> None:
    client.encrypt_file(folder / "plain", folder / "sealed")
    os.truncate(folder / "sealed", (folder / "sealed").stat().st_size - cut)
    with pytest.raises(AuthenticationError):
        client.decrypt_file(folder / "sealed", folder / "out")
    with pytest.raises(AuthenticationError):
        client.verify_file(folder / "sealed")
    assert left(folder) == ["plain", "sealed"]


def test_a_cut_between_chunks_is_named_truncation_also_from_a_pipe(
    client: EnvelopeClient, folder: Path
) -> None:
    client.encrypt_file(folder / "plain", folder / "sealed")
    size = len(inspect(folder / "sealed").encode()) + 56 + 70 * (CHUNK + 16)
    os.truncate(folder / "sealed", size)
    with pytest.raises(TruncatedError):
        client.verify_file(folder / "sealed")
    os.mkfifo(folder / "fifo")
    data = (folder / "sealed").read_bytes()
    thread = threading.Thread(target=lambda: (folder / "fifo").write_bytes(data))
    thread.start()
    with pytest.raises(TruncatedError):
        client.verify_file(folder / "fifo")
    thread.join()


@pytest.mark.parametrize("at", [-1, -BLOCK, 500])
def test_altered_files(client: EnvelopeClient, folder: Path, at: int) -> None:
    client.encrypt_file(folder / "plain", folder / "sealed")
    data = bytearray((folder / "sealed").read_bytes())
    data[at] ^= 1
    (folder / "sealed").write_bytes(data)
    (folder / "out").write_bytes(b"old")
    with pytest.raises(AuthenticationError):
        client.decrypt_file(folder / "sealed", folder / "out", overwrite=True)
    assert (folder / "out").read_bytes() == b"old"
    assert left(folder) == ["out", "plain", "sealed"]


def test_wrong_context_wrong_aad_and_foreign_key(store: Path, client: EnvelopeClient, folder: Path) -> None:
    client.encrypt_file(folder / "plain", folder / "sealed", context={"a": "b"}, aad=b"x")
    for context in ({}, {"a": "c"}, {"a": "b", "c": "d"}, {"b": "a"}):
        with pytest.raises(ContextMismatch):
            client.decrypt_file(folder / "sealed", folder / "out", context=context, aad=b"x")
    for aad in (b"", b"y", b"xx"):
        with pytest.raises(AuthenticationError):
            client.decrypt_file(folder / "sealed", folder / "out", aad=aad)
    with connect(f"local:{store}#other") as other, pytest.raises(NoUsableKey, match="no key of this client"):
        other.decrypt_file(folder / "sealed", folder / "out", aad=b"x")
    assert left(folder) == ["plain", "sealed"]


def test_a_callback_that_raises_stops_it_cleanly(client: EnvelopeClient, folder: Path) -> None:
    def stop(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.encrypt_file(folder / "plain", folder / "out", progress=stop)
    assert left(folder) == ["plain"]
    assert not [thread for thread in threading.enumerate() if thread.name == "kmsenvelope-file"]


@pytest.mark.parametrize("limit", [0, 100, BLOCK, 2 * BLOCK + 10])
def test_a_full_disk_leaves_nothing(store: Path, folder: Path, limit: int) -> None:
    """RLIMIT_FSIZE makes the file system refuse more, as a full disk does."""
    script = f"""
import resource, signal
from kmsenvelope.shortcuts import connect
client = connect({f"local:{store}#demo"!r})
client.encrypt(b"warm: the key store must not meet the limit")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
try:
    client.encrypt_file({str(folder / "plain")!r}, {str(folder / "out")!r})
except OSError as error:
    print(error.errno)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.split() == [str(errno.EFBIG)], done.stderr
    assert left(folder) == ["plain"]


# Disk space is set aside before a large file is written.


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs fallocate")
def test_space_is_set_aside_without_changing_the_length(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        reserve(file.fileno(), 2 * SMALLEST)
        status = os.fstat(file.fileno())
    assert status.st_size == 0
    assert status.st_blocks * 512 >= 2 * SMALLEST


def test_where_no_space_can_be_set_aside_nothing_happens(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        reserve(file.fileno(), 1 << 60)
        reserve(file.fileno(), SMALLEST - 1)
        assert os.fstat(file.fileno()).st_blocks == 0
    reader, writer = os.pipe()
    reserve(writer, SMALLEST)
    os.close(reader)
    os.close(writer)


def test_a_source_that_shrinks_leaves_no_space_set_aside(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(text(BLOCK))
    suite = Suite.AES_256_GCM
    prefix, body = sealing(suite, bytes(32), b"")
    with SourceFile(tmp_path / "plain") as source, (tmp_path / "out").open("wb", buffering=0) as file:
        source.size = 4 * SMALLEST
        file.write(prefix)
        seal_file(source, TargetFile(file.fileno(), len(prefix)), body, None, lambda size: None)
        status = os.fstat(file.fileno())
    assert status.st_size == sealed_size(BLOCK)
    assert status.st_blocks * 512 < 2 * BLOCK
    stream = Decryptor(suite, bytes(32), b"")
    assert stream.update((tmp_path / "out").read_bytes()) + stream.finalize() == text(BLOCK)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs RLIMIT_NPROC for threads")
def test_a_process_that_may_start_no_thread_does_it_with_one() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        (folder / "plain").write_bytes(text(SIZE))
        script = f"""
import os, resource, threading
from kmsenvelope import EnvelopeClient, LocalKms
kms = LocalKms()
client = EnvelopeClient(kms.key(kms.create_key("demo")))
client.encrypt(b"warm")
if os.geteuid() == 0:  # whom the limit does not bind
    os.setuid(65534)
resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
try:
    threading.Thread(target=print).start()
except RuntimeError:
    client.encrypt_file({str(folder / "plain")!r}, {str(folder / "out")!r})
    client.decrypt_file({str(folder / "out")!r}, {str(folder / "back")!r})
"""
        subprocess.run([sys.executable, "-c", script], check=True)
        assert (folder / "back").read_bytes() == text(SIZE)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("exists", [False, True])
def test_a_killed_process_leaves_the_destination_as_it_was(
    store: Path, folder: Path, number: signal.Signals, exists: bool
) -> None:
    if not AtomicFile._no_name and number is not signal.SIGINT:
        pytest.skip("needs O_TMPFILE")
    if exists:
        (folder / "out").write_bytes(b"old")
    script = f"""
import time
from kmsenvelope.shortcuts import connect
def pause(done, total):
    print("going", flush=True)
    time.sleep(60)
connect({f"local:{store}#demo"!r}).encrypt_file(
    {str(folder / "plain")!r}, {str(folder / "out")!r}, progress=pause, overwrite=True)
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"going\n"
        process.send_signal(number)
        process.wait(30)
    assert process.returncode != 0
    assert left(folder) == (["out", "plain"] if exists else ["plain"])
    if exists:
        assert (folder / "out").read_bytes() == b"old"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_memory_does_not_grow_with_the_file(store: Path, tmp_path: Path) -> None:
    """Peak memory of a process that handles 400 MiB, over one that has imported the same and done nothing."""
    script = f"""
import re
from kmsenvelope.shortcuts import connect
def status(name):  # KiB; getrusage would count the process that forked this one
    return int(re.search(name + r":\\s+([0-9]+)", open("/proc/self/status").read())[1])
client = connect({f"local:{store}#demo"!r})
client.decrypt(client.encrypt(b"warm"))
before = status("VmRSS")
with open({str(tmp_path / "big")!r}, "wb") as file:
    file.truncate(400 << 20)
client.encrypt_file({str(tmp_path / "big")!r}, {str(tmp_path / "sealed")!r})
client.verify_file({str(tmp_path / "sealed")!r})
client.decrypt_file({str(tmp_path / "sealed")!r}, {str(tmp_path / "back")!r})
with client.open({str(tmp_path / "sealed")!r}) as reader:
    reader.seek(-100, 2)
    assert reader.read() == bytes(100)
print((status("VmHWM") - before) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 64
