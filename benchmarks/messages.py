"""Small messages on one thread, warm, beside the bare cipher and the peers: best of many rounds in turn.

    python benchmarks/messages.py [--rounds 7] [--seconds 0.08]

No peer waits for a network: their keys are local. What each does for a message differs; the table says so.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from common import best_loops, figure, save, size_name, table

SIZES = (16, 1024, 16_384)


class Peer(NamedTuple):
    """One message both ways; ``decrypt`` takes what ``encrypt`` gives."""

    encrypt: Callable[[bytes], Any]
    decrypt: Callable[[Any], bytes]


def kmsenvelope(suite: str) -> Peer:
    from kmsenvelope import EnvelopeClient, LocalKms

    kms = LocalKms()
    client = EnvelopeClient(kms.key(kms.create_key("bench")), suite=suite)
    return Peer(client.encrypt, client.decrypt)


def cobblestone() -> Peer:
    from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor

    key, context = bytes(32), b"kmsenvelope/1" + bytes(5)

    def encrypt(data: bytes) -> bytes:
        cipher = Cobblestone256Encryptor(key, context)
        return cipher.update(data) + cipher.finalize()

    def decrypt(blob: bytes) -> bytes:
        cipher = Cobblestone256Decryptor(key, context)
        return cipher.update(blob) + cipher.finalize()

    return Peer(encrypt, decrypt)


def aesgcm() -> Peer:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    cipher = AESGCM(bytes(32))

    def encrypt(data: bytes) -> bytes:
        nonce = os.urandom(12)
        return nonce + cipher.encrypt(nonce, data, None)

    return Peer(encrypt, lambda blob: cipher.decrypt(blob[:12], blob[12:], None))


def fernet() -> Peer:
    from cryptography.fernet import Fernet

    cipher = Fernet(Fernet.generate_key())
    return Peer(cipher.encrypt, cipher.decrypt)


def tink(envelope: bool) -> Peer:
    import tink as module
    from tink import aead

    aead.register()
    template = aead.aead_key_templates.AES256_GCM
    primitive = module.new_keyset_handle(template).primitive(aead.Aead)
    if envelope:
        primitive = aead.KmsEnvelopeAead(template, primitive)
    return Peer(lambda data: primitive.encrypt(data, b""), lambda blob: primitive.decrypt(blob, b""))


def aws(signed: bool) -> Peer:
    import warnings

    import aws_encryption_sdk as module
    from aws_encryption_sdk.identifiers import Algorithm, EncryptionKeyType, WrappingAlgorithm
    from aws_encryption_sdk.internal.crypto.wrapping_keys import WrappingKey
    from aws_encryption_sdk.key_providers.raw import RawMasterKeyProvider

    class Keys(RawMasterKeyProvider):
        provider_id = "bench"

        def _get_raw_key(self, key_id: object) -> WrappingKey:
            return WrappingKey(
                wrapping_algorithm=WrappingAlgorithm.AES_256_GCM_IV12_TAG16_NO_PADDING,
                wrapping_key=bytes(32),
                wrapping_key_type=EncryptionKeyType.SYMMETRIC,
            )

    warnings.simplefilter("ignore")
    client, keys = module.EncryptionSDKClient(), Keys()
    keys.add_master_key("bench")
    manager = module.CachingCryptoMaterialsManager(
        master_key_provider=keys, cache=module.LocalCryptoMaterialsCache(100), max_age=3600.0
    )
    suite = Algorithm.AES_256_GCM_HKDF_SHA512_COMMIT_KEY
    options = {} if signed else {"algorithm": suite}
    return Peer(
        lambda data: client.encrypt(source=data, materials_manager=manager, **options)[0],
        lambda blob: client.decrypt(source=blob, materials_manager=manager)[0],
    )


BARE = "bare Cobblestone, one-shot"
PEERS: dict[str, Callable[[], Peer]] = {
    "kmsenvelope AES-256-GCM": partial(kmsenvelope, "AES-256-GCM"),
    "kmsenvelope SM4-GCM": partial(kmsenvelope, "SM4-GCM"),
    BARE: cobblestone,
    "AESGCM, one key object, no key commitment": aesgcm,
    "Fernet": fernet,
    "Tink AEAD, no envelope": partial(tink, False),
    "Tink envelope AEAD, wraps a DEK per message": partial(tink, True),
    "AWS Encryption SDK, cached, unsigned": partial(aws, False),
    "AWS Encryption SDK, cached, default suite": partial(aws, True),
}


def usable() -> dict[str, Peer]:
    made = {}
    for name, make in PEERS.items():
        try:
            peer = make()
        except ImportError as error:
            print(f"- {name}: left out: {error}")
            continue
        assert peer.decrypt(peer.encrypt(b"data")) == b"data"
        made[name] = peer
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.08)
    options = parser.parse_args()
    peers = usable()
    seconds: dict[str, dict[str, float]] = {name: {} for name in peers}
    for size in SIZES:
        data = os.urandom(size)
        for label in ("encrypt", "decrypt"):
            calls = {}
            for name, peer in peers.items():
                argument = data if label == "encrypt" else peer.encrypt(data)
                calls[name] = partial(getattr(peer, label), argument)
            for name, value in best_loops(calls, options.rounds, options.seconds).items():
                seconds[name][f"{size_name(size)} {label}"] = value
    columns = list(seconds[BARE])
    rows = [[name, *(f"{1 / values[column]:,.0f}" for column in columns)] for name, values in seconds.items()]
    ratios = {
        name: {column: values[column] / seconds[BARE][column] for column in columns}
        for name, values in seconds.items()
    }
    rows += [
        [f"{name}: time, {BARE} = 1", *(f"{ratios[name][column]:.2f}" for column in columns)]
        for name in list(ratios)[:2]
    ]
    save("messages", table(["messages per second", *columns], rows), {"seconds": seconds, "ratios": ratios})
    plot(seconds)


def plot(seconds: dict[str, dict[str, float]]) -> None:
    _, axes, finish = figure("messages", 8, 4.5)
    names = list(reversed(seconds))
    for offset, label, color in ((0.2, "encrypt", "#c0392b"), (-0.2, "decrypt", "#2c3e50")):
        rates = [1 / seconds[name][f"1 KiB {label}"] for name in names]
        places = [number + offset for number in range(len(names))]
        bars = axes.barh(places, rates, 0.38, label=label, color=color)
        axes.bar_label(bars, fmt="{:,.0f}", padding=3, fontsize=7)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_xscale("log")
    axes.set_xlim(right=4e6)
    axes.set_xlabel("messages of 1 KiB per second on one thread (log scale)")
    axes.legend(loc="lower right")
    finish()


if __name__ == "__main__":
    main()
