"""Start-up: the import beyond ``cryptography``'s, and ``kmsenvelope encrypt`` of a small file.

python benchmarks/startup.py [--rounds 15]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from common import best, median, save, table, take_turns, timed

IMPORTS = "from cryptography.hazmat.primitives.ciphers.aead import AESGCM"


def python(folder: Path, code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True, cwd=folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = folder / "keys.db"
        python(folder, f"import kmsenvelope; kmsenvelope.LocalKms({str(store)!r}).create_key('bench')")
        (folder / "plain").write_bytes(os.urandom(1000))
        command = [sys.executable, "-m", "kmsenvelope", "encrypt", "--key", f"local:{store}#bench"]
        cases = {
            "python -c pass": lambda: timed(lambda: python(folder, "pass")),
            "import cryptography's AESGCM": lambda: timed(lambda: python(folder, IMPORTS)),
            "import kmsenvelope as well": lambda: timed(
                lambda: python(folder, f"{IMPORTS}; import kmsenvelope")
            ),
            "kmsenvelope encrypt, 1000 bytes": lambda: timed(
                lambda: subprocess.run([*command, "plain", "sealed"], check=True, cwd=folder)
            ),
        }
        timings = take_turns(cases, options.rounds, lambda: (folder / "sealed").unlink(missing_ok=True))
    rows = [[name, f"{best(v) * 1e3:.0f}", f"{median(v) * 1e3:.0f}"] for name, v in timings.items()]
    names = list(timings)
    beyond = [(take(timings[names[2]]) - take(timings[names[1]])) * 1e3 for take in (best, median)]
    rows.append(["import kmsenvelope beyond cryptography", *(f"{value:.0f}" for value in beyond)])
    save("startup", table(["whole process", "best ms", "median ms"], rows), rows)


if __name__ == "__main__":
    main()
