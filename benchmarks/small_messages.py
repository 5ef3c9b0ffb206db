"""1 KiB messages on one thread with a warm cache, beside bare Cobblestone one-shot calls in the same run.

    python benchmarks/small_messages.py [--size BYTES] [--rounds N]

Every round times each column in turn, so that a change of the machine's speed meets all of them; the best
round of each counts. The target is at most 1.6 times the bare cipher, for encryption and for decryption.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

import machine
from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor

from kmsenvelope import EnvelopeClient, LocalKms

CALLS = 2000
CONTEXT = {"tenant": "42"}
AAD = b"row 7"


def columns(size: int) -> dict[str, Callable[[], bytes]]:
    """What is timed: name to a function that handles one message."""
    data = os.urandom(size)
    key = Cobblestone256Encryptor.generate_key()
    bound = b"kmsenvelope/1\0" + bytes(4)

    def bare_encrypt() -> bytes:
        cipher = Cobblestone256Encryptor(key, bound)
        return cipher.update(data) + cipher.finalize()

    body = bare_encrypt()

    def bare_decrypt() -> bytes:
        cipher = Cobblestone256Decryptor(key, bound)
        return cipher.update(body) + cipher.finalize()

    kms = LocalKms()
    client = EnvelopeClient(kms.key(kms.create_key(alias="bench")))
    plain = client.encrypt(data)
    bound_blob = client.encrypt(data, context=CONTEXT, aad=AAD)
    return {
        "bare encrypt": bare_encrypt,
        "encrypt": lambda: client.encrypt(data),
        "encrypt, context and aad": lambda: client.encrypt(data, context=CONTEXT, aad=AAD),
        "bare decrypt": bare_decrypt,
        "decrypt": lambda: client.decrypt(plain),
        "decrypt, context and aad": lambda: client.decrypt(bound_blob, context=CONTEXT, aad=AAD),
    }


def best_of(rounds: int, timed: dict[str, Callable[[], bytes]]) -> dict[str, float]:
    """Seconds for one message in the best of ``rounds``, for each column."""
    best = dict.fromkeys(timed, float("inf"))
    for _ in range(rounds):
        for name, handle in timed.items():
            start = time.perf_counter()
            for _ in range(CALLS):
                handle()
            best[name] = min(best[name], (time.perf_counter() - start) / CALLS)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    print(machine.describe())
    print(
        f"{options.size} bytes a message, best of {options.rounds} interleaved rounds of {CALLS} messages\n"
    )
    best = best_of(options.rounds, columns(options.size))
    for name, seconds in best.items():
        bare = best["bare encrypt" if "encrypt" in name else "bare decrypt"]
        print(f"{name:26} {seconds * 1e6:7.2f} us {1 / seconds:10,.0f} messages/s {seconds / bare:6.2f} x")


if __name__ == "__main__":
    main()
