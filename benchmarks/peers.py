"""The peers that files are compared with: each gives encrypt(source, destination) and decrypt.

Each is used as its own documentation shows, with buffers of 1 MiB where it lets the caller choose. Keys are
local everywhere, so no peer waits for a network.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

MIB = 1 << 20
Operations = dict[str, Callable[..., object]]


def kmsenvelope(suite: str, folder: Path) -> Operations:
    """This package, with a key store in ``folder``."""
    from kmsenvelope import EnvelopeClient, LocalKms

    store = folder / "keys.db"
    new, kms = not store.exists(), LocalKms(store)
    if new:
        kms.create_key("bench")
    client = EnvelopeClient(kms.key("bench"), suite=suite)
    client.decrypt(client.encrypt(b"warm"))
    return {
        "encrypt": partial(client.encrypt_file, overwrite=True),
        "decrypt": partial(client.decrypt_file, overwrite=True),
        "verify": client.verify_file,
    }


def cobblestone(folder: Path) -> Operations:
    """cryptography's own chunked encryption in a loop on one thread: what is under this package for AES."""
    from cryptography import cobblestone as module

    key = bytes(32)

    def run(make: Any, source: str, destination: str) -> None:
        cipher, block, room = make(key, b""), memoryview(bytearray(MIB)), memoryview(bytearray(MIB + 65_536))
        with open(source, "rb", buffering=0) as reader, open(destination, "wb", buffering=0) as writer:
            while size := reader.readinto(block):
                writer.write(room[: cipher.update_into(block[:size], room)])
            writer.write(cipher.finalize())

    return {
        "encrypt": partial(run, module.Cobblestone256Encryptor),
        "decrypt": partial(run, module.Cobblestone256Decryptor),
    }


def tink(folder: Path) -> Operations:
    """Tink's streaming AEAD, AES256_GCM_HKDF_1MB."""
    from tink import new_keyset_handle, streaming_aead

    streaming_aead.register()
    handle = new_keyset_handle(streaming_aead.streaming_aead_key_templates.AES256_GCM_HKDF_1MB)
    primitive = handle.primitive(streaming_aead.StreamingAead)

    def encrypt(source: str, destination: str) -> None:
        with (
            open(source, "rb") as reader,
            primitive.new_encrypting_stream(open(destination, "wb"), b"") as writer,  # closes it
        ):
            shutil.copyfileobj(reader, writer, MIB)

    def decrypt(source: str, destination: str) -> None:
        with (
            primitive.new_decrypting_stream(open(source, "rb"), b"") as reader,  # closes it
            open(destination, "wb") as writer,
        ):
            shutil.copyfileobj(reader, writer, MIB)

    return {"encrypt": encrypt, "decrypt": decrypt}


def aws(frame: int, folder: Path) -> Operations:
    """AWS Encryption SDK with a raw AES keyring, no signature, frames of ``frame`` bytes."""
    import aws_encryption_sdk
    from aws_encryption_sdk.identifiers import Algorithm

    client = aws_encryption_sdk.EncryptionSDKClient()
    keyring = aws_keyring()

    def run(mode: str, source: str, destination: str, **options: Any) -> None:
        with (
            open(source, "rb") as file,
            open(destination, "wb") as writer,
            client.stream(mode=mode, source=file, keyring=keyring, **options) as reader,
        ):
            shutil.copyfileobj(reader, writer, MIB)

    algorithm = Algorithm.AES_256_GCM_HKDF_SHA512_COMMIT_KEY
    return {
        "encrypt": partial(run, "e", frame_length=frame, algorithm=algorithm),
        "decrypt": partial(run, "d"),
    }


def aws_keyring() -> Any:
    """A raw AES keyring of the material providers library."""
    from aws_cryptographic_material_providers.mpl import AwsCryptographicMaterialProviders
    from aws_cryptographic_material_providers.mpl.config import MaterialProvidersConfig
    from aws_cryptographic_material_providers.mpl.models import AesWrappingAlg, CreateRawAesKeyringInput

    providers = AwsCryptographicMaterialProviders(config=MaterialProvidersConfig())
    return providers.create_raw_aes_keyring(
        input=CreateRawAesKeyringInput(
            key_namespace="bench",
            key_name="bench",
            wrapping_key=bytes(32),
            wrapping_alg=AesWrappingAlg.ALG_AES256_GCM_IV12_TAG16,
        )
    )


def pyrage(folder: Path) -> Operations:
    """The age format by pyrage, X25519."""
    import pyrage as module

    identity = module.x25519.Identity.generate()

    def encrypt(source: str, destination: str) -> None:
        module.encrypt_file(source, destination, [identity.to_public()])

    def decrypt(source: str, destination: str) -> None:
        module.decrypt_file(source, destination, [identity])

    return {"encrypt": encrypt, "decrypt": decrypt}


def age(folder: Path) -> Operations:
    """The age command, X25519."""
    identity = folder / "age-identity"
    if not identity.exists():
        subprocess.run(["age-keygen", "-o", identity], check=True, stderr=subprocess.DEVNULL)
    text = identity.read_text()
    recipient = next(line.split()[-1] for line in text.splitlines() if "public key" in line)
    return {
        "encrypt": lambda source, destination: command("age", "-r", recipient, "-o", destination, source),
        "decrypt": lambda source, destination: command(
            "age", "-d", "-i", str(identity), "-o", destination, source
        ),
    }


def openssl(folder: Path) -> Operations:
    """``openssl enc -aes-256-ctr`` with its largest buffers: no authentication at all."""
    options = ("enc", "-aes-256-ctr", "-K", "00" * 32, "-iv", "00" * 16, "-bufsize", "1048576")

    def run(source: str, destination: str) -> None:
        command("openssl", *options, "-in", source, "-out", destination)

    return {"encrypt": run, "decrypt": run}


def command(*arguments: str) -> None:
    subprocess.run(arguments, check=True, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


FILES: dict[str, Callable[[Path], Operations]] = {
    "kmsenvelope AES-256-GCM": partial(kmsenvelope, "AES-256-GCM"),
    "kmsenvelope SM4-GCM": partial(kmsenvelope, "SM4-GCM"),
    "cryptography Cobblestone, one thread": cobblestone,
    "Tink GCM_HKDF_1MB": tink,
    "AWS Encryption SDK, 1 MiB frames": partial(aws, MIB),
    "AWS Encryption SDK, 4 KiB frames": partial(aws, 4096),
    "pyrage": pyrage,
    "age command": age,
    "openssl enc aes-256-ctr": openssl,
}


def usable(name: str, folder: Path) -> bool:
    """Whether a peer is installed and opens what it sealed."""
    plain, sealed, back = (str(folder / f"try-{end}") for end in ("plain", "sealed", "back"))
    Path(plain).write_bytes(os.urandom(100_000))
    try:
        operations = FILES[name](folder)
        operations["encrypt"](plain, sealed)
        operations["decrypt"](sealed, back)
        return Path(back).read_bytes() == Path(plain).read_bytes()
    except (ImportError, OSError, subprocess.CalledProcessError) as error:
        print(f"- {name}: left out: {error}")
        return False
    finally:
        for path in (plain, sealed, back):
            Path(path).unlink(missing_ok=True)
