"""The main job on a real file: create a key, encrypt, inspect, read from the middle, decrypt, compare.

Run it with `make demo`. Everything happens in a temporary folder, with an embedded key store.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from pathlib import Path

from kmsenvelope import EnvelopeClient, LocalKms, inspect

MIB = 1 << 20
SIZE = 64 * MIB


def make_file(path: Path, size: int) -> None:
    with path.open("wb") as file:
        for _ in range(size // MIB):
            file.write(os.urandom(MIB))


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plain, sealed, back = folder / "data.bin", folder / "data.bin.kmse", folder / "back.bin"
        make_file(plain, SIZE)
        print(f"made       {plain.name}: {SIZE // MIB} MiB, sha256 {digest(plain)[:16]}…")

        with LocalKms(folder / "keys.db") as kms:
            key_id = kms.create_key("demo")
            print(f"key        {key_id} (alias demo) in {folder / 'keys.db'}")

            with EnvelopeClient(kms.key("demo")) as client:
                start = time.perf_counter()
                client.encrypt_file(plain, sealed, context={"tenant": "42"})
                print(f"encrypted  {sealed.name} in {time.perf_counter() - start:.3f} s")

                header = inspect(sealed)
                print(f"inspected  suite {header.suite}, context {header.context}, no KMS call")
                for recipient in header.recipients:
                    print(f"           recipient {recipient}, wrapped DEK {recipient.wrapped[:24]}…")

                with client.open(sealed) as reader:
                    reader.seek(SIZE // 2)
                    middle = reader.read(100)
                with plain.open("rb") as file:
                    file.seek(SIZE // 2)
                    assert file.read(100) == middle
                print(f"read       100 bytes from the middle: {middle[:12].hex()}… as in the original")

                start = time.perf_counter()
                client.decrypt_file(sealed, back, context={"tenant": "42"})
                print(f"decrypted  {back.name} in {time.perf_counter() - start:.3f} s")
                assert digest(back) == digest(plain)
                print(f"compared   the same bytes; calls to the KMS: {client.stats()['kms_calls']}")


if __name__ == "__main__":
    main()
