"""One customer master key (CMK): it makes, wraps and unwraps data keys, and encrypts small secrets."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..buffers import BytesLike, byte_view
from ..context import encode_context
from ..errors import KeyUnavailable, KmsError
from ..header import Recipient
from ..suites import Suite
from .alias import check_alias, find_alias, is_key_id
from .answers import check_key, check_length, decode
from .failures import UNEXPECTED_ANSWER

if TYPE_CHECKING:
    from .service import Kms

MAX_SECRET = 4096
"""Bytes that the KMS encrypts itself. Source: Encrypt, Plaintext."""

SM2_ALGORITHM = "SM2_C1C3C2_ASN1"
RSA_ALGORITHMS = ("RSAES_OAEP_SHA_256", "RSAES_OAEP_SHA_1", "RSAES_PKCS1_V1_5")

_DEK_SIZES = tuple(sorted({suite.key_size for suite in Suite}))

_DEK_REQUEST: dict[Suite, dict[str, object]] = {
    Suite.AES_256_GCM: {"KeySpec": "AES_256"},
    Suite.AES_128_GCM: {"KeySpec": "AES_128"},
    Suite.SM4_GCM: {"NumberOfBytes": Suite.SM4_GCM.key_size},
}


class MasterKey:
    """One CMK, got from ``Kms.key``. It holds no secret and may be shared, copied and pickled."""

    def __init__(self, kms: Kms, key_id: str) -> None:
        if not isinstance(key_id, str):
            raise TypeError(f"a key id or alias must be str, not {type(key_id).__name__}")
        self.kms = kms
        self._given = key_id
        self._key_id = key_id if is_key_id(key_id) else None
        if self._key_id is None:
            check_alias(key_id)

    @property
    def key_id(self) -> str:
        """The key id. For an alias the first use asks the KMS (ListKeyDetail).

        Raises ``KeyUnavailable`` if no key has that alias, ``KmsError`` if the KMS cannot be asked.
        """
        if self._key_id is None:
            found = find_alias(self.kms.call, self._given)
            if found is None:
                raise KeyUnavailable(
                    f"no key in {self.kms} has the alias {self._given!r}: create it, or check the region",
                    code="ResourceUnavailable.CmkNotFound",
                    action="ListKeyDetail",
                )
            self._key_id = str(found["KeyId"])
        return self._key_id

    def goes_by(self, name: str) -> bool:
        """Whether it was given by this alias or key id and its key id is known. No call is made."""
        return name == self._given and self._key_id is not None

    def __str__(self) -> str:
        place = f"{self.kms.name}:{self.kms.region}/" if self.kms.region else f"{self.kms.name}:"
        return place + (self._key_id or self._given)

    def __repr__(self) -> str:
        return f"<MasterKey {self}>"

    def call(self, action: str, params: Mapping[str, object] | None = None) -> dict[str, Any]:
        """``Kms.call`` with this key's ``KeyId``; an answer that names another key is a ``KmsError``."""
        answer = self.kms.call(action, {"KeyId": self.key_id, **(params or {})})
        if isinstance(answer.get("KeyId"), str):
            check_key(action, answer, self.key_id)
        return answer

    def generate(self, suite: Suite, context_json: str | None) -> tuple[bytearray, Recipient]:
        """A new DEK for ``suite``, and the recipient that holds it wrapped. Source: GenerateDataKey."""
        action = "GenerateDataKey"
        transit = self.kms._transit
        answer = self.call(
            action, {**_DEK_REQUEST[suite], **_context(context_json), **(transit.params() if transit else {})}
        )
        dek = decode(action, answer, "Plaintext")
        if transit:
            dek = transit.open(dek, action)
        check_length(action, answer, dek, (suite.key_size,))
        return dek, self._recipient(action, answer)

    def wrap(self, dek: BytesLike, context_json: str | None) -> Recipient:
        """The recipient that holds ``dek`` wrapped. Source: Encrypt."""
        plaintext = base64.b64encode(dek).decode("ascii")
        answer = self.call("Encrypt", {"Plaintext": plaintext, **_context(context_json)})
        return self._recipient("Encrypt", answer)

    def unwrap(self, recipient: Recipient, context_json: str | None) -> bytearray:
        """The DEK of a recipient that this key opens. Raises ``KmsError``.

        Source: Decrypt, or AsymmetricRsaDecrypt and AsymmetricSm2Decrypt by the recipient's ``alg``.
        """
        if not self.opens(recipient):
            raise ValueError(f"{self} does not open {recipient}")
        if recipient.alg is not None:
            dek = self.decrypt_asymmetric(recipient.wrapped, recipient.alg)
            check_length("AsymmetricDecrypt", {}, dek, _DEK_SIZES)
            return dek
        action = "Decrypt"
        transit = self.kms._transit
        answer = self.kms.call(
            action,
            {
                "CiphertextBlob": recipient.wrapped,
                **_context(context_json),
                **(transit.params() if transit else {}),
            },
        )
        check_key(action, answer, self.key_id)
        dek = decode(action, answer, "Plaintext")
        if transit:
            dek = transit.open(dek, action)
        check_length(action, answer, dek, _DEK_SIZES)
        return dek

    def rewraps(self, recipient: Recipient) -> bool:
        """Whether the recipient is a symmetric CMK of this kind of KMS and region. No call is made."""
        return recipient.alg is None and self.kms.opens(recipient)

    def rewrap(self, recipient: Recipient, context_json: str | None) -> Recipient:
        """The DEK of ``recipient``, a CMK of the same account and region, wrapped by this key instead.

        The DEK stays inside the KMS. Source: ReEncrypt.
        """
        if not self.rewraps(recipient):
            raise ValueError(f"{recipient} is not wrapped by a symmetric key of {self.kms}")
        contexts = {} if context_json is None else _contexts(context_json)
        answer = self.kms.call(
            "ReEncrypt",
            {"CiphertextBlob": recipient.wrapped, "DestinationKeyId": self.key_id, **contexts},
        )
        check_key("ReEncrypt", answer, self.key_id)
        check_key("ReEncrypt", {**answer, "KeyId": answer["SourceKeyId"]}, recipient.key_id)
        return self._recipient("ReEncrypt", answer)

    def opens(self, recipient: Recipient) -> bool:
        """Whether the recipient names this key. No call is made, once an alias has been looked up."""
        return self.kms.opens(recipient) and recipient.key_id == self.key_id

    def encrypt(self, data: BytesLike, context: Mapping[str, str] | None = None) -> str:
        """A small secret, encrypted by the KMS itself: at most 4 096 bytes. Source: Encrypt.

        ``Kms.decrypt`` opens it, given the same ``context``. Raises ``ValueError`` for larger or no data.
        """
        size = byte_view(data).nbytes
        if size > MAX_SECRET:
            raise ValueError(
                f"{size} bytes: the KMS itself encrypts at most {MAX_SECRET}. Use an envelope: "
                "EnvelopeClient(key).encrypt(data)"
            )
        if not size:
            raise ValueError("there is nothing to encrypt")
        return self.wrap(data, encode_context(context)).wrapped

    def decrypt_asymmetric(self, ciphertext: str, algorithm: str) -> bytearray:
        """What was encrypted to this CMK's public key: see ``Kms.asymmetric_decrypt``; Base64 here."""
        if algorithm == SM2_ALGORITHM:
            action, extra = "AsymmetricSm2Decrypt", {}
        elif algorithm in RSA_ALGORITHMS:
            action, extra = "AsymmetricRsaDecrypt", {"Algorithm": algorithm}
        else:
            known = ", ".join((SM2_ALGORITHM, *RSA_ALGORITHMS))
            raise KmsError(
                f"algorithm {algorithm!r} is not one that the KMS decrypts: {known}",
                code="UnsupportedAlgorithm",
                action="AsymmetricDecrypt",
            )
        return decode(action, self.call(action, {"Ciphertext": ciphertext, **extra}), "Plaintext")

    def asymmetric_algorithm(self) -> str:
        """How data is encrypted to this CMK's public key. ``ValueError`` for a key of another usage."""
        usage = str(self.call("DescribeKey")["KeyMetadata"].get("KeyUsage"))
        if not usage.startswith("ASYMMETRIC_DECRYPT_"):
            raise ValueError(f"{self} is for {usage}: it decrypts nothing that a public key encrypted")
        return SM2_ALGORITHM if usage.endswith("SM2") else RSA_ALGORITHMS[0]

    def _recipient(self, action: str, answer: Mapping[str, Any]) -> Recipient:
        blob = answer["CiphertextBlob"]
        if not isinstance(blob, str) or not blob.isascii() or not blob.isprintable():
            raise KmsError("the CiphertextBlob is not text", code=UNEXPECTED_ANSWER, action=action)
        return Recipient(self.kms.name, self.key_id, blob, self.kms.region)


def _context(context_json: str | None) -> dict[str, object]:
    return {} if context_json is None else {"EncryptionContext": context_json}


def _contexts(context_json: str) -> dict[str, object]:
    return {"SourceEncryptionContext": context_json, "DestinationEncryptionContext": context_json}
