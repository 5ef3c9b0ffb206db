"""Keeps the Tencent Cloud SDK's debug log from printing keys, plaintext, tokens and signatures."""

from __future__ import annotations

import logging
import re

LOGGER_NAME = "tencentcloud_sdk_common"
"""The one logger of the SDK, which prints whole requests and answers at level DEBUG."""

_MEMBERS = (
    "Plaintext|PlainText|Ciphertext|CiphertextBlob|Message|Signature|SignatureValue|ImportToken|"
    "EncryptedKeyMaterial|ImportKeyMaterial|SecretKey|TmpSecretKey|Token|WebIdentityToken"
)

_MEMBER = re.compile(rf'("(?:{_MEMBERS})"\s*:\s*)"(?:[^"\\]|\\.)*"?', re.DOTALL)
_TOKEN = re.compile(r"^(X-TC-Token:\s*).*$", re.IGNORECASE | re.MULTILINE)
_SIGNATURE = re.compile(r"(Signature=)\w+")


def redact(text: str) -> str:
    """``text`` with the values of secret members and headers replaced by ``***``."""
    text = _MEMBER.sub(r'\1"***"', text)
    text = _TOKEN.sub(r"\1***", text)
    return _SIGNATURE.sub(r"\1***", text)


class SecretFilter(logging.Filter):
    """Rewrites every record of the logger that it is added to."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let the record pass, without secrets."""
        record.msg = redact(record.getMessage())
        record.args = None
        return True


_FILTER = SecretFilter()


def install() -> None:
    """Add the filter to the SDK's logger. Calling it again changes nothing."""
    logging.getLogger(LOGGER_NAME).addFilter(_FILTER)
