"""The keys of one client: who can open what it writes, and which of them opens what it reads."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from .buffers import BytesLike
from .errors import AuthenticationError, EnvelopeError, KmsError, NoUsableKey
from .header import MAX_RECIPIENTS, Header, Recipient
from .suites import Suite

Observer = Callable[[str, str, Exception | None, float], None]
"""Told of each call to a key: action, key id, error or ``None``, seconds."""


@runtime_checkable
class Wrapper(Protocol):
    """A key that can wrap a DEK: a CMK or a public key."""

    def wrap(self, dek: BytesLike, context_json: str | None, /) -> Recipient:
        """``dek`` wrapped for this key."""


@runtime_checkable
class Generator(Wrapper, Protocol):
    """A key whose KMS makes DEKs."""

    def generate(self, suite: Suite, context_json: str | None, /) -> tuple[bytearray, Recipient]:
        """A new DEK for ``suite``, and the same wrapped for this key."""


@runtime_checkable
class Opener(Protocol):
    """A key that can unwrap a DEK."""

    def opens(self, recipient: Recipient, /) -> bool:
        """Whether ``recipient`` names this key; no KMS is called."""

    def unwrap(self, recipient: Recipient, context_json: str | None, /) -> bytearray:
        """The DEK of ``recipient``."""


class KeySet:
    """One or more keys in the order of preference.

    Raises ``TypeError`` for an object that is no key, ``ValueError`` for no key, more than 16 or one twice.
    """

    def __init__(self, keys: Sequence[Wrapper | Opener]) -> None:
        if not keys:
            raise ValueError("give at least one key, e.g. kms.key(key_id)")
        for key in keys:
            if not isinstance(key, Wrapper | Opener):
                raise TypeError(f"{type(key).__name__} is not a key: give kms.key(key_id) or a PublicKey")
        if len(keys) > MAX_RECIPIENTS:
            raise ValueError(f"an envelope has at most {MAX_RECIPIENTS} recipients, not {len(keys)}")
        names = [str(key) for key in keys]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"the same key is given twice: {', '.join(sorted(twice))}")
        self.keys = tuple(keys)

    def generate(
        self, suite: Suite, context_json: str | None, observe: Observer
    ) -> tuple[bytearray, tuple[Recipient, ...]]:
        """A new DEK, wrapped for every key. The first key whose KMS makes DEKs makes it; none: made here.

        Raises ``KmsError`` of the key that failed.
        """
        maker = next((key for key in self.keys if isinstance(key, Generator)), None)
        made: Recipient | None = None
        if maker is None:
            dek = bytearray(os.urandom(suite.key_size))
        else:
            with _Observed(observe, "GenerateDataKey", maker):
                dek, made = maker.generate(suite, context_json)
        recipients = [
            made if key is maker and made else self._wrap(key, dek, context_json, observe)
            for key in self.keys
        ]
        return dek, tuple(recipients)

    def unwrap(self, header: Header, observe: Observer) -> tuple[bytearray, Recipient]:
        """The DEK of an envelope and the recipient that gave it, by the first key that one of them names.

        Raises ``NoUsableKey`` with the reason for each recipient.
        """
        reasons = dict.fromkeys(header.recipients, "no key of this client")
        for key in self.keys:
            for recipient in header.recipients:
                if not isinstance(key, Opener) or not key.opens(recipient):
                    continue
                try:
                    with _Observed(observe, _unwrap_action(recipient), recipient):
                        dek = key.unwrap(recipient, header.context_json)
                except (KmsError, AuthenticationError) as error:
                    reasons[recipient] = str(error)
                    continue
                if len(dek) == header.suite.key_size:
                    return dek, recipient
                reasons[recipient] = (
                    f"unwrapped to {len(dek)} bytes, not the {header.suite.key_size} of a DEK"
                )
        named = tuple((str(recipient), why) for recipient, why in reasons.items())
        raise NoUsableKey("no key of this client opens the envelope", named)

    def _wrap(
        self, key: Wrapper | Opener, dek: bytearray, context_json: str | None, observe: Observer
    ) -> Recipient:
        if not isinstance(key, Wrapper):
            raise TypeError(f"{key} can open envelopes but not be a recipient of new ones")
        with _Observed(observe, "Encrypt", key):
            return key.wrap(dek, context_json)


class _Observed:
    """Tells the observer of the call in the ``with`` block."""

    def __init__(self, observe: Observer, action: str, key: object) -> None:
        self._observe, self._action, self._key = observe, action, key

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        seconds = time.perf_counter() - self._start
        if error is None or isinstance(error, Exception):
            self._observe(self._action, _key_id(self._key), error, seconds)


def _key_id(key: object) -> str:
    try:
        return str(getattr(key, "key_id", key))
    except EnvelopeError:  # an alias that could not be looked up
        return str(key)


def _unwrap_action(recipient: Recipient) -> str:
    actions = {"RSAES_OAEP_SHA_256": "AsymmetricRsaDecrypt", "SM2_C1C3C2_ASN1": "AsymmetricSm2Decrypt"}
    return actions.get(recipient.alg or "", "Decrypt")
