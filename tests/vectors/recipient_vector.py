"""What vectors for public-key recipients have in common, whatever the kind of key."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from construction import SUITES, Suite, header_json, message, seeded
from vector import Json, negative, positive

PLAIN = b"for the owner of the private key"
CONTEXT = '{"tenant":"42"}'
CMK_RECIPIENT = {"kms": "tencent", "key_id": "a1", "region": "ap-guangzhou", "wrapped": "QUFB-k-QkJC-k-Q0ND"}

Recipient = dict[str, str]


@dataclass(frozen=True)
class KeyPair:
    """A private key as PKCS #8 and its public key as SubjectPublicKeyInfo, both in DER."""

    alg: str
    private: bytes
    public: bytes

    def recipient(self, wrapped: bytes | str) -> Recipient:
        """The recipient for this key, by its fingerprint."""
        text = wrapped if isinstance(wrapped, str) else base64.b64encode(wrapped).decode()
        fingerprint = hashlib.sha256(self.public).hexdigest()
        return {"kms": "local-key", "key_id": fingerprint, "alg": self.alg, "wrapped": text}


def dek_of(suite: Suite) -> bytes:
    """The DEK of all messages in this suite."""
    return seeded(f"{suite.name}/dek", suite.key_size)


def opened(suite: Suite, pair: KeyPair, wrapped: bytes, kind: str, noun: str) -> Iterator[Json]:
    """Two vectors that the pair opens: as the only recipient, and after two that nobody here can open."""
    label = f"{kind}-{suite.name.lower()}"
    yield accept(label, f"a DEK wrapped for {noun}", pair, [pair.recipient(wrapped)], suite, CONTEXT)
    others = [
        CMK_RECIPIENT,
        {**pair.recipient(wrapped), "alg": "ALGORITHM_OF_THE_FUTURE"},
        pair.recipient(wrapped),
    ]
    comment = "two recipients that cannot be opened, then one that can"
    yield accept(f"{label}-last", comment, pair, others, suite)


def accept(
    name: str,
    comment: str,
    pair: KeyPair,
    recipients: Sequence[Recipient],
    suite: Suite = SUITES[1],
    context: str | None = None,
) -> Json:
    """A vector that the pair opens."""
    made = message(name, suite, PLAIN, context=context, text=header_json(context, list(recipients)))
    return _with_key(positive(name, comment, made), pair)


def refuse(name: str, comment: str, pair: KeyPair, wrapped: bytes | str, refusal: str = "") -> Json:
    """A refused vector with one recipient for the pair."""
    return refuse_all(name, comment, pair, [pair.recipient(wrapped)], refusal)


def refuse_all(
    name: str, comment: str, pair: KeyPair, recipients: Sequence[Recipient], refusal: str = ""
) -> Json:
    """A refused vector: by default no recipient can be opened."""
    made = message("refused", SUITES[1], PLAIN, text=header_json(None, list(recipients)))
    vector = _with_key(negative(name, comment, refusal or "B1", made), pair)
    if not refusal:
        vector["expect"] = "no-key"
        del vector["refusal"]
    return vector


def _with_key(vector: Json, pair: KeyPair) -> Json:
    """The vector with the private key; only an encoder is told the DEK."""
    if vector["expect"] != "success":
        del vector["dek"]
    return {**vector, "private_key": base64.b64encode(pair.private).decode()}
