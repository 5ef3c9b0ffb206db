"""PEM text (RFC 7468) to DER and back, with an error that says what a wrong file is."""

from __future__ import annotations

import base64
import re

_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)


def read_pem(text: str | bytes, *, private: bool) -> tuple[str, bytes]:
    """Label and DER of the one key in ``text``. ``ValueError`` says what it is otherwise."""
    if isinstance(text, bytes | bytearray):
        text = bytes(text).decode("ascii", "replace")
    elif not isinstance(text, str):
        raise TypeError(f"a PEM key is str or bytes, not {type(text).__name__}")
    blocks = [(label, body) for label, body in _BLOCK.findall(text) if not label.endswith(" PARAMETERS")]
    if not blocks:
        raise ValueError("not a PEM key: there is no -----BEGIN ...----- block")
    if len(blocks) > 1:
        raise ValueError(f"{len(blocks)} PEM blocks where one key is wanted")
    label, body = blocks[0]
    _check_label(label, private=private)
    if "Proc-Type:" in body:
        raise ValueError("an encrypted key in OpenSSL's old form: convert it with openssl pkcs8 -topk8")
    try:
        return label, base64.b64decode("".join(body.split()), validate=True)
    except ValueError:
        raise ValueError("damaged PEM: its content is not Base64") from None


def write_pem(label: str, der: bytes) -> str:
    """PEM text with lines of 64 characters."""
    text = base64.b64encode(der).decode("ascii")
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""])


def _check_label(label: str, *, private: bool) -> None:
    is_private = label.endswith("PRIVATE KEY")
    if is_private and not private:
        raise ValueError("this is a private key: give the public one here, and keep this one to yourself")
    if private and label.endswith("PUBLIC KEY"):
        raise ValueError("this is a public key: opening needs the private one")
    if label == "CERTIFICATE":
        raise ValueError("this is a certificate: take its key with openssl x509 -pubkey -noout")
    if not is_private and not label.endswith("PUBLIC KEY"):
        raise ValueError(f"a PEM block {label!r} is not a key")
