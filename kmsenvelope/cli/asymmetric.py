"""``public-key`` and ``asymmetric``: encrypt to a public key without the KMS, decrypt by the KMS."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Annotated

import typer

from kmsenvelope.addresses import KeyAddress

from .exits import UsageError
from .options import ForceOption, OneKeyOption, one_key_address
from .pipes import STANDARD, read_small, refuse_terminal, write_small
from .places import open_key

if TYPE_CHECKING:
    from kmsenvelope.kms.masterkey import MasterKey
    from kmsenvelope.kms.public import PublicKey

app = typer.Typer(help="Encrypt small data to a public key; the KMS decrypts it.", no_args_is_help=True)

Source = Annotated[str, typer.Argument(metavar="[SRC]", help="A file; - for standard input.")]
Destination = Annotated[str, typer.Argument(metavar="[DST]", help="The new file; - for standard output.")]
Base64Option = Annotated[
    bool, typer.Option("--base64", help="The ciphertext as Base64, as the KMS API has it, not as bytes.")
]

_MAX_DATA = 4096
_MAX_PEM = 1 << 16


def public_key(
    key: Annotated[str, typer.Argument(metavar="ADDRESS", help="Address of an asymmetric key.")],
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="PATH", help="The new file; - for standard output.")
    ] = STANDARD,
    fingerprint: Annotated[
        bool, typer.Option("--fingerprint", help="Print the SHA-256 of the key instead of the key.")
    ] = False,
    force: ForceOption = False,
) -> None:
    """Fetch the public half of a key, as PEM: whoever has it can encrypt, nobody can decrypt with it."""
    with open_key(KeyAddress.parse(key)) as opened:
        public = opened.kms.public_key(opened.key_id)
    text = f"{public.fingerprint}\n" if fingerprint else public.to_pem()
    write_small(output, text.encode(), force=force)


@app.command()
def encrypt(
    source: Source = STANDARD,
    destination: Destination = STANDARD,
    pem: Annotated[
        str | None,
        typer.Option("--public-key", "-p", metavar="PATH", help="The public key, PEM: no KMS is called."),
    ] = None,
    key: OneKeyOption = None,
    pin: Annotated[
        str | None,
        typer.Option("--pin", metavar="SHA256", help="Refuse a public key with another fingerprint."),
    ] = None,
    as_base64: Base64Option = False,
    force: ForceOption = False,
) -> None:
    """Encrypt small data to a public key: RSA with OAEP and SHA-256 (190 bytes), or SM2 (146 bytes).

    Without --public-key it is fetched from the KMS of --key. For more data give the public key to
    'kmsenvelope encrypt'.
    """
    if not as_base64 and destination == STANDARD:
        refuse_terminal(force)
    public = _public_key(pem, key, pin)
    ciphertext = public.encrypt(read_small(source, _MAX_DATA, "the data"))
    write_small(destination, base64.b64encode(ciphertext) + b"\n" if as_base64 else ciphertext, force=force)


@app.command()
def decrypt(
    source: Source = STANDARD,
    destination: Destination = STANDARD,
    key: OneKeyOption = None,
    algorithm: Annotated[
        str | None,
        typer.Option(
            "--algorithm",
            metavar="NAME",
            help="RSAES_OAEP_SHA_256, RSAES_OAEP_SHA_1, RSAES_PKCS1_V1_5 or SM2_C1C3C2_ASN1; "
            "without it the KMS is asked for the kind of key.",
        ),
    ] = None,
    as_base64: Base64Option = False,
    force: ForceOption = False,
) -> None:
    """Have the KMS decrypt what was encrypted to a key's public half, here or by openssl."""
    address = KeyAddress.parse(one_key_address(key))
    ciphertext = read_small(source, _MAX_DATA, "the ciphertext")
    if as_base64:
        try:
            ciphertext = base64.b64decode(b"".join(ciphertext.split()), validate=True)
        except binascii.Error:
            raise UsageError("the ciphertext is not Base64: leave --base64 out if it is binary") from None
    with open_key(address) as opened:
        name = algorithm or _algorithm(opened)
        data = opened.kms.asymmetric_decrypt(opened.key_id, ciphertext, algorithm=name)
    write_small(destination, data, force=force)


def _public_key(pem: str | None, key: str | None, pin: str | None) -> PublicKey:
    if pem is not None:
        from kmsenvelope.kms.public import PublicKey

        if key is not None:
            raise UsageError("give either --public-key or --key")
        return PublicKey.from_pem(read_small(pem, _MAX_PEM, "the public key"), fingerprint=pin)
    with open_key(KeyAddress.parse(one_key_address(key))) as opened:
        return opened.kms.public_key(opened.key_id, fingerprint=pin)


def _algorithm(key: MasterKey) -> str:
    usage = str(key.call("DescribeKey")["KeyMetadata"].get("KeyUsage", ""))
    if not usage.startswith("ASYMMETRIC_DECRYPT_"):
        raise UsageError(f"{key} is for {usage}: it decrypts nothing that was encrypted to a public key")
    return "SM2_C1C3C2_ASN1" if usage.endswith("SM2") else "RSAES_OAEP_SHA_256"
