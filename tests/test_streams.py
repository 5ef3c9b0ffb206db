"""The writer and the reader as files: lengths by steps, odd sources and sinks, seeking, attacks."""

from __future__ import annotations

import csv
import gc
import gzip
import hashlib
import io
import os
import pickle
import shutil
import socket
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmsenvelope.chunked import CHUNK, SEALED
from kmsenvelope.client import EnvelopeClient
from kmsenvelope.errors import AuthenticationError, EnvelopeError, FormatError, TruncatedError
from kmsenvelope.kms.service import Kms
from kmsenvelope.streams import WRITE_BLOCK
from kmsenvelope.suites import Suite

SIZES = [0, 1, 100, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 500, 9 * CHUNK - 1]
STEPS = [1000, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK, 1 << 20]


def text(size: int) -> bytes:
    return hashlib.shake_128(size.to_bytes(8, "big")).digest(size)


@pytest.fixture(scope="module", params=list(Suite))
def client(request: pytest.FixtureRequest, kms: Kms) -> Iterator[EnvelopeClient]:
    with EnvelopeClient(kms.key("demo"), suite=request.param) as client:
        yield client


@pytest.fixture(scope="module")
def aes(kms: Kms) -> Iterator[EnvelopeClient]:
    with EnvelopeClient(kms.key("demo")) as client:
        yield client


class OneByteSource:
    """Gives one byte at a time and has nothing but ``read``."""

    def __init__(self, data: bytes) -> None:
        self._data = iter(data)

    def read(self, size: int) -> bytes:
        assert size > 0
        return bytes(islice(self._data, 1))


class OneByteSink:
    """Takes one byte at a time and has nothing but ``write``."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> int:
        self.data += data[:1]
        return 1


class SilentSink:
    """Takes everything and returns nothing, as many hand-written sinks do."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.pieces.append(data)


class CountingSource(io.BytesIO):
    """Counts the bytes read from it."""

    count = 0

    def readinto(self, buffer: Any) -> int:
        size = super().readinto(buffer)
        self.count += size
        return size


def sealed(client: EnvelopeClient, data: bytes, step: int = 1 << 20) -> bytes:
    sink = io.BytesIO()
    with client.open(sink, "wb") as writer:
        for start in range(0, len(data), step):
            assert writer.write(data[start : start + step]) == len(data[start : start + step])
    return sink.getvalue()


def in_steps(reader: Any, step: int) -> bytes:
    return b"".join(iter(lambda: reader.read(step), b""))


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("size", SIZES)
def test_what_is_written_in_any_steps_reads_back_in_any_steps(
    client: EnvelopeClient, size: int, step: int
) -> None:
    data = text(size)
    blob = sealed(client, data, step)
    assert client.decrypt(blob) == data
    for other in STEPS:
        with client.open(io.BytesIO(blob)) as reader:
            assert in_steps(reader, other) == data
    with client.open(io.BytesIO(blob)) as reader:
        assert reader.read() == data
        assert reader.read() == b""


@pytest.mark.parametrize("size", [0, 1, CHUNK, CHUNK + 1])
def test_sources_and_sinks_of_one_byte_at_a_time(client: EnvelopeClient, size: int) -> None:
    data, sink = text(size), OneByteSink()
    with client.open(sink, "wb") as writer:
        writer.write(data)
    with client.open(OneByteSource(bytes(sink.data))) as reader:
        assert not reader.seekable()
        assert reader.read() == data


def test_a_sink_whose_write_returns_nothing_takes_everything(client: EnvelopeClient) -> None:
    sink = SilentSink()
    with client.open(sink, "wb") as writer:
        writer.write(text(3 * CHUNK))
    assert client.decrypt(b"".join(sink.pieces)) == text(3 * CHUNK)


def pass_through(client: EnvelopeClient, source: Any, sink: Any) -> None:
    data = text(20 * CHUNK + 3)

    def write() -> None:
        with sink, client.open(sink, "wb") as writer:
            shutil.copyfileobj(io.BytesIO(data), writer)

    thread = threading.Thread(target=write)
    thread.start()
    with source, client.open(source) as reader:
        assert not reader.seekable()
        assert reader.read() == data
    thread.join()


def test_through_a_pipe(client: EnvelopeClient) -> None:
    read_end, write_end = os.pipe()
    pass_through(client, io.FileIO(read_end), io.FileIO(write_end, "w"))


def test_through_a_socket(client: EnvelopeClient) -> None:
    left, right = socket.socketpair()
    source, sink = right.makefile("rb"), left.makefile("wb")
    left.close()
    right.close()
    pass_through(client, source, sink)


@settings(max_examples=60)
@given(
    st.sampled_from(SIZES),
    st.lists(
        st.tuples(st.sampled_from([0, 1, 2]), st.integers(-3 * CHUNK, 3 * CHUNK), st.integers(-1, 40_000)),
        max_size=12,
    ),
)
def test_seeks_and_reads_as_the_plain_file_does(
    aes: EnvelopeClient, size: int, moves: list[tuple[int, int, int]]
) -> None:
    plain, reader = io.BytesIO(text(size)), aes.open(io.BytesIO(sealed(aes, text(size))))
    for whence, offset, count in moves:
        try:
            expected = plain.seek(max(offset, 0) if whence == 0 else offset, whence)
        except ValueError:
            continue
        target = {0: max(offset, 0), 1: None, 2: size + offset}[whence]
        if target is not None and target < 0:
            with pytest.raises(ValueError, match="before the start"):
                reader.seek(offset, whence)
            reader.seek(expected)
        elif whence == 1:
            reader.seek(expected)
        else:
            assert reader.seek(target) == target
            plain.seek(target)
        assert reader.read(count) == plain.read(count)
        assert reader.tell() == plain.tell()
    reader.close()


@pytest.mark.parametrize("size", SIZES)
def test_seek_from_the_end_and_past_it(client: EnvelopeClient, size: int) -> None:
    data = text(size)
    with client.open(io.BytesIO(sealed(client, data))) as reader:
        assert reader.seek(0, 2) == size
        assert reader.read() == b""
        assert reader.seek(size + 10 * CHUNK) == size + 10 * CHUNK
        assert reader.read(5) == b""
        back = min(size, 100)
        reader.seek(-back, 2)
        assert reader.read() == data[size - back :]


def test_a_hundred_bytes_from_the_middle_read_three_chunks_not_the_file(client: EnvelopeClient) -> None:
    data = text(100 * CHUNK)
    source = CountingSource(sealed(client, data))
    with client.open(source) as reader:
        source.count = 0
        reader.seek(50 * CHUNK - 50)
        assert reader.read(100) == data[50 * CHUNK - 50 : 50 * CHUNK + 50]
    assert source.count <= 3 * SEALED


def test_an_envelope_inside_a_larger_file_opens_from_where_the_file_stands(client: EnvelopeClient) -> None:
    file = io.BytesIO(b"prefix" + sealed(client, text(2 * CHUNK)))
    file.seek(6)
    with client.open(file) as reader:
        reader.seek(-1, 2)
        assert reader.read() == text(2 * CHUNK)[-1:]
        reader.seek(0)
        assert reader.read() == text(2 * CHUNK)
    assert not file.closed


# What Python's own library and pandas make of them.


def test_csv_lines_gzip_tar_zip_and_pandas_work_on_them(client: EnvelopeClient, tmp_path: Path) -> None:
    rows = [["id", "name"], *([str(n), f"name {n}"] for n in range(5000))]
    path = tmp_path / "rows.csv.kmse"
    with client.open(path, "wb") as raw, io.TextIOWrapper(raw, newline="") as file:
        csv.writer(file).writerows(rows)
    with client.open(path) as raw, io.TextIOWrapper(raw, newline="") as file:
        assert list(csv.reader(file)) == rows
    with client.open(path) as reader:
        assert len(pd.read_csv(reader)) == 5000
    with client.open(path) as reader:
        assert reader.readline() == b"id,name\r\n"
        assert len(list(reader)) == 5000

    with client.open(tmp_path / "z", "wb") as raw, gzip.open(raw, "wb") as file:
        file.write(text(100_000))
    with client.open(tmp_path / "z") as raw, gzip.open(raw) as file:
        assert file.read() == text(100_000)

    with client.open(tmp_path / "t", "wb") as raw, tarfile.open(fileobj=raw, mode="w|") as tar:
        tar.add(path, "rows")
    with client.open(tmp_path / "t") as raw, tarfile.open(fileobj=raw) as tar:
        member = tar.extractfile("rows")
        assert member is not None
        assert member.read() == path.read_bytes()

    with client.open(tmp_path / "p", "wb") as raw, zipfile.ZipFile(raw, "w") as archive:
        archive.writestr("a", text(70_000))
        archive.writestr("b", b"b")
    with client.open(tmp_path / "p") as raw, zipfile.ZipFile(raw) as archive:
        assert archive.read("a") == text(70_000)
        assert archive.testzip() is None


def test_they_say_what_they_are(client: EnvelopeClient) -> None:
    sink = io.BytesIO()
    writer = client.open(sink, "wb")
    assert isinstance(writer, io.BufferedIOBase)
    assert writer.writable()
    assert not writer.readable()
    assert not writer.seekable()
    writer.write(b"x" * 70_000)
    assert writer.tell() == 70_000
    with pytest.raises(io.UnsupportedOperation):
        writer.seek(0)
    with pytest.raises(io.UnsupportedOperation):
        writer.detach()
    writer.close()
    assert not sink.closed
    sink.seek(0)
    reader = client.open(sink)
    assert isinstance(reader, io.BufferedIOBase)
    assert reader.readable()
    assert reader.seekable()
    assert reader.header == writer.header
    for file in (reader, writer):
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(file)
    with pytest.raises(ValueError, match="whence"):
        reader.seek(0, 9)
    reader.close()
    with pytest.raises(ValueError, match="closed"):
        reader.read()
    assert not sink.closed


# Writers that end badly.


@pytest.mark.parametrize("size", [0, 10, CHUNK, 10 * CHUNK])
def test_a_block_left_on_an_exception_leaves_nothing_that_decrypts(
    client: EnvelopeClient, tmp_path: Path, size: int
) -> None:
    sink, path = io.BytesIO(), tmp_path / "out"
    for target in (sink, path):
        with pytest.raises(RuntimeError), client.open(target, "wb") as writer:
            writer.write(text(size))
            raise RuntimeError
    assert os.listdir(tmp_path) == []
    with pytest.raises(AuthenticationError):
        client.decrypt(sink.getvalue())


def test_abort_keeps_the_old_file(client: EnvelopeClient, tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"old")
    writer = client.open(path, "wb")
    writer.write(b"new")
    writer.abort()
    writer.abort()
    assert writer.closed
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["out"]


def test_a_writer_dropped_unclosed_warns_and_leaves_nothing(client: EnvelopeClient, tmp_path: Path) -> None:
    def drop() -> None:
        client.open(tmp_path / "out", "wb").write(text(CHUNK))

    with pytest.warns(ResourceWarning, match="its envelope is lost"):
        drop()
    gc.collect()
    assert os.listdir(tmp_path) == []


class FailingSink:
    """Fails after so many bytes, as a full disk does."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.data = bytearray()

    def write(self, data: bytes) -> int:
        if len(self.data) + len(data) > self.room:
            raise OSError(28, "No space left on device")
        self.data += data
        return len(data)


@pytest.mark.parametrize("room", [0, 500, 100_000, 200_000, 327_000])
def test_after_a_failed_write_the_writer_is_dead(aes: EnvelopeClient, room: int) -> None:
    sink = FailingSink(room)
    with pytest.raises(OSError, match="No space left"), aes.open(sink, "wb") as writer:
        for _ in range(10):
            writer.write(text(2 * CHUNK))
    with pytest.raises(EnvelopeError):
        aes.decrypt(bytes(sink.data))


class FailingOnce(io.BytesIO):
    """Fails a write when told to, and takes the next one again."""

    error: OSError | None = None

    def write(self, data: Any) -> int:
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        return super().write(data)


@pytest.mark.parametrize("error", [OSError(28, "it failed"), BlockingIOError(11, "it failed")])
@pytest.mark.parametrize("size", [0, 10, 10 * CHUNK])
def test_whoever_goes_on_after_a_failed_write_is_told_by_close_at_the_latest(
    aes: EnvelopeClient, size: int, error: OSError
) -> None:
    sink = FailingOnce()
    writer = aes.open(sink, "wb")
    sink.error = error
    with pytest.raises(OSError, match=r"it failed|without blocking"):
        writer.write(text(10 * CHUNK))
    if size > WRITE_BLOCK:
        with pytest.raises(OSError, match="envelope is lost"):
            writer.write(text(size))
    else:
        assert writer.write(text(size)) == size  # it stays in the buffer
    with pytest.raises(OSError, match="envelope is lost"):
        writer.close()
    assert writer.closed


def test_a_failure_at_close_is_raised_and_nothing_is_committed(aes: EnvelopeClient) -> None:
    sink = FailingSink(1000)
    writer = aes.open(sink, "wb")
    writer.write(text(CHUNK))
    with pytest.raises(OSError, match="No space left"):
        writer.close()
    assert writer.closed
    writer.close()
    with pytest.raises(TruncatedError):
        aes.decrypt(bytes(sink.data))


def test_write_after_close_is_a_value_error(client: EnvelopeClient) -> None:
    writer = client.open(io.BytesIO(), "wb")
    writer.close()
    with pytest.raises(ValueError, match="closed"):
        writer.write(b"more")


def test_a_sink_that_lies_about_what_it_took_is_an_error(aes: EnvelopeClient) -> None:
    class Liar:
        def write(self, data: bytes) -> int:
            return len(data) + 1

    with pytest.raises(OSError, match="reported"):
        aes.open(Liar(), "wb")


def test_text_is_refused_with_a_hint(aes: EnvelopeClient) -> None:
    with aes.open(io.BytesIO(), "wb") as writer:
        with pytest.raises(TypeError):
            writer.write("text")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="binary mode"):
        aes.open(io.StringIO("KMSENV"))  # type: ignore[call-overload]
    for mode in ("r", "w", "a", "ab", "rb+", "rt"):
        with pytest.raises(ValueError, match="mode must be"):
            aes.open(io.BytesIO(), mode)  # type: ignore[call-overload]


@pytest.mark.parametrize("mode", ["rb", "wb"])
def test_things_that_are_no_files_are_refused(aes: EnvelopeClient, mode: Any) -> None:
    with pytest.raises(TypeError, match="must be a path or have"):
        aes.open(7, mode)


def test_xb_refuses_an_existing_file(aes: EnvelopeClient, tmp_path: Path) -> None:
    with aes.open(tmp_path / "out", "xb") as writer:
        writer.write(b"1")
    with pytest.raises(FileExistsError):
        aes.open(tmp_path / "out", "xb")


# Readers of data that was cut or altered.


class Forward(io.RawIOBase):
    """A source that reads but does not seek."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._file.readinto(buffer)


@pytest.mark.parametrize("kind", [io.BytesIO, Forward])
@pytest.mark.parametrize("step", [100, CHUNK, 4 * CHUNK, -1])
def test_a_reader_of_cut_data_raises_at_the_cut_and_never_ends_quietly(
    client: EnvelopeClient, kind: Callable[[bytes], Any], step: int
) -> None:
    data = text(3 * CHUNK + 50)
    blob = sealed(client, data)
    start = len(blob) - (3 * SEALED + 50 + 16)
    for kept in (0, 1, 15, 16, SEALED - 1, SEALED, SEALED + 16, 3 * SEALED, 3 * SEALED + 15, 3 * SEALED + 65):
        with client.open(kind(blob[: start + kept])) as reader:
            got = b""
            with pytest.raises(AuthenticationError):
                while piece := reader.read(step):
                    got += piece
            assert data.startswith(got)
            with pytest.raises(AuthenticationError):
                reader.read(step)


@pytest.mark.parametrize("whole", [1, 2, 3])
def test_a_cut_between_chunks_is_truncation(client: EnvelopeClient, whole: int) -> None:
    blob = sealed(client, text(3 * CHUNK + 50))
    cut = blob[: len(blob) - (3 * SEALED + 66) + whole * SEALED]
    with pytest.raises(TruncatedError):
        client.decrypt(cut)
    with client.open(io.BytesIO(cut)) as reader, pytest.raises(TruncatedError):
        reader.seek(0, 2)
    with client.open(Forward(cut)) as reader, pytest.raises(TruncatedError):
        reader.read()


def test_a_seek_to_the_end_of_altered_data_is_refused(client: EnvelopeClient) -> None:
    blob = bytearray(sealed(client, text(3 * CHUNK + 50)))
    blob[-1] ^= 1
    with client.open(io.BytesIO(blob)) as reader:
        assert reader.read(CHUNK) == text(3 * CHUNK + 50)[:CHUNK]
        with pytest.raises(AuthenticationError):
            reader.seek(-10, 2)


def test_an_altered_chunk_stops_the_reader_there_and_others_stay_readable(client: EnvelopeClient) -> None:
    data = text(5 * CHUNK)
    blob = bytearray(sealed(client, data))
    blob[len(blob) - 16 - 3 * SEALED + 9] ^= 1
    with client.open(io.BytesIO(blob)) as reader:
        with pytest.raises(AuthenticationError):
            reader.read()
        reader.seek(4 * CHUNK + 7)
        assert reader.read() == data[4 * CHUNK + 7 :]
        reader.seek(10)
        assert reader.read(20) == data[10:30]
        reader.seek(2 * CHUNK + 5)
        with pytest.raises(AuthenticationError):
            reader.read(1)


@pytest.mark.parametrize("cut", [0, 5, 11, 60])
def test_a_source_cut_in_its_header_is_a_format_error(client: EnvelopeClient, cut: int) -> None:
    with pytest.raises(FormatError):
        client.open(io.BytesIO(sealed(client, b"data")[:cut]))


def test_non_blocking_sources_and_sinks_are_refused_not_misread(aes: EnvelopeClient) -> None:
    class Empty(io.RawIOBase):
        def read(self, size: int = -1) -> None:  # type: ignore[override]
            return None

        def write(self, data: Any) -> None:  # type: ignore[override]
            return None

    with pytest.raises(BlockingIOError):
        aes.open(Empty())  # type: ignore[call-overload]
    with pytest.raises(BlockingIOError):
        aes.open(Empty(), "wb")  # type: ignore[call-overload]
