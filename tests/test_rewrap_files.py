"""Other keys for envelopes in files: in place and anew, killed at every step, locked, many at once."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from kmsenvelope import (
    AuthenticationError,
    EnvelopeClient,
    FormatError,
    LocalKms,
    NoUsableKey,
    TruncatedError,
    connect,
    inspect,
)
from kmsenvelope.cli.app import app
from kmsenvelope.header import decode_header
from kmsenvelope.journal import Record, State, record_path, recover, settled_header
from kmsenvelope.keyset import KeySet
from kmsenvelope.rewrap import Change, Rewrap
from kmsenvelope.rewrapfile import BLOCK, IN_PLACE_FROM, FileRewrap, _copy, _hand_on_owner, files_below

SIZE = IN_PLACE_FROM + 12_345
STEPS = [
    "record written",
    "record named",
    "header torn",
    "header written",
    "header flushed",
    "record removed",
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "keys.db"
    with LocalKms(path) as kms:
        for alias in ("old", "new", "third"):
            kms.create_key(alias)
    return path


@pytest.fixture(scope="module")
def kms(store: Path) -> Iterator[LocalKms]:
    with LocalKms(store) as kms:
        yield kms


@pytest.fixture(scope="module")
def client(kms: LocalKms) -> Iterator[EnvelopeClient]:
    with EnvelopeClient(kms.key("old")) as client:
        yield client


@pytest.fixture(scope="module")
def after(kms: LocalKms) -> Iterator[EnvelopeClient]:
    with EnvelopeClient(kms.key("new")) as client:
        yield client


def text(size: int) -> bytes:
    return hashlib.shake_128(b"text").digest(size)


@pytest.fixture
def sealed(client: EnvelopeClient, tmp_path: Path) -> Path:
    path = tmp_path / "sealed"
    with client.open(path, "wb", context={"a": "b"}) as writer:
        writer.write(text(SIZE))
    return path


def body(path: Path) -> bytes:
    raw = path.read_bytes()
    return raw[decode_header(raw)[1] :]


def keys_in(path: Path) -> list[str]:
    return [one.key_id for one in inspect(path).recipients]


def read(client: EnvelopeClient, path: Path) -> bytes:
    with client.open(path) as reader:
        return reader.read()


# Where the new header goes.


def test_a_header_that_fits_is_written_in_place_and_the_body_stays(
    kms: LocalKms, client: EnvelopeClient, after: EnvelopeClient, sealed: Path
) -> None:
    before = sealed.stat()
    old_body = body(sealed)
    result = client.rewrap_file(sealed, [kms.key("new")])
    assert (result.outcome, result.path, result.recovered) == ("in place", str(sealed), False)
    assert result.calls == {"ReEncrypt": 1, "Decrypt": 1}
    assert [one.key_id for one in result.after] == [kms.key("new").key_id] == keys_in(sealed)
    assert [one.key_id for one in result.before] == [kms.key("old").key_id]
    assert (sealed.stat().st_ino, sealed.stat().st_size) == (before.st_ino, before.st_size)
    assert body(sealed) == old_body
    assert read(after, sealed) == text(SIZE)
    with pytest.raises(NoUsableKey):
        client.verify_file(sealed)
    assert list(sealed.parent.iterdir()) == [sealed]


@pytest.mark.parametrize("room", [0, 1000])
def test_a_second_key_needs_room_in_the_header_or_a_new_file(
    kms: LocalKms, client: EnvelopeClient, after: EnvelopeClient, tmp_path: Path, room: int
) -> None:
    plain, sealed = tmp_path / "plain", tmp_path / "sealed"
    plain.write_bytes(text(SIZE))
    client.encrypt_file(plain, sealed, header_room=room)
    sealed.chmod(0o640)
    inode, old_body = sealed.stat().st_ino, body(sealed)
    result = client.rewrap_file(sealed, add=[kms.key("new")])
    assert result.outcome == ("in place" if room else "new file")
    assert (sealed.stat().st_ino == inode) == bool(room)
    assert sealed.stat().st_mode & 0o777 == 0o640
    assert body(sealed) == old_body
    assert read(client, sealed) == read(after, sealed) == text(SIZE)
    assert sorted(tmp_path.iterdir()) == [plain, sealed]


def test_a_small_file_is_written_anew_unless_in_place_is_asked_for(
    kms: LocalKms, client: EnvelopeClient, tmp_path: Path
) -> None:
    sealed = tmp_path / "small"
    for in_place, outcome in ((None, "new file"), (True, "in place"), (False, "new file")):
        sealed.write_bytes(client.encrypt(b"data"))
        assert client.rewrap_file(sealed, [kms.key("new")], in_place=in_place).outcome == outcome
        assert keys_in(sealed) == [kms.key("new").key_id]


def test_in_place_without_room_is_refused_and_changes_nothing(
    kms: LocalKms, client: EnvelopeClient, sealed: Path
) -> None:
    before = sealed.read_bytes()
    with pytest.raises(ValueError, match=r"the new header has [0-9]+ bytes and the old one only"):
        client.rewrap_file(sealed, add=[kms.key("new")], in_place=True)
    assert sealed.read_bytes() == before


@pytest.mark.parametrize("size", [0, 5000, BLOCK * 3, SIZE])
@pytest.mark.parametrize("room", [0, 777])
def test_a_new_file_has_the_room_asked_for_and_lies_so_that_blocks_can_be_shared(
    kms: LocalKms, client: EnvelopeClient, tmp_path: Path, size: int, room: int
) -> None:
    sealed = tmp_path / "sealed"
    sealed.write_bytes(client.encrypt(text(size)))
    old_size = decode_header(sealed.read_bytes())[1]
    old_body = body(sealed)
    client.rewrap_file(sealed, add=[kms.key("new")], in_place=False, header_room=room)
    header, new_size = decode_header(sealed.read_bytes())
    assert new_size >= len(header.encode()) + room
    if sealed.stat().st_size >= IN_PLACE_FROM:
        assert new_size % BLOCK == old_size % BLOCK
    else:
        assert new_size == len(header.encode()) + room
    assert body(sealed) == old_body


@pytest.mark.parametrize("error", [errno.ENOSYS, errno.EXDEV, errno.EOPNOTSUPP])
def test_without_copy_file_range_the_body_is_copied_all_the_same(tmp_path: Path, error: int) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(text(100_000))

    def refused(*_: int) -> int:
        raise OSError(error, "not here")

    with source.open("rb") as reading, target.open("wb") as writing:
        _copy(reading.fileno(), 7, writing.fileno(), 10, refused)
        _copy(reading.fileno(), 17, writing.fileno(), None, refused)
    assert target.read_bytes() == text(100_000)[7:]


WITHOUT_LINUX = """
import os, sys
for name in ("copy_file_range", "posix_fadvise", "O_TMPFILE", "O_PATH", "sched_getaffinity"):
    if hasattr(os, name):
        delattr(os, name)
from kmsenvelope import EnvelopeClient, LocalKms
path = sys.argv[1]
with LocalKms() as kms:
    old, new = (kms.key(kms.create_key(alias)) for alias in ("old", "new"))
    with EnvelopeClient(old) as client, EnvelopeClient(new) as after:
        with client.open(path, "wb") as writer:
            writer.write(bytes(3_000_000))
        assert client.rewrap_file(path, [new], in_place=False).outcome == "new file"
        assert after.open(path).read() == bytes(3_000_000)
"""


def test_it_works_without_what_only_linux_has(tmp_path: Path) -> None:
    arguments = [sys.executable, "-W", "ignore::ResourceWarning", "-c", WITHOUT_LINUX, str(tmp_path / "a")]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_symbolic_link_stays_and_the_file_it_names_changes(
    kms: LocalKms, client: EnvelopeClient, sealed: Path, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    link = tmp_path / "folder" / "link"
    link.symlink_to(sealed)
    for keys in ([kms.key("old"), kms.key("new")], [kms.key("old")]):  # anew, then in place
        client.rewrap_file(link, keys)
        assert link.is_symlink()
        assert len(keys_in(sealed)) == len(keys)


# Crashes.

CHILD = """
import os, signal, sys
from kmsenvelope import LocalKms
from kmsenvelope.keyset import KeySet
from kmsenvelope.rewrap import Change, Rewrap
from kmsenvelope.rewrapfile import FileRewrap

store, path, stop = sys.argv[1:]

def die(step):
    if step == stop:
        os.kill(os.getpid(), signal.SIGKILL)

def pwrite(fd, data, offset):
    if stop == "header torn":
        os.pwrite(fd, data[:len(data) // 2], offset)
        die(stop)
    return os.pwrite(fd, data, offset)

kms = LocalKms(store)
rewrap = Rewrap(KeySet([kms.key("old")]), Change([kms.key("new")]))
in_place = stop not in ("copied", "replaced")
FileRewrap(rewrap, in_place=in_place, step=die, pwrite=pwrite).run(path, b"")
"""


def killed_at(step: str, store: Path, path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", CHILD, store, path, step], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_in_place_the_file_opens_at_once_and_the_next_re_wrap_cleans_up(
    store: Path, kms: LocalKms, client: EnvelopeClient, after: EnvelopeClient, sealed: Path, step: str
) -> None:
    old_body = body(sealed)
    killed_at(step, store, sealed)
    is_new = STEPS.index(step) >= 2
    crashed = sealed.read_bytes()
    for keys in (client, after):
        if (keys is after) == is_new:
            assert read(keys, sealed) == text(SIZE)
            assert keys.verify_file(sealed).context == {"a": "b"}
            keys.decrypt_file(sealed, sealed.with_name("back"))
            assert sealed.with_name("back").read_bytes() == text(SIZE)
        else:
            with pytest.raises(NoUsableKey):
                keys.verify_file(sealed)
    assert sealed.read_bytes() == crashed  # readers write nothing
    last = after if is_new else client
    result = last.rewrap_file(sealed, [kms.key("third")])
    assert result.outcome == "in place"
    assert result.recovered == (step in STEPS[1:5])
    assert keys_in(sealed) == [kms.key("third").key_id]
    assert body(sealed) == old_body
    assert not record_path(sealed).exists()


def test_a_recovery_alone_is_a_re_wrap_that_changes_nothing(
    store: Path, kms: LocalKms, after: EnvelopeClient, sealed: Path
) -> None:
    killed_at("header torn", store, sealed)
    torn = decode_header(sealed.read_bytes())[0]  # well formed, as it happens, and worth nothing
    assert torn != inspect(sealed)
    shown = CliRunner().invoke(app, ["inspect", "--json", str(sealed)])
    assert json.loads(shown.stdout)["keys"][0]["key_id"] == kms.key("new").key_id
    assert not after.needs_rewrap(inspect(sealed))
    assert after.rewrap_file(sealed, check=True).outcome == "unchanged"
    result = after.rewrap_file(sealed)
    assert (result.outcome, result.recovered, result.calls) == ("unchanged", True, {})
    assert decode_header(sealed.read_bytes())[0].recipients[0].key_id == kms.key("new").key_id
    assert not record_path(sealed).exists()


@pytest.mark.parametrize("step", ["copied", "replaced"])
def test_killed_while_a_new_file_is_made_it_is_the_old_one_or_the_new(
    store: Path, client: EnvelopeClient, after: EnvelopeClient, sealed: Path, step: str
) -> None:
    killed_at(step, store, sealed)
    assert read(after if step == "replaced" else client, sealed) == text(SIZE)
    assert list(sealed.parent.iterdir()) == [sealed]


@given(old=st.binary(min_size=12, max_size=60), data=st.data())
def test_any_mixture_of_old_and_new_is_known_for_what_it_is(old: bytes, data: st.DataObject) -> None:
    new = data.draw(st.binary(min_size=len(old), max_size=len(old)))
    picked = data.draw(st.lists(st.booleans(), min_size=len(old), max_size=len(old)))
    mixture = bytes(n if pick else o for o, n, pick in zip(old, new, picked, strict=True))
    record = Record.decode(Record(old, new, bytes(56)).encode())
    expected = State.NEW if mixture == new else State.OLD if mixture == old else State.TORN
    assert record.state(mixture, bytes(56)) is expected
    assert record.state(mixture, bytes(55) + b"x") is State.OTHER
    assert record.state(mixture + b"x", bytes(56)) is State.OTHER
    other = bytes(next(c for c in range(256) if c not in pair) for pair in zip(old, new, strict=True))
    assert record.state(other, bytes(56)) is State.OTHER


def test_every_flipped_bit_of_a_record_is_noticed() -> None:
    data = Record(b"o" * 20, b"n" * 20, bytes(56)).encode()
    for bit in range(len(data) * 8):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueError, match="recovery record"):
            Record.decode(bytes(damaged))
    for size in range(len(data)):
        with pytest.raises(ValueError, match="recovery record"):
            Record.decode(data[:size])


def test_a_record_of_another_file_is_removed_and_does_no_harm(
    kms: LocalKms, client: EnvelopeClient, sealed: Path
) -> None:
    raw = sealed.read_bytes()
    size = decode_header(raw)[1]
    flipped = raw[:20] + bytes([raw[20] ^ 1]) + raw[21:size]
    record_path(sealed).write_bytes(Record(flipped, b"x" * size, raw[size : size + 55] + b"?").encode())
    assert read(client, sealed) == text(SIZE)
    result = client.rewrap_file(sealed)
    assert (result.outcome, result.recovered) == ("unchanged", False)
    assert sealed.read_bytes() == raw
    assert not record_path(sealed).exists()


def test_a_damaged_record_is_named_and_kept(client: EnvelopeClient, kms: LocalKms, sealed: Path) -> None:
    record_path(sealed).write_bytes(b"nonsense")
    with pytest.raises(FormatError, match=r"\.sealed\.kmsenvelope-rewrap: not a whole recovery record"):
        client.rewrap_file(sealed, [kms.key("new")])
    assert record_path(sealed).read_bytes() == b"nonsense"
    assert read(client, sealed) == text(SIZE)


def test_a_record_that_somebody_else_may_have_planted_is_not_followed(
    client: EnvelopeClient, kms: LocalKms, sealed: Path
) -> None:
    if os.geteuid():
        pytest.skip("needs the right to give files away")
    raw = sealed.read_bytes()
    size = decode_header(raw)[1]
    record = record_path(sealed)
    record.write_bytes(Record(raw[: size - 1] + b"?", b"?" * size, raw[size : size + 56]).encode())
    os.chown(record, 12345, 12345)
    with pytest.raises(FormatError, match="no recovery record of this file's owner"):
        client.rewrap_file(sealed, [kms.key("new")])
    record.unlink()
    record.symlink_to("somewhere")
    with pytest.raises(FormatError, match="symbolic links"):
        client.rewrap_file(sealed, [kms.key("new")])
    assert sealed.read_bytes() == raw


@pytest.mark.parametrize("step", STEPS[1:5])
def test_a_record_goes_only_after_what_it_is_for_was_flushed(store: Path, sealed: Path, step: str) -> None:
    killed_at(step, store, sealed)

    def broken(fd: int) -> None:
        raise OSError(errno.EIO, "the disk gave up")

    with sealed.open("r+b") as file:
        with pytest.raises(OSError, match="the disk gave up"):
            recover(sealed, file.fileno(), fsync=broken)
        assert record_path(sealed).exists()
        assert recover(sealed, file.fileno())
    assert not record_path(sealed).exists()


def test_a_file_name_of_any_length_has_a_record(
    client: EnvelopeClient, kms: LocalKms, tmp_path: Path
) -> None:
    for name in ("n" * 255, "\N{CJK UNIFIED IDEOGRAPH-4E2D}" * 85):
        sealed = tmp_path / name
        sealed.write_bytes(client.encrypt(b"data"))
        assert client.rewrap_file(sealed, [kms.key("new")], in_place=True).outcome == "in place"


class Disk:
    """Fails from its ``fails_from``-th write on, after half of it."""

    def __init__(self, fails_from: int, times: int = 1) -> None:
        self.writes, self.fails_from, self.times = 0, fails_from, times

    def pwrite(self, fd: int, data: bytes, offset: int) -> int:
        self.writes += 1
        if self.fails_from <= self.writes < self.fails_from + self.times:
            os.pwrite(fd, data[: len(data) // 2], offset)
            raise OSError(errno.EIO, "the disk gave up")
        return os.pwrite(fd, data[:100], offset)


@pytest.mark.parametrize("times", [1, 2])
def test_a_disk_error_puts_the_old_header_back_or_leaves_the_record(
    kms: LocalKms, client: EnvelopeClient, after: EnvelopeClient, sealed: Path, times: int
) -> None:
    raw = sealed.read_bytes()
    rewrap = Rewrap(KeySet([kms.key("old")]), Change([kms.key("new")]))
    disk = Disk(2, times)
    with pytest.raises(OSError, match="the disk gave up"):
        FileRewrap(rewrap, in_place=True, pwrite=disk.pwrite).run(sealed, b"")
    rewrap.close()
    if times == 1:
        assert sealed.read_bytes() == raw
        assert list(sealed.parent.iterdir()) == [sealed]
        assert read(client, sealed) == text(SIZE)
    else:
        assert record_path(sealed).exists()
        assert read(after, sealed) == text(SIZE)


def test_a_reader_that_meets_a_header_being_overwritten_reads_on(
    kms: LocalKms, client: EnvelopeClient, after: EnvelopeClient, sealed: Path
) -> None:
    seen: list[bytes] = []

    def look(fd: int, data: bytes, offset: int) -> int:
        done = os.pwrite(fd, data[:150], offset)
        seen.append(read(after, sealed))
        return done

    rewrap = Rewrap(KeySet([kms.key("old")]), Change([kms.key("new")]))
    FileRewrap(rewrap, in_place=True, pwrite=look).run(sealed, b"")
    rewrap.close()
    assert len(seen) > 2
    assert set(seen) == {text(SIZE)}


def test_a_reader_that_was_overtaken_gets_the_header_that_is_there_now(sealed: Path) -> None:
    raw = sealed.read_bytes()
    header = raw[: decode_header(raw)[1]]
    with sealed.open("rb") as file:
        assert settled_header(sealed, file.fileno(), header) is None
        assert settled_header(sealed, file.fileno(), header[:-1] + b"?") == header
        assert settled_header(sealed, file.fileno(), None) is None


# Bad input.


def test_what_cannot_be_re_wrapped_says_so_and_stays_as_it_is(
    kms: LocalKms, client: EnvelopeClient, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    blob = client.encrypt(b"data", aad=b"x")
    size = decode_header(blob)[1]
    with EnvelopeClient(kms.key("third")) as other:
        for content, who, error in (
            (b"", client, FormatError),
            (b"something else", client, FormatError),
            (blob[: size - 1], client, FormatError),
            (blob[:size], client, TruncatedError),
            (blob[: size + 60], client, TruncatedError),
            (blob, client, AuthenticationError),
            (blob, other, NoUsableKey),
        ):
            path.write_bytes(content)
            for in_place in (True, None):
                with pytest.raises(error):
                    who.rewrap_file(path, [kms.key("new")], in_place=in_place)
            assert path.read_bytes() == content
            assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileNotFoundError):
        client.rewrap_file(tmp_path / "missing", [kms.key("new")])
    with pytest.raises(IsADirectoryError):
        client.rewrap_file(tmp_path, [kms.key("new")])


def test_a_read_only_file_is_refused_even_to_the_superuser(
    kms: LocalKms, client: EnvelopeClient, sealed: Path
) -> None:
    raw = sealed.read_bytes()
    sealed.chmod(0o444)
    before = client.stats()["kms_calls"]
    for in_place in (True, False):
        with pytest.raises(PermissionError):
            client.rewrap_file(sealed, [kms.key("third")], in_place=in_place)
    assert sealed.read_bytes() == raw
    assert client.stats()["kms_calls"] == before
    assert client.rewrap_file(sealed, [kms.key("third")], check=True).outcome == "due"


def test_what_is_no_regular_file_is_refused(kms: LocalKms, client: EnvelopeClient, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        client.rewrap_file(tmp_path / "pipe", [kms.key("new")])


def test_a_file_that_another_process_is_re_wrapping_is_refused(
    kms: LocalKms, client: EnvelopeClient, sealed: Path
) -> None:
    hold = (
        "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); input()"
    )
    command = [sys.executable, "-c", hold, sealed]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(BlockingIOError, match="another process is re-wrapping the file"):
            client.rewrap_file(sealed, [kms.key("new")])
        process.communicate(b"\n", timeout=10)
    assert client.rewrap_file(sealed, [kms.key("new")]).outcome == "in place"


def test_a_file_that_was_replaced_meanwhile_is_not_overwritten(
    kms: LocalKms, client: EnvelopeClient, sealed: Path
) -> None:
    def replaced(step: str) -> None:
        if step == "copied":
            sealed.with_name("other").write_bytes(b"newer")
            sealed.with_name("other").replace(sealed)

    rewrap = Rewrap(KeySet([kms.key("old")]), Change([kms.key("new")]))
    with pytest.raises(OSError, match="another process replaced the file"):
        FileRewrap(rewrap, in_place=False, step=replaced).run(sealed, b"")
    rewrap.close()
    assert sealed.read_bytes() == b"newer"
    assert list(sealed.parent.iterdir()) == [sealed]


def test_the_lock_is_of_the_file_that_has_the_name_now(
    kms: LocalKms, client: EnvelopeClient, after: EnvelopeClient, sealed: Path
) -> None:
    with sealed.open("rb") as old:
        client.rewrap_file(sealed, add=[kms.key("new")])  # a new file
        fcntl.flock(old, fcntl.LOCK_EX)
        assert client.rewrap_file(sealed, [kms.key("new")]).outcome == "in place"
    assert read(after, sealed) == text(SIZE)


# Many files.


@pytest.fixture
def tree(client: EnvelopeClient, kms: LocalKms, tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "sub").mkdir(parents=True)
    (root / "a").write_bytes(client.encrypt(b"a"))
    (root / "b").write_bytes(b"no envelope")
    (root / "sub" / "c").write_bytes(client.encrypt(text(SIZE)))
    (root / "sub" / "d").write_bytes(client.encrypt(b"d")[:-1])
    (root / "sub" / "e").write_bytes(client.encrypt(b"e", aad=b"other"))
    with EnvelopeClient(kms.key("third")) as third:
        (root / "f").write_bytes(third.encrypt(b"f"))
    (root / "link").symlink_to(root / "a")
    (root / "loop").symlink_to(root)
    (root / ".a.kmsenvelope-rewrap").write_bytes(b"")
    (root / ".a.kmsenvelope-rewrap").unlink()
    return root


def outcomes(results: Any, root: Path) -> dict[str, str]:
    return {
        os.path.relpath(one.path, root): type(one.error).__name__ if one.error else one.outcome
        for one in results
    }


def test_a_folder_is_gone_through_whatever_fails_and_may_be_gone_through_again(
    kms: LocalKms, client: EnvelopeClient, after: EnvelopeClient, tree: Path
) -> None:
    failing = {"f": "NoUsableKey", "sub/e": "AuthenticationError"}
    again = {"b": "no envelope", **failing}
    to = [kms.key("new")]
    due = outcomes(client.rewrap_files([tree], to, check=True), tree)
    assert due == {**dict.fromkeys(("a", "f", "sub/c", "sub/d", "sub/e"), "due"), "b": "no envelope"}
    first = outcomes(client.rewrap_files([tree], to), tree)
    assert first == {**again, "a": "new file", "sub/c": "in place", "sub/d": "new file"}
    second = outcomes(client.rewrap_files([tree], to), tree)
    assert second == {**again, **dict.fromkeys(("a", "sub/c", "sub/d"), "unchanged")}
    assert after.decrypt((tree / "a").read_bytes()) == b"a"
    assert read(after, tree / "sub" / "c") == text(SIZE)


def test_a_path_given_by_name_must_be_an_envelope(kms: LocalKms, client: EnvelopeClient, tree: Path) -> None:
    results = client.rewrap_files([tree / "b", tree / "missing", tree / "a"], [kms.key("new")])
    assert outcomes(results, tree) == {"b": "FormatError", "missing": "FileNotFoundError", "a": "new file"}


def test_a_folder_that_cannot_be_read_is_a_failure_and_a_file_that_is_gone_is_none(
    kms: LocalKms, client: EnvelopeClient, tree: Path
) -> None:
    results = client.rewrap_files([tree], [kms.key("new")])
    assert next(results).path == str(tree / "a")
    (tree / "b").unlink()
    shutil.rmtree(tree / "sub")
    assert outcomes(results, tree) == {"f": "NoUsableKey", "sub": "FileNotFoundError"}


def test_a_mistake_in_the_keys_is_told_before_the_first_file(client: EnvelopeClient, tree: Path) -> None:
    with pytest.raises(ValueError, match="at least one key"):
        client.rewrap_files([tree], [])


def test_folders_are_listed_in_order_without_links_and_what_we_wrote_beside(tree: Path) -> None:
    (tree / ".a.kmsenvelope-rewrap").write_bytes(b"KMSENV")
    (tree / ".a.0123.kmsenvelope-tmp").write_bytes(b"KMSENV")
    errors: list[OSError] = []
    found = list(files_below([tree, tree / "a"], errors.append))
    listed = [(os.path.relpath(path, tree), named) for path, named in found]
    assert not errors
    assert listed == [
        *((name, False) for name in ("a", "b", "f", "sub/c", "sub/d", "sub/e")),
        ("a", True),
    ]


def test_many_small_files_under_one_dek_cost_the_calls_of_one(
    store: Path, kms: LocalKms, tmp_path: Path
) -> None:
    with connect(f"local:{store}#old") as client:
        for number in range(100):
            (tmp_path / str(number)).write_bytes(client.encrypt(b"%d" % number))
        results = list(client.rewrap_files([tmp_path], [kms.key("new")]))
        assert {one.outcome for one in results} == {"new file"}
        calls = {"GenerateDataKey": 1, "ReEncrypt": 1, "Decrypt": 1}
        assert client.stats()["kms_calls"] == calls


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_who_may_not_give_a_file_away_still_hands_on_its_group(tmp_path: Path) -> None:
    (tmp_path / "old").touch()
    (tmp_path / "new").touch()
    os.chown(tmp_path / "old", 1000, 1234)
    os.chown(tmp_path / "new", 65534, 65534)
    old, new = os.open(tmp_path / "old", os.O_RDONLY), os.open(tmp_path / "new", os.O_WRONLY)
    groups = os.getgroups()
    try:
        os.setgroups([1234])
        os.seteuid(65534)
        _hand_on_owner(old, new)
    finally:
        os.seteuid(0)
        os.setgroups(groups)
        os.close(old)
        os.close(new)
    status = (tmp_path / "new").stat()
    assert (status.st_uid, status.st_gid) == (65534, 1234)
