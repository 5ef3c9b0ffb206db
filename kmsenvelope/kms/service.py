"""One account and region of a KMS: any API action with retries and checked answers, and its keys."""

from __future__ import annotations

import base64
import time
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ..buffers import BytesLike, byte_view
from ..context import encode_context
from ..errors import KmsError
from ..header import Recipient
from .alias import check_alias
from .answers import check_complete, decode
from .failures import kms_error, left_in_doubt
from .forks import ForkLock
from .masterkey import MasterKey
from .retry import Retry
from .settle import can_be_settled, may_be_done_twice, settle
from .transit import TransitKey
from .transport import ServiceError, Transport

if TYPE_CHECKING:
    from .public import PublicKey

MAX_DESCRIPTION = 1024


class Kms:
    """One account and region of a key management service; ``TencentKms`` and ``LocalKms`` are made of it.

    Safe to share between threads and usable after ``fork``. A pickle carries the configuration, credentials
    that were passed explicitly among it, but never a key. ``retry`` says how failed calls are repeated;
    with ``protect_in_transit`` data keys are delivered enciphered to a key of this process.
    """

    def __init__(
        self, transport: Transport, *, retry: Retry | None = None, protect_in_transit: bool = False
    ) -> None:
        if not isinstance(retry, Retry | None):
            raise TypeError(f"retry is a Retry(deadline=…), not {type(retry).__name__}")
        self._transport = transport
        self._retry = retry or Retry()
        self._transit = TransitKey() if protect_in_transit else None
        self._lock = ForkLock()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._seconds = 0.0

    @property
    def name(self) -> str:
        """The kind of service: ``"tencent"`` or ``"local"``."""
        return self._transport.name

    @property
    def region(self) -> str | None:
        """The region, such as ``"ap-guangzhou"``; ``None`` for a local KMS."""
        return self._transport.region

    def __str__(self) -> str:
        return f"{self.name}:{self.region}" if self.region else self.name

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"

    def call(self, action: str, params: Mapping[str, object] | None = None) -> dict[str, Any]:
        """Any action of the KMS API; the content of ``Response``. Binary members are Base64, as in the API.

        Passing failures are repeated until the deadline. Where a lost answer leaves open whether the action
        was done, actions that must not be done twice are looked up first, and not repeated where that is
        impossible. Raises ``KmsError`` or a subclass of it.
        """
        if not isinstance(action, str) or not action.isalnum():
            raise ValueError("action is the name of a KMS API action, such as 'DescribeKey'")
        given = dict(params or {})
        if may_be_done_twice(action, given):
            return self._retry.run(lambda: self._once(action, given), on_repeat=self._count_repeat)
        return self._careful(action, given)

    def _careful(self, action: str, params: dict[str, object]) -> dict[str, Any]:
        since = self._retry.wall()
        doubt = False

        def attempt() -> dict[str, Any]:
            nonlocal doubt
            if doubt and (answer := settle(self._once, action, params, since)) is not None:
                return answer
            try:
                return self._once(action, params)
            except KmsError as error:
                if doubt and not error.retryable:
                    answer = settle(self._once, action, params, since)
                    if answer is not None:
                        return answer
                doubt = doubt or left_in_doubt(error)
                raise

        def may_repeat(error: KmsError) -> bool:
            return error.retryable and (not doubt or can_be_settled(action))

        try:
            return self._retry.run(attempt, may_repeat=may_repeat, on_repeat=self._count_repeat)
        except KmsError as error:
            if doubt and (error.retryable or error.action != action):
                error.args = (f"{error.args[0]}; it may have been done: look before you repeat it",)
                error.retryable = False
            raise

    def _once(self, action: str, params: Mapping[str, object]) -> dict[str, Any]:
        begin = time.perf_counter()
        failure: ServiceError | None = None
        try:
            answer = self._transport.call(action, params)
        except ServiceError as error:
            failure = error
        finally:
            with self._lock:
                self._counts["calls", action] += 1
                self._seconds += time.perf_counter() - begin
        if failure is not None:
            self._count("failures", failure.code)
            raise kms_error(failure, action)  # without the failure, whose frames hold what was sent
        check_complete(action, answer)
        return answer

    def _count(self, kind: str, name: str) -> None:
        with self._lock:
            self._counts[kind, name] += 1

    def _count_repeat(self) -> None:
        self._count("repeats", "")

    def stats(self) -> dict[str, Any]:
        """What this object has done: ``calls`` by action (repeats included), ``failures`` by code, the number
        of ``repeats``, and the ``seconds`` spent in calls."""
        with self._lock:
            counts, seconds = dict(self._counts), self._seconds
        by_name = {
            kind: {name: n for (of, name), n in counts.items() if of == kind}
            for kind in ("calls", "failures")
        }
        return {**by_name, "repeats": counts.get(("repeats", ""), 0), "seconds": seconds}

    def key(self, key_id: str) -> MasterKey:
        """The CMK with this key id or alias. No call is made; an alias is looked up once, when needed.

        Raises ``ValueError`` for what is neither; ``KeyUnavailable`` comes from the first use of a wrong one.
        """
        return MasterKey(self, key_id)

    def create_key(
        self,
        alias: str,
        *,
        description: str = "",
        usage: str = "ENCRYPT_DECRYPT",
        external: bool = False,
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """Create a CMK and return its key id. Source: CreateKey.

        ``usage`` is a ``KeyUsage`` of the API, such as ``ASYMMETRIC_DECRYPT_RSA_2048`` or
        ``ASYMMETRIC_DECRYPT_SM2``. With ``external`` the key is empty until ``import_key_material``.
        """
        if check_alias(alias).startswith("kms-"):
            raise ValueError("aliases that start with 'kms-' are reserved for cloud products")
        if len(description.encode("utf-8")) > MAX_DESCRIPTION:
            raise ValueError(f"a description has at most {MAX_DESCRIPTION} bytes")
        if not isinstance(tags, Mapping | None):
            raise TypeError(f"tags is a mapping of names to values, not {type(tags).__name__}")
        params: dict[str, object] = {"Alias": alias, "KeyUsage": usage, "Type": 2 if external else 1}
        if description:
            params["Description"] = description
        if tags:
            params["Tags"] = [{"TagKey": key, "TagValue": value} for key, value in tags.items()]
        return str(self.call("CreateKey", params)["KeyId"])

    def decrypt(self, blob: str, context: Mapping[str, str] | None = None) -> bytes:
        """The small secret that ``MasterKey.encrypt`` made ``blob`` of. Source: Decrypt.

        ``context`` must equal the one given then. An envelope is opened by ``EnvelopeClient.decrypt``.
        """
        if not isinstance(blob, str):
            raise TypeError(f"blob is the str that encrypt() returned, not {type(blob).__name__}")
        params: dict[str, object] = {"CiphertextBlob": blob}
        if (context_json := encode_context(context)) is not None:
            params["EncryptionContext"] = context_json
        return bytes(decode("Decrypt", self.call("Decrypt", params), "Plaintext"))

    def asymmetric_decrypt(
        self, key_id: str, ciphertext: BytesLike, *, algorithm: str | None = None
    ) -> bytes:
        """What was encrypted to the public key of the CMK ``key_id`` (id or alias).

        ``algorithm`` is ``SM2_C1C3C2_ASN1`` or one of RSA: ``RSAES_OAEP_SHA_256``, ``RSAES_OAEP_SHA_1``,
        ``RSAES_PKCS1_V1_5``. Without it the kind of key decides, which takes one more call, and RSA means
        the first. Source: AsymmetricRsaDecrypt, AsymmetricSm2Decrypt.
        """
        key = self.key(key_id)
        encoded = base64.b64encode(byte_view(ciphertext, "ciphertext")).decode("ascii")
        return bytes(key.decrypt_asymmetric(encoded, algorithm or key.asymmetric_algorithm()))

    def public_key(self, key_id: str, *, fingerprint: str | None = None) -> PublicKey:
        """The public half of an asymmetric CMK (key id or alias), to encrypt with and to hand out.

        ``fingerprint`` (SHA-256 of the DER public key, 64 hex digits) pins it: another key is a
        ``ValueError``. Source: GetPublicKey.
        """
        from .public import PublicKey

        key = self.key(key_id)
        answer = key.call("GetPublicKey")
        return PublicKey.from_der(
            bytes(decode("GetPublicKey", answer, "PublicKey")),
            key_id=key.key_id,
            kms=self.name,
            region=self.region,
            fingerprint=fingerprint,
        )

    def import_key_material(
        self,
        key_id: str,
        material: BytesLike,
        valid_to: datetime | int | None = None,
        algorithm: str = "RSAES_OAEP_SHA_256",
    ) -> None:
        """Give an external CMK your own key material. See ``byok.import_material``.

        KEEP A COPY OF THE MATERIAL: the KMS never gives it back, and the key takes no other, ever.
        """
        from .byok import import_material

        import_material(self, key_id, material, valid_to, algorithm)

    def delete_key_material(self, key_id: str) -> None:
        """Remove the material of an external CMK: at once nothing opens until the same is imported again.

        Source: DeleteImportedKeyMaterial.
        """
        self.key(key_id).call("DeleteImportedKeyMaterial")

    def opens(self, recipient: Recipient) -> bool:
        """Whether the recipient names this kind of KMS and region. No call is made."""
        return recipient.kms == self.name and recipient.region == self.region

    def unwrap(self, recipient: Recipient, context_json: str | None) -> bytearray:
        """The DEK, unwrapped by whichever CMK the recipient names. Raises ``KmsError``."""
        return self.key(recipient.key_id).unwrap(recipient, context_json)

    def close(self) -> None:
        """Give up connections and files."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {"transport": self._transport, "retry": self._retry, "transit": self._transit}

    def __setstate__(self, state: dict[str, Any]) -> None:
        Kms.__init__(self, state["transport"], retry=state["retry"])
        self._transit = state["transit"]
