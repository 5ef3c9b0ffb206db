"""Where the time of a file goes: reading, sealing and writing alone, then together in several ways.

    python benchmarks/stages.py [--mib 1024] [--rounds 7] [--folder FOLDER]

The ways are those that were tried for files: one thread, a reader that seals and a writer thread behind a
queue, the pump that the package uses, and the pump with other numbers of threads and sizes of blocks.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

from common import MIB, best, least_cpu, median, save, table, take_turns, timed
from cryptography.cobblestone import Cobblestone256Encryptor
from files import make_file

from kmsenvelope import pump
from kmsenvelope.blocks import Body, sealing
from kmsenvelope.chunked import CHUNK, SEALED, ChunkCipher, derive, sealed_size
from kmsenvelope.files import SourceFile, TargetFile
from kmsenvelope.reserve import reserve
from kmsenvelope.suites import Suite

KEY = bytes(32)


class OwnCiphers:
    """A ``Body`` whose threads each seal AES chunks with a cipher of their own, in any order."""

    takes, gives, in_order = CHUNK, SEALED, False

    def __init__(self) -> None:
        self._keys = derive(Suite.AES_256_GCM, KEY, bytes(24), b"")

    def worker(self) -> Callable[..., int]:
        return ChunkCipher(Suite.AES_256_GCM, self._keys).seal_run

    def last(self, index: int, rest: bytes) -> bytes:
        out = bytearray(len(rest) + SEALED - CHUNK)
        self.worker()(index, rest, out)
        return bytes(out)


class Stages:
    """Each method handles the whole file once."""

    def __init__(self, folder: Path, mib: int) -> None:
        self.plain, self.out, self.size = folder / "plain", folder / "out", mib * MIB
        make_file(self.plain, mib)
        self.block = memoryview(bytearray(MIB))
        self.room = memoryview(bytearray(MIB + 65_536))

    def copy(self) -> None:
        subprocess.run(["cp", "--reflink=never", self.plain, self.out], check=True)

    def read(self) -> None:
        with self.plain.open("rb", buffering=0) as reader:
            while reader.readinto(self.block):
                pass

    def seal(self) -> None:
        cipher = Cobblestone256Encryptor(KEY, b"")
        for _ in range(self.size // MIB):
            cipher.update_into(self.block, self.room)

    def read_and_seal(self) -> None:
        cipher = Cobblestone256Encryptor(KEY, b"")
        with self.plain.open("rb", buffering=0) as reader:
            while reader.readinto(self.block):
                cipher.update_into(self.block, self.room)

    def write(self) -> None:
        with self.out.open("wb", buffering=0) as writer:
            for _ in range(self.size // MIB):
                writer.write(self.block)

    def write_direct(self) -> None:
        """O_DIRECT: past the page cache, at the speed of the disk."""
        import mmap

        block = mmap.mmap(-1, 4 * MIB)
        fd = os.open(self.out, os.O_WRONLY | os.O_CREAT | os.O_DIRECT)
        for _ in range(self.size // len(block)):
            os.write(fd, block)
        os.close(fd)

    def write_reserved(self) -> None:
        """As the package does it: ``fallocate`` first."""
        with self.out.open("wb", buffering=0) as writer:
            reserve(writer.fileno(), self.size)
            for _ in range(self.size // MIB):
                writer.write(self.block)

    def one_thread(self) -> None:
        cipher = Cobblestone256Encryptor(KEY, b"")
        with self.plain.open("rb", buffering=0) as reader, self.out.open("wb", buffering=0) as writer:
            while size := reader.readinto(self.block):
                writer.write(self.room[: cipher.update_into(self.block[:size], self.room)])
            writer.write(cipher.finalize())

    def queue(self, buffers: int = 3) -> None:
        cipher = Cobblestone256Encryptor(KEY, b"")
        free: SimpleQueue[memoryview] = SimpleQueue()
        filled: SimpleQueue[tuple[memoryview, int]] = SimpleQueue()
        for _ in range(buffers):
            free.put(memoryview(bytearray(len(self.room))))
        with self.plain.open("rb", buffering=0) as reader, self.out.open("wb", buffering=0) as writer:

            def drain() -> None:
                while (item := filled.get())[1]:
                    writer.write(item[0][: item[1]])
                    free.put(item[0])

            thread = threading.Thread(target=drain)
            thread.start()
            while size := reader.readinto(self.block):
                room = free.get()
                filled.put((room, cipher.update_into(self.block[:size], room)))
            filled.put((self.room, 0))
            thread.join()
            writer.write(cipher.finalize())

    def pump(self, threads: int, run: int = 64, body: Body | None = None, *, room: bool = True) -> None:
        prefix, in_order = sealing(Suite.AES_256_GCM, KEY, b"")
        with SourceFile(self.plain) as source, self.out.open("wb", buffering=0) as writer:
            writer.write(prefix)
            target = TargetFile(writer.fileno(), len(prefix))
            if room:
                target.reserve(sealed_size(self.size))
            pump.Pump(source, body or in_order, target.write, lambda: None, threads=threads, run=run).run()

    def all(self) -> dict[str, Callable[[], None]]:
        return {
            "cp": self.copy,
            "read alone": self.read,
            "seal alone": self.seal,
            "read and seal": self.read_and_seal,
            "write alone": self.write,
            "write alone, fallocate first": self.write_reserved,
            "write alone, O_DIRECT": self.write_direct,
            "all on one thread": self.one_thread,
            "writer thread behind a queue, 3 buffers": self.queue,
            "writer thread behind a queue, 6 buffers": lambda: self.queue(6),
            "pump, 2 threads, no fallocate": lambda: self.pump(2, room=False),
            "pump, 1 thread (used on 1 core)": lambda: self.pump(1),
            "pump, 2 threads (used)": lambda: self.pump(2),
            "pump, 3 threads": lambda: self.pump(3),
            "pump, 2 threads, blocks of 256 KiB": lambda: self.pump(2, 16),
            "pump, 2 threads, blocks of 4 MiB": lambda: self.pump(2, 256),
            "pump, 2 threads, a cipher each": lambda: self.pump(2, body=OwnCiphers()),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        stages = Stages(Path(name), options.mib)
        cases = {name: lambda run=run: timed(run) for name, run in stages.all().items()}
        timings = take_turns(cases, options.rounds, lambda: stages.out.unlink(missing_ok=True))
    reference = best(timings["cp"])
    rows = [
        [name, f"{best(v):.3f}", f"{median(v):.3f}", f"{best(v) / reference:.2f}", f"{least_cpu(v):.2f}"]
        for name, v in timings.items()
    ]
    head = ["AES-256-GCM", "best s", "median s", "x cp", "CPU s"]
    save("stages", table(head, rows), rows, f"{options.mib} MiB in page cache.")


if __name__ == "__main__":
    main()
