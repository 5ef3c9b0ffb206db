"""Write the test vectors beside this file, or with ``--check`` compare them with what is there.

It imports nothing of the package: what it writes follows docs/format.md alone.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import body_cases
import header_cases
import hybrid_cases
import recipient_cases
from construction import CHUNK, SUITES, Suite, context_bytes, derive, seeded
from vector import Json, pattern

HERE = Path(__file__).parent
INDICES = (0, 1, 255, 256, 65_535, 65_536, 1 << 24, (1 << 32) - 1, 1 << 32, (1 << 38) - 1)


def main(arguments: list[str]) -> int:
    """Returns the exit status: 1 if a file differs under ``--check``."""
    differing = []
    for name, text in files():
        path = HERE / name
        if "--check" in arguments:
            if not path.exists() or path.read_text("utf-8") != text:
                differing.append(name)
        else:
            path.write_text(text, "utf-8")
    for name in differing:
        print(f"{name} is not what the generator makes")
    return 1 if differing else 0


def files() -> Iterator[tuple[str, str]]:
    """Name and text of each file."""
    for suite in SUITES:
        yield f"{suite.name.lower()}.json", _document(body_cases.vectors(suite))
    yield "header.json", _document(header_cases.vectors())
    yield "recipients.json", _document(chain(recipient_cases.vectors(), hybrid_cases.vectors()))
    yield "derivation.json", _document(_derivations())


def _document(vectors: Iterable[Json]) -> str:
    """One vector a line, so that a change is a readable difference."""
    listed = list(vectors)
    names = [vector["name"] for vector in listed]
    assert len(names) == len(set(names)), "names must be unique in a file"
    lines = ",\n".join(json.dumps(vector, ensure_ascii=True, separators=(",", ":")) for vector in listed)
    return '{"format":"kmsenvelope/1","license":"0BSD","vectors":[\n' + lines + "\n]}\n"


def _derivations() -> Iterator[Json]:
    for suite in SUITES:
        for number, (context, aad) in enumerate(
            ((None, b""), ('{"tenant":"42"}', b"row 7"), ("{}", bytes(300)))
        ):
            yield _derivation(suite, f"{suite.name.lower()}-{number}", context, aad)


def _derivation(suite: Suite, name: str, context: str | None, aad: bytes) -> Json:
    dek, salt = seeded(f"{name}/dek", suite.key_size), seeded(f"{name}/salt", 24)
    given = context_bytes(context, aad)
    keys = derive(suite, dek, salt, given)
    plaintext = pattern(20)
    chunks = [
        {
            "index": index,
            "offset": 56 + index * (CHUNK + 16),
            "nonce": keys.nonce(index).hex(),
            "sealed": keys.seal(index, plaintext).hex(),
        }
        for index in INDICES
    ]
    return {
        "name": name,
        "suite": suite.name,
        "dek": dek.hex(),
        "salt": salt.hex(),
        "context": context,
        "aad": aad.hex(),
        "context_bytes": given.hex(),
        "key": keys.key.hex(),
        "base_nonce": keys.base_nonce.hex(),
        "commitment": keys.commitment.hex(),
        "plaintext": plaintext.hex(),
        "chunks": chunks,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
