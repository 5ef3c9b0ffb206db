"""Work that does not depend on the machine's load: system calls by strace, instructions by valgrind.

    python benchmarks/counters.py

Each count is a difference between two runs of one program that differ only in how often they do the thing,
so start-up cancels out. Needs ``strace`` and ``valgrind``; what is not installed is left out.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from common import MIB, save, table

SETUP = """
import os, sys
from kmsenvelope import EnvelopeClient, LocalKms
from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
kms = LocalKms()
client = EnvelopeClient(kms.key(kms.create_key("bench")))
folder, times = sys.argv[1], int(sys.argv[2])
data, key = bytes(1024), bytes(32)
blob = client.encrypt(data)
client.decrypt(blob)
def bare_encrypt():
    cipher = Cobblestone256Encryptor(key, b"kmsenvelope/1" + bytes(5))
    return cipher.update(data) + cipher.finalize()
def bare_decrypt():
    cipher = Cobblestone256Decryptor(key, b"kmsenvelope/1" + bytes(5))
    return cipher.update(body) + cipher.finalize()
body = bare_encrypt()
"""
MESSAGES = {
    "bare Cobblestone encrypt, 1 KiB": "bare_encrypt()",
    "encrypt, 1 KiB": "client.encrypt(data)",
    "bare Cobblestone decrypt, 1 KiB": "bare_decrypt()",
    "decrypt, 1 KiB": "client.decrypt(blob)",
}
FILE = f"""
plain, sealed = folder + "/plain", folder + "/sealed"
with open(plain, "wb") as file:
    file.truncate(64 * {MIB})
client.encrypt_file(plain, sealed, overwrite=True)
reader = client.open(sealed)
reader.seek(5_000_000)
reader.read(100)
"""
ENCRYPT = "client.encrypt_file(plain, sealed, overwrite=True)"
CALLS = {
    "encrypt_file, 1 KiB": (
        "open(plain, 'wb').write(data)",
        "client.encrypt_file(plain, sealed, overwrite=True)",
    ),
    "encrypt_file, 64 MiB": ("", "client.encrypt_file(plain, sealed, overwrite=True)"),
    "decrypt_file, 64 MiB": ("", "client.decrypt_file(sealed, plain, overwrite=True)"),
    "verify_file, 64 MiB": ("", "client.verify_file(sealed)"),
    "open() and close() for reading": ("", "client.open(sealed).close()"),
    "seek and read of 100 bytes": ("", "reader.seek(40_000_000 - reader.tell()); reader.read(100)"),
}


def program(folder: Path, before: str, operation: str) -> list[str]:
    path = folder / "program.py"
    path.write_text(f"{SETUP}{before}\nfor _ in range(times):\n    {operation}\n")
    return [sys.executable, str(path), str(folder)]


def instructions(folder: Path, command: list[str], times: int) -> int:
    out = folder / "callgrind.out"
    trace = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--log-file=/dev/null"]
    # Without a fixed seed two starts of Python differ by more than a message costs.
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    subprocess.run([*trace, *command, str(times)], check=True, env=environment)
    match = re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.MULTILINE)
    assert match is not None
    return int(match[1])


def system_calls(folder: Path, command: list[str], times: int) -> dict[str, int]:
    out = folder / "strace.out"
    subprocess.run(
        ["strace", "-f", "-c", "-U", "calls,name", "-o", str(out), *command, str(times)], check=True
    )
    lines = re.findall(r"^\s*(\d+)\s+(\w+)$", out.read_text(), re.MULTILINE)
    return {name: int(count) for count, name in lines if name != "total"}


def count_instructions(folder: Path) -> list[list[object]]:
    few, many = 200, 4200
    rows: list[list[object]] = []
    for name, operation in MESSAGES.items():
        command = program(folder, "", operation)
        counts = [instructions(folder, command, times) for times in (few, many)]
        rows.append([name, f"{(counts[1] - counts[0]) / (many - few):,.0f}"])
    return rows


def count_calls(folder: Path) -> list[list[object]]:
    few, many = 2, 12
    rows: list[list[object]] = []
    for name, (before, operation) in CALLS.items():
        command = program(folder, FILE + before, operation)
        first, second = (system_calls(folder, command, times) for times in (few, many))
        each = {call: (second[call] - first.get(call, 0)) / (many - few) for call in second}
        listed = sorted(((count, call) for call, count in each.items() if count >= 0.5), reverse=True)
        text = ", ".join(f"{count:.0f} {call}" for count, call in listed)
        rows.append([name, f"{sum(count for count, _ in listed):.0f}", text])
    return rows


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        if shutil.which("strace"):
            rows = count_calls(Path(name))
            save("calls", table(["operation", "system calls", "which"], rows), rows)
        if shutil.which("valgrind"):
            rows = count_instructions(Path(name))
            save("instructions", table(["operation", "instructions"], rows), rows)


if __name__ == "__main__":
    main()
